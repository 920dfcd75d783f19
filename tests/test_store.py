"""The store: the same on SQLite and PostgreSQL, safe to start twice, idempotent in every write."""

import multiprocessing
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from hub import casetables
from hub.store import Store, TooLong, next_number, upsert
from hub.tables import PROJECTED, accounts, alerts, counters, event_status, metadata, offsets
from tests import stores

ROW = {"projection": "p", "topic": "t", "partition": 0, "position": 1}


def _migrate(url: str, gate: "multiprocessing.synchronize.Event") -> None:
    gate.wait(10)
    store = Store(url)
    store.migrate()
    store.close()


def test_migrations_make_exactly_the_tables_that_the_code_uses(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert casetables.metadata is metadata, "one list for all of them"


def test_migrations_make_indexes_of_the_same_rows_as_the_code_says(tmp_path: Path) -> None:
    """Of which rows an index is, the comparison of all tables does not look at."""
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as made, made.read() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
        found = {name: sql.partition(" WHERE ")[2] for name, sql in connection.exec_driver_sql(query)}
    said = {
        index.name: str(which)
        for table in metadata.tables.values()
        for index in table.indexes
        if (which := index.dialect_options["sqlite"]["where"]) is not None
    }
    assert found == said
    assert said


def test_processes_that_start_at_once_migrate_once(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    with store.write() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Event()
    several = [spawn.Process(target=_migrate, args=(url, gate)) for _ in range(2)]
    for one in several:
        one.start()
    gate.set()
    for one in several:
        one.join(60)
    assert [one.exitcode for one in several] == [0, 0]
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar() == 1


def test_upsert_inserts_once_and_leaves_what_stands(store: Store) -> None:
    with store.write() as connection:
        assert upsert(connection, offsets, [ROW]) == 1
        assert upsert(connection, offsets, [ROW | {"position": 9}]) == 0
        assert connection.execute(sa.select(offsets.c.position)).scalar_one() == 1


def test_upsert_changes_only_what_it_names_and_only_where_it_says(store: Store) -> None:
    row = {"event": "e", "agency": "a", "status": "parked", "at": 5, "duplicates": 0, "conflicts": 0}

    def newer(new: "sa.sql.base.ReadOnlyColumnCollection") -> "sa.ColumnElement[bool]":
        return event_status.c.at < new["at"]

    with store.write() as connection:
        upsert(connection, event_status, [row])
        for at, status in ((4, "late"), (7, "admitted")):
            upsert(
                connection,
                event_status,
                [row | {"at": at, "status": status, "agency": "other"}],
                update=("status", "at"),
                where=newer,
            )
        found = connection.execute(sa.select(event_status)).one()
    assert (found.status, found.at, found.agency) == ("admitted", 7, "a")


def test_upsert_takes_the_same_key_twice_in_order(store: Store) -> None:
    with store.write() as connection:
        upsert(connection, offsets, [ROW, ROW | {"position": 2}], update=("position",))
        assert upsert(connection, offsets, []) == 0
        assert connection.execute(sa.select(offsets.c.position)).scalar_one() == 2


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.write() as connection:
            upsert(connection, offsets, [ROW])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(offsets)).scalar() == 0


def test_writers_at_once_neither_fail_nor_lose_a_number(store: Store) -> None:
    numbers: list[int] = []

    def count() -> None:
        for _ in range(25):
            with store.write() as connection:
                numbers.append(next_number(connection, "alerts"))

    several = [threading.Thread(target=count) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert sorted(numbers) == list(range(1, 101))


def test_a_reader_sees_one_picture_while_somebody_writes(store: Store) -> None:
    with store.write() as connection:
        next_number(connection, "a")
    with store.read() as reading:
        before = reading.execute(sa.select(counters.c.value)).scalar_one()
        with store.write() as connection:
            next_number(connection, "a")
        assert reading.execute(sa.select(counters.c.value)).scalar_one() == before


def test_sqlite_is_durable_private_and_overwrites_what_it_deletes(tmp_path: Path) -> None:
    path = tmp_path / "data" / "hub.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    with store.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    store.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_destroyed_value_is_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    mark = b"wrapped-key-that-has-to-go"
    row = {"id": "a", "changed": 1, "stakeholder": "s", "participant": "p", "event": "e"}
    row |= {"rule": "r", "urgency": "urgent", "sealed": mark, "at": 1}
    with store.write() as connection:
        upsert(connection, alerts, [row])
    with store.write() as connection:
        connection.execute(alerts.update().values(sealed=b""))
    store.close()  # the last connection writes the log of changes back and removes it
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert mark not in path.read_bytes()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/hub"])
def test_a_store_that_processes_cannot_share_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store"):
        Store(url)


def test_what_is_projected_holds_no_keys_tokens_or_sign_ins() -> None:
    kept = {"keys", "tokens", "accounts", "sessions", "stakeholder_secrets", "requests", "submissions"}
    assert kept.isdisjoint(table.name for table in PROJECTED)


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) "
    "SELECT COUNT(*) FROM n"
)


def test_what_takes_too_long_is_cut_off_and_the_next_question_is_answered(store: Store) -> None:
    store.read_ms_max = 50
    for _ in range(3):
        with pytest.raises(TooLong), store.read() as connection:
            connection.exec_driver_sql(ENDLESS).scalar()
        with store.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(alerts)).scalar() == 0
    with store.write() as connection:
        assert connection.execute(alerts.delete()).rowcount == 0


def test_the_bound_is_of_those_who_only_read(store: Store) -> None:
    store.read_ms_max = 1
    with store.write() as connection:
        connection.exec_driver_sql(ENDLESS.replace("2000000000", "20000")).scalar()


def test_an_error_says_nothing_of_what_was_to_be_written(store: Store) -> None:
    """The library would quote it, also in tracebacks; and it may be about somebody."""
    row = {"id": "a-1", "stakeholder": None, "role": "officer", "name": "Rosa Maldonado", "password": None}
    row |= {"demo": False, "created_at": 0, "disabled_at": None}
    with store.write() as connection:
        connection.execute(accounts.insert(), [row])
    with pytest.raises(sa.exc.IntegrityError) as raised, store.write() as connection:
        connection.execute(accounts.insert(), [row])
    assert "INSERT INTO accounts" in str(raised.value)
    assert "Rosa" not in str(raised.value)
