"""What of one participant is counted: a fold of events that gives the same however often they come. Pure.

Kept are days, categories, labels, districts and coarse words; not what happened, nor where, nor when in the
day. The stage keeps it sealed under the participant's own key, so that it is gone when that key is.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from schemas.fields import plain
from streams import measures
from streams.cells import Cell
from streams.measures import Measure, Measures

NOT_STATED: Final = "not-stated"
SEVERAL: Final = "two-or-more"
facts_max: Final = 4_000
kept_days_max: Final = 550
value_chars_max: Final = 60


class Fact(NamedTuple):
    """That something of a kind was, on a day (since 1970). A second of the same day says no more."""

    day: int
    category: str
    labels: tuple[str, ...]
    district: str
    words: tuple[str, ...]


@lru_cache(maxsize=65_536)
def _fact(day: int, category: str, labels: tuple[str, ...], district: str, words: tuple[str, ...]) -> Fact:
    """One fact for all whom it is true of: it is kept for many people, and there are few different ones."""
    return Fact(day, category, labels, district, words)


class Person:
    """What is known of one participant: facts, and what they said of themselves last, by the event's time."""

    __slots__ = ("facts", "said")

    def __init__(self) -> None:
        self.facts: set[Fact] = set()
        self.said: dict[str, tuple[int, str]] = {}  # dimension to when (ms), and what

    def apply(self, envelope: Mapping[str, Any], opened: Mapping[str, Mapping[str, Any]], day: int) -> bool:
        """Takes an event in: its envelope, and the fields of `occurrence` and `equity`.

        Out: whether that says anything new.
        """
        at, equity = envelope["occurred_at"], opened.get("equity", {})
        place = opened.get("occurrence", {}).get("place") or {}
        words = tuple(sorted(equity.get("tallies", ())))
        labels = tuple(sorted(envelope["labels"]))
        fact = _fact(day, envelope["category"], labels, _value(place.get("district")), words)
        changed = self._says("race", at, _race(equity.get("race_ethnicity", ())))
        changed |= self._says("gender", at, _value(equity.get("gender")))
        ages = [word.partition(":")[2] for word in words if word.startswith("age:")]
        changed |= self._says("age", at, ages[0] if ages else NOT_STATED)
        if fact in self.facts:
            return changed
        self.facts.add(fact)
        self._bound()
        return True

    def _says(self, dimension: str, at: int, what: str) -> bool:
        if what == NOT_STATED or self.said.get(dimension, (-1, "")) >= (at, what):
            return False
        self.said[dimension] = (at, what)
        return True

    def _bound(self) -> None:
        newest = max(one.day for one in self.facts)
        self.facts = {one for one in self.facts if one.day > newest - kept_days_max}
        if len(self.facts) > facts_max:
            self.facts = set(sorted(self.facts)[-facts_max:])

    def cells(self, rows: Measures, counted: Callable[[str, Sequence[str]], bool]) -> set[Cell]:
        """Every count in which this person is one. `counted` says it by category and labels."""
        may = {about: counted(*about) for about in {(one.category, one.labels) for one in self.facts}}
        facts = sorted(one for one in self.facts if may[one.category, one.labels])
        categories = {one.category for one in facts}
        months: dict[str, list[Fact]] = defaultdict(list)
        for one in facts:
            months[measures.month(one.day)].append(one)
        found: set[Cell] = set()
        for month, some in months.items():
            stated = [one.district for one in some if one.district != NOT_STATED]
            values = {"district": stated[0] if stated else NOT_STATED}
            for dimension in ("race", "age", "gender"):
                values[dimension] = self.said.get(dimension, (0, NOT_STATED))[1]
            for row in rows.of(month):
                its = {one for one in categories if measures.covers(row.events, one)}
                mine = [one for one in some if one.category in its] if its else []
                for kind in _kinds(row, mine, facts) if mine else ():
                    found.add(measures.cell(row.series, month, kind))
                    found |= {
                        measures.cell(row.series, month, kind, name, value) for name, value in values.items()
                    }
        return found

    def dump(self) -> bytes:
        """As bytes to seal; the same for the same person."""
        said = {name: list(what) for name, what in sorted(self.said.items())}
        return json.dumps({"facts": sorted(self.facts), "said": said}, separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> "Person":
        """What `dump` gave."""
        person, value = cls(), json.loads(data)
        person.facts = {
            _fact(day, category, tuple(labels), district, tuple(words))
            for day, category, labels, district, words in value["facts"]
        }
        person.said = {name: (at, what) for name, (at, what) in value["said"].items()}
        return person


def _kinds(row: Measure, mine: Sequence[Fact], facts: Sequence[Fact]) -> set[str]:
    """The kinds of a measure in which somebody is, by their events of a month and all others; in order."""
    if row.by == "one":
        return {"people"}
    if row.by == "category":
        return {one.category.rpartition(".")[2] for one in mine}
    if row.by == "tally":
        prefix = f"{row.tally}:"
        words = [word.removeprefix(prefix) for one in mine for word in one.words if word.startswith(prefix)]
        return set(words[:1] if row.apart else words)
    first = mine[0].day
    then = {one for one in {fact.category for fact in facts} if measures.covers(row.then, one)}
    other = [one.day for one in facts if one.category in then]
    if row.by == "until":
        return {row.band(min((day - first for day in other if day >= first), default=None))}
    days = row.days or 0
    before = {"before" for day in other if first - days <= day < first}
    return before | {"after" for day in other if first < day <= first + days}


def _race(stated: Iterable[str]) -> str:
    values = {_value(one) for one in stated} - {NOT_STATED}
    if len(values) > 1:
        return SEVERAL
    return values.pop() if values else NOT_STATED


def _value(text: str | None) -> str:
    """What somebody wrote, so that different spellings are one value, and none is long."""
    return plain(text or "")[:value_chars_max].strip() or NOT_STATED
