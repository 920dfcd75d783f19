"""Rates by race from published numbers: right intervals, wide enough for rounding, silent where they must."""

import csv
from itertools import product
from math import log, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.stats.contingency import relative_risk

from hub import equity, fairness
from hub.equity import Range, census, compare, interval, katz
from hub.figures import Series
from hub.language import tongue
from hub.settings import Settings
from schemas.errors import Invalid
from streams import measures
from streams.cells import DEFAULT, Release
from tests.counted import ROWS, publish
from tests.webside import Side

REFERRALS = next(one for one in ROWS.rows if one.id == "referrals")
BOOKINGS = next(one for one in ROWS.rows if one.id == "bookings")
MONTH = "2026-03"
TABLE = "race,people,source\nwhite,60000,Census 2020\nBlack ,8000,Census 2020\nlatina,500,Census 2020\n"


def released(row: measures.Measure, kind: str, people: dict[str, int | None]) -> Release:
    cells = {measures.cell(row.series, MONTH, kind, "race", race): n for race, n in people.items()}
    return Release({"race": [*people, "another", "not-stated"]}, cells)


@pytest.mark.parametrize("four", [(29, 56, 41, 128), (11, 12, 13, 5_000), (80, 8_000, 120, 60_000)])
def test_the_interval_is_that_of_the_log_method(four: tuple[int, int, int, int]) -> None:
    """As SciPy has it, by the same paper."""
    theirs = relative_risk(*four).confidence_interval(0.95)
    assert katz(*four) == pytest.approx((theirs.low, theirs.high))
    assert katz(10, 10, 10, 10) == (1.0, 1.0)


shown = some.integers(3, 60).map(lambda n: n * 5)


@given(shown, shown, shown, shown)
def test_whatever_the_rounded_numbers_stand_for_is_within(a: int, n: int, b: int, m: int) -> None:
    ranges = [Range(*DEFAULT.meant(one), one) for one in (a, n + a, b, m + b)]
    low, high = interval(ranges[0], ranges[1], ranges[2], ranges[3])
    for true in product(*((one.low, one.high, one.shown) for one in ranges)):
        if true[0] <= true[1] and true[2] <= true[3]:
            least, most = katz(*true)
            assert low <= least * (1 + 1e-12)
            assert most <= high * (1 + 1e-12)


@given(shown, shown)
def test_between_the_ends_of_a_wide_denominator_the_bounds_do_not_turn(a: int, n: int) -> None:
    """So that the ends are enough: as long as the people are not nearly all of it."""
    people, whole, other = Range(*DEFAULT.meant(a), a), Range(3 * a, 3 * a + n, 3 * a), Range(20, 20, 20)
    low, high = interval(people, whole, other, Range(200, 200, 200))
    for true in range(whole.low, whole.high + 1, max(n // 7, 1)):
        least, most = katz(a, true, 20, 200)
        assert low <= least * (1 + 1e-12)
        assert most <= high * (1 + 1e-12)


def test_each_group_is_compared_with_the_largest_of_those_who_live_here() -> None:
    release = released(REFERRALS, "community", {"black": 80, "white": 120, "latina": None, "tlingit": 20})
    made = compare(REFERRALS, MONTH, "community", release, census(TABLE), {})
    by = {line.group: line for line in made.lines}
    assert (made.base, made.reference) == ("census", "white")
    assert by["white"].why == "reference"
    assert by["black"].ratio == pytest.approx((80 / 8000) / (120 / 60000))
    assert by["black"].low is not None
    assert by["black"].high is not None
    assert by["black"].low < 5 < by["black"].high
    assert log(by["black"].high / by["black"].low) > 2 * 1.96 * sqrt(1 / 80 - 1 / 8000 + 1 / 120 - 1 / 60000)
    assert (by["latina"].why, by["latina"].rate) == ("hidden", None)
    assert (by["tlingit"].why, by["tlingit"].rate) == ("no-base", None)
    assert not {"another", "not-stated"} & set(by), "nobody knows how many of those live here"


def test_where_the_data_cannot_say_there_is_no_rate() -> None:
    hidden = released(REFERRALS, "community", {"black": 80, "white": None})
    made = compare(REFERRALS, MONTH, "community", hidden, census(TABLE), {})
    assert made.silent
    more = released(REFERRALS, "community", {"latina": 600, "white": 120})
    lines = {one.group: one for one in compare(REFERRALS, MONTH, "community", more, census(TABLE), {}).lines}
    assert lines["latina"].why == "not-among"
    without = compare(REFERRALS, MONTH, "community", more, None, {})
    assert (without.base, without.silent) == ("none", True)
    assert all(line.rate is None for line in without.lines)


def test_bookings_are_told_out_of_those_who_were_referred() -> None:
    release = released(BOOKINGS, "after", {"black": 20, "white": 20})
    base = {"black": Range(46, 54, 50), "white": Range(92, 108, 100)}
    made = compare(BOOKINGS, MONTH, "after", release, None, base)
    by = {line.group: line for line in made.lines}
    assert (made.base, made.reference, by["black"].ratio) == ("referred", "white", pytest.approx(2))
    assert by["not-stated"].why == "hidden"
    words = tongue("en", "UTC")
    series = [Series(BOOKINGS, [(MONTH, release)])]
    (section,) = fairness.sections(series, None, words)
    assert section["comparisons"][0]["chart"] == "", "nobody knows how many were referred"
    assert any("cannot say" in line["said"] for line in section["comparisons"][0]["lines"])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("race,people\nwhite,1\n", "/1"),
        ("race,people,source\nwhite,many,x\n", "/2"),
        ("race,people,source\nwhite,0,x\n", "/2"),
        ("race,people,source\nwhite,1,x\nWhite,2,x\n", "/3"),
        ("race,people,source\n", ""),
        ("race,people,source\n" + "x" * 70_000, ""),
        ("", "/1"),
    ],
)
def test_a_census_that_is_none_is_named_by_its_line(text: str, path: str) -> None:
    with pytest.raises(Invalid) as invalid:
        census(text)
    assert invalid.value.path == path


@pytest.mark.broker
def test_the_page_says_nothing_that_was_not_published(side: Side) -> None:
    told = publish(side)
    with side.client() as anybody:
        page = anybody.get("/public/equity", headers={"accept-language": "es"})
        assert page.status_code == 200
        assert "¿Es justo?" in page.text
        assert "Quién fue aprobado" in page.text
        table = csv.DictReader(anybody.get("/v1/aggregates?format=csv").text.splitlines())
        published = {row["people"] for row in table}
        assert {str(n) for one in told.values() for n in one.cells.values() if n is not None} <= published
        english = anybody.get("/public/equity").text
        assert "not loaded" in english
        assert "cannot say" in english
        assert "Who was approved" in english
        framed = anybody.get("/public/embed/referrals?language=es", headers={"cookie": "hub_language=en"})
        assert 'lang="es"' in framed.text
        assert "frame-ancestors *" in framed.headers["content-security-policy"]
        assert "x-frame-options" not in framed.headers
        assert "set-cookie" not in framed.headers
        assert "<form" not in framed.text
        assert anybody.get("/public/embed/nothing").status_code == 404
        assert anybody.get("/public").headers["x-frame-options"] == "DENY"


def test_the_census_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "census.csv"
    path.write_text(TABLE)
    assert Settings(census=path).census == path
    assert equity.census(TABLE) == ({"white": 60000, "black": 8000, "latina": 500}, "Census 2020")
