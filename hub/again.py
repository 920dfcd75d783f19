"""One partition's decisions decided again, each from what it says that it was made of, and compared.

Most are surely the same after one look: bytes as nearly all decisions have them, about somebody and a kind
of event of which it is known what comes out, and that is what stands there, byte for byte. Whatever is not
surely the same is read, decided and compared in full, and what differs is named.
"""

from typing import Any, Final, NamedTuple

from consent import Governance, State
from consent.states import States
from consent.untyped import ALWAYS_MS, NEVER_MS
from schemas import codec, glance, raw
from schemas.errors import HubError
from schemas.topics import EVENT_TOPICS
from streams.decider import Decider

COMPILED_MAX: Final = 262_144
GOVERNANCES_MAX: Final = 32  # whose answers are remembered
COUNTED_MAX: Final = 4_096
ANSWERS_MAX: Final = 131_072  # of one governance, of which it is known what they are: some hundred bytes each


class Difference(NamedTuple):
    """One decision that does not come out again. `what` says how, without anything personal."""

    place: str
    decision: str
    what: str


class Answer(NamedTuple):
    """The outcomes about somebody and a kind of event, for whom they hold when decided from `since` to before
    `before`; where there is a `period`, about what occurred from its first to before its last millisecond.
    """

    since: int
    before: int
    period: tuple[int, int] | None
    outcomes: bytes


_NONE: Final[dict[bytes, Answer]] = {}  # read only
_UNKNOWN: Final = Answer(0, 0, None, b"")  # it holds at no instant


