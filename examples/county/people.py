"""The invented people of the county: names from two short lists, birth dates, and a number at each agency."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

FIRST = [
    "Alma",
    "Beryl",
    "Cyrus",
    "Delia",
    "Emory",
    "Fern",
    "Gideon",
    "Hazel",
    "Ivo",
    "Juno",
    "Keir",
    "Leda",
    "Milo",
    "Nell",
    "Orin",
    "Petra",
    "Quill",
    "Rhea",
    "Silas",
    "Thea",
    "Ugo",
    "Vera",
    "Wren",
    "Xenia",
    "Yves",
    "Zora",
    "Anselm",
    "Brigid",
    "Corin",
    "Dara",
]
LAST = [
    "Abernathy",
    "Birdsong",
    "Castellane",
    "Dunmore",
    "Eastlake",
    "Fairweather",
    "Galloway",
    "Hollis",
    "Ironwood",
    "Jessamy",
    "Kettering",
    "Larkspur",
    "Marchetti",
    "Northcote",
    "Okonjo",
    "Pemberton",
    "Quillfeather",
    "Ravenel",
    "Saltmarsh",
    "Thornbury",
    "Underhill",
    "Vasquero",
    "Whitlock",
    "Yarborough",
    "Zeller",
]
PREFIX = {
    "reach": "RCH",
    "harbor-house": "HMIS",
    "tideline-clinic": "TC",
    "county-ems": "PCR",
    "public-defense": "PD",
    "city-attorney": "CA",
    "harbor-pd": "HPD",
    "county-jail": "CJ",
    "municipal-court": "MC",
    "downtown-bia": "BIA",
    "waterfront-council": "WF",
}
REACHED_BY = "reach"


@dataclass(frozen=True)
class Person:
    """One invented participant.

    `locals` holds the id under which each agency knows the person; `late` the agencies whose id the hub is
    told only when their events have long been waiting.
    """

    number: int
    name: str
    birth_date: str
    profile: str
    locals: dict[str, str]
    late: frozenset[str]

    @property
    def gender(self) -> str:
        """As they describe themselves."""
        return ("man", "woman", "man", "woman", "nonbinary")[self.number % 5]

    @property
    def race_ethnicity(self) -> list[str]:
        """As they describe themselves."""
        stated = ("black", "white", "latino", "black", "native american, white", "white", "samoan")
        return stated[self.number % 7].split(", ")

    @property
    def key(self) -> str:
        """A short handle for ids in the plan; it says nothing about anybody."""
        return f"{self.number:04d}"


def people(seed: int, count: int, profiles: tuple[str, ...]) -> list[Person]:
    """`count` invented people, the same ones for the same seed; consent profiles are dealt in turn."""
    return [_person(Random(f"{seed}/person/{number}"), seed, number, profiles) for number in range(count)]


def _person(dice: Random, seed: int, number: int, profiles: tuple[str, ...]) -> Person:
    profile = profiles[number % len(profiles)]
    born = date(1955, 1, 1) + timedelta(days=dice.randrange(18_000))
    middle = "ABCDEFGHIJKLMNOPRSTVW"[number // (len(FIRST) * len(LAST)) % 21]
    first, last = FIRST[number % len(FIRST)], LAST[(number // len(FIRST) + number * 7) % len(LAST)]
    name = f"{first} {middle}. {last}"
    numbers = {agency: f"{prefix}-{_digits(seed, agency, number)}" for agency, prefix in PREFIX.items()}
    late = frozenset({"harbor-house", "municipal-court"}) if profile == "unknown-at-first" else frozenset()
    return Person(number, name, born.isoformat(), profile, numbers, late)


def _digits(seed: int, agency: str, number: int) -> str:
    digest = hashlib.sha256(f"{seed}/{agency}/{number}".encode()).digest()
    return f"{int.from_bytes(digest[:5], 'big') % 900_000_000 + 100_000_000}"
