"""No page's question to the store reads a whole table, whatever it holds: each begins at an index."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.aggregates import FEW, MONTH, SINGLE, Counted
from benchmarks.pages import NOW, STAKEHOLDERS, TABLES, questions, seeded
from hub import figures
from hub.governance import Register
from hub.publictables import publications
from hub.routes.officer_unusual import HOUR_MS, hours
from hub.routes.operator import refused
from hub.store import Store, upsert
from hub.ways import ways
from streams.cells import DEFAULT, Cell, Release
from streams.measures import DIMENSIONS, cell
from streams.person import Person
from tests.counted import ROWS


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


def register() -> Register:
    """Whom the stored receipts are of, each by one way."""
    found = Register()
    found.subscriptions = {
        f"u-{number}": {"stakeholder": f"s-{number}", "adapter": "webhook"} for number in range(STAKEHOLDERS)
    }
    return found


OPERATORS: dict[str, Callable[[Store], object]] = {
    "the ways out, a week": lambda store: ways(store, register(), [], NOW),
    "what was refused, a week": lambda store: refused(store, NOW),
    "what is unusual": lambda store: hours(store, NOW // HOUR_MS),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_no_question_of_the_operators_reads_all_that_ever_was(store: Store, name: str) -> None:
    found = plans(store, OPERATORS[name])
    assert found
    whole = re.compile(rf"SCAN ({'|'.join((*TABLES, 'quarantine', 'hourly'))})")
    assert [line for line in found if whole.match(line)] == []


def test_what_everybody_may_see_is_found_by_its_name_however_much_was_published(store: Store) -> None:
    release = Release({name: [] for name in DIMENSIONS}, {cell("referrals@1", "2026-01", "community"): 15})
    months = [f"{year}-{month:02}" for year in range(1990, 2026) for month in range(1, 13)]
    rows = [
        {"measure": row.id, "version": row.version, "month": month, "at": 1, "body": release.body(DEFAULT)}
        for row in ROWS.rows
        for month in months
    ]
    with store.write() as connection:
        upsert(connection, publications, rows)
    found: list[figures.Series] = []

    def ask(store: Store, **asked: Any) -> None:
        found[:] = figures.published(store, ROWS, **asked)

    for asked in ({}, {"only": "referrals"}, {"month": "2025-01"}, {"until": 5}):
        lines = plans(store, partial(ask, **asked))
        assert lines
        assert [line for line in lines if not line.startswith("SEARCH publications")] == []
        assert max(len(one.months) for one in found) <= figures.MONTHS_MAX


def test_a_question_that_reads_a_whole_table_is_seen(store: Store) -> None:
    def ask(store: Store) -> None:
        with store.read() as connection:
            connection.execute(sa.text("SELECT * FROM receipts WHERE adapter = 'webhook'")).all()

    assert any(line.startswith("SCAN receipts") for line in plans(store, ask))


def test_an_event_looks_at_its_person_alone_and_the_table_told_is_as_long_as_its_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many = Counted(FEW // 10, 20), Counted(FEW, 200)
    looked: list[Person] = []
    cells = Person.cells

    def seen(self: Person, *given: Any) -> set[Cell]:
        looked.append(self)
        return cells(self, *given)

    monkeypatch.setattr(Person, "cells", seen)
    told = []
    for one in (few, many):
        looked.clear()
        one.told()
        assert len(looked) == SINGLE, "one person for each event, however many there are"
        told.append(sum(len(one.tables.rows(partition, MONTH)) for partition in range(4)))
    assert told[1] <= 2 * told[0], "ten times the events, and hardly more cells"