class Replay:
    """One partition's decisions, in the order of the log.

    Directives are told first (`directive`), all of them, then decisions (`decision`).
    """

    def __init__(self, governance: Governance, partition: int) -> None:
        """In: governance as a fold of all its records."""
        self._governance = governance
        self._partition = partition
        self._directives: list[tuple[int, str, str, bytes]] = []
        self._next = 0
        self._states = States(COMPILED_MAX)
        self._applied = -1
        self._counted = 0
        self._deciders: dict[int, Decider] = {}
        self._glance = glance.pattern(EVENT_TOPICS, partition).match
        self._answers: dict[bytes, dict[bytes, Answer]] = {}  # of a participant, by traits
        self._kept = 0
        self._when = b""  # `_at`, `_applied` and `_by`, as decisions have them; or nothing
        self._at, self._by = 0, -1

    def directive(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """One record of `consent`. Raises `BrokenRecord` for what the stages would have stopped at."""
        found = codec.directive(key, value)
        self._directives.append((offset, found["participant"], found["id"], found["body"]))

    def decision(self, offset: int, key: bytes | None, value: bytes | None) -> Difference | None:
        """One record of `decisions`; out: how it differs, None where it comes out the same."""
        match = self._glance(value or b"")
        if match is not None:
            name, traits, participant, when = match.group(1, 3, 4, 6)
            if participant == key and name.isascii() and (when == self._when or self._turned(when)):
                answer = self._answers.get(participant, _NONE).get(traits, _UNKNOWN)
                if not answer[0] <= self._at < answer[1] or (answer[2] and not _lies(answer, match)):
                    answer = self._learnt(match)
                if answer is not _UNKNOWN and answer[3] == match.string[match.end() :]:
                    return None
        return self._in_full(offset, key, value or b"")

    def _in_full(self, offset: int, key: bytes | None, value: bytes) -> Difference | None:
        """The same, of a record that may be anything."""
        place = f"decisions/{self._partition}@{offset}"
        try:
            found = raw.recorded(value)
        except HubError as error:
            return Difference(place, "", f"it cannot be read: {error.detail}")
        if (wrong := self._unlike(key, found)) is not None:
            return Difference(place, found.id, wrong)
        try:
            what = self._judged(found)
        except HubError as error:
            what = f"it cannot be decided again: {error.detail}"
        return None if what is None else Difference(place, found.id, what)

    def _turned(self, when: bytes) -> bool:
        """Goes on to what was known at another time. False where that is not later, or not in the log."""
        at, consent, governance = glance.when(when)
        last = self._directives[-1][0] if self._directives else -1
        if not self._applied <= consent <= last or governance > self._governance.offset:
            return False
        self._advance(consent)
        if governance != self._by:
            self._forget()
        self._when, self._at, self._by = when, at, governance
        return True

    def _learnt(self, match: glance.Match) -> Answer:
        """What the rule says, which is remembered; `_UNKNOWN` where it is better looked at in full."""
        try:
            cut = glance.envelope(match)
            if cut is None:
                return _UNKNOWN
            state, decider = self._states.get(cut.participant), self._decider(self._by)
            rightly = self._rightly(decider, cut, self._at, state)
        except HubError:
            return _UNKNOWN
        lasting = decider.lasting(cut, self._at, state)
        if lasting is None:  # somebody decided about alone
            return Answer(self._at, self._at + 1, None, rightly)
        since, before, early, late = lasting
        always = early == ALWAYS_MS and late == NEVER_MS
        answer = Answer(since, before, None if always else (early, late), rightly)
        if self._kept >= ANSWERS_MAX:
            self._forget()
        self._answers.setdefault(match["participant"], {})[match["traits"]] = answer
        self._kept += 1
        return answer

    def _forget(self) -> None:
        self._answers.clear()
        self._kept = 0

    def _unlike(self, key: bytes | None, found: raw.Recorded) -> str | None:
        """What it says of itself that cannot be."""
        if key != found.cut.participant.encode():
            return "it stands under another key than its participant's"
        if found.partition != self._partition and found.cause == "first":
            return "its event stands in another partition"
        if found.governance_offset > self._governance.offset:
            return f"it was decided by governance at {found.governance_offset}, which is not in the log"
        if found.consent_offset > (self._directives[-1][0] if self._directives else -1):
            return f"it was decided by consent at {found.consent_offset}, which is not in the log"
        if found.cause == "first" and found.id != "d" + found.cut.id[1:]:
            return "its id is not that of its event"
        return None

    def _judged(self, found: raw.Recorded) -> str | None:
        state = self._state(found.cut.participant, found.consent_offset)
        rightly = self._rightly(self._decider(found.governance_offset), found.cut, found.at, state)
        return None if rightly == found.outcomes else _compared(found, rightly)

    def _rightly(self, decider: Decider, cut: raw.Cut, at: int, state: State) -> bytes:
        """The outcomes by the rule."""
        self._counted += 1
        if self._counted >= COUNTED_MAX:  # what it counts for the stage's metrics is of no use here
            self._counted = 0
            for one in self._deciders.values():
                one.effects()
        return decider.decide(cut, at, state)[0]

    def _state(self, participant: str, offset: int) -> State:
        """The participant's state when consent had been applied up to an offset."""
        if offset < self._applied:  # an earlier owner's last words: refolded for this participant alone
            return State([one for one in self._states.directives(participant) if one.offset <= offset])
        self._advance(offset)
        return self._states.get(participant)

    def _advance(self, offset: int) -> None:
        """Applies consent up to an offset, and forgets what is known about whoever said something."""
        if offset <= self._applied:
            return
        directives, states = self._directives, self._states
        while self._next < len(directives) and directives[self._next][0] <= offset:
            place, who, name, body = directives[self._next]
            states.apply(who, place, body, name)
            self._kept -= len(self._answers.pop(who.encode(), ()))
            self._next += 1
        self._applied = offset
        self._when = b""

    def _decider(self, offset: int) -> Decider:
        decider = self._deciders.get(offset)
        if decider is None:
            if len(self._deciders) >= GOVERNANCES_MAX:
                del self._deciders[next(iter(self._deciders))]
            decider = self._deciders[offset] = Decider(self._governance.at(offset))
        return decider


def _lies(answer: Answer, match: glance.Match) -> bool:
    """Whether what it was about occurred in the answer's period."""
    return answer.period is None or answer.period[0] <= glance.instant(match["occurred"]) < answer.period[1]


def _compared(found: raw.Recorded, outcomes: bytes) -> str | None:
    """Which outcome differs and in what; None where those who had it before were left out."""
    recorded, rightly = _outcomes(found.outcomes), _outcomes(outcomes)
    there = {one["subscription"]: one for one in recorded}
    if len(there) < len(recorded):
        return "it decides about a subscription twice"
    missing = [one for one in rightly if one["subscription"] not in there]
    if found.cause == "reconsider":
        decided = {one["stakeholder"] for one in recorded}
        missing = [one for one in missing if one["stakeholder"] in decided]
    if missing:
        return f"it does not decide about {missing[0]['subscription']}"
    expected = {one["subscription"]: one for one in rightly}
    for one in recorded:
        other = expected.get(one["subscription"])
        if other is None:
            return f"it decides about {one['subscription']}, which did not want it"
        for name, value in one.items():
            if other[name] != value:
                return f"{one['subscription']}: {name} is {_said(value)}, the rule says {_said(other[name])}"
    return None if found.cause == "reconsider" else "its outcomes stand in another order"


def _said(value: object) -> str:
    return ", ".join(value) or "nothing" if isinstance(value, list) else str(value)


_HEAD: Final = {
    "id": "d",
    "cause": "first",
    "event": {
        **dict.fromkeys(("source", "type", "category", "discloser", "id", "participant"), ""),
        "labels": [],
        "compartments": [],
        "occurred_at": 0,
        "admitted_at": 0,
        "consent_at_least": None,
    },
    "position": {"topic": "", "partition": 0, "offset": 0},
    "at": 0,
    "consent_offset": 0,
    "governance_offset": 0,
    "outcomes": [],
}


def _outcomes(array: bytes) -> list[dict[str, Any]]:
    """The outcomes in an array's bytes, decoded. Raises `BrokenRecord`."""
    found: list[dict[str, Any]] = codec.decode_as("Decision", _empty() + array)["outcomes"]
    return found


def _empty() -> bytes:
    """A decision up to its outcomes."""
    return codec.encode("Decision", _HEAD)[:-1]
