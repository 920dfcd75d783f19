"""What is to be decided, and what was: from a record of an outbox to its intent, or to why it is withheld."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import structlog

from connectors import deliveries, gathering, projection
from connectors.adapter import Out, Outcome, Record
from connectors.breaker import Breakers, Recipient
from connectors.deliveries import Parcel
from connectors.knowledge import Knowledge
from connectors.pending import Item, Lane
from connectors.recheck import adapters, paused, recheck
from connectors.recovery import Recovered
from connectors.resend import Found
from connectors.schedule import awake_ms, first_at
from connectors.sender import Attempt, Result
from connectors.stock import Stock
from schemas import codec
from schemas.errors import BrokenRecord
from schemas.topics import partition_of

log = structlog.get_logger(__name__)

OUTBOX: Final = "outbox."
NO_ADAPTER: Final = "none"  # in a record about something that no subscription wants any more


class Bounds(Protocol):
    """The engine's settings, as far as they matter here."""

    @property
    def partitions(self) -> int: ...
    @property
    def send_ms_max(self) -> int: ...
    @property
    def in_flight_max(self) -> int: ...
    @property
    def ahead_max(self) -> int: ...
    @property
    def urgent_max(self) -> int: ...
    @property
    def intents_per_step_max(self) -> int: ...
    @property
    def choosing_ms_max(self) -> int: ...


