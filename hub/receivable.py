"""Who could have received what at a moment; and what another policy, or a consent that had not been given,
would change.

Every event that had been decided by then is decided again for that instant, from consent and governance as
they had been recorded by then; for the other case the same with what is supposed in place of what was.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from consent import Decision, Event, Governance, Policy, State, States, decide_all
from hub import scan
from hub.errors import OperatorError
from hub.ledger.reading import Topics
from schemas import codec, raw, topics
from streams.decider import event_of

COMPILED_MAX: Final = 65_536
LINES_MAX: Final = 10_000  # of one participant
SLICE_RECORDS: Final = 20_000  # between two words about how far it is

Key = tuple[str, str, str]  # stakeholder, purpose, category


class Unknown(OperatorError):
    """What is asked about never was."""


class Supposed(NamedTuple):
    """The other case: another policy, a consent that was not given; None for what stays as it was."""

    policy: Mapping[str, Any] | None = None
    without: str | None = None

    def __bool__(self) -> bool:
        return self.policy is not None or self.without is not None


AS_IT_WAS: Final = Supposed()


class Count(NamedTuple):
    """What somebody could have received, for a purpose, of a category: how many people and events it was
    about; how many in the other case; how many events only the other case allows, and only what was."""

    people: int = 0
    events: int = 0
    other_people: int = 0
    other_events: int = 0
    gained: int = 0
    lost: int = 0

    def __add__(self, more: object) -> "Count":
        assert isinstance(more, Count)
        return Count(*(mine + theirs for mine, theirs in zip(self, more, strict=True)))


class Line(NamedTuple):
    """One event and one subscription of somebody's: what was, and what would be in the other case."""

    event: str
    category: str
    occurred_at: int
    stakeholder: str
    purpose: str
    effect: str
    reason: str
    grants: tuple[str, ...]
    compartments: tuple[str, ...]
    other_effect: str | None
    other_reason: str | None


class Found(NamedTuple):
    """What one partition comes to. `consents` says whether the supposed one was found there."""

    counts: dict[Key, Count]
    lines: list[Line]
    consent: bool


class Cell:
    """A count while it is counted; people are told apart."""

    __slots__ = ("events", "gained", "lost", "other_events", "other_people", "people")

    def __init__(self) -> None:
        self.people: set[str] = set()
        self.other_people: set[str] = set()
        self.events = self.other_events = self.gained = self.lost = 0

    def count(self) -> Count:
        """As numbers."""
        people = len(self.people), self.events, len(self.other_people), self.other_events
        return Count(*people, self.gained, self.lost)


def governed(records: Sequence[tuple[int, Mapping[str, Any]]], at: int) -> Governance:
    """What was in force once everything recorded up to `at` had been applied."""
    compiled = Governance()
    for offset, record in records:
        if record["at"] > at:
            break
        compiled.apply(offset, record)
    return compiled


def supposing(
    records: Sequence[tuple[int, Mapping[str, Any]]], at: int, policy: Mapping[str, Any]
) -> Governance:
    """The same with another policy in place of the one that was."""
    compiled = governed(records, at)
    last = {"kind": "policy", "id": "policy", "body": json.dumps(policy)}
    compiled.apply(compiled.offset + 1, last)
    return compiled


