"""The delivery engine: everything between an outbox and its recipient. A step for the transactional runner.

One serial loop owns a partition of the outboxes. In each round it has consent and governance applied to their
ends, decides what is due once more, and commits intents together with an offset of the outbox; only then does
anything leave. After that commit, never before, it acknowledges how far it has applied consent: the broker
took its offsets, so it was the owner when it had applied them, and whoever comes next reads at least as far.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from connectors import deliveries, gathering, projection, resend
from connectors.adapter import History, Log, Out, Outcome, Record, Shown
from connectors.breaker import Breakers
from connectors.deliveries import Parcel
from connectors.knowledge import Knowledge, Owned
from connectors.pending import Item, Lane
from connectors.recheck import adapters, paused, recheck
from connectors.recovery import Recovered, recover
from connectors.schedule import first_at
from connectors.sender import Attempt, Result, Sender, awake_ms
from connectors.standing import Watch
from connectors.stock import TOPIC as PENDING
from connectors.stock import Stock
from connectors.views import TOPIC as VIEWS
from connectors.views import Views
from consent import Governance, State, direction
from schemas import codec
from schemas.errors import BrokenRecord
from schemas.topics import partition_of

log = structlog.get_logger(__name__)

OUTBOX: Final = "outbox."
NO_ADAPTER: Final = "none"  # in a record about something that no subscription wants any more


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of one worker. `owner` names this process, unlike any other ever."""

    owner: str
    partitions: int
    send_ms_max: int = 5_000
    doubt_margin_ms: int = 1_000
    in_flight_max: int = 32  # to one recipient
    intents_per_step_max: int = 500
    choosing_ms_max: int = 500  # in a step; whatever waits longer keeps the acknowledgement waiting
    waiting_records_max: int = 1_000  # of one outbox partition; then its reading pauses
    held_bytes_max: int = 64 * 1024 * 1024  # sealed records kept in memory while they wait
    pending_records_max: int = 10_000  # by which a partition grows before what waits there is written anew