class Docket:
    """Decides, by what is known, over what is in stock. What may leave waits here for its commit."""

    def __init__(
        self,
        bounds: Bounds,
        stock: Stock,
        known: Knowledge,
        name_key: Callable[[str, str, str], str],
        now: Callable[[], int],
        urgent: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        """In: `name_key(stakeholder, adapter, event)`, which makes idempotency keys; `now` in epoch
        milliseconds; whether an event, by its envelope, goes before others to the same recipient."""
        self._settings = bounds
        self._stock = stock
        self._known = known
        self._name_key = name_key
        self._now = now
        self._urgent = urgent
        self._breakers = Breakers(bounds.in_flight_max)
        self._paused: frozenset[tuple[str, str]] = frozenset()
        self._attempts: list[Attempt] = []
        self._ended: Counter[Recipient] = Counter()  # since the last round
        self._failed: set[Recipient] = set()  # since the last round
        self._pace: Counter[Recipient] = Counter()  # of a round, lately

    def governed(self, change: Mapping[str, Any]) -> None:
        """A record of `governance`: who is paused from now on, and whose subscription is another one now."""
        self._paused = paused(self._known.governance)
        if change["kind"] == "subscription":
            self._breakers.governed(json.loads(change["body"])["stakeholder"], change["at"])

    def room(self, now: int) -> bool:
        """Whether something is due to somebody who may have it now."""
        table = self._stock.table
        return any(self._room(recipient, now) > 0 for recipient in table.recipients()) or any(
            self._room(recipient, now, urgent=True) > 0 for recipient in table.recipients(urgent=True)
        )

    def stands(self, recipient: Recipient) -> bool:
        """Whether next to nothing goes to this recipient for now: paused, down, done with us, none due."""
        busy = self._stock.table.busy(recipient)
        return not busy or recipient in self._paused or self._breakers.stands(recipient)

    def drop(self) -> None:
        """Nothing of this round stands."""
        self._attempts = []

    def committed(self) -> list[Attempt]:
        """The round stands; out: what may leave now."""
        attempts, self._attempts = self._attempts, []
        return attempts

    def resume(self, found: Recovered) -> None:
        """Take up what the last owner left."""
        item = found.item
        if found.kind == "endpoint":
            self._breakers.disable((item.lane.stakeholder, item.lane.adapter), item.since)
            self._stock.refuse(item)
        elif found.kind == "flying":
            self._stock.still_flying(item)
        elif found.kind == "done":
            item.done = True
            self._stock.touch(item)
        elif found.kind == "doubted":
            self._stock.add(item)
        else:
            self._stock.table.add(item)

    def take_in(self, record: Record, now: int, out: Out) -> None:
        """A new record of an outbox: one item for each adapter by which it goes out.

        Raises `BrokenRecord`, `UnknownSchema`.
        """
        value = record.value or b""
        outbound = codec.decode_as("Outbound", value)
        envelope = outbound["envelope"]
        if record.key != envelope["participant"].encode() or (
            partition_of(record.key, self._settings.partitions) != record.partition
        ):
            raise BrokenRecord("an outbox record stands under another key than its participant's")
        stakeholder = record.topic.removeprefix(OUTBOX)
        named, urgent = adapters(outbound, self._known.governance), self._urgent(envelope)
        if not named:
            reasons = [(share["subscription"], "no-subscription") for share in outbound["shares"]]
            key = self._name_key(stakeholder, NO_ADAPTER, envelope["id"])
            parcel = Parcel(key, stakeholder, NO_ADAPTER, envelope["id"], envelope["participant"])
            self.withhold(parcel, record.partition, reasons, now, out)
        for adapter, settings in named.items():
            item = Item(
                Lane(stakeholder, adapter, envelope["participant"], envelope["type"]),
                record.partition,
                record.offset,
                self._name_key(stakeholder, adapter, envelope["id"]),
                since=now,
                next_at=first_at(settings, now),
                urgent=urgent,
            )
            self._stock.holding.hold(item, outbound, len(value))
            self._stock.add(item)

    def repeat(self, found: Found, now: int) -> None:
        """Take this up once more, as if it had just come. What is not done yet comes anyway."""
        if self._stock.table.waits(found.lane, found.offset):
            return
        item = Item(
            found.lane,
            found.partition,
            found.offset,
            self._name_key(found.lane.stakeholder, found.lane.adapter, found.event),
            since=now,
            next_at=first_at(found.settings, now),
        )
        self._stock.add(item)

    def settle(self, result: Result) -> None:
        """An attempt has ended."""
        item = self._stock.landed(result.ref)
        if item is None:
            return
        recipient = (item.lane.stakeholder, item.lane.adapter)
        if result.outcome.state == "delivered":
            self._ended[recipient] += 1
        else:
            self._failed.add(recipient)
        if self._breakers.ended(recipient, result.outcome, result.at):
            who, adapter = recipient
            log.warning("recipient stands still", stakeholder=who, adapter=adapter, code=result.outcome.code)
        if result.outcome.disable:
            marker = Item.endpoint(*recipient, item.partition, result.at)
            self._stock.touch(marker)
            self._stock.refuse(marker)
        if result.next_at is None:
            self._stock.finish(item)
        else:
            item.next_at = result.next_at
            self._stock.wait(item)

    def choose(self, now: int, out: Out) -> None:
        """Decide what is due, as far as there is room; denials take none."""
        self._pace = self._paces()
        left = self._settings.intents_per_step_max
        until = now + self._settings.choosing_ms_max
        while left > 0 and self._now() <= until:
            self._stock.table.wake(now)
            picked = self._picked(now, left, urgent=True) or self._picked(now, left)
            if not picked:
                return
            left -= len(picked)
            self._stock.holding.fetch(picked)
            for item in picked:
                self._decide(item, now, out)

    def _picked(self, now: int, left: int, *, urgent: bool = False) -> list[Item]:
        """What is due and has room, of each recipient; at most so many."""
        table, picked = self._stock.table, list[Item]()
        for recipient in table.recipients(urgent=urgent):
            for _ in range(min(self._room(recipient, now, urgent=urgent), left - len(picked))):
                if (item := table.take(recipient, urgent=urgent)) is None:
                    break
                picked.append(item)
        return picked

    def _decide(self, item: Item, now: int, out: Out) -> None:
        """Withhold one item, or commit to hand it over."""
        stakeholder, adapter, participant, _ = item.lane
        self._stock.touch(item)
        if item.outbound is None:
            self._expire(item, now, out)
            return
        envelope = item.outbound["envelope"]
        state = self._known.state(item.partition, participant)
        verdict = recheck(
            envelope, item.outbound["shares"], stakeholder, adapter, now, state, self._known.governance
        )
        if not verdict.shares:
            parcel = self._parcel(item, envelope["id"])
            self.withhold(parcel, item.partition, verdict.withheld, now, out)
            self._stock.finish(item)
            return
        item.attempt, item.open, item.since = item.attempt + 1, True, now
        value = deliveries.intent(
            self._parcel(item, envelope["id"]),
            (item.partition, item.offset),
            item.attempt,
            now,
            self._known.applied(item.partition),
            verdict.shares,
        )
        out.produce(deliveries.TOPIC, participant.encode(), value, item.partition)
        self._attempts.append(
            Attempt(
                item.key,
                stakeholder,
                adapter,
                item.partition,
                item.offset,
                item.attempt,
                item.outbound,
                verdict.shares,
                projection.scope_of(verdict.shares, state),
                verdict.settings,
                awake_ms() + self._settings.send_ms_max,
                item.urgent,
            )
        )
        self._stock.send(item)

    def _paces(self) -> Counter[Recipient]:
        """How much each recipient takes in a round: what it just took, or most of what it took before.

        Rounds follow each other unevenly: one that comes early finds little ended, and would leave the sender
        with nothing to do until the next. Whoever failed is known by this round alone.
        """
        ended, self._ended = self._ended, Counter()
        failed, self._failed = self._failed, set()
        paces = Counter(self._pace)
        for one in {*ended, *failed}:
            paces[one] = ended[one] if one in failed else max(ended[one], self._pace[one] * 3 // 4)
        return +paces

    def _room(self, recipient: tuple[str, str], now: int, *, urgent: bool = False) -> int:
        """How many more may have their intents committed.

        Of those that are committed so many leave at once (`Sender`), and the others as soon as one has ended:
        a quick recipient need not wait for the next round, and nothing waits for one that is slow. Where all
        leave at once, none waits behind them. What is urgent has room besides, however much else is on its
        way, but for files: in one there is room for so many.
        """
        if recipient in self._paused:
            return 0
        if recipient[1] in gathering.ADAPTERS:
            most = gathering.in_flight_max
        else:
            ahead = self._settings.ahead_max
            if recipient[1] not in gathering.TOGETHER:
                ahead = min(self._pace[recipient], ahead)
            most = self._settings.in_flight_max + ahead + (self._settings.urgent_max if urgent else 0)
        return self._breakers.room(recipient, self._stock.table.in_flight(recipient), now, most)

    def withhold(
        self,
        parcel: Parcel,
        partition: int,
        reasons: Iterable[tuple[str, str]],
        now: int,
        out: Out,
    ) -> None:
        """Record that this may no longer leave, and why: (subscription, reason)."""
        value = deliveries.withheld(parcel, now, self._known.applied(partition), reasons)
        out.produce(deliveries.TOPIC, parcel.participant.encode(), value, partition)

    def _expire(self, item: Item, now: int, out: Out) -> None:
        """The outbox no longer has it: it has waited for longer than anything is kept there."""
        outcome = Outcome("abandoned", "outbox-expired")
        value = deliveries.receipt(self._parcel(item, ""), item.attempt, outcome, now, None)
        out.produce(deliveries.TOPIC, item.lane.participant.encode(), value, item.partition)
        self._stock.finish(item)

    @staticmethod
    def _parcel(item: Item, event: str) -> Parcel:
        return Parcel(item.key, item.lane.stakeholder, item.lane.adapter, event, item.lane.participant)
