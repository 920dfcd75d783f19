"""The newest directives, as the privacy officers' stream asks for them: always of a period, page by page."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub.store import Store
from hub.tables import directives

PAGE_ROWS_MAX: Final = 50
_CURSOR: Final = re.compile(r"([0-9]{1,15})~([0-9]{1,9})~([0-9]{1,15})")


class Wanted(NamedTuple):
    """Which directives: of a period (epoch milliseconds), perhaps of one type, participant or consent."""

    since: int
    until: int
    type: str | None = None
    participant: str | None = None
    concerns: str | None = None


class Page(NamedTuple):
    """Rows of directives, newest first, and where the next page starts."""

    rows: Sequence[Any]
    older: str | None


def page(store: Store, wanted: Wanted, before: str | None = None) -> Page:
    """The newest directives wanted, or those before a cursor. A cursor that is none of ours is the newest."""
    table = directives.c
    found = _CURSOR.fullmatch(before or "")
    mark = None if found is None else [int(one) for one in found.groups()]
    if mark is not None:  # an end that the database finds by its index
        wanted = wanted._replace(until=min(wanted.until, mark[0]))
    conditions = [table.recorded_at >= wanted.since, table.recorded_at <= wanted.until]
    for column in (table.type, table.participant, table.concerns):
        if (value := getattr(wanted, column.name)) is not None:
            conditions.append(column == value)
    if mark is not None:
        conditions.append(sa.tuple_(table.recorded_at, table.partition, table.offset) < sa.tuple_(*mark))
    query = (
        sa.select(directives)
        .where(*conditions)
        .order_by(table.recorded_at.desc(), table.partition.desc(), table.offset.desc())
        .limit(PAGE_ROWS_MAX + 1)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    shown = rows[:PAGE_ROWS_MAX]
    last = shown[-1] if len(rows) > PAGE_ROWS_MAX else None
    return Page(shown, f"{last.recorded_at}~{last.partition}~{last.offset}" if last else None)
