"""Suggestions of who may be one person: how many are right, how many are found, why, and nobody else's."""

import contextlib
import json
import random
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub import identity
from hub.linkage import FIELDS, Known, suggest
from hub.store import upsert
from hub.suggestions import LinkageMissing, Suggestions
from hub.tables import decisions
from schemas import codec, compartments, sealing
from schemas.errors import Refused
from tests.desk import desk

pytest.importorskip("splink", reason="no Splink (the extra `linkage`): suggestions are not tested")
GIVEN = [
    "Ana", "Ben", "Carla", "Dina", "Emil", "Farah", "Gus", "Hana", "Ivan", "Jade", "Karim", "Lena", "Marco",
    "Nadia", "Omar", "Petra", "Quinn", "Rosa", "Sami", "Tess", "Ugo", "Vera", "Wanda", "Xenia", "Yusuf",
    "Zoe", "Aldo", "Bella", "Cyrus", "Delia", "Enzo", "Flora",
]  # fmt: skip
FAMILY = [
    "Abara", "Brandt", "Castillo", "Dorsey", "Ekman", "Fontaine", "Grzyb", "Haddad", "Ito", "Jansen",
    "Kowalski", "Lindqvist", "Moreau", "Nakamura", "Okafor", "Petrov", "Quintana", "Romero", "Sandoval",
    "Takeda", "Ulrich", "Vasquez", "Whitaker", "Yilmaz", "Zeller", "Ashby", "Boateng",
]  # fmt: skip


def invented(count: int) -> tuple[list[Known], set[frozenset[str]]]:
    """People of whom a tenth was entered twice, as it happens at a desk; and siblings born on one day."""
    dice = random.Random(20261101)
    people, twice = [], set()

    def born() -> str:
        return f"{dice.randrange(1955, 2005)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"

    for number in range(count):
        given, family, day = dice.choice(GIVEN), dice.choice(FAMILY), born()
        people.append(Known(f"p-{number}", f"{given} {family}", day))
        if number % 10 == 0:
            people.append(Known(f"p-{number}-twice", *mistaken(dice, given, family, day)))
            twice.add(frozenset((f"p-{number}", f"p-{number}-twice")))
        elif number % 40 == 1:
            other = GIVEN[(GIVEN.index(given) + 9) % len(GIVEN)]
            people.append(Known(f"p-{number}-sibling", f"{other} {family}", day))
    dice.shuffle(people)
    return people, twice


def mistaken(dice: random.Random, given: str, family: str, day: str) -> tuple[str, str]:
    """How somebody else wrote the same person down."""
    year, month, date = day.split("-")
    at = dice.randrange(len(family) - 1)
    swapped = family[:at] + family[at + 1] + family[at] + family[at + 2 :]
    return dice.choice(
        [
            (f"{family}, {given}", day),
            (f"{given} {swapped}", day),
            (f"{given}{given[-1]} {family}", day),
            (f"{given} {family} {dice.choice(FAMILY)}", day),
            (f"{given} {family}", f"{year}-{date}-{month}"),
            (f"{given} {family}", f"{year}-{month}-{int(date) + 1:02}"),
            (f"{family} {given}", day),
            (f"{given.upper()} {family.lower()}", day),
            (f"Pat {family}", day),  # a name that they were not given
            (f"{given} {family}", ""),  # no birth date: too little to say anything
        ]
    )


def test_most_of_those_entered_twice_are_found_and_hardly_anybody_else() -> None:
    people, twice = invented(600)
    found = {frozenset((one.one, one.other)) for one in suggest(people)}
    right = len(found & twice)
    precision, recall = right / len(found), right / len(twice)
    print(f"{len(people)} people, {len(twice)} entered twice: precision {precision:.2f}, recall {recall:.2f}")
    assert precision >= 0.95
    assert recall >= 0.75, "two of ten kinds of mistake leave too little to go by"


def test_a_suggestion_says_why_by_field_and_names_nobody() -> None:
    people = [Known("p-1", "Rosa Quintana", "1990-02-11"), Known("p-2", "Quintana, Róssa", "1990-11-02")]
    (found,) = suggest(people, least=0.5)
    assert (found.one, found.other) == ("p-1", "p-2")
    assert [(why.field, why.agrees) for why in found.why] == [
        ("given", "alike"),
        ("family", "same"),
        ("birth date", "day and month swapped"),
    ]
    assert all(why.bits > 0 for why in found.why)
    assert "uintana" not in repr(found), "ids, probability and reasons; no name"


def test_what_is_missing_speaks_neither_for_nor_against() -> None:
    people = [Known("p-1", "Rosa Quintana"), Known("p-2", "Rosa Quintana", "1990-02-11"), Known("p-3", "")]
    (found,) = suggest(people, least=0.01)
    assert found.why[2] == ("birth date", "not known", 0.0)
    assert suggest(people[:1]) == suggest([]) == []


def test_who_was_said_to_be_two_is_not_suggested_again() -> None:
    people = [Known(f"p-{number}", "Rosa Quintana", "1990-02-11") for number in range(3)]
    pairs = list(combinations(["p-0", "p-1", "p-2"], 2))
    assert [(one.one, one.other) for one in suggest(people)] == pairs
    assert [(one.one, one.other) for one in suggest(people, apart=[("p-1", "p-0")])] == pairs[1:]


