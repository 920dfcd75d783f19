"""The delivery engine: everything between an outbox and its recipient. A step for the transactional runner.

One serial loop owns a partition of the outboxes. In each round it has consent and governance applied to their
ends, decides what is due once more, and commits intents together with an offset of the outbox; only then does
anything leave. After that commit, never before, it acknowledges how far it has applied consent: the broker
took its offsets, so it was the owner when it had applied them, and whoever comes next reads at least as far.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors import deliveries, resend
from connectors.adapter import History, Log, Out, Record, Shown
from connectors.deliveries import Parcel
from connectors.docket import OUTBOX, Docket
from connectors.knowledge import Knowledge, Owned
from connectors.recovery import recover
from connectors.sender import Sender
from connectors.standing import Watch
from connectors.stock import TOPIC as PENDING
from connectors.stock import Stock
from connectors.views import TOPIC as VIEWS
from connectors.views import Views
from consent import Governance, State, direction
from schemas.topics import partition_of


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of one worker. `owner` names this process, unlike any other ever."""

    owner: str
    partitions: int
    send_ms_max: int = 5_000
    doubt_margin_ms: int = 1_000
    in_flight_max: int = 32  # to one recipient
    ahead_max: int = 96  # besides, with their intents committed: where turns are taken, a round's worth
    urgent_max: int = 32  # besides, of what may make an urgent alert
    intents_per_step_max: int = 500
    choosing_ms_max: int = 500  # in a step; whatever waits longer keeps the acknowledgement waiting
    waiting_records_max: int = 4_000  # of one outbox partition, by an adapter that works; then reading pauses
    standing_records_max: int = 20_000  # of one outbox partition, by whatever adapter
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
        urgent: Callable[[Mapping[str, Any]], bool] = lambda envelope: False,
    ) -> None:
        """In: besides the parts, `name_key(stakeholder, adapter, event)`, which makes idempotency keys, `now`
        in epoch milliseconds, and whether an event, by its envelope, goes before others."""
        self._settings = settings
        self._sender = sender
        self._history = history
        self._stock = Stock(history, settings.held_bytes_max, settings.pending_records_max)
        self._log = acknowledgements
        self._known = Knowledge(governance)
        self._docket = Docket(settings, self._stock, self._known, name_key, now, urgent)
        self._owned = Owned(self._known)
        self._watch = watch
        self._views = views
        self._now = now
        self._fresh: set[tuple[str, int]] = set()
        self._stood: set[tuple[str, int, str]] = set()  # by what much waits since it stood still

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
            self._stood = {one for one in self._stood if one[:2] != (stakeholder, partition)}
            if self._owned.remove(stakeholder, partition):
                self._known.end(partition)
                self._stock.end(partition)
        self._docket.drop()

    def apply(self, record: Record) -> None:
        """One record of `consent`, `governance`, or at assignment `pending`."""
        if record.topic == PENDING:
            self._stock.apply(record)
            return
        if record.topic == "governance":
            change = self._known.change(record)
            self._docket.governed(change)
            if self._watch is not None:
                self._watch.everything()
            return
        directive = self._known.directive(record)
        if self._watch is not None and "narrows" in direction(directive["type"]):
            self._watch.narrowed(directive["participant"])

    def held(self) -> set[tuple[str, int]]:
        """Input partitions of which no more is wanted for now: too much waits, or they are new here."""
        return {
            (OUTBOX + stakeholder, partition)
            for stakeholder, partition in self._owned
            if (stakeholder, partition) in self._fresh or self._full(stakeholder, partition)
        }

    def _full(self, stakeholder: str, partition: int) -> bool:
        """Whether too much of an outbox partition waits.

        What waits since its recipient stood still, or for a later hour, keeps nothing from being read that
        its organisation has by other ways, its alerts above all; for memory's sake even that has a bound.
        """
        counts = self._stock.table.counts(stakeholder, partition)
        full = counts.total() >= self._settings.standing_records_max
        for adapter, count in counts.items():
            which = (stakeholder, partition, adapter)
            if count < self._settings.waiting_records_max:
                self._stood.discard(which)
            elif self._docket.stands((stakeholder, adapter)):
                self._stood.add(which)
            else:
                full |= which not in self._stood
        return full

    def due(self, now_ms: int) -> bool:
        """Whether a step is wanted although no record has come."""
        rings = self._stock.table.next_at()
        return (
            bool(self._fresh)
            or not self._sender.results.empty()
            or (rings is not None and rings <= now_ms)
            or self._docket.room(now_ms)
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
                self._docket.take_in(record, now, out)
        asked = [record for record in batch if record.topic == VIEWS]
        self._repeat([record for record in asked if resend.is_one(record)], now)
        self._show([record for record in asked if not resend.is_one(record)], now, out, places)
        while not self._sender.results.empty():
            self._docket.settle(self._sender.results.get_nowait())
        if not recovered:
            self._docket.choose(now, out)
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
        self._sender.submit(self._docket.committed())
        for partition, (applied, stakeholders) in self._owned.take().items():
            owner = self._settings.owner
            value = deliveries.acknowledgement(stakeholders, partition, applied, self._now(), owner)
            self._log.append(deliveries.TOPIC, partition, None, value)
        self._stock.committed()

    # -- one round's parts

    def _recover(self, now: int) -> bool:
        """Find out, once for each partition that is new here, what its last owner left.

        Out: whether there was any. In that round nothing new is taken in (`held`), nothing decided, so that
        it is acknowledged at once how far consent is applied: whoever took something back has waited since
        the last owner went.
        """
        for partition in sorted({partition for _, partition in self._fresh}):
            mine = {stakeholder for stakeholder, number in self._fresh if number == partition}
            flying = self._sender.flying()
            self._log.flush()
            left = self._stock.left(partition)
            for found in recover(left, self._history, partition, mine, flying, self._settings, now):
                self._docket.resume(found)
        recovered = bool(self._fresh)
        self._fresh.clear()
        return recovered

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
        """Take up once more what these ask for."""
        for record in records:
            found = resend.found(record, self._history, self._known.governance, self._owns)
            if found is not None:
                self._docket.repeat(found, now)

    def _tell(self, withdrawn: Sequence[Shown], now: int, out: Out, places: set[tuple[str, int]]) -> None:
        """Record that these did not get there after all, so that a later consent brings them again."""
        for one in withdrawn:
            partition = partition_of(one.participant, self._settings.partitions)
            if (one.stakeholder, partition) in self._owned:
                parcel = Parcel(one.id, one.stakeholder, one.adapter, one.event, one.participant)
                self._docket.withhold(parcel, partition, [("", "withdrawn")], now, out)
                places.add((one.stakeholder, partition))

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
