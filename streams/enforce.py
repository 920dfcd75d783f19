"""Enforce: decides every event for every subscription that wants it, and copies what is permitted.

It reads envelopes only and holds no key. Consent of its partitions is in memory and is brought to its end
before each batch; each decision says how far it had been applied. What it passes on is copied as bytes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

import structlog

from consent import Decision, Event, Governance, State, States, Subscription, decide_all
from schemas import codec, raw
from schemas.errors import BrokenRecord, HubError
from schemas.topics import outbox
from streams import metrics, quarantine
from streams.errors import Corrupt
from streams.step import Out, Record

STAGE: Final = "enforce"
RECONSIDER: Final = "reconsider"

_log = structlog.get_logger()
_EFFECT_AND_REASON: Final = itemgetter(0, 1)


class Enforce:
    """The step. `now` gives the time in epoch milliseconds; `partitions` is the hub's shared count."""

    def __init__(self, now: Callable[[], int], partitions: int) -> None:
        self._now = now
        self._partitions = partitions
        self._governance = Governance()
        self._states: dict[int, States] = {}
        self._outbox: dict[str, str] = {}
        self._at = 0
        self._when: dict[int, bytes] = {}
        self._decided: list[Decision] = []

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Their participants' consent is applied from its beginning."""
        for _, partition in partitions:
            self._states.setdefault(partition, States())

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Forgets the consent of these partitions. The range assignor takes all topics of one at once."""
        for _, partition in partitions:
            self._states.pop(partition, None)

    def apply(self, record: Record) -> None:
        """A directive or a change of governance. One that cannot be read may be a revocation: stop."""
        try:
            if record.topic == "governance":
                self._governance.apply(record.offset, codec.decode_as("Governance", record.value or b""))
                return
            directive = codec.decode_as("Directive", record.value or b"")
            participant = directive["participant"]
            if record.key != participant.encode():
                raise BrokenRecord("a directive stands under another key than its participant's")
            states = self._states[record.partition]
            states.apply(participant, record.offset, directive["body"], directive["id"])
        except HubError as error:
            place = f"{record.topic}/{record.partition} at {record.offset}"
            raise Corrupt(f"{place}: {error.detail}", code=error.code) from None

    def step(self, batch: Sequence[Record], out: Out) -> None:
        """Decides a batch. The same instant and the same offsets go into all its decisions, unless one of its
        events has to wait for a directive of its own.
        """
        self._at = self._now()
        self._when.clear()
        self._decided.clear()
        for record in batch:
            try:
                self._handle(record, out)
            except HubError as error:
                if isinstance(error, Corrupt) or error.code in ("stalled", "unavailable"):
                    raise
                _log.error("record refused", topic=record.topic, offset=record.offset, reason=error.code)
                ref, where = quarantine.reference(record), quarantine.place(record)
                size = len(record.value or b"")  # the original stays where it is; here is no key to seal it
                quarantine.refuse(
                    out, self._partitions, STAGE, ref, error, self._at, position=where, size=size
                )
        if batch:
            metrics.LATENCY.observe(max(self._at - batch[0].timestamp, 0) / 1000)
            for (effect, reason), count in Counter(map(_EFFECT_AND_REASON, self._decided)).items():
                metrics.OUTCOMES.labels(effect, reason).inc(count)

    def due(self, now_ms: int) -> bool:
        """Nothing happens here without a record."""
        return False

    def committed(self) -> None:
        """Nothing to do after a commit."""

    def _handle(self, record: Record, out: Out) -> None:
        value = record.value
        if not value:
            raise BrokenRecord("expected an event, found an empty value", code="empty-value")
        topic, partition, offset = record.topic, record.partition, record.offset
        if topic != RECONSIDER:
            cut = raw.cut(value)
            self._decide(record, cut, "first", "d" + cut.id[1:], (topic, partition, offset), (), out)
            return
        again = codec.decode_as("Reconsider", value)
        cut = raw.cut(codec.encode("Event", again["event"]))
        at = again["position"]
        place = (at["topic"], at["partition"], at["offset"])
        name = f"d{cut.id[1:]}-{partition}-{offset}"
        self._decide(record, cut, "reconsider", name, place, again["already"], out)

    def _decide(
        self,
        record: Record,
        cut: raw.Cut,
        cause: str,
        name: str,
        place: tuple[str, int, int],
        already: Sequence[str],
        out: Out,
    ) -> None:
        traits, event_id, participant, occurred_at, at_least, envelope, sealed = cut
        partition, key = record.partition, record.key
        if key != participant.encode():
            raise BrokenRecord("an event stands under another key than its participant's", code="wrong-key")
        when = self._when.get(partition)
        if at_least is not None and at_least > out.applied("consent", partition):
            if not out.reach("consent", partition, at_least):
                raise BrokenRecord(
                    "the directives that it waits for were never written", code="no-directives"
                )
            when = None
        if when is None:
            consent_offset = out.applied("consent", partition)
            when = raw.applied(self._at, consent_offset, self._governance.offset)
            self._when[partition] = when
        governance = self._governance
        wanted = governance.wanting(traits.category, traits.discloser)
        if already:
            wanted = tuple(one for one in wanted if one.stakeholder not in already)
        decisions = decide_all(
            Event(
                event_id,
                participant,
                traits.type,
                traits.category,
                traits.labels,
                traits.discloser,
                occurred_at,
                traits.compartments,
            ),
            wanted,
            self._at,
            self._state(partition, participant),
            governance.policy,  # type: ignore[arg-type]  # without a policy everything is indeterminate
            governance.stakeholders,
        )
        self._decided += decisions
        position = raw.place(place[0], place[1]) + raw.long(place[2])
        outcomes = [
            raw.outcome(one.stakeholder, one.id, one.purpose, *decision)
            for one, decision in zip(wanted, decisions, strict=True)
        ]
        value = raw.decision(name, cause, envelope, position, when, outcomes)
        copies = self._copies(wanted, decisions, sealed)
        out.produce("decisions", key, value, partition)
        for stakeholder, kept, shares in copies:
            outbound = raw.outbound(envelope, kept, position, when, shares)
            out.produce(self._outbox_of(stakeholder), key, outbound, partition)

    def _state(self, partition: int, participant: str) -> State:
        try:
            return self._states[partition].get(participant)
        except HubError as error:  # one of the directives does not parse, and it may be a revocation
            raise Corrupt(f"consent/{partition}: {error.detail}", code=error.code) from None

    def _copies(
        self, wanted: Sequence[Subscription], decisions: Sequence[Decision], sealed: bytes
    ) -> list[tuple[str, bytes, list[bytes]]]:
        """For each stakeholder with a permit: what it may have, united over its subscriptions, and why."""
        permitted: dict[str, list[tuple[Subscription, Decision]]] = {}
        for one, decision in zip(wanted, decisions, strict=True):
            if decision.effect == "permit":
                permitted.setdefault(one.stakeholder, []).append((one, decision))
        if not permitted:
            return []
        entries = raw.entries(sealed)
        copies = []
        for stakeholder, reasons in permitted.items():
            names: Sequence[str] = reasons[0][1].compartments
            if len(reasons) > 1:
                names = sorted({name for _, decision in reasons for name in decision.compartments})
            shares = [
                raw.share(one.id, one.purpose, d.basis or "", d.grants, d.compartments, d.obligations)
                for one, d in reasons
            ]
            try:
                copies.append((stakeholder, raw.permitted(entries, names), shares))
            except KeyError:
                raise BrokenRecord("an event lacks a compartment that its envelope names") from None
        return copies

    def _outbox_of(self, stakeholder: str) -> str:
        name = self._outbox.get(stakeholder)
        if name is None:
            name = self._outbox[stakeholder] = outbox(stakeholder)
        return name
