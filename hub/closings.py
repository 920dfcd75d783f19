"""How long it took from a narrowing's place in the log until its fence was closed, by what the log says.

A directive that takes something back stands at an offset of `consent`. Its fence is closed when the owner of
each outbox concerned has acknowledged that offset, and each older intent on what was taken back has its
receipt: the latest of these instants ends it. Who registered later is not waited for.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.fence import Narrowing, Open
from consent import DIRECTIVES, direction
from hub.store import Store, chunks
from hub.tables import directives, intents, receipts
from hub.watchtables import acknowledged, open_attempts

NARROWINGS_MAX: Final = 3_000  # of one distribution
PARTS: Final = 30  # of a period that had more: the newest of each, as many of each
AT_ONCE_MAX: Final = 500
INTENTS_MAX: Final = 20_000
CLOCKS_MS_MAX: Final = 60_000  # that two machines' clocks may differ by
TYPES: Final = tuple(sorted(one for one in DIRECTIVES if direction(one) == {"narrows"}))
BOUNDS_MS: Final = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 600_000)


class Closing(NamedTuple):
    """One narrowing: when it was written, and when its fence closed; None while it did not.

    `doubts` is how many older intents have no receipt. Times in epoch milliseconds.
    """

    partition: int
    offset: int
    participant: str
    type: str
    started_at: int
    closed_at: int | None
    doubts: int

    @property
    def took_ms(self) -> int | None:
        """How long it took; clocks of two machines may differ, so never less than nothing."""
        return None if self.closed_at is None else max(0, self.closed_at - self.started_at)


class Period(NamedTuple):
    """The narrowings of a period, newest first; where it had too many (not `whole`), some from all of it."""

    closings: list[Closing]
    whole: bool


def closings(store: Store, since: int, until: int, registered: Mapping[str, int], overdue: int) -> Period:
    """The narrowings of a period, whatever its length with `NARROWINGS_MAX` of them at most.

    In: since when each stakeholder has been registered; before which instant an attempt that is still without
    its receipt began to be in doubt. All in epoch milliseconds.
    """
    with store.read() as connection:
        rows = _narrowings(connection, since, until, NARROWINGS_MAX + 1)
        whole = len(rows) <= NARROWINGS_MAX
        if not whole:
            rows = _spread(connection, since, until)
        found: list[Closing] = []
        for start in range(0, len(rows), AT_ONCE_MAX):
            some = rows[start : start + AT_ONCE_MAX]
            heard = _heard(connection, [(row.partition, row.offset) for row in some], sorted(registered))
            between = some[-1].recorded_at, some[0].recorded_at
            older = _older(connection, sorted({row.participant for row in some}), *between)
            found += [
                _closing(row, heard, older.get(row.participant, ()), registered, overdue) for row in some
            ]
    return Period(found, whole)


def _narrowings(connection: sa.Connection, since: int, until: int, most: int) -> Sequence[Any]:
    """The newest of a period, which includes both its ends."""
    at = directives.c.recorded_at
    query = (
        sa.select(directives)
        .where(directives.c.type.in_((*TYPES, "restriction-placed")), at >= since, at <= until)
        .order_by(at.desc(), directives.c.partition.desc(), directives.c.offset.desc())
        .limit(most)
    )
    return connection.execute(query).all()


def _spread(connection: sa.Connection, since: int, until: int) -> list[Any]:
    """From each of equally long parts of a period the newest, as many from each where there are as many."""
    edges = [since + (until + 1 - since) * part // PARTS for part in range(PARTS + 1)]
    parts = [_narrowings(connection, low, high - 1, NARROWINGS_MAX // PARTS) for low, high in pairwise(edges)]
    return [row for part in reversed(parts) for row in part]


Heard = Mapping[tuple[int, int, str], int]
Ended = tuple[Open, int | None]  # an intent, and when its receipt came


def _heard(connection: sa.Connection, places: Sequence[tuple[int, int]], names: Sequence[str]) -> Heard:
    """When each stakeholder's outbox was first past each place: one seek in the index for each of them."""
    found: dict[tuple[int, int, str], int] = {}
    step = acknowledged.alias()
    first = (
        sa.select(step.c.at)
        .where(
            step.c.partition == directives.c.partition,
            step.c.stakeholder == sa.bindparam("stakeholder"),
            step.c.consent_offset >= directives.c.offset,
        )
        .order_by(step.c.consent_offset)
        .limit(1)
        .scalar_subquery()
    )
    by_partition: dict[int, list[int]] = {}
    for partition, offset in places:
        by_partition.setdefault(partition, []).append(offset)
    for partition, offsets in by_partition.items():
        for some in (offsets[start : start + 200] for start in range(0, len(offsets), 200)):
            query = sa.select(directives.c.offset, first).where(
                directives.c.partition == partition, directives.c.offset.in_(some)
            )
            for name in names:
                for offset, at in connection.execute(query, {"stakeholder": name}):
                    if at is not None:
                        found[partition, offset, name] = at
    return found


