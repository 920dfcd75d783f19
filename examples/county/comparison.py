"""What came, held against what was due: delivery by delivery, by content, not only by number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from examples.county.expected import Due
from examples.county.forms import arrived
from examples.county.plan import Plan
from examples.county.shelf import Arrival
from examples.county.sight import leaks, seen


@dataclass
class Line:
    """The account of one stakeholder. What was published is permitted, denied or raced; nothing else.

    `by` counts what was delivered by each way.
    """

    published: int = 0
    permitted: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    raced: int = 0
    delivered: int = 0
    by: Counter[str] = field(default_factory=Counter)
    withheld: int = 0
    repeated: int = 0
    unexplained: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            **self.__dict__,
            "denied": dict(sorted(self.denied.items())),
            "by": dict(sorted(self.by.items())),
        }


def compare(
    plan: Plan, dues: Sequence[Due], arrivals: Sequence[Arrival], closed_at: Mapping[int, int] | None = None
) -> dict[str, Line]:
    """The account of every stakeholder, with whatever does not add up in `unexplained`.

    `closed_at`: by person, when the hub said that what was taken back in the race can no longer go (ms).
    """
    lines = {stakeholder: Line() for stakeholder in plan.agencies}
    came: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        came[arrival.stakeholder, arrival.way].append(arrival)
    wanted: dict[tuple[str, str], list[Due]] = defaultdict(list)
    for due in dues:
        wanted[due.stakeholder, due.way].append(due)
    for stakeholder, way in sorted(set(came) | set(wanted)):
        these = (wanted[stakeholder, way], came[stakeholder, way])
        _account(plan, lines[stakeholder], stakeholder, way, *these, closed_at or {})
    for stakeholder, line in lines.items():
        _names(
            line, [one for arrivals in came.values() for one in arrivals if one.stakeholder == stakeholder]
        )
    return lines


def _account(
    plan: Plan,
    line: Line,
    stakeholder: str,
    way: str,
    dues: Sequence[Due],
    came: Sequence[Arrival],
    closed_at: Mapping[int, int],
) -> None:
    form = plan.agencies[stakeholder].way_form(way)
    left: dict[str, list[Arrival]] = defaultdict(list)
    for one in came:
        left[arrived(one.body, form)].append(one)
    line.published += len(dues)
    line.delivered += len(came)
    line.by[way] += len(came)
    events = Counter(str(one.body.get("id")) for one in came)
    line.unexplained += [f"doubled: {event}" for event, times in events.items() if times > 1]
    for due in sorted(dues, key=lambda one: one.raced):
        person = plan.people[due.event.person]
        ways = [
            None if share is None else seen(due.event, share, person, stakeholder, form)
            for share in due.variants
        ]
        found = next((way for way in ways if way is not None and left.get(way)), None)
        arrival = left[found].pop() if found is not None else None
        line.raced += due.raced
        line.permitted += due.certain is not None
        line.denied.update([due.reason] if ways == [None] else [])
        if arrival is None and None not in ways:
            line.unexplained.append(f"missing: {due.event.id} ({due.event.category})")
        elif arrival is None and due.raced:
            line.withheld += 1
        elif arrival is not None and due.raced and _too_late(due, found, ways, arrival, closed_at):
            line.unexplained.append(f"began after it was taken back: {due.event.id}")
        if arrival is not None:
            own = person.locals.get(stakeholder)
            line.unexplained += [f"{leak}: {due.event.id}" for leak in leaks(arrival.body, own)]
    for arrivals in left.values():
        line.unexplained += [f"unexpected: {arrival.key}" for arrival in arrivals]


def _too_late(
    due: Due, found: str | None, ways: Sequence[str | None], arrival: Arrival, closed_at: Mapping[int, int]
) -> bool:
    closed = closed_at.get(due.event.person)
    return closed is not None and found != ways[-1] and arrival.began_at > closed


def _names(line: Line, came: Sequence[Arrival]) -> None:
    people: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, set[str]] = defaultdict(set)
    for arrival in came:
        number = arrival.body.get("local_id")
        if number is not None:
            people[str(arrival.body.get("participant"))].add(number)
            numbers[number].add(str(arrival.body.get("participant")))
    mixed = [one for group in (people, numbers) for one, others in group.items() if len(others) > 1]
    line.unexplained += [f"one person under two names: {one}" for one in mixed]
