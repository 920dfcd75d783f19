"""One partition's decisions decided again, each from what it says that it was made of, and compared.

Most are surely the same after one look: bytes as nearly all decisions have them, about somebody and a kind
of event of which it is known what comes out, and that is what stands there, byte for byte. Whatever is not
surely the same is read, decided and compared in full, and what differs is named.
"""

from typing import Any, Final, NamedTuple

from consent import Governance
from consent.history import History
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


# The outcomes about somebody and a kind of event. They hold when decided from the first instant to before the
# second; where there is a period, about what occurred from its first to before its last millisecond.
Answer = tuple[int, int, tuple[int, int] | None, bytes]


class Replay:
    """One partition's decisions, in the order of the log.

    Directives are told first (`directive`), all of them, then decisions (`decision`).
    """

    def __init__(self, governance: Governance, partition: int) -> None:
        """In: governance as a fold of all its records."""
        self._governance = governance
        self._partition = partition
        self._history = History(COMPILED_MAX)
        self._spoke: list[tuple[int, bytes]] = []  # at which offset somebody said something
        self._next = 0
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
        self._history.add(found["participant"], offset, found["id"], found["body"])
        self._spoke.append((offset, key or b""))

    def decision(self, offset: int, key: bytes | None, value: bytes | None) -> Difference | None:
        """One record of `decisions`; out: how it differs, None where it comes out the same."""
        match = self._glance(value or b"")
        if match is not None:
            traits, participant, when, outcomes = match.group(3, 4, 6, 7)
            if participant == key and (when == self._when or self._turned(when)):
                rightly: bytes | None
                try:
                    since, before, period, rightly = self._answers[participant][traits]
                except KeyError:
                    rightly = self._learnt(match)
                else:
                    if not since <= self._at < before or (period and not _lies(period, match)):
                        rightly = self._learnt(match)
                if rightly == outcomes:
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
        if not self._applied <= consent <= self._last() or governance > self._governance.offset:
            return False
        self._advance(consent)
        if governance != self._by:
            self._forget()
        self._when, self._at, self._by = when, at, governance
        return True

    def _learnt(self, match: glance.Match) -> bytes | None:
        """What the rule says, which is remembered; None where it is better looked at in full."""
        try:
            cut = glance.envelope(match)
            if cut is None:
                return None
            state = self._history.state(cut.participant, self._applied)
            rightly, lasting = self._decider(self._by).lasting(cut, self._at, state)
        except HubError:
            return None
        if lasting is None:  # somebody decided about alone
            return rightly
        since, before, early, late = lasting
        period = None if early == ALWAYS_MS and late == NEVER_MS else (early, late)
        if self._kept >= ANSWERS_MAX:
            self._forget()
        self._answers.setdefault(match["participant"], {})[match["traits"]] = since, before, period, rightly
        self._kept += 1
        return rightly

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
        if found.consent_offset > self._last():
            return f"it was decided by consent at {found.consent_offset}, which is not in the log"
        if found.cause == "first" and found.id != "d" + found.cut.id[1:]:
            return "its id is not that of its event"
        return None

    def _judged(self, found: raw.Recorded) -> str | None:
        self._advance(found.consent_offset)
        state = self._history.state(found.cut.participant, found.consent_offset)
        rightly, _ = self._decider(found.governance_offset).decide(found.cut, found.at, state)
        return None if rightly == found.outcomes else _compared(found, rightly)

    def _last(self) -> int:
        """The last offset of `consent`; -1 where it is empty."""
        return self._spoke[-1][0] if self._spoke else -1

    def _advance(self, offset: int) -> None:
        """Applies consent up to an offset, and forgets what is known about whoever said something."""
        if offset <= self._applied:
            return
        spoke = self._spoke
        while self._next < len(spoke) and spoke[self._next][0] <= offset:
            self._kept -= len(self._answers.pop(spoke[self._next][1], ()))
            self._next += 1
        self._applied = offset
        self._when = b""

    def _decider(self, offset: int) -> Decider:
        """Who decides by governance as it was at an offset. To be asked for anew for each decision."""
        self._counted += 1
        if self._counted >= COUNTED_MAX:  # what it counts for the stage's metrics is of no use here
            self._counted = 0
            for one in self._deciders.values():
                one.effects()
        decider = self._deciders.get(offset)
        if decider is None:
            if len(self._deciders) >= GOVERNANCES_MAX:
                del self._deciders[next(iter(self._deciders))]
            decider = self._deciders[offset] = Decider(self._governance.at(offset))
        return decider


def _lies(period: tuple[int, int], match: glance.Match) -> bool:
    """Whether what it was about occurred in the period."""
    return period[0] <= glance.instant(match["occurred"]) < period[1]


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
