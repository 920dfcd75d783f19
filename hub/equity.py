"""Rates by race and ethnicity as people state them, from published numbers alone. Pure.

Nothing is disclosed here that was not before: whoever has the tables can do the same sums. A rate is people
per people who live here (a census table), or per people referred in the same month where the measure is of
those. A ratio has a 95 % confidence interval by the log method (Katz, Baptista, Azen and Pike, Biometrics 34,
1978, 469-474). Published numbers are rounded: the interval is the union of those of all numbers that they can
stand for, so it is wider than one number's and never narrower. Where a number is hidden, or is no part of its
denominator, there is no rate, and `Line.why` says so.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import product
from math import exp, log, sqrt
from typing import Final, Literal, NamedTuple

from schemas.errors import Invalid
from schemas.fields import plain
from streams import measures
from streams.cells import DEFAULT, OTHER, Release, Rules
from streams.measures import Measure
from streams.person import value_chars_max

Z: Final = 1.959963984540054  # of the normal distribution, for 95 %
CENSUS_BYTES_MAX: Final = 64 * 1024
CENSUS_ROWS_MAX: Final = 200
CENSUS_COLUMNS: Final = ("race", "people", "source")
PEOPLE_MAX: Final = 10**10
UNCOUNTABLE: Final = frozenset(
    {OTHER, "not-stated"}
)  # nobody can say how many live here of whom that is said

Base = Literal["census", "referred", "none"]
Why = Literal["hidden", "no-base", "not-among", "reference"]


class Census(NamedTuple):
    """How many people live here, by race and ethnicity; and where that is from."""

    people: Mapping[str, int]
    source: str


class Range(NamedTuple):
    """The least and the most that a number can be, and the number that is shown for it."""

    low: int
    high: int
    shown: int


class Line(NamedTuple):
    """One group. `of` is what its rate is a share of, `rate` is per 1,000; `low`, `high` bound the ratio."""

    group: str
    people: int | None
    of: int | None
    rate: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    why: Why | None = None


class Comparison(NamedTuple):
    """A measure's kind in a month, group by group; against which group, and out of whom."""

    kind: str
    base: Base
    reference: str | None
    lines: list[Line]

    @property
    def silent(self) -> bool:
        """Whether no two groups can be compared."""
        return not any(line.ratio is not None for line in self.lines)


def census(text: str) -> Census:
    """A census table: CSV with the columns `race`, `people`, `source`. Raises `Invalid`, naming the line."""
    if len(text.encode()) > CENSUS_BYTES_MAX:
        raise Invalid.one("", "too-large", f"at most {CENSUS_BYTES_MAX} bytes")
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != CENSUS_COLUMNS:
        raise Invalid.one("/1", "columns", f"the columns are {', '.join(CENSUS_COLUMNS)}")
    found: dict[str, int] = {}
    sources: dict[str, None] = {}
    try:
        for row in rows:
            where, race, people = f"/{rows.line_num}", (row["race"] or "").strip(), row["people"] or ""
            if not race or folded(race) in found:
                raise Invalid.one(where, "race", "each line names a race or ethnicity, each once")
            if not (people.isascii() and people.isdigit() and 0 < int(people) <= PEOPLE_MAX):
                raise Invalid.one(where, "people", "`people` is a whole number above zero")
            found[folded(race)] = int(people)
            sources[(row["source"] or "").strip()] = None
            if len(found) > CENSUS_ROWS_MAX:
                raise Invalid.one(where, "too-large", f"at most {CENSUS_ROWS_MAX} lines")
    except csv.Error:
        raise Invalid.one(f"/{rows.line_num}", "csv", "this line is no CSV") from None
    if not found:
        raise Invalid.one("", "empty", "there is no line")
    return Census(found, "; ".join(one for one in sources if one))


def folded(race: str) -> str:
    """By what a race in the census is found among those that participants state."""
    return plain(race)[:value_chars_max].strip()


def denominator(row: Measure, residents: Census | None) -> Base:
    """Out of whom a measure's people are: all who live here, or those who were referred in the month."""
    if residents is not None:
        return "census"
    return "referred" if row.by in ("until", "around") or row.tally == "handoff" else "none"