def test_weights_are_of_probabilities() -> None:
    for _, levels in FIELDS.values():
        for place in (2, 3):
            assert sum(level[place] for level in levels) == pytest.approx(1)  # type: ignore[misc]


class Told:
    """A desk whose people were spoken of: events sealed as admit seals them, and a log that has them."""

    def __init__(self, folder: Path) -> None:
        self.desk = desk(folder)
        self.places: dict[tuple[str, int, int], bytes] = {}
        d = self.desk
        self.suggestions = Suggestions(d.store, d.vault, d.log, self, d.participants)  # type: ignore[arg-type]

    def value(self, topic: str, partition: int, offset: int) -> bytes | None:
        return self.places.get((topic, partition, offset))

    def says(self, agency: str, participant: str, **fields: Any) -> None:
        """An event about somebody, decided and projected."""
        offset = len(self.places)
        envelope = {
            "id": f"e-{offset}",
            "source": f"urn:agency:{agency}",
            "type": "contact",
            "occurred_at": offset,
            "admitted_at": offset,
            "participant": participant,
            "category": "contact.outreach",
            "labels": [],
            "discloser": agency,
            "compartments": ["subject"],
            "consent_at_least": None,
        }
        sealed = self.desk.vault.sealer(participant).seal(
            sealing.aad(envelope, "subject"), compartments.encode("contact", "subject", fields)
        )
        self.places["contact", 0, offset] = codec.encode(
            "Event", {"envelope": envelope, "sealed": {"subject": sealed}}
        )
        row = {
            name: envelope[name] for name in ("participant", "discloser", "type", "category", "occurred_at")
        }
        row |= {
            "id": f"x-{offset}",
            "cause": "first",
            "event": f"e-{offset}",
            "at": offset,
            "envelope": envelope,
        }
        row |= {"position": {"topic": "contact", "partition": 0, "offset": offset}, "consent_offset": 0}
        with self.desk.store.write() as connection:
            upsert(connection, decisions, [row | {"governance_offset": 0, "partition": 0, "offset": offset}])

    def acts(self) -> list[tuple[str, str | None]]:
        return [(one["kind"], one["participant"]) for one in self.desk.log.values("access")]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)
    yield made
    made.desk.store.close()


def test_an_organisations_own_people_are_compared_by_what_it_said_itself(told: Told) -> None:
    one, two, three, gone = (
        told.desk.participants.create("reach", f"R-{number}", "test").participant for number in range(4)
    )
    told.says("reach", one, name="Rosa Quintana", birth_date="1990-02-11")
    told.says("reach", two, name="Quintana, Rosa", birth_date="1990-02-11")
    told.says("harbor-pd", three, name="Rosa Quintana", birth_date="1990-02-11")
    told.says("reach", gone, name="Rosa Quintana", birth_date="1990-02-11")
    told.desk.vault.destroy(gone)
    found = told.suggestions.suggest("reach", "operator")
    assert found.people == 2, "not whom only the police spoke of, and not who was erased"
    (pair,) = found.suggestions
    assert {pair.one, pair.other} == {one, two}
    assert told.acts() == [
        ("people-compared", None),
        ("likeness-suggested", pair.one),
        ("likeness-suggested", pair.other),
    ]
    assert told.desk.participants.of("reach", "R-1") == two, "nobody was linked"
    assert told.suggestions.suggest("harbor-pd", "operator").people == 0, (
        "it knows nobody by a number of its own"
    )
    told.suggestions.apart(two, one, "operator")
    told.desk.project()
    assert told.suggestions.suggest("reach", "operator").suggestions == []
    for wrong in ((one, one), (one, "p-unknown")):
        with pytest.raises(Refused):
            told.suggestions.apart(*wrong, "operator")


def test_by_the_command(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        suggestions = told.suggestions
        register = told.desk.register

    monkeypatch.setattr(identity.bootstrap, "bootstrap", lambda _: contextlib.nullcontext(Hub()))
    one, two = (
        told.desk.participants.create("reach", f"R-{number}", "test").participant for number in range(2)
    )
    for who in (one, two):
        told.says("reach", who, name="Rosa Quintana", birth_date="1990-02-11")
    run = CliRunner().invoke
    said = run(identity.app, ["suggest", "reach"])
    first, second = sorted((one, two))
    assert f"{first} and {second}: 99.9%" in said.output
    assert "  birth date: same (+14.0 bits)" in said.output
    assert "uintana" not in said.output
    listed = json.loads(run(identity.app, ["suggest", "reach", "--json"]).stdout)
    assert [why["agrees"] for why in listed[0]["why"]] == ["same", "same", "same"]
    assert "are two" in run(identity.app, ["apart", one, two]).output
    told.desk.project()
    assert json.loads(run(identity.app, ["suggest", "reach", "--json"]).stdout) == []
    assert isinstance(run(identity.app, ["suggest", "nobody"]).exception, identity.NotMerged)
    monkeypatch.setitem(sys.modules, "splink", None)
    missing = run(identity.app, ["suggest", "reach"]).exception
    assert isinstance(missing, LinkageMissing)
    assert "its extra `linkage`" in str(missing)
