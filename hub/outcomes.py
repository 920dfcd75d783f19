"""What was decided, as the privacy officers' pages ask for it: counts, courses over time, pages of outcomes.

Pages are found by key (`at`, decision, number), so the thousandth is as quick as the first.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.pull import WAITS
from hub.store import Store
from hub.tables import decisions, directives, outcomes, receipts, withheld

PAGE_ROWS_MAX: Final = 50
BARS: Final = 24
_CURSOR: Final = re.compile(r"([0-9]{1,15})~([!-}]{1,100})~([0-9]{1,9})")
EXPLAINED_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """Which outcomes: of a period (epoch milliseconds), perhaps of one effect, reason, recipient, person.

    `consent` is a consent's id, or a grant's as decisions name it (`consent/grant`): those that rest on it.
    With it the participant has to be given, whose it is (`owned`).
    """

    since: int
    until: int
    effect: str | None = None
    reason: str | None = None
    stakeholder: str | None = None
    participant: str | None = None
    consent: str | None = None

    def where(self) -> list["sa.ColumnElement[bool]"]:
        """The same for the database."""
        found = [outcomes.c.at >= self.since, outcomes.c.at <= self.until]
        for column in (outcomes.c.effect, outcomes.c.reason, outcomes.c.stakeholder, outcomes.c.participant):
            if (wanted := getattr(self, column.name)) is not None:
                found.append(column == wanted)
        if self.consent is not None:
            name = json.dumps(self.consent)
            ended = name if "/" in self.consent else name[:-1] + "/"
            found.append(sa.cast(outcomes.c.grants, sa.Text).contains(ended, autoescape=True))
        return found


def owned(store: Store, choice: Choice) -> Choice:
    """The same with the participant whose consent it asks for; one that chooses nothing where there is none.

    What rests on a consent is looked for among one participant's outcomes, never among everybody's.
    """
    if choice.consent is None:
        return choice
    query = sa.select(directives.c.participant).where(
        directives.c.concerns == choice.consent.partition("/")[0], directives.c.type == "consent-granted"
    )
    with store.read() as connection:
        whose = connection.execute(query.limit(1)).scalar()
    if whose is None or choice.participant not in (None, whose):
        return replace(choice, participant="")
    return replace(choice, participant=whose)


class Counts(NamedTuple):
    """How many outcomes permit and deny; how many deliveries ended how; how many were held at the door.

    What only waits at the hub to be fetched is not delivered yet.
    """

    permit: int
    deny: int
    reasons: Mapping[str, int]
    delivered: int
    failed: int
    withheld: int


class Bar(NamedTuple):
    """One stretch of time, from `since` on, in epoch milliseconds."""

    since: int
    permits: int
    denials: int


class Page(NamedTuple):
    """Rows of outcomes with their event's envelope, newest first, and where the next page starts."""

    rows: Sequence[Any]
    older: str | None


def counts(store: Store, choice: Choice) -> Counts:
    """Everything chosen, counted."""
    grouped = (
        sa.select(outcomes.c.effect, outcomes.c.reason, sa.func.count())
        .where(*choice.where())
        .group_by(outcomes.c.effect, outcomes.c.reason)
    )
    ended = (
        sa.select(receipts.c.outcome, sa.func.count())
        .where(*_within(receipts, choice), receipts.c.code != WAITS.code)
        .group_by(receipts.c.outcome)
    )
    held = sa.select(sa.func.count()).select_from(withheld).where(*_within(withheld, choice))
    with store.read() as connection:
        rows = connection.execute(grouped).all()
        endings = {row[0]: int(row[1]) for row in connection.execute(ended)}
        stopped = connection.execute(held).scalar_one()
    sums = {"permit": 0, "deny": 0}
    for effect, _, count in rows:
        sums[effect] = sums.get(effect, 0) + count
    reasons = {reason: count for effect, reason, count in rows if effect == "deny"}
    delivered = endings.pop("delivered", 0)
    return Counts(sums["permit"], sums["deny"], reasons, delivered, sum(endings.values()), stopped)


def _within(table: sa.Table, choice: Choice) -> list["sa.ColumnElement[bool]"]:
    found = [table.c.at >= choice.since, table.c.at <= choice.until]
    for column in (table.c.stakeholder, table.c.participant):
        if (wanted := getattr(choice, column.name)) is not None:
            found.append(column == wanted)
    return found


def course(store: Store, choice: Choice) -> list[Bar]:
    """What was chosen, over time, in `BARS` equal stretches."""
    width = max(1, -(-(choice.until - choice.since + 1) // BARS))
    place = (outcomes.c.at - choice.since) // width
    query = sa.select(place.label("place"), outcomes.c.effect, sa.func.count()).where(*choice.where())
    found: dict[tuple[int, str], int] = {}
    with store.read() as connection:
        for at, effect, count in connection.execute(query.group_by("place", outcomes.c.effect)):
            key = (min(int(at), BARS - 1), effect)
            found[key] = found.get(key, 0) + count
    return [
        Bar(choice.since + number * width, found.get((number, "permit"), 0), found.get((number, "deny"), 0))
        for number in range(BARS)
    ]


def page(store: Store, choice: Choice, before: str | None = None) -> Page:
    """The newest outcomes chosen, or those before a cursor. A cursor that is none of ours is the newest."""
    if (mark := _mark(before)) is not None:  # an end that the database finds by its index
        choice = replace(choice, until=min(choice.until, mark[0]))
    conditions = choice.where()
    if mark is not None:
        conditions.append(sa.tuple_(outcomes.c.at, outcomes.c.decision, outcomes.c.number) < sa.tuple_(*mark))
    query = (
        sa.select(outcomes, decisions.c.category, decisions.c.type, decisions.c.discloser, decisions.c.cause)
        .join(decisions, decisions.c.id == outcomes.c.decision)
        .where(*conditions)
        .order_by(outcomes.c.at.desc(), outcomes.c.decision.desc(), outcomes.c.number.desc())
        .limit(PAGE_ROWS_MAX + 1)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    shown = rows[:PAGE_ROWS_MAX]
    last = shown[-1] if len(rows) > PAGE_ROWS_MAX else None
    return Page(shown, f"{last.at}~{last.decision}~{last.number}" if last else None)


def _mark(cursor: str | None) -> tuple[int, str, int] | None:
    found = _CURSOR.fullmatch(cursor or "")
    return None if found is None else (int(found[1]), found[2], int(found[3]))


def reasons(store: Store) -> list[str]:
    """Every reason that ever decided something: a step into the index for each, not one for each decision."""
    least = sa.select(sa.func.min(outcomes.c.reason).label("reason")).cte("found", recursive=True)
    after = sa.select(sa.func.min(outcomes.c.reason)).where(outcomes.c.reason > least.c.reason)
    found = least.union_all(sa.select(after.scalar_subquery()).where(least.c.reason.is_not(None)))
    with store.read() as connection:
        query = sa.select(found.c.reason).where(found.c.reason.is_not(None))
        return sorted(connection.execute(query).scalars())


class Deliveries(NamedTuple):
    """What became of one event for one recipient after it was permitted, oldest first."""

    receipts: Sequence[Any]
    withheld: Sequence[Any]


def about(store: Store, event: str, stakeholder: str) -> Deliveries:
    """How deliveries of an event to a recipient ended, and which were held at the door."""
    with store.read() as connection:
        found = [
            connection.execute(
                sa.select(table)
                .where(table.c.event == event, table.c.stakeholder == stakeholder)
                .order_by(table.c.at)
                .limit(EXPLAINED_MAX)
            ).all()
            for table in (receipts, withheld)
        ]
    return Deliveries(*found)
