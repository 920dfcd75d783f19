"""What everybody may see: whole published tables, as a page, a picture, JSON and CSV, and no other filter."""

import csv
import io
from typing import Any

import pytest
from defusedxml import ElementTree

from hub import figures
from hub.figures import Line, chart
from streams import measures
from streams.cells import DEFAULT, Release
from tests.counted import ROWS, publish
from tests.webside import Side

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def told(side: Side) -> dict[str, Release]:
    return publish(side)


def test_anybody_sees_three_measures_first_and_how_they_are_defined(
    side: Side, told: dict[str, Release]
) -> None:
    with side.client() as client:
        page = client.get("/public", headers={"accept-language": "es"})
        assert page.status_code == 200
        places = [page.text.index(f'id="{name}-1"') for name in (*figures.FIRST, "bookings")]
        assert places == sorted(places)
        for row in ROWS.rows:
            assert row.says["es"] in page.text
        whom = client.get("/public/measures/services").text
        assert whom.count("<table") == len(measures.DIMENSIONS)
        assert client.get("/public/measures/nothing").status_code == 404
        english = client.get("/public").text
        assert "2026" in english
        assert "hidden" in english
        assert "<script" not in english.partition("<main")[2]


def test_every_published_number_and_no_other_is_told_the_same_by_json_and_csv(
    side: Side, told: dict[str, Release]
) -> None:
    with side.client() as client:
        answer = client.get("/v1/aggregates")
        assert answer.headers["cache-control"].startswith("public")
        rows = answer.json()["aggregates"]
        shown = {
            (
                f"{row['measure']}@{row['version']}",
                row["month"],
                row["kind"],
                row["dimension"],
                row["value"],
            ): row["people"]
            for row in rows
        }
        assert shown == {cell: n for one in told.values() for cell, n in one.cells.items()}
        assert all(n is None or n >= DEFAULT.cell_min for n in shown.values())
        text = client.get("/v1/aggregates?format=csv")
        assert text.headers["content-type"].startswith("text/csv")
        table = list(csv.DictReader(io.StringIO(text.text)))
        assert [row["people"] for row in table] == [
            "" if r["people"] is None else str(r["people"]) for r in rows
        ]
        assert not any(row["value"].startswith("=") for row in table), "no formula reaches a spreadsheet"
        one = client.get("/v1/aggregates?measure=referrals&month=2026-03").json()["aggregates"]
        assert {row["measure"] for row in one} == {"referrals"}
        assert client.get("/v1/aggregates?month=2001-01").json() == {"aggregates": []}


@pytest.mark.parametrize(
    "query",
    ["race=black&district=1", "measure=referrals&gender=woman", "kind=community", "measure=%27%20or%201"],
)
def test_a_filter_that_could_single_somebody_out_is_refused(side: Side, query: str) -> None:
    with side.client() as client:
        answer = client.get(f"/v1/aggregates?{query}")
        assert 400 <= answer.status_code < 500
        assert "people" not in answer.text


def test_the_dictionary_says_what_everything_means(side: Side) -> None:
    with side.client() as client:
        said = client.get("/v1/aggregates/dictionary?language=es").json()
    assert set(said["columns"]) == set(figures.COLUMNS)
    assert {row["measure"] for row in said["measures"]} == {row.id for row in ROWS.rows}
    assert said["rules"]["cell_min"] == 11


def test_a_chart_can_stand_in_any_page_and_nothing_else_can(side: Side, told: dict[str, Release]) -> None:
    with side.client() as client:
        picture = client.get("/public/charts/referrals.svg?language=es")
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert "frame-ancestors *" in picture.headers["content-security-policy"]
        assert picture.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "frame-ancestors 'none'" in client.get("/public").headers["content-security-policy"]
        assert client.get("/public/charts/nothing.svg").status_code == 404
    tree = ElementTree.fromstring(picture.text)
    assert tree.tag.endswith("svg")
    assert "puerta" in picture.text


def test_a_chart_escapes_what_people_state() -> None:
    svg = chart("<b>", [Line("<script>", [5]), Line("a & b", [None])], "hidden", alone=True)
    found: Any = ElementTree.fromstring(svg)
    assert not list(found.iter("script"))
