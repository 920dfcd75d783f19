"""The store: one database for projections of the log, the vault's wrapped keys and sign-ins.

SQLite by default, PostgreSQL by URL. Writers are repeated after crashes, and the store stands outside Kafka's
transactions, so every write is an idempotent upsert.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from hub.tables import counters
from schemas.errors import Unavailable

BUSY_MS_MAX: Final = 15_000
STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's machine, a fraction of a millisecond
POOL_CONNECTIONS_MAX: Final = 8
NAMED_MAX: Final = 500  # of one statement's parameters
CANCELLED: Final = "57014"  # PostgreSQL's `query_canceled`
STEPS: Final = Path(__file__).parent / "migrations" / "versions"
MIGRATION_LOCK: Final = 0x6875_6231  # any number, as long as every process takes the same one


def _url(text: str) -> URL:
    """The address with the driver that we install. Raises `ValueError` for another kind of database."""
    url = make_url(text)
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url
    raise ValueError("the store is SQLite or PostgreSQL; its address begins with sqlite:/// or postgresql://")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see `_begin_sqlite`
    for pragma in (
        f"busy_timeout={BUSY_MS_MAX}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a key that is lost to a power cut is an erasure that nobody asked for
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns into a writer fails at once when another wrote meanwhile, whatever the busy timeout;
    # a writer that says so from the start waits its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class TooLong(Unavailable):
    """A question to the store took longer than it may."""

    code = "too-long"


class Store:
    """One database, with two ways in: `read()` and `write()`, each a transaction."""

    def __init__(self, url: str) -> None:
        """Connects lazily. Raises `ValueError` for an address that is neither SQLite nor PostgreSQL.

        `read_ms_max`, once set, bounds what is read: a page shall not hold up all others.
        """
        self.read_ms_max: int | None = None
        address = _url(url)
        self.sqlite = address.get_backend_name() == "sqlite"
        if self.sqlite:
            if address.database in {None, "", ":memory:"}:
                raise ValueError("the store's SQLite must be a file, for several processes share it")
            file = Path(str(address.database))
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # or SQLite would let everybody read it
            self.engine = sa.create_engine(address, pool_size=POOL_CONNECTIONS_MAX, hide_parameters=True)
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
            self._reader = self.engine
        else:
            self.engine = sa.create_engine(
                address, pool_size=POOL_CONNECTIONS_MAX, pool_pre_ping=True, hide_parameters=True
            )
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._writer = self.engine.execution_options(writes=True)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: one consistent picture.

        Raises `TooLong` where `read_ms_max` is set and a statement took longer.
        """
        with self._reader.begin() as connection:
            if self.read_ms_max is None:
                yield connection
                return
            try:
                with self._bounded(connection, self.read_ms_max):
                    yield connection
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "sqlstate", "") == CANCELLED or str(error.orig) == "interrupted":
                    raise TooLong("this takes too long; ask for less, or for a shorter period") from None
                raise

    @contextmanager
    def _bounded(self, connection: sa.Connection, ms_max: int) -> Iterator[None]:
        if not self.sqlite:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {ms_max:d}")
            yield
            return
        driver: Any = connection.connection.driver_connection
        until = time.monotonic() + ms_max / 1000
        driver.set_progress_handler(lambda: time.monotonic() > until, STEPS_BETWEEN_LOOKS)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write; commits at the end, rolls back on an exception."""
        with self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Brings the tables up to date. Safe when several processes start at once: one works, others wait."""
        if self._revision() == max(file.name.partition("_")[0] for file in STEPS.glob("[0-9]*.py")):
            return
        from alembic import command  # noqa: PLC0415  slow to import, and most processes find nothing to do
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(STEPS.parent))
        with self.write() as connection:
            if not self.sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _revision(self) -> str | None:
        """The last step that was taken; None in an empty database."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return found

    def share(self, connection: sa.Connection, lock: int) -> None:
        """Holds off `alone` of the same number until this transaction ends. SQLite has one writer anyway."""
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(lock)))

    def alone(self, connection: sa.Connection, lock: int) -> None:
        """Waits for everybody who shares the lock of this number, and holds them off until this ends."""
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))

    def scrub(self, table: sa.Table) -> None:
        """Has what was deleted or replaced in a table leave the disk as well, as far as the database can.

        SQLite overwrites it (`secure_delete`), and has it no longer in the write-ahead log behind this;
        PostgreSQL frees it (`VACUUM`), and has it in its own write-ahead log until that is recycled.
        """
        if self.sqlite:
            with contextlib.closing(self.engine.raw_connection()) as raw:  # outside of any transaction
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM {table.name}")

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


@lru_cache(maxsize=256)
def _upsert(
    dialect: str,
    table: sa.Table,
    update: tuple[str, ...],
    newer: str | None,
    where: "Callable[[Any], sa.ColumnElement[bool]] | None",
) -> Any:
    """The statement, made once: SQLAlchemy makes every column of the table anew for the row that is new."""
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    key = [column.name for column in table.primary_key]
    if not update:
        return statement.on_conflict_do_nothing(index_elements=key)
    new = statement.excluded
    condition = where(new) if where else None
    if newer is not None:
        condition = table.c[newer] < new[newer]
    return statement.on_conflict_do_update(
        index_elements=key, set_={name: new[name] for name in update}, where=condition
    )


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Iterable[Mapping[str, Any]],
    *,
    update: Sequence[str] = (),
    newer: str | None = None,
    where: "Callable[[Any], sa.ColumnElement[bool]] | None" = None,
) -> int:
    """Inserts rows; where one with the same primary key stands, sets the columns in `update`, else leaves it.

    In: rows that all name the same columns, handled in order; `newer` names the column that has to be greater
    than in the standing row, or that is not updated; `where`, a function of a module, because a statement is
    kept for each, makes another condition from the row that was to be inserted. Out: how many were inserted
    or changed.
    """
    pending = [dict(row) for row in rows]
    if not pending:
        return 0
    statement = _upsert(connection.dialect.name, table, tuple(update), newer, where)
    counted = {"preserve_rowcount": True}  # or psycopg's, for several rows, would be lost
    return connection.execute(statement, pending, execution_options=counted).rowcount


def claim(store: Store, table: sa.Table, now: int, most: int, for_ms: int) -> list[sa.Row[Any]]:
    """Takes what is due in a table of tries, the longest due first, for somebody who is about to try it.

    In: a table with `next_at` (epoch milliseconds, None for never) and `attempts`; how many at most; for how
    long nobody else takes them. Out: the rows as they were; what stands counts this attempt.
    """
    due = sa.select(table).where(table.c.next_at <= now).order_by(table.c.next_at, *table.primary_key)
    due = due.limit(most)
    with store.read() as connection:
        if connection.execute(due.limit(1)).first() is None:
            return []  # so that nobody else who writes waits for nothing
    with store.write() as connection:
        rows = list(connection.execute(due.with_for_update(skip_locked=True)))
        for row in rows:
            mine = [column == row._mapping[column.key] for column in table.primary_key]
            taken = {"next_at": now + for_ms, "attempts": row.attempts + 1}
            connection.execute(table.update().where(*mine).values(taken))
    return rows


def next_number(connection: sa.Connection, name: str, count: int = 1) -> int:
    """The next number of a counter, from 1; of several, the last. Who reads what is committed never sees them
    out of order."""
    upsert(connection, counters, [{"name": name, "value": 0}])
    bump = counters.update().where(counters.c.name == name).values(value=counters.c.value + count)
    return int(connection.execute(bump.returning(counters.c.value)).scalar_one())


def chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The same, in pieces that fit into one statement."""
    return (names[start : start + NAMED_MAX] for start in range(0, len(names), NAMED_MAX))