class Engine:
    """A `Step` over all `outbox.<stakeholder>`: `consent` beside, `governance` whole, `pending` restored."""

    def __init__(
        self,
        settings: EngineSettings,
        sender: Sender,
        history: History,
        acknowledgements: Log,
        name_key: Callable[[str, str, str], str],
        governance: Governance,
        watch: Watch | None,
        now: Callable[[], int],
        views: Views | None = None,
    ) -> None:
        """In: besides the parts, `name_key(stakeholder, adapter, event)`, which makes idempotency keys, and
        `now` in epoch milliseconds."""
        self._settings = settings
        self._sender = sender
        self._history = history
        self._stock = Stock(history, settings.held_bytes_max, settings.pending_records_max)
        self._log = acknowledgements
        self._name_key = name_key
        self._known = Knowledge(governance)
        self._owned = Owned(self._known)
        self._watch = watch
        self._views = views
        self._now = now
        self._breakers = Breakers(settings.in_flight_max)
        self._paused: frozenset[tuple[str, str]] = frozenset()
        self._fresh: set[tuple[str, int]] = set()
        self._attempts: list[Attempt] = []

    # -- the runner's side

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """These outbox partitions are ours; their consent is applied from its start."""
        for topic, partition in partitions:
            if topic.startswith(OUTBOX):
                stakeholder = topic.removeprefix(OUTBOX)
                self._owned.add(stakeholder, partition)
                self._fresh.add((stakeholder, partition))
            self._known.begin(partition)
            self._stock.begin(partition)
        if self._watch is not None:
            self._watch.everything()

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Drop all in-memory work for these partitions."""
        for topic, partition in partitions:
            if not topic.startswith(OUTBOX):
                continue
            stakeholder = topic.removeprefix(OUTBOX)
            self._sender.drop(stakeholder, partition)
            self._stock.drop(stakeholder, partition)
            self._fresh.discard((stakeholder, partition))
            if self._owned.remove(stakeholder, partition):
                self._known.end(partition)
                self._stock.end(partition)
        self._attempts = []

    def apply(self, record: Record) -> None:
        """One record of `consent`, `governance`, or at assignment `pending`."""
        if record.topic == PENDING:
            self._stock.apply(record)
            return
        if record.topic == "governance":
            change = self._known.change(record)
            self._paused = paused(self._known.governance)
            if change["kind"] == "subscription":
                self._breakers.governed(json.loads(change["body"])["stakeholder"], change["at"])
            if self._watch is not None:
                self._watch.everything()
            return
        directive = self._known.directive(record)
        if self._watch is not None and "narrows" in direction(directive["type"]):
            self._watch.narrowed(directive["participant"])

    def held(self) -> set[tuple[str, int]]:
        """Input partitions of which no more is wanted for now: too much of them waits."""
        return {
            (OUTBOX + stakeholder, partition)
            for stakeholder, partition in self._owned
            if self._stock.table.count(stakeholder, partition) >= self._settings.waiting_records_max
        }

    def due(self, now_ms: int) -> bool:
        """Whether a step is wanted although no record has come."""
        rings = self._stock.table.next_at()
        return (
            bool(self._fresh)
            or not self._sender.results.empty()
            or (rings is not None and rings <= now_ms)
            or any(self._room(recipient, now_ms) > 0 for recipient in self._stock.table.recipients())
            or self._stock.long
            or self._owned.news()
            or (self._watch is not None and self._watch.due(now_ms))
        )

    def step(self, batch: Sequence[Record], out: Out) -> None:
        """One round: take in, settle what has ended, decide what is due, say how far consent is applied."""
        now = self._now()
        places: set[tuple[str, int]] = set()
        recovered = self._recover(now)
        for record in batch:
            if record.topic != VIEWS:
                self._take_in(record, now, out)
        asked = [record for record in batch if record.topic == VIEWS]
        self._repeat([record for record in asked if resend.is_one(record)], now)
        self._show([record for record in asked if not resend.is_one(record)], now, out, places)
        self._settle()
        if not recovered:
            self._choose(now, out)
        if self._watch is None or self._watch.review(now, self._state_of, self._known.governance):
            places |= self._owned.prepare()
        if self._watch is not None:
            self._tell(self._watch.untold, now, out, places)
        places |= self._stock.write(out, self._whole)
        for stakeholder, partition in sorted(places):
            topic = OUTBOX + stakeholder
            out.offset(topic, partition, out.positions[topic, partition])

    def committed(self) -> None:
        """The round stands: send, and acknowledge."""
        if self._watch is not None:
            self._watch.told()
        attempts, self._attempts = self._attempts, []
        self._sender.submit(attempts)
        for partition, (applied, stakeholders) in self._owned.take().items():
            owner = self._settings.owner
            value = deliveries.acknowledgement(stakeholders, partition, applied, self._now(), owner)
            self._log.append(deliveries.TOPIC, partition, None, value)
        self._stock.committed()

    # -- one round's parts

    def _recover(self, now: int) -> bool:
        """Find out, once for each partition that is new here, what its last owner left.

        Out: whether there was any. Nothing is decided in that round, so that it is acknowledged at once how
        far consent is applied: whoever took something back has waited since the last owner went.
        """
        for partition in sorted({partition for _, partition in self._fresh}):
            mine = {stakeholder for stakeholder, number in self._fresh if number == partition}
            flying = self._sender.flying()
            self._log.flush()
            left = self._stock.left(partition)
            for found in recover(left, self._history, partition, mine, flying, self._settings, now):
                self._resume(found)
        recovered = bool(self._fresh)
        self._fresh.clear()
        return recovered

    def _resume(self, found: Recovered) -> None:
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

    def _take_in(self, record: Record, now: int, out: Out) -> None:
        """A new record of an outbox: one item for each adapter by which it goes out."""
        value = record.value or b""
        outbound = codec.decode_as("Outbound", value)
        envelope = outbound["envelope"]
        if record.key != envelope["participant"].encode() or (
            partition_of(record.key, self._settings.partitions) != record.partition
        ):
            raise BrokenRecord("an outbox record stands under another key than its participant's")
        stakeholder = record.topic.removeprefix(OUTBOX)
        named = adapters(outbound, self._known.governance)
        if not named:
            reasons = [(share["subscription"], "no-subscription") for share in outbound["shares"]]
            key = self._name_key(stakeholder, NO_ADAPTER, envelope["id"])
            parcel = Parcel(key, stakeholder, NO_ADAPTER, envelope["id"], envelope["participant"])
            self._withhold(parcel, record.partition, reasons, now, out)
        for adapter, settings in named.items():
            item = Item(
                Lane(stakeholder, adapter, envelope["participant"], envelope["type"]),
                record.partition,
                record.offset,
                self._name_key(stakeholder, adapter, envelope["id"]),
                since=now,
                next_at=first_at(settings, now),
            )
            self._stock.holding.hold(item, outbound, len(value))
            self._stock.add(item)

    def _show(self, records: Sequence[Record], now: int, out: Out, places: set[tuple[str, int]]) -> None:
        """Answer those who are about to look at alerts."""
        if self._views is None or not records:
            return
        answers = self._views.answers(
            records, now, self._state_of, self._known.governance, self._known.applied
        )
        for stakeholder, participant, partition, value in answers:
            out.produce(deliveries.TOPIC, participant.encode(), value, partition)
            places.add((stakeholder, partition))

    def _repeat(self, records: Sequence[Record], now: int) -> None:
        """Take these up once more, as if they had just come. What is not done yet comes anyway."""
        for record in records:
            found = resend.found(record, self._history, self._known.governance, self._owns)
            if found is not None and not self._stock.table.waits(found.lane, found.offset):
                item = Item(
                    found.lane,
                    found.partition,
                    found.offset,
                    self._name_key(found.lane.stakeholder, found.lane.adapter, found.event),
                    since=now,
                    next_at=first_at(found.settings, now),
                )
                self._stock.add(item)

    def _tell(self, withdrawn: Sequence[Shown], now: int, out: Out, places: set[tuple[str, int]]) -> None:
        """Record that these did not get there after all, so that a later consent brings them again."""
        for one in withdrawn:
            partition = partition_of(one.participant, self._settings.partitions)
            if (one.stakeholder, partition) in self._owned:
                parcel = Parcel(one.id, one.stakeholder, one.adapter, one.event, one.participant)
                self._withhold(parcel, partition, [("", "withdrawn")], now, out)
                places.add((one.stakeholder, partition))

    def _settle(self) -> None:
        """Take what has ended since the last round."""
        while not self._sender.results.empty():
            result: Result = self._sender.results.get_nowait()
            item = self._stock.landed(result.ref)
            if item is None:
                continue
            recipient = (item.lane.stakeholder, item.lane.adapter)
            if self._breakers.ended(recipient, result.outcome, result.at):
                who, adapter = recipient
                log.warning(
                    "recipient stands still", stakeholder=who, adapter=adapter, code=result.outcome.code
                )
            if result.outcome.disable:
                marker = Item.endpoint(*recipient, item.partition, result.at)
                self._stock.touch(marker)
                self._stock.refuse(marker)
            if result.next_at is None:
                self._stock.finish(item)
            else:
                item.next_at = result.next_at
                self._stock.wait(item)

    def _choose(self, now: int, out: Out) -> None:
        """Decide what is due, as far as there is room; denials take none."""
        left = self._settings.intents_per_step_max
        until = now + self._settings.choosing_ms_max
        while left > 0 and self._now() <= until:
            self._stock.table.wake(now)
            picked: list[Item] = []
            for recipient in self._stock.table.recipients():
                for _ in range(min(self._room(recipient, now), left - len(picked))):
                    if (item := self._stock.table.take(recipient)) is None:
                        break
                    picked.append(item)
            if not picked:
                return
            left -= len(picked)
            self._stock.holding.fetch(picked)
            for item in picked:
                self._decide(item, now, out)

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
            self._withhold(parcel, item.partition, verdict.withheld, now, out)
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
            )
        )
        self._stock.send(item)

    # -- small things

    def _whole(self, partition: int) -> frozenset[str]:
        """Whose outboxes of a partition are ours; nobody where one of them may be somebody else's."""
        mine = frozenset(stakeholder for stakeholder, number in self._owned if number == partition)
        return mine if all(one.id in mine for one in self._known.governance.stakeholders) else frozenset()

    def _owns(self, stakeholder: str, partition: int) -> bool:
        return (stakeholder, partition) in self._owned

    def _state_of(self, stakeholder: str, participant: str) -> State | None:
        partition = partition_of(participant, self._settings.partitions)
        return self._known.state(partition, participant) if (stakeholder, partition) in self._owned else None

    def _room(self, recipient: tuple[str, str], now: int) -> int:
        if recipient in self._paused:
            return 0
        most = gathering.in_flight_max if recipient[1] in gathering.ADAPTERS else 0
        return self._breakers.room(recipient, self._stock.table.in_flight(recipient), now, most)

    def _withhold(
        self,
        parcel: Parcel,
        partition: int,
        reasons: Iterable[tuple[str, str]],
        now: int,
        out: Out,
    ) -> None:
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