def compare(
    row: Measure,
    month: str,
    kind: str,
    release: Release,
    residents: Census | None,
    referred: Mapping[str, Range],
    rules: Rules = DEFAULT,
) -> Comparison:
    """The groups of one kind. In: who lives here, where that is known; how many of each were referred."""
    base = denominator(row, residents)
    groups = [one for one in release.values["race"] if one not in UNCOUNTABLE or base == "referred"]
    people: dict[str, Range | None] = {}
    whole: dict[str, Range | None] = {}
    for group in groups:
        n = release.cells.get(measures.cell(row.series, month, kind, "race", group))
        people[group] = None if n is None else Range(*release.meant(n, rules), n)
        whole[group] = _whole(group, base, residents, referred)
    known = {group: of.shown for group, of in whole.items() if of is not None and group not in UNCOUNTABLE}
    reference = max(known, key=lambda one: (known[one], one)) if known else None
    lines = [_line(group, reference, people, whole) for group in groups]
    return Comparison(kind, base, reference, sorted(lines, key=lambda one: -(one.of or 0)))


def _whole(group: str, base: str, residents: Census | None, referred: Mapping[str, Range]) -> Range | None:
    if base == "census" and residents is not None:
        n = residents.people.get(folded(group))
        return None if n is None else Range(n, n, n)
    return referred.get(group) if base == "referred" else None


def referred(row: Measure, month: str, release: Release, rules: Rules = DEFAULT) -> dict[str, Range]:
    """How many were referred, by race: the bands, in which everybody is once, where all of them are shown."""
    kinds = [row.band(end) for end in row.bands] + [measures.LATER]
    found = {}
    for group in release.values["race"]:
        cells = [release.cells.get(measures.cell(row.series, month, kind, "race", group)) for kind in kinds]
        shown = [one for one in cells if one is not None]
        if len(shown) == len(cells):
            meant = [release.meant(one, rules) for one in shown]
            found[group] = Range(sum(low for low, _ in meant), sum(high for _, high in meant), sum(shown))
    return found


def _line(
    group: str,
    reference: str | None,
    people: Mapping[str, Range | None],
    whole: Mapping[str, Range | None],
) -> Line:
    a, n = people[group], whole[group]
    shown, of = a and a.shown, n and n.shown
    if a is None or n is None:
        return Line(group, shown, of, why="hidden" if a is None else "no-base")
    if a.shown > n.shown:
        return Line(group, shown, of, why="not-among")
    rate = 1000 * a.shown / n.shown
    if reference is None or group == reference:
        return Line(group, shown, of, rate, why="reference")
    b, m = people[reference], whole[reference]
    if b is None or m is None or b.shown > m.shown:
        return Line(group, shown, of, rate, why="hidden")
    low, high = interval(a, n, b, m)
    return Line(group, shown, of, rate, rate / (1000 * b.shown / m.shown), low, high)


def interval(a: Range, n: Range, b: Range, m: Range) -> tuple[float, float]:
    """The least and the most that the ratio (a/n) / (b/m) can be, at 95 %, whatever the numbers stand for.

    What cannot be, more people than their denominator has, is left out.
    """
    found = [
        katz(*four)
        for four in product(_ends(a), _ends(n), _ends(b), _ends(m))
        if four[0] <= four[1] and four[2] <= four[3]
    ]
    if not found:
        return 0.0, float("inf")
    return min(low for low, _ in found), max(high for _, high in found)


def katz(a: int, n: int, b: int, m: int) -> tuple[float, float]:
    """The 95 % confidence interval of (a/n) / (b/m) by the log method. In: 0 < a <= n, 0 < b <= m."""
    middle = log(a / n) - log(b / m)
    spread = Z * sqrt(max(1 / a - 1 / n + 1 / b - 1 / m, 0.0))
    return exp(middle - spread), exp(middle + spread)


def _ends(one: Range) -> Sequence[int]:
    """Every number it can be, where these are few; else the ends, between which the bounds do not turn."""
    return range(one.low, one.high + 1) if one.high - one.low < 8 else (one.low, one.high)
