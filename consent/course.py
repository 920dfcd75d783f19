"""The course of consent: what stood on a participant's record over time, and what each directive changed.

Each stretch between two directives is folded by the same `Record` that decisions are made from, so a line of
the course says for every instant what the record said then. Agreements and policy are left out: this is what
the participant, courts and emergencies allowed, and not yet what roles permit.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from consent.record import Placed, Record
from consent.untyped import ALL, ALWAYS_MS, NEVER_MS, TREATING

steps_max: Final = 200  # of one course: the newest; earlier directives count, without a line of their own


class Recorded(NamedTuple):
    """A directive where it stands, with the instant at which it was written, in epoch milliseconds."""

    at: int
    placed: Placed


class Line(NamedTuple):
    """What may stand: a `consent`, `restriction`, `order` or `emergency`, by its id, for one recipient.

    The recipient is a stakeholder's id, a class, or `*`.
    """

    kind: str
    id: str
    recipient: str


class Span(NamedTuple):
    """A stretch of time, in epoch milliseconds; `until` is past every instant where nothing ends it yet.

    `taken` says that a directive ended it, rather than the calendar.
    """

    since: int
    until: int
    taken: bool


class Step(NamedTuple):
    """What one directive changed: lines that came, lines that went, lines whose period is another now."""

    recorded: Recorded
    gained: tuple[Line, ...]
    lost: tuple[Line, ...]
    moved: tuple[Line, ...]

    @property
    def idle(self) -> bool:
        """Whether it changed nothing."""
        return not (self.gained or self.lost or self.moved)


class Course(NamedTuple):
    """Lines with their spans, in the order in which they first stood; the steps, oldest first.

    `untold` is how many earlier directives have no step.
    """

    lines: Mapping[Line, tuple[Span, ...]]
    steps: tuple[Step, ...]
    untold: int


def course(directives: Sequence[Recorded], in_class: frozenset[str] = frozenset()) -> Course:
    """The course of directives in the order of the log.

    In: who is in the class of treating providers, for whom a consent is also over once it was taken back from
    the class. Clocks that went backwards between two directives are overlooked.
    """
    first = max(0, len(directives) - steps_max)
    before = _standing(Record([one.placed for one in directives[:first]]), in_class)
    spans: dict[Line, list[Span]] = {}
    steps = []
    now = directives[first].at if directives[first:] else 0
    if first:
        _lay(spans, before, ALWAYS_MS, now)
    for place in range(first, len(directives)):
        after = _standing(Record([one.placed for one in directives[: place + 1]]), in_class)
        steps.append(_step(directives[place], before, after))
        now = max(now, directives[place].at)
        following = place + 1 < len(directives)
        until = max(now, directives[place + 1].at) if following else NEVER_MS
        _lay(spans, after, now, until)
        before = after
    return Course({line: tuple(some) for line, some in spans.items()}, tuple(steps), first)


_Standing = Mapping[Line, tuple[int, int]]


def _standing(record: Record, in_class: frozenset[str]) -> _Standing:
    """Which lines stand, each with the first and the last instant at which it does by the calendar."""
    found: dict[Line, tuple[int, int]] = {}
    for name, held in record.consents.items():
        if held.revoked:
            continue
        period = max(held.consent.starts_at, held.consent.signed_at), held.expires_at
        parties = held.parties | (in_class if TREATING in held.parties else frozenset())
        for grant in held.consent.grants:
            if grant.id is not None and grant.id not in held.grants:
                found |= {
                    Line("consent", name, one): period for one in grant.recipients if one not in parties
                }
    for name, restriction in record.restrictions.items():
        for one in (ALL,) if ALL in restriction.recipients else restriction.recipients:
            found[Line("restriction", name, one)] = ALWAYS_MS, NEVER_MS
    for name, order in record.orders.items():
        if order.recipient is not None and order.subpoena:
            found[Line("order", name, order.recipient)] = order.starts_at, order.expires_at
    for name, emergency in record.emergencies.items():
        line = Line("emergency", name, emergency.recipient)
        found[line] = emergency.declared_at, emergency.expires_at
    return found


def _step(recorded: Recorded, before: _Standing, after: _Standing) -> Step:
    return Step(
        recorded,
        tuple(line for line in after if line not in before),
        tuple(line for line in before if line not in after),
        tuple(line for line, period in after.items() if line in before and before[line] != period),
    )


def _lay(spans: dict[Line, list[Span]], standing: _Standing, since: int, until: int) -> None:
    """Put what stands from one directive to the next at the ends of its lines."""
    for line, (first, last) in standing.items():
        begins = max(since, first)
        ends = min(until, last + 1 if last < NEVER_MS else NEVER_MS)
        if begins >= ends:
            continue
        mine = spans.setdefault(line, [])
        taken = ends == until and until < NEVER_MS
        if mine and mine[-1].until >= begins:
            begins = mine.pop().since
        mine.append(Span(begins, ends, taken))


def stood(spans: Sequence[Span], at: int) -> bool:
    """Whether a line stood at an instant, in epoch milliseconds."""
    return any(one.since <= at < one.until for one in spans)


def within(course: Course, since: int, until: int) -> Iterator[tuple[Line, tuple[Span, ...]]]:
    """The lines that stood at some time of a period, both ends included, each with its spans of that time."""
    for line, spans in course.lines.items():
        some = tuple(one for one in spans if one.since <= until and one.until > since)
        if some:
            yield line, some
