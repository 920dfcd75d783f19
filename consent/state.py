"""What one participant's directives fold to, compiled: deciding about an event is a handful of look-ups."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from consent.block import Block, blocks
from consent.record import Placed, Record
from consent.terms import Consent, Emergency, Order, Restriction
from consent.untyped import text


class State:
    """A participant's compiled consents, restrictions, orders and emergencies. Immutable.

    `offset` is that of the last directive in it, -1 where there is none. `record()` gives the same in plain
    terms, for explaining; it folds anew from the directives, which the state only refers to.
    """

    __slots__ = ("_source", "blocks", "emergencies", "offset", "orders", "restrictions")

    def __init__(self, source: Iterable[Placed] = ()) -> None:
        record = Record(source)
        self._source = source
        self.offset = record.offset
        self.blocks: tuple[Block, ...] = blocks(record.consents.values())
        self.restrictions: tuple[Restriction, ...] = tuple(record.restrictions.values())
        self.orders: tuple[Order, ...] = tuple(record.orders.values())
        self.emergencies: tuple[Emergency, ...] = tuple(record.emergencies.values())

    def by(self, consent: Consent, offset: int, source: Iterable[Placed]) -> "State":
        """The state of somebody who said nothing but this consent, at this offset. To be asked of the state
        of somebody who said nothing but a consent by the same form, which fills one block.
        """
        state = State.__new__(State)
        state._source, state.offset = source, offset
        state.blocks = (self.blocks[0].by(consent),)
        state.restrictions, state.orders, state.emergencies = (), (), ()
        return state

    def lasting(self, names: Container[str]) -> Iterator[tuple[str, int, bool]]:
        """Of each grant among these (`consent_id/grant_id`) the last instant of its consent (milliseconds,
        `NEVER_MS` where there is none), and whether leaving the program would end it."""
        for block in self.blocks:
            yield from block.lasting(names)

    def record(self) -> Record:
        """The record that this state was compiled from."""
        return Record(self._source)


EMPTY: Final = State()


def fold(directives: Iterable[object]) -> State:
    """The state after these directives, JSON objects in the order of the log; their places stand as offsets.

    A directive whose `id` was seen before is passed over; what is not a directive changes nothing.
    """
    placed = [
        Placed(place, text(body.get("id")) if isinstance(body, Mapping) else None, body)
        for place, body in enumerate(directives)
    ]
    return State(placed) if placed else EMPTY