def _older(
    connection: sa.Connection, participants: Sequence[str], since: int, until: int
) -> dict[str, list[Ended]]:
    """The attempts about these participants that began before `until` and were not over before `since`; when
    each was. What was over before is not looked at: it is nearly all that there ever was.
    """
    names = ("key", "stakeholder", "adapter", "event", "participant", "attempt", "at")
    columns = [intents.c[name] for name in (*names, "consent_offset", "governance_offset", "shares")]
    same = sa.and_(
        intents.c.partition == open_attempts.c.partition, intents.c.offset == open_attempts.c.offset
    )
    still = sa.select(*columns, sa.null().label("over")).join_from(open_attempts, intents, same)
    over = sa.and_(receipts.c.key == intents.c.key, receipts.c.attempt == intents.c.attempt)
    since_then = sa.select(*columns, receipts.c.at.label("over")).join_from(receipts, intents, over)
    since_then = since_then.where(receipts.c.at >= since - CLOCKS_MS_MAX)
    found: dict[str, list[Ended]] = {}
    for some in chunks(participants):
        for query, table in ((still, open_attempts), (since_then, receipts)):
            mine = query.where(table.c.participant.in_(some), intents.c.at <= until + CLOCKS_MS_MAX)
            for row in connection.execute(mine.order_by(intents.c.at.desc()).limit(INTENTS_MAX)):
                grants = tuple(sorted({one for share in row.shares for one in share["grants"]}))
                found.setdefault(row.participant, []).append((Open(*row[:9], grants), row.over))
    return found


def _closing(
    row: Any, heard: Heard, older: Iterable[Ended], registered: Mapping[str, int], overdue: int
) -> Closing:
    body = json.loads(row.body)
    narrowing = Narrowing.of_directive(row.partition, row.offset, row.participant, body)
    waited = [
        heard.get((row.partition, row.offset, name))
        for name, since in registered.items()
        if since <= row.recorded_at and _concerned(narrowing, name)
    ]
    concerned = [
        (intent.at, over)
        for intent, over in older
        if narrowing.before(intent.consent_offset, intent.governance_offset) and narrowing.concerns(intent)
    ]
    ends = [*waited, *(over for _, over in concerned)]
    doubts = sum(over is None and at < overdue for at, over in concerned)
    closed = None
    if all(at is not None for at in ends):
        closed = max(at for at in (*ends, row.recorded_at) if at is not None)
    return Closing(row.partition, row.offset, row.participant, row.type, row.recorded_at, closed, doubts)


def _concerned(narrowing: Narrowing, stakeholder: str) -> bool:
    return narrowing.recipients is None or bool(narrowing.grants) or stakeholder in narrowing.recipients


class Bin(NamedTuple):
    """How many fences took so long: at least `since_ms`, less than `until_ms`; None for no bound."""

    since_ms: int
    until_ms: int | None
    fences: int


def histogram(took: Iterable[int]) -> list[Bin]:
    """Times in milliseconds, counted in bins of growing width."""
    times = sorted(took)
    bounds = [0, *BOUNDS_MS]
    return [
        Bin(low, high, sum(low <= one and (high is None or one < high) for one in times))
        for low, high in zip(bounds, [*BOUNDS_MS, None], strict=True)
    ]


def percentile(took: Sequence[int], share: float) -> int | None:
    """The least time that so large a share did not exceed (nearest rank); None for none."""
    times = sorted(took)
    return times[max(0, -(-int(share * 1000) * len(times) // 1000) - 1)] if times else None
