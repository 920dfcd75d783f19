"""What a new owner of a partition finds: what the last one left waiting, and how its open attempts ended."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from connectors import deliveries
from connectors.adapter import History
from connectors.pending import ENDPOINT_OFFSET, Item, Left

clock_skew_ms_max: Final = 5_000  # between workers: how much earlier than its intent a receipt may be dated


class Bounds(Protocol):
    """The engine's settings, as far as they matter here."""

    @property
    def send_ms_max(self) -> int: ...
    @property
    def doubt_margin_ms(self) -> int: ...


class Recovered(NamedTuple):
    """`waiting`: due at its time. `flying`: this very process is still at it. `done`: only the entry is left.

    `doubted`: due as well, and nobody need look for its receipt again: the entry is to say so. `endpoint`:
    the recipient wanted nothing more.
    """

    kind: Literal["waiting", "flying", "done", "doubted", "endpoint"]
    item: Item


def recover(
    left: Left,
    history: History,
    partition: int,
    stakeholders: Collection[str],
    flying: Collection[tuple[str, int]],
    bounds: Bounds,
    now_ms: int,
) -> Iterator[Recovered]:
    """What waits in one partition for these stakeholders, each lane in outbox order.

    In: `left`, what `pending` adds up to there; `flying`, the attempts that this process is still making;
    the time in epoch milliseconds. An attempt without a receipt is in doubt: its worker may still be sending.
    It is due again only when the old deadline has passed, and then decided anew like everything else. Where
    that was long ago its receipt is not waited for any more, so that no later owner reads so far back for it.
    """
    items = [item for item in left.items() if item.lane.stakeholder in stakeholders]
    unknown = [item for item in items if item.open and (item.key, item.attempt) not in flying]
    ended: dict[tuple[str, int], Mapping[str, Any]] = {}
    if unknown:
        since = min(item.since for item in unknown) - clock_skew_ms_max
        for record in history.read(deliveries.TOPIC, partition, since):
            assert record.value is not None, "`deliveries` has no tombstones"
            receipt = deliveries.ended(record.value)
            if receipt is not None:
                ended[receipt["key"], receipt["attempt"]] = receipt
    for item in items:
        if item.offset == ENDPOINT_OFFSET:
            yield Recovered("endpoint", item)
        elif not item.open:
            yield Recovered("waiting", item)
        elif (item.key, item.attempt) in flying:
            yield Recovered("flying", item)
        else:
            yield _ended(item, ended.get((item.key, item.attempt)), bounds, now_ms)


def _ended(item: Item, receipt: Mapping[str, Any] | None, bounds: Bounds, now_ms: int) -> Recovered:
    """An attempt of a worker that is gone: as its receipt says, or in doubt."""
    if receipt is None:
        item.next_at = item.since + bounds.send_ms_max + bounds.doubt_margin_ms
        item.open = item.next_at + clock_skew_ms_max > now_ms
        return Recovered("waiting" if item.open else "doubted", item)
    item.open = False
    if receipt["next_at"] is None:
        return Recovered("done", item)
    item.next_at = receipt["next_at"]
    return Recovered("waiting", item)
