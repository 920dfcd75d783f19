"""Reconsider: puts earlier events before enforce again when something widened since they were decided.

It asks only where somebody would get something that they have not had, and for each event one question at a
time. Enforce answers, by the same rule as ever and with what it knows then; this stage decides nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from consent import Event, Governance, States, decide_all, direction
from consent.record import WIDENS
from schemas import codec
from schemas.errors import HubError
from schemas.topics import DAY_MS
from streams.errors import Corrupt, Stalled
from streams.past import Past, Pasts, starts
from streams.step import Out, Record

STAGE: Final = "reconsider"
asked_per_step_max: Final = 200
people_per_step_max: Final = 500
skew_ms_max: Final = DAY_MS  # between the clocks of those who admit, decide, and read

_log = structlog.get_logger()

Place = tuple[str, int, int]


class Reader(Protocol):
    """Reads events again: `streams.lookup.Lookup`."""

    def read(self, places: Iterable[Place]) -> Mapping[Place, bytes]:
        """Values by topic, partition and offset. Raises `Unavailable`."""


class _Question(NamedTuple):
    participant: str
    event: str
    past: Past
    cause: str


class _Partition:
    """What is known of one partition, and whom to look at."""

    def __init__(self) -> None:
        self.states = States()
        self.pasts = Pasts()
        self.widened: dict[str, int] = {}
        self.rung: dict[str, int] = {}
        self.look: dict[str, None] = {}


class Reconsider:
    """The step. `now` gives the time in epoch milliseconds."""

    def __init__(self, reader: Reader, now: Callable[[], int]) -> None:
        self._reader = reader
        self._now = now
        self._governance = Governance()
        self._partitions: dict[int, _Partition] = {}
        self._agreements: list[int] = []
        self._agreed_at = 0
        self._days_read: int | None = None

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Everything known about these is applied from its beginning."""
        for _, partition in partitions:
            self._partitions[partition] = _Partition()

    def since(self) -> int:
        """From when on decisions, questions and deliveries have to be known, in epoch milliseconds.

        What was decided earlier had been admitted earlier, so it is out of the policy's reach.
        """
        self._days_read = self._days()
        return max(self._now() - self._days_read * DAY_MS - skew_ms_max, 0)

    def _days(self) -> int:
        policy = self._governance.policy
        return policy.lookback_days_max if policy is not None else 0

    def _short(self) -> bool:
        """Whether the policy reaches further back by now than what was read."""
        return self._days_read is not None and self._days() > self._days_read

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Forgets them."""
        for _, partition in partitions:
            self._partitions.pop(partition, None)

    def apply(self, record: Record) -> None:
        """A decision, a directive, what happened to a delivery, a change of governance. All the hub's own."""
        try:
            value = record.value or b""
            if record.topic == "governance":
                self._govern(record.offset, codec.decode_as("Governance", value))
                return
            here = self._partitions[record.partition]
            if record.topic == "decisions":
                self._decided(here, codec.decode_as("Decision", value))
            elif record.topic == "consent":
                _directed(here, record.offset, codec.directive(record.key, record.value))
            elif record.topic == "deliveries":
                withheld = codec.decode_as("Delivery", value)["withheld"]
                if withheld is not None:
                    here.pasts.withheld(withheld)
                    here.look[withheld["participant"]] = None
            else:
                asked = codec.decode_as("Reconsider", value)["event"]["envelope"]
                here.pasts.asked(asked["participant"], asked["id"], record.offset)
        except HubError as error:
            place = f"{record.topic}/{record.partition} at {record.offset}"
            raise Corrupt(f"{place}: {error.detail}", code=error.code) from None

    def _govern(self, offset: int, change: Mapping[str, object]) -> None:
        self._governance.apply(offset, change)
        self._agreements = sorted({one.since for one in self._governance.stakeholders})
        for here in self._partitions.values():
            here.look.update(dict.fromkeys(here.pasts))

    def _decided(self, here: _Partition, decision: Mapping[str, object]) -> None:
        past = here.pasts.decided(decision)
        event = decision["event"]
        assert isinstance(event, dict)
        participant = event["participant"]
        late = here.widened.get(participant, -1) > past.consent_offset or (
            self._governance.offset > past.governance_offset or here.rung.get(participant, 0) > past.at
        )
        if late:  # something widened between the decision and its arrival here
            here.look[participant] = None

    def due(self, now_ms: int) -> bool:
        """Whether there is somebody to look at, or an agreement starts, or more has to be read."""
        return (
            any(here.look for here in self._partitions.values())
            or any(self._agreed_at < since <= now_ms for since in self._agreements)
            or self._short()
        )

    def step(self, batch: Sequence[Record], out: Out) -> None:
        """Looks at people about whom something changed, and asks about their events.

        Raises `Stalled` when a new policy reaches further back than what was read: then all is read anew.
        """
        if self._short():
            raise Stalled("the policy reaches further back than what was read")
        now = self._now()
        for record in batch:
            self._ring(record)
        if any(self._agreed_at < since <= now for since in self._agreements):
            for here in self._partitions.values():
                here.look.update(dict.fromkeys(here.pasts))
        self._agreed_at = now
        for partition, here in self._partitions.items():
            questions = self._questions(here, now)
            if questions:
                self._ask(partition, questions, out)

    def committed(self) -> None:
        """Nothing to do: what was asked is remembered already."""

    def _ring(self, record: Record) -> None:
        try:
            clock = codec.decode_as("Clock", record.value or b"")
        except HubError as error:
            raise Corrupt(f"clock/{record.partition}: {error.detail}", code=error.code) from None
        here = self._partitions[record.partition]
        here.rung[clock["participant"]] = max(clock["due_at"], here.rung.get(clock["participant"], 0))
        here.look[clock["participant"]] = None

    def _questions(self, here: _Partition, now: int) -> list[_Question]:
        """What to ask now; who was looked at whole is looked at no more."""
        days = self._days()
        questions: list[_Question] = []
        for participant in list(here.look)[:people_per_step_max]:
            here.pasts.forget(participant, now - days * DAY_MS)
            questions += self._about(here, participant, now, days)
            if len(questions) > asked_per_step_max:
                break  # the rest of this participant's, and everybody else's, in the next step
            del here.look[participant]
        return questions[:asked_per_step_max]

    def _about(self, here: _Partition, participant: str, now: int, days: int) -> list[_Question]:
        events = here.pasts.of(participant)
        if not events:
            return []
        begins = starts(here.states.get(participant)) | set(self._agreements)
        widened = here.widened.get(participant, -1)
        questions = []
        for event, past in events.items():
            cause = past.cause(widened, self._governance.offset, begins, now, days)
            if cause is not None and self._somebody(here, participant, event, past, now):
                questions.append(_Question(participant, event, past, cause))
        return questions

    def _somebody(self, here: _Partition, participant: str, event: str, past: Past, now: int) -> bool:
        """Whether anybody who has not had it would be permitted something of it now."""
        traits = past.traits
        wanted = self._governance.wanting(traits.category, traits.discloser)
        wanted = tuple(one for one in wanted if one.stakeholder not in past.had)
        policy = self._governance.policy
        if not wanted or policy is None:
            return False
        asked = Event(
            event,
            participant,
            traits.type,
            traits.category,
            traits.labels,
            traits.discloser,
            past.occurred_at,
            traits.compartments,
        )
        state, stakeholders = here.states.get(participant), self._governance.stakeholders
        return any(one.permitted for one in decide_all(asked, wanted, now, state, policy, stakeholders))

    def _ask(self, partition: int, questions: Sequence[_Question], out: Out) -> None:
        places = {
            question.event: (question.past.topic, partition, question.past.offset) for question in questions
        }
        values = self._reader.read(places.values())
        for participant, event, past, cause in questions:
            topic, _, offset = places[event]
            value = values.get(places[event])
            if value is None:
                _log.error("earlier event is gone", topic=topic, partition=partition, offset=offset)
                continue
            record = {
                "event": codec.decode_as("Event", value),
                "position": {"topic": topic, "partition": partition, "offset": offset},
                "cause": cause,
                "already": sorted(past.had),
            }
            out.produce(STAGE, participant.encode(), codec.encode("Reconsider", record), partition)
            past.waiting = True


def _directed(here: _Partition, offset: int, directive: Mapping[str, object]) -> None:
    participant, kind = str(directive["participant"]), str(directive["type"])
    body, name = directive["body"], directive["id"]
    assert isinstance(body, bytes)
    assert isinstance(name, str)
    here.states.apply(participant, offset, body, name)
    if WIDENS in direction(kind):
        here.widened[participant] = offset
        here.look[participant] = None
