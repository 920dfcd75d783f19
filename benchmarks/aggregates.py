"""A month's table, kept current as events arrive: what an event costs once very many were counted, and what a
page's question costs then.

The same code folds and tells as in the stage `aggregate`, without its broker and its seals. Few and many have
as many events about each person, so that only how many were counted differs. What is published then stands in
a store as the auditor would write it, and is asked for as the page asks.
"""

import gc
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from benchmarks.throughput import row
from consent import default_policy
from hub import figures
from hub.publictables import publications
from hub.store import Store, upsert
from schemas import instant
from streams import measures
from streams.aggregate import Tables
from streams.cells import DEFAULT, Cell, Release
from streams.release import release

MANY: Final = int(os.environ.get("BENCH_COUNTED", "10000000"))
FEW: Final = 10_000
FEWEST: Final = 1_000
A_PERSON: Final = 200
TURN: Final = 50  # events between two looks at what is to be told
WINDOW: Final = 400  # events of which the rate is taken
SINGLE: Final = 40  # of which each is told by itself
ROUNDS: Final = 5
MONTH: Final = "2026-03"
PARTITIONS: Final = 4
FIRST_DAY: Final = measures.day(instant.parse("2026-03-01T12:00:00Z"), UTC)
COUNTED: Final = ("referral.community", "service.housing", "contact.case-management", "service.medical")
NEW: Final = ("referral.arrest-diversion", "service.legal-aid", "contact.outreach", "service.employment")
RACES: Final = ("black", "white", "latina", "asian", "native")
ROWS: Final = measures.load()
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: events folded a second, µs until one is told, ms for a page."""
    many = Counted(MANY, max(MANY // A_PERSON, 1))
    rates: dict[int, list[float]] = {FEW: [], MANY: []}
    waits: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(ROUNDS):
        for count, one in ((MANY, many), (FEW, Counted(FEW, FEW // A_PERSON))):
            rates[count].append(one.rate())
            waits[count].append(one.told())
    beside = f"{FEW:,} counted"
    return [
        row(f"aggregate, events folded, {MANY:,} counted", rates[MANY], beside, rates[FEW]),
        row(
            f"aggregate, one event until it is told, {MANY:,} counted", waits[MANY], beside, waits[FEW], "µs"
        ),
        _page(Counted(FEWEST, FEWEST), many),
    ]


class Counted:
    """The stage's tables after so many events of one month about so many people."""

    def __init__(self, events: int, people: int) -> None:
        self.tables = Tables(ROWS, UTC, PARTITIONS)
        self._people = people
        self._next = 0
        began = time.monotonic()
        for envelope, fields in self._events(events, COUNTED):
            self.tables.event(envelope, fields)
        self.tables.settle()
        self.tables.dirty.clear()
        self._next = 0
        print(f"{events:,} counted, {time.monotonic() - began:.0f} s", file=sys.stderr)
        gc.freeze()  # what stands for ever is not looked through again and again

    def rate(self) -> float:
        """Folds more, of what nobody had; out: events a second."""
        began = time.perf_counter()
        for _ in range(WINDOW // TURN):
            self._fold(TURN)
        return WINDOW / (time.perf_counter() - began)

    def told(self) -> float:
        """Folds one event, and puts together what is told of its month; out: microseconds for that."""
        began = time.perf_counter()
        for _ in range(SINGLE):
            self._fold(1)
        return (time.perf_counter() - began) / SINGLE * 1e6

    def counts(self) -> dict[Cell, int]:
        """The month as the auditor adds it up."""
        found: Counter[Cell] = Counter()
        for partition in range(PARTITIONS):
            for series, *rest, n in self.tables.rows(partition, MONTH):
                found[(series, MONTH, *rest)] += n
        return dict(found)

    def _fold(self, events: int) -> None:
        for envelope, fields in self._events(events, NEW):
            known = self.tables.event(envelope, fields)
            assert known is not None, "it was counted before"
            known.dump()  # which the stage seals
        self.tables.settle()
        told, self.tables.dirty = self.tables.dirty, set()
        for partition, month in told:
            self.tables.rows(partition, month)

    def _events(self, events: int, categories: Sequence[str]) -> Iterator[tuple[Row, Row]]:
        for number in range(self._next, self._next + events):
            person, about = number % self._people, number // self._people
            day = FIRST_DAY + (about * 7 + person) % 31
            equity = {
                "race_ethnicity": [RACES[person % 5]],
                "gender": ("woman", "man")[person % 2],
                "tallies": [f"age:{('18-24', '25-34', '35-44')[person % 3]}"],
            }
            envelope = {
                "participant": f"p-{person}",
                "category": categories[(about + person) % len(categories)],
                "labels": [],
                "occurred_at": day * measures.DAY_MS + number % 80_000_000,
            }
            yield envelope, {"occurrence": {"place": {"district": str(person % 12)}}, "equity": equity}
        self._next += events


def published(path: Path, counts: dict[Cell, int]) -> Store:
    """A store with two years of that month's numbers, every measure of them."""
    store, categories = Store(f"sqlite:///{path}"), default_policy()["categories"]
    store.migrate()
    made: dict[str, Release] = {}
    for one in ROWS.rows:
        made[one.series] = release(one, MONTH, counts, categories, ROWS.rows, made)
    told = [
        {"measure": one.id, "version": one.version, "month": f"{year}-{month:02}", "at": 1, "body": body}
        for one in ROWS.rows
        for body in [made[one.series].body(DEFAULT)]
        for year in (2024, 2025)
        for month in range(1, 13)
    ]
    with store.write() as connection:
        upsert(connection, publications, told)
    return store


def ask(store: Store) -> None:
    """What `GET /v1/aggregates` asks of the store, and puts together."""
    list(figures.records(figures.published(store, ROWS)))


def _page(few: Counted, many: Counted) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            FEWEST: published(Path(folder) / "few.db", few.counts()),
            MANY: published(Path(folder) / "many.db", many.counts()),
        }
        took: dict[int, list[float]] = {FEWEST: [], MANY: []}
        for store in stores.values():
            ask(store)
        for _ in range(ROUNDS):
            for count, store in stores.items():
                began = time.perf_counter()
                ask(store)
                took[count].append((time.perf_counter() - began) * 1e3)
        for store in stores.values():
            store.close()
    name = f"every published number of two years, {MANY:,} counted"
    return row(name, took[MANY], f"{FEWEST:,} counted", took[FEWEST], "ms")
