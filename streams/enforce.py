"""Enforce: decides every event for every subscription that wants it, and copies what is permitted.

It reads envelopes only and holds no key. Consent of its partitions is in memory and is brought to its end
before each batch; each decision says how far it had been applied. What it passes on is copied as bytes.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

import structlog

from consent import Governance, State, States
from schemas import codec, raw
from schemas.errors import BrokenRecord, HubError
from streams import metrics, quarantine
from streams.decider import Decider
from streams.errors import Corrupt
from streams.step import Out, Record
from streams.templates import Copy

STAGE: Final = "enforce"
RECONSIDER: Final = "reconsider"
idle_states_max: Final = 64  # compiled at a time while nothing comes: some milliseconds
compiled_max: Final = 262_144  # people of one partition whose consent is kept compiled

_log = structlog.get_logger()
_TIMESTAMP: Final = attrgetter("timestamp")


class Enforce:
    """The step. `now` gives the time in epoch milliseconds; `partitions` is the hub's shared count."""

    def __init__(self, now: Callable[[], int], partitions: int) -> None:
        self._now = now
        self._partitions = partitions
        self._governance = Governance()
        self._states: dict[int, States] = {}
        self._decider = Decider(self._governance)
        self._at = 0
        self._when: dict[int, bytes] = {}

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
                self._decider.changed()
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
        self._decider.effects()  # what was decided and thrown away does not count
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
            for (effect, reason), count in self._decider.effects().items():
                metrics.OUTCOMES.labels(effect, reason).inc(count)

    def due(self, now_ms: int) -> bool:
        """Nothing happens here without a record."""
        return False

    def idle(self) -> bool:
        """Compiles some consents that nobody has been asked about yet; true where there may be more."""
        left = idle_states_max
        for states in self._states.values():
            while left and states.warm():
                left -= 1
        return left == 0

    def committed(self) -> None:
        """Nothing to do after a commit."""

    def _handle(self, record: Record, out: Out) -> None:
        topic, partition, offset, _, value, _, _ = record
        if not value:
            raise BrokenRecord("expected an event, found an empty value", code="empty-value")
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
        partition, key, at_least = record.partition, record.key, cut.consent_at_least
        if key != cut.participant.encode():
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
        state = self._state(partition, cut.participant)
        outcomes, copies = self._decider.decide(cut, self._at, state, already)
        envelope, position = cut.envelope, raw.place(place[0], place[1]) + raw.long(place[2])
        kept = _kept(cut.sealed, copies) if copies else {}
        produce = out.produce
        produce("decisions", key, raw.decision(name, cause, envelope, position, when, outcomes), partition)
        for topic, compartments, shares in copies:
            produce(topic, key, raw.outbound(envelope, kept[compartments], position, when, shares), partition)

    def _state(self, partition: int, participant: str) -> State:
        try:
            return self._states[partition].get(participant)
        except HubError as error:  # one of the directives does not parse, and it may be a revocation
            raise Corrupt(f"consent/{partition}: {error.detail}", code=error.code) from None


def _kept(sealed: bytes, copies: Sequence[Copy]) -> dict[tuple[str, ...], bytes]:
    """Sealed maps of just the compartments that each copy has, by their names."""
    entries = raw.entries(sealed)
    kept: dict[tuple[str, ...], bytes] = {}
    try:
        for copy in copies:
            if copy.compartments not in kept:
                kept[copy.compartments] = raw.permitted(entries, copy.compartments)
    except KeyError:
        raise BrokenRecord("an event lacks a compartment that its envelope names") from None
    return kept
