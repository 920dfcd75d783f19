"""Invented people who are counted, and a month of them as it is published."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

from consent import default_policy
from hub.publictables import publications
from hub.store import Store, upsert
from schemas import instant
from streams import measures
from streams.cells import DEFAULT, Cell, Release
from streams.person import Person
from streams.release import release
from tests.webside import Side

ROWS: Final = measures.load()
CATEGORIES: Final = default_policy()["categories"]
MONTH: Final = "2026-03"
RACES: Final = ("black", "white", "=cmd()")
DAY: Final = measures.day(instant.parse("2026-03-10T12:00:00Z"), UTC)


def envelope(
    participant: str, category: str = "referral.community", day: int = DAY, **more: Any
) -> dict[str, Any]:
    kind = {"contact": "contact", "service": "service-engagement", "court": "court-status"}
    return {
        "id": f"e-{participant}-{category}-{day}",
        "source": "urn:agency:reach",
        "type": kind.get(category.partition(".")[0], "referral"),
        "category": category,
        "labels": [],
        "discloser": "reach",
        "compartments": ["equity", "occurrence"],
        "participant": participant,
        "occurred_at": day * measures.DAY_MS + 43_200_000,
        "admitted_at": 0,
        "consent_at_least": None,
        **more,
    }


def fields(
    district: str = "3", race: Sequence[str] = ("Latina",), words: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "occurrence": {"place": {"district": district}},
        "equity": {"race_ethnicity": list(race), "gender": "woman", "tallies": ["age:25-34", *words]},
    }


def everybody(_category: str, _labels: Sequence[str]) -> bool:
    return True


def publish(side: Side, races: Sequence[str] = RACES, people: int = 150) -> dict[str, Release]:
    """A month of invented people, as the auditor publishes it."""
    return published(side.hub.store, races, people)


def published(store: Store, races: Sequence[str] = RACES, people: int = 150) -> dict[str, Release]:
    """The same in any store."""
    counts: Counter[Cell] = Counter()
    for number in range(people):
        person = Person()
        doors = ("referral.community", "referral.arrest-diversion", "referral.social-contact")
        kinds = ("service.housing", "service.medical", "contact.case-management")
        race, district = races[number % len(races)], str(number % 2)
        said = fields(district, (race,), ["handoff:within-1-day"] if number % 2 else [])
        for category in (doors[number % 7 % 3], kinds[number % 3]):
            person.apply(envelope("p", category, DAY), said, DAY)
        counts.update(person.cells(ROWS, everybody))
    made: dict[str, Release] = {}
    rows = ROWS.of(MONTH)
    for row in rows:
        made[row.series] = release(row, MONTH, counts, CATEGORIES, rows, made)
        body = json.loads(json.dumps(made[row.series].body(DEFAULT)))
        told = {"measure": row.id, "version": row.version, "month": MONTH, "at": 1, "body": body}
        mine = publications.c.measure == row.id, publications.c.month == MONTH
        with store.write() as connection:
            connection.execute(publications.delete().where(*mine))  # other tests may have published another
            upsert(connection, publications, [told])
    return made