class AsOf:
    """One partition at one moment. Directives are told first, all of them, then decisions. Pure."""

    def __init__(
        self,
        at: int,
        governance: Governance,
        other: Governance | None = None,
        without: str | None = None,
        participant: str | None = None,
    ) -> None:
        """In: the moment in epoch milliseconds; what governed then, and in the other case where there is one;
        the consent that was not given in it; whom alone to list, instead of counting."""
        self._at = at
        self._governance = governance
        self._other = other
        self._without = without
        self._participant = participant
        self._states = States(COMPILED_MAX)
        self._others = States(COMPILED_MAX) if without is not None else self._states
        self._ended = False
        self._cells: dict[Key, Cell] = {}
        self._lines: list[Line] = []
        self._consent = False

    def directive(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """One record of `consent`; what was recorded later counts for nothing. Raises `BrokenRecord`."""
        found = codec.directive(key, value)
        self._ended = self._ended or found["recorded_at"] > self._at
        if self._ended:
            return
        told = found["participant"], offset, found["body"], found["id"]
        self._states.apply(*told)
        if self._without is None:
            return
        if found["type"] == "consent-granted" and _granted(found["body"]) == self._without:
            self._consent = True
            return
        self._others.apply(*told)

    def decision(self, value: bytes | None) -> None:
        """One record of `decisions`: its event is decided anew. Raises `BrokenRecord`."""
        found = raw.recorded(value or b"")
        if found.cause != "first" or found.at > self._at:
            return
        event = event_of(found.cut)
        if self._participant is not None and event.participant != self._participant:
            return
        was = self._decided(event, self._governance, self._states.get(event.participant))
        if self._other is None:
            self._count(event, was, None)
            return
        self._count(event, was, self._decided(event, self._other, self._others.get(event.participant)))

    def found(self) -> Found:
        """What all of it comes to."""
        counts = {key: cell.count() for key, cell in self._cells.items()}
        return Found(counts, self._lines, self._consent)

    def _decided(
        self, event: Event, governance: Governance, state: State
    ) -> dict[tuple[str, str, str], Decision]:
        wanted = governance.wanting(event.category, event.discloser)
        policy: Policy = governance.policy  # type: ignore[assignment]  # without one all is indeterminate
        made = decide_all(event, wanted, self._at, state, policy, governance.stakeholders)
        return {
            (one.id, one.stakeholder, one.purpose): decision
            for one, decision in zip(wanted, made, strict=True)
        }

    def _count(
        self,
        event: Event,
        was: Mapping[tuple[str, str, str], Decision],
        other: Mapping[tuple[str, str, str], Decision] | None,
    ) -> None:
        if self._participant is not None:
            self._list(event, was, other)
            return
        now = _permitted(was)
        then = now if other is None else _permitted(other)
        for stakeholder, purpose in now | then:
            cell = self._cells.setdefault((stakeholder, purpose, event.category), Cell())
            before, after = (stakeholder, purpose) in now, (stakeholder, purpose) in then
            if before:
                cell.events += 1
                cell.people.add(event.participant)
            if after:
                cell.other_events += 1
                cell.other_people.add(event.participant)
            cell.gained += after and not before
            cell.lost += before and not after

    def _list(
        self,
        event: Event,
        was: Mapping[tuple[str, str, str], Decision],
        other: Mapping[tuple[str, str, str], Decision] | None,
    ) -> None:
        for which, one in was.items():
            if len(self._lines) >= LINES_MAX:
                raise OperatorError(
                    f"more than {LINES_MAX:,} lines about this participant", "Ask without `--participant`."
                )
            changed = other.get(which) if other is not None else None
            self._lines.append(
                Line(
                    event.id or "",
                    event.category,
                    event.occurred_at,
                    *which[1:],
                    one.effect,
                    one.reason,
                    tuple(one.grants),
                    tuple(one.compartments),
                    changed.effect if changed else None,
                    changed.reason if changed else None,
                )
            )


def _granted(body: bytes) -> str | None:
    consent = json.loads(body).get("consent")
    return consent.get("id") if isinstance(consent, Mapping) else None


def _permitted(decided: Mapping[tuple[str, str, str], Decision]) -> set[tuple[str, str]]:
    return {which[1:] for which, one in decided.items() if one.effect == "permit"}


def _part(
    client: Mapping[str, Any],
    records: Sequence[tuple[int, Mapping[str, Any]]],
    at: int,
    supposed: Supposed,
    participant: str | None,
    partition: int,
    told: scan.Told,
) -> Found:
    """One partition, in a process of its own."""
    other = None
    if supposed:
        other = supposing(records, at, supposed.policy) if supposed.policy else governed(records, at)
    asked = AsOf(at, governed(records, at), other, supposed.without, participant)
    log = Topics(client)
    for one in log.read("consent", partition):
        asked.directive(*one)
    size, count = log.end("decisions", partition), 0
    for one in log.read("decisions", partition):
        asked.decision(one.value)
        count += 1
        if count % SLICE_RECORDS == 0:
            told(count, max(size, count))
    told(count, count)
    return asked.found()


def everything(
    client: Mapping[str, Any],
    partitions: int,
    at: int,
    supposed: Supposed = AS_IT_WAS,
    participant: str | None = None,
    told: scan.Told = lambda done, total: None,
    processes: int | None = None,
) -> Found:
    """Every partition together, or the one that a participant is in.

    Raises `Unavailable`, `BrokenRecord`, and `Unknown` for a consent that was not granted by then.
    """
    records = scan.governance(client)
    work = partial(_part, dict(client), records, at, supposed, participant)
    if participant is not None:
        found = [work(topics.partition_of(participant, partitions), told)]
    else:
        found = scan.spread(work, partitions, told, processes)
    if supposed.without is not None and not any(one.consent for one in found):
        raise Unknown(
            "no consent of this id had been granted by then", "See `hub explain EVENT STAKEHOLDER`."
        )
    counts: dict[Key, Count] = {}
    for one in found:
        for key, count in one.counts.items():
            counts[key] = counts.get(key, Count()) + count
    lines = sorted(line for one in found for line in one.lines)
    return Found(dict(sorted(counts.items())), lines, any(one.consent for one in found))
