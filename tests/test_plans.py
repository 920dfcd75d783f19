"""No page's question to the store reads a whole table, whatever it holds: each begins at an index."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.pages import TABLES, questions, seeded
from hub.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return seeded(tmp_path_factory.mktemp("plans") / "hub.db", 2_000)


def plans(store: Store, ask: Callable[[Store], object]) -> list[str]:
    """How SQLite answers: a line for each table that it looks into."""
    found: list[str] = []

    def look(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            plan = connection.connection.driver_connection.execute(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
            found.extend(line[3] for line in plan)

    sa.event.listen(store.engine, "before_cursor_execute", look)
    try:
        ask(store)
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", look)
    return found


@pytest.mark.parametrize("name", questions())
def test_no_question_of_a_page_reads_a_whole_table(store: Store, name: str) -> None:
    found = plans(store, questions()[name])
    assert found
    whole = re.compile(rf"SCAN ({'|'.join(TABLES)})")
    assert [line for line in found if whole.match(line)] == []


def test_a_question_that_reads_a_whole_table_is_seen(store: Store) -> None:
    def ask(store: Store) -> None:
        with store.read() as connection:
            connection.execute(sa.text("SELECT * FROM receipts WHERE adapter = 'webhook'")).all()

    assert any(line.startswith("SCAN receipts") for line in plans(store, ask))
