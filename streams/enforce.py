"""Enforce: decides every event for every subscription that wants it, and copies what is permitted.

It reads envelopes only and holds no key. Consent of its partitions is in memory and is brought to its end
before each batch; each decision says how far it had been applied. What it passes on is copied as bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Final

import structlog

from consent import Decision, Event, Governance, State, States, Subscription, decide_all
from schemas import codec, raw
from schemas.errors import BrokenRecord, HubError
from streams import metrics, quarantine
from streams.errors import Corrupt
from streams.step import Out, Record
from streams.templates import Template, written

STAGE: Final = "enforce"
RECONSIDER: Final = "reconsider"
wanted_max: Final = 10_000  # kinds of events for which it is remembered who wants them
compiled_max: Final = 262_144  # people of one partition whose consent is kept compiled

_log = structlog.get_logger()
_EFFECT_AND_REASON: Final = itemgetter(0, 1)
_TIMESTAMP: Final = attrgetter("timestamp")


class Enforce:
    """The step. `now` gives the time in epoch milliseconds; `partitions` is the hub's shared count."""

    def __init__(self, now: Callable[[], int], partitions: int) -> None:
        self._now = now
        self._partitions = partitions
        self._governance = Governance()
        self._states: dict[int, States] = {}
        self._wanted: dict[tuple[str, str], tuple[Sequence[Subscription], list[Template]]] = {}
        self._at = 0
        self._when: dict[int, bytes] = {}
        self._decided: list[Decision] = []

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Their participants' consent is applied from its beginning."""
        for _, partition in partitions:
            self._states.setdefault(partition, States(compiled_max))

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Forgets the consent of these partitions. The range assignor takes all topics of one at once."""
        for _, partition in partitions:
            self._states.pop(partition, None)

    def apply(self, record: Record) -> None:
        """A directive or a change of governance. One that cannot be read may be a revocation: stop."""
        try:
            if record.topic == "governance":
                self._governance.apply(record.offset, codec.decode_as("Governance", record.value or b""))
                self._wanted.clear()
                return
            directive = codec.directive(record.key, record.value)
            states = self._states[record.partition]
            states.apply(directive["participant"], record.offset, directive["body"], directive["id"])
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
            metrics.LATENCY.observe(max(self._at - min(map(_TIMESTAMP, batch)), 0) / 1000)
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
        wanted, templates = self._wanting(traits.category, traits.discloser, already)
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
        outcomes, copies = written(templates, decisions)
        kept = _kept(sealed, {copy.compartments for copy in copies.values()}) if copies else {}
        produce = out.produce
        produce("decisions", key, raw.decision(name, cause, envelope, position, when, outcomes), partition)
        for topic, compartments, shares in copies.values():
            produce(topic, key, raw.outbound(envelope, kept[compartments], position, when, shares), partition)

    def _wanting(
        self, category: str, discloser: str, already: Sequence[str]
    ) -> tuple[Sequence[Subscription], Sequence[Template]]:
        """Who wants such an event, and the beginnings of what is written about each."""
        known = self._wanted.get((category, discloser))
        if known is None:
            wanted = self._governance.wanting(category, discloser)
            known = wanted, [Template(one) for one in wanted]
            if len(self._wanted) < wanted_max:
                self._wanted[category, discloser] = known
        if already:
            left = [pair for pair in zip(*known, strict=True) if pair[0].stakeholder not in already]
            return [one for one, _ in left], [template for _, template in left]
        return known

    def _state(self, partition: int, participant: str) -> State:
        try:
            return self._states[partition].get(participant)
        except HubError as error:  # one of the directives does not parse, and it may be a revocation
            raise Corrupt(f"consent/{partition}: {error.detail}", code=error.code) from None


def _kept(sealed: bytes, wanted: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], bytes]:
    """Sealed maps of just these compartments, by their names."""
    entries = raw.entries(sealed)
    try:
        return {names: raw.permitted(entries, names) for names in wanted}
    except KeyError:
        raise BrokenRecord("an event lacks a compartment that its envelope names") from None
