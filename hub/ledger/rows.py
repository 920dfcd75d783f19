"""Whether the store's rows say what the log says: the same records projected once more, beside it.

What stands in quarantine, and what waits until somebody says who it is about, have no leaves in the
transparency log: those rows are held against their topics, as far as these reach back.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa

from hub import tables
from hub.auditor import PROJECTION
from hub.casetables import caseloads, covers, teams
from hub.ledger.check import Finding, Topics
from hub.ledger.commitment import Recorded
from hub.ledger.places import Place
from hub.projections import Read, project, read
from hub.store import Store
from hub.watchtables import acknowledged, ending, hourly, open_attempts, parked
from schemas.errors import HubError
from schemas.topics import AGENCY_TOPICS

BATCH_RECORDS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
PLACED: Final = (  # tables whose rows stand for one record each, and of which topic
    (tables.decisions, "decisions"),
    (tables.directives, "consent"),
    (tables.intents, "deliveries"),
    (tables.receipts, "deliveries"),
    (tables.withheld, "deliveries"),
    (tables.acts, "access"),
    (tables.acts, "work"),
)
PROJECTED: Final = frozenset(topic for _, topic in PLACED)
KEPT: Final = "quarantine"  # has no leaves, and forgets: rows are held against what it still has
PARKED: Final = AGENCY_TOPICS["parked.*"].name.removesuffix("*")  # keeps far longer than anything waits
MADE: Final = (  # tables whose rows are made of several records
    *(ending, acknowledged, open_attempts, hourly, parked),
    *(caseloads, teams, covers, tables.merges),
)
BYTEWISE: Final = {"sqlite": "BINARY", "postgresql": "C"}  # the collations that sort text as Python does

Row = Mapping[str, Any]
Key = tuple[Any, ...]


class Rows:
    """One picture of the store, and what it should be. A context manager."""

    def __init__(self, store: Store, topics: Topics, scratch: Path) -> None:
        """In: the store; the topics, for those that have no leaves in the log; an empty folder for what is
        projected once more.
        """
        self._store = store
        self._topics = topics
        self._again = Store(f"sqlite:///{scratch / 'again.db'}")
        self._again.migrate()
        self._stack = ExitStack()
        self._batch: list[Read] = []
        self._batched = 0
        self._unread: list[Finding] = []
        self._positions: dict[Place, int] = {}
        self._connection: sa.Connection

    def __enter__(self) -> Self:
        self._connection = self._stack.enter_context(self._store.read())
        query = sa.select(tables.offsets).where(tables.offsets.c.projection == PROJECTION)
        self._positions = {
            (row.topic, row.partition): row.position for row in self._connection.execute(query)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._again.close()

    def see(self, record: Recorded) -> None:
        """Projects a record, where the store has come as far."""
        if record.topic in PROJECTED:
            self._project((record.topic, record.partition), record.offset, record.value)

    def _project(self, place: Place, offset: int, value: bytes) -> None:
        if offset >= self._positions.get(place, 0):
            return
        try:
            self._batch.append(read(*place, offset, value))
        except HubError as error:
            self._unread.append(Finding(f"{place[0]}/{place[1]}/{offset}", error.detail))
        self._batched += len(value)
        if len(self._batch) >= BATCH_RECORDS_MAX or self._batched >= BATCH_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        with self._again.write() as connection:
            project(connection, self._batch)
        self._batch.clear()
        self._batched = 0

    def _unplaced(self) -> dict[int, int]:
        """Projects the topics that have no leaves. Out: the first record of each partition of `KEPT`."""
        first: dict[int, int] = {}
        for topic, partition in sorted(self._positions):
            if topic == KEPT or topic.startswith(PARKED):
                for found in self._topics.read(topic, partition):
                    self._project((topic, partition), found.offset, found.value or b"")
                    if topic == KEPT:
                        first.setdefault(partition, found.offset)
        return first

    def differences(self) -> Iterator[Finding]:
        """Rows that were changed, added or taken away, by table and record. To be asked once all was seen."""
        first = self._unplaced()
        self._flush()
        yield from self._unread
        with self._again.read() as again:
            for table, topic in PLACED:
                mark = (table.c.partition, table.c.offset)
                query = sa.select(table).order_by(*mark)
                if "topic" in table.c:
                    query = query.where(table.c.topic == topic)
                yield from _compared(*self._both(again, query), _mark, _placed(table.name, topic))
            head, part = tables.decisions, tables.outcomes
            query = (
                sa.select(part, head.c.partition, head.c.offset)
                .join(head, head.c.id == part.c.decision)
                .order_by(head.c.partition, head.c.offset, part.c.number)
            )
            yield from _compared(*self._both(again, query), _mark, _placed(part.name, "decisions"))
            kept = tables.quarantine
            mark = (kept.c.partition, kept.c.offset)
            still = [sa.and_(mark[0] == one, mark[1] >= offset) for one, offset in first.items()]
            query = sa.select(kept).where(sa.or_(sa.false(), *still)).order_by(*mark)
            yield from _compared(*self._both(again, query), _mark, _placed(kept.name, KEPT))
            for table in MADE:
                key = _key(table)
                found, expected = (_rows(one, _sorted(table, one)) for one in (self._connection, again))
                yield from _compared(found, expected, key, _made(table.name, key))

    def _both(self, again: sa.Connection, query: "sa.Select[Any]") -> tuple[Iterator[Row], Iterator[Row]]:
        """What stands in the store, and what should."""
        return _rows(self._connection, query), _rows(again, query)


def _compared(
    found: Iterator[Row],
    expected: Iterator[Row],
    mark: Callable[[Row], Key],
    finding: Callable[[Row, str], Finding],
) -> Iterator[Finding]:
    """In: rows, both sorted by `mark`; what says of a row what is wrong with it."""
    one, other = next(found, None), next(expected, None)
    while one is not None or other is not None:
        if other is None or (one is not None and mark(one) < mark(other)):
            assert one is not None
            yield finding(one, "stands in the store, and the log has no such record")
            one = next(found, None)
        elif one is None or mark(other) < mark(one):
            yield finding(other, "is missing in the store")
            other = next(expected, None)
        else:
            if changed := sorted(column for column in other if one[column] != other[column]):
                names = ", ".join(f"`{column}`" for column in changed)
                yield finding(one, f"says something else in the store: {names}")
            one, other = next(found, None), next(expected, None)


def _rows(connection: sa.Connection, query: "sa.Select[Any]") -> Iterator[Row]:
    streamed = connection.execution_options(yield_per=BATCH_RECORDS_MAX)
    for row in streamed.execute(query).mappings():
        yield dict(row)


def _mark(row: Row) -> Key:
    return row["partition"], row["offset"], row.get("number", 0)


def _key(table: sa.Table) -> Callable[[Row], Key]:
    names = [column.name for column in table.primary_key]
    return lambda row: tuple(row[name] for name in names)


def _sorted(table: sa.Table, connection: sa.Connection) -> "sa.Select[Any]":
    """A table by its key, in the order in which Python sorts it."""
    bytewise = BYTEWISE[connection.dialect.name]
    key = [sa.collate(one, bytewise) if isinstance(one.type, sa.String) else one for one in table.primary_key]
    return sa.select(table).order_by(*key)


def _placed(table: str, topic: str) -> Callable[[Row, str], Finding]:
    """What is wrong with a row that stands for one record, which it is named by."""

    def finding(row: Row, why: str) -> Finding:
        number = f", row {row['number']}" if "number" in row else ""
        return Finding(f"{topic}/{row['partition']}/{row['offset']}", f"in table `{table}`{number} {why}")

    return finding


def _made(table: str, key: Callable[[Row], Key]) -> Callable[[Row, str], Finding]:
    """What is wrong with a row that several records made, named by its key."""

    def finding(row: Row, why: str) -> Finding:
        return Finding("/".join([table, *map(str, key(row))]), why)

    return finding
