"""The one mapping format, and the two mappings that come with the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import mapping, rules, times
from connectors.rules import segments, select
from schemas import cloudevents, events, fields
from schemas.errors import Invalid
from tests.test_events import CATEGORIES, LABELS

HMIS_2026 = json.loads((Path(__file__).parent / "data" / "hmis.json").read_bytes())["2026"][
    "CurrentLivingSituation.csv"
]

MAPPING = """
name = "plain"
title = "A plain file"
[input]
format = "csv"
columns = ["ID", "Who", "When", "What", "Needs", "Units", "Lat", "Yes", "Born"]
timezone = "America/Los_Angeles"
[event]
type = "contact"
id = "ID"
subject = "Who"
time = { path = "When", format = ["%m/%d/%Y %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], as = "instant" }
category = { path = "What", table = { O = "contact.outreach", C = "contact.crisis" } }
[fields]
needs = { path = "Needs", as = "list", table = "needs", otherwise = "something else" }
"place/latitude" = { path = "Lat", as = "number" }
overdose_reversed = { path = "Yes", as = "boolean" }
birth_date = { path = "Born", format = "%d.%m.%Y", as = "date" }
[tables.needs]
S = "shelter"
X = ""
"""
GOOD = {"ID": "1", "Who": "L-1", "When": "03/01/2026 09:00", "What": "O"}


def mapper(text: str = MAPPING) -> mapping.Mapper:
    return mapping.Mapper(mapping.parse(text))


def event(**row: str) -> dict[str, Any]:
    return mapper().event_of({**GOOD, **row}, "urn:agency:reach")


def problems(**row: str) -> set[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        event(**row)
    return {(problem.path, problem.code) for problem in caught.value.problems}


def test_a_line_becomes_an_event() -> None:
    row = {"Needs": " S; X ;Q", "Lat": "47.5", "Yes": "Y", "Born": "29.02.1980"}
    assert event(**row) == {
        "specversion": "1.0",
        "source": "urn:agency:reach",
        "type": "contact",
        "id": "1",
        "subject": "L-1",
        "time": "2026-03-01T09:00:00-08:00",
        "category": "contact.outreach",
        "data": {
            "needs": ["shelter", "something else"],
            "place": {"latitude": 47.5},
            "overdose_reversed": True,
            "birth_date": "1980-02-29",
        },
    }
    assert event()["data"] == {}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"ID": " "}, {("ID", "missing")}),
        ({"When": "1 March"}, {("When", "bad-time")}),
        ({"When": "02/30/2026 09:00"}, {("When", "bad-time")}),
        ({"When": "03/08/2026 02:30"}, {("When", "no-such-time")}),
        ({"What": "Z"}, {("What", "no-such-value")}),
        ({"What": "no-show"}, {("What", "failure-has-no-place")}),
        ({"Lat": "north"}, {("Lat", "bad-number")}),
        ({"Yes": "perhaps"}, {("Yes", "bad-boolean")}),
        (
            {"ID": "", "What": "Z", "Lat": "x"},
            {("ID", "missing"), ("What", "no-such-value"), ("Lat", "bad-number")},
        ),
    ],
)
def test_each_value_that_does_not_fit_is_named_by_its_column(
    row: dict[str, str], expected: set[tuple[str, str]]
) -> None:
    assert problems(**row) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("03/08/2026 01:59", "2026-03-08T01:59:00-08:00"),
        ("03/08/2026 03:00", "2026-03-08T03:00:00-07:00"),
        ("11/01/2026 01:30", "2026-11-01T01:30:00-07:00"),  # it comes twice: the first of the two
        ("2026-07-01", "2026-07-01T12:00:00-07:00"),
        ("2026-07-01T08:00:00+02:00", "2026-07-01T08:00:00+02:00"),
    ],
)
def test_local_times_follow_the_clocks(text: str, expected: str) -> None:
    assert event(When=text)["time"] == expected


def test_an_error_of_the_hub_is_traced_back_to_the_column() -> None:
    plain = mapper()
    assert plain.origin("/data/place/latitude") == "Lat"
    assert plain.origin("/data/place") == "Lat"
    assert plain.origin("/data/needs/0") == "Needs"
    assert plain.origin("/time") == "When"
    assert plain.origin("/data/staff") is None
    assert plain.origin("") is None


TREE = {
    "a": "1",
    "list": [{"b": "2", "c": ["3", "4"]}, {"b": "5"}],
    "one": {"c": "10", "#text": "own"},
    "x/y": "6",
    "~": "7",
    "@id": "8",
    "*": "9",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", ["1"]),
        ("list/b", ["2"]),
        ("list/*/b", ["2", "5"]),
        ("list/*/c/*", ["3", "4"]),
        ("list/c", ["3"]),
        ("x~1y", ["6"]),
        ("~0", ["7"]),
        ("@id", ["8"]),
        ("one/*/c/*", ["10"]),
        ("list/*[b=5]/b", ["5"]),
        ("list/*[b=2]/c/*", ["3", "4"]),
        ("list/*[b=9]/b", []),
        ("list/*[c=4]/b", []),
        ("one/*[c=10]", ["own"]),
        ("one", ["own"]),
        ("a/*", ["1"]),
        ("nothing", []),
        ("a/b", []),
        ("list", []),
        ("list/*", []),
        ("", []),
    ],
)
def test_paths_lead_through_trees(path: str, found: list[str]) -> None:
    assert list(select(TREE, segments(path))) == found


@given(
    st.lists(st.text(min_size=1).filter(lambda name: not name.startswith("*")), min_size=1, max_size=4),
    st.text(),
)
def test_any_name_can_be_reached(names: list[str], value: str) -> None:
    tree: Any = value
    for name in reversed(names):
        tree = {name: tree}
    path = "/".join(name.replace("~", "~0").replace("/", "~1") for name in names)
    assert list(select(tree, segments(path))) == [value]


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("[event]", "[evnt]", "missing"),
        ('name = "plain"', "name = 5", "string-type"),
        ("[fields]", "[fields]\nshoe_size = 'Who'", "no-such-field"),
        ('"needs", otherwise', '"wants", otherwise', "no-such-table"),
        ('subject = "Who"', 'subject = "Whom"', "no-such-column"),
        ('subject = "Who"', 'subject = { path = "Who", constant = "x" }', "one-origin"),
        ('subject = "Who"', "subject = {}", "one-origin"),
        ('as = "date"', 'as = "day"', "literal-error"),
        ('format = "%d.%m.%Y", ', "", "no-format"),
        ("America/Los_Angeles", "America/Lost_Angeles", "no-such-zone"),
        ("America/Los_Angeles", "../../etc/passwd", "no-such-zone"),
        ("[tables.needs]", "[tables.needs", "not-toml"),
        ('type = "contact"', 'type = "concat"', "literal-error"),
        ('as = "date"', 'as = "date", time_of_day = "noon"', "no-such-time"),
        ('format = "csv"', 'format = "csv"\nrecord = "x"', "not-of-this-format"),
        ('subject = "Who"', "subject = { first = [] }", "too-short"),
        ('subject = "Who"', 'subject = { first = ["Who", "Whom"] }', "no-such-column"),
    ],
)
def test_a_mapping_that_is_wrong_says_so_before_any_record(before: str, after: str, code: str) -> None:
    assert before in MAPPING
    with pytest.raises(Invalid) as caught:
        mapping.parse(MAPPING.replace(before, after))
    assert code in {problem.code for problem in caught.value.problems}


def test_a_mapping_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(Invalid, match="hmis-current-living-situation"):
        mapping.load("no-such-thing")


def test_records_are_left_out_by_value_or_by_presence() -> None:
    text = MAPPING + '[[skip]]\npath = "Yes"\n[[skip]]\npath = "What"\nvalues = ["D"]\n'
    plain = mapper(text)
    assert plain.skips({**GOOD, "Yes": "1"})
    assert plain.skips({**GOOD, "What": "D"})
    assert not plain.skips({**GOOD, "Yes": " "})


def test_the_first_of_several_rules_that_gives_anything_counts() -> None:
    text = MAPPING.replace(
        'subject = "Who"', 'subject = { first = ["Yes", { parts = ["Who", "Born"], join = "/" }, "ID"] }'
    )
    for row, expected in (
        ({"Yes": "1"}, "1"),
        ({}, "L-1"),
        ({"Born": "01.02.1980"}, "L-1/01.02.1980"),
        ({"Who": ""}, "1"),
    ):
        assert mapper(text).event_of({**GOOD, **row}, "s")["subject"] == expected
    with pytest.raises(Invalid) as caught:
        mapper(text).event_of({**GOOD, "Who": "", "ID": ""}, "s")
    assert ("Yes", "missing") in {problem[:2] for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-03-01T12:00:00-08:00"),
        ("2026-03-01Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01-05:00", "2026-03-01T12:00:00-05:00"),
        ("2026-03-01T09:30:00", "2026-03-01T09:30:00-08:00"),
        ("2026-03-01T09:30:00.25Z", "2026-03-01T09:30:00.250000+00:00"),
        ("2026-03-01T09:30:00+02:00", "2026-03-01T09:30:00+02:00"),
    ],
)
def test_times_as_xml_and_fhir_write_them(text: str, expected: str) -> None:
    iso = MAPPING.replace('format = ["%m/%d/%Y %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"]', 'format = "iso"')
    assert mapper(iso).event_of({**GOOD, "When": text}, "s")["time"] == expected


def test_several_records_make_one_event() -> None:
    text = MAPPING.replace('path = "Needs"', 'path = "*/Needs"')
    lines = [{**GOOD, "Needs": "S"}, {**GOOD, "Needs": "Q;S", "When": "later"}]
    found = mapper(text).event_of(lines, "urn:agency:reach")
    assert found["data"] == {"needs": ["shelter", "something else", "shelter"]}


def test_a_required_value_is_asked_for() -> None:
    text = MAPPING.replace('path = "Lat", as', 'path = "Lat", required = true, as')
    with pytest.raises(Invalid) as caught:
        mapper(text).event_of(GOOD, "s")
    assert [(p.path, p.code) for p in caught.value.problems] == [("Lat", "missing")]


@given(st.dictionaries(st.sampled_from(sorted([*GOOD, "Needs", "Lat", "Yes", "Born"])), st.text(max_size=20)))
def test_no_line_does_worse_than_one_of_our_errors(row: dict[str, str]) -> None:
    try:
        found = mapper().event_of(row, "urn:agency:reach")
    except Invalid as error:
        assert error.problems  # noqa: PT017
    else:
        assert {"id", "subject", "time", "category", "data"} <= set(found)


def _tabled(file: mapping.File, rule: rules.Rule) -> list[object]:
    """Every value that a rule's tables can give."""
    found: list[object] = [] if rule.otherwise is None else [rule.otherwise]
    table = file.tables[rule.table] if isinstance(rule.table, str) else rule.table or {}
    found += table.values()
    for part in (*(rule.first or ()), *(rule.parts or ())):
        found += [part.constant, *_tabled(file, part)]
    return [value for value in found if value not in (None, "")]


def published(name: str, row: dict[str, str]) -> events.Published:
    item = mapping.load(name).event_of(row, "urn:agency:reach")
    return events.validate(cloudevents.parse_structured(item), CATEGORIES, LABELS)


def test_an_hmis_line_becomes_an_outreach_contact() -> None:
    row = dict.fromkeys(HMIS_2026, "") | {
        "CurrentLivingSitID": "77", "PersonalID": "P-9", "InformationDate": "2026-03-01",
        "CurrentLivingSituation": "116", "LocationDetails": "Pier 4", "UserID": "u7",
        "DateUpdated": "2026-03-02 08:00:00",
    }  # fmt: skip
    found = published("hmis-current-living-situation", row)
    assert (found.category, found.local_id) == ("contact.outreach", "P-9")
    assert found.id == "77@2026-03-02 08:00:00"
    assert found.occurred_at == 1_772_395_200_000  # noon in Los Angeles
    assert found.compartments["occurrence"]["place"] == {
        "description": "A place not meant for habitation: Pier 4"
    }
    assert found.compartments["engagement"] == {"phase": "outreach"}
    hmis = mapping.load("hmis-current-living-situation")
    assert hmis.skips({**row, "DateDeleted": "2026-03-03 08:00:00"})
    assert not hmis.skips(row)
    for silent in ("99", "8", "9", "37", ""):
        told = published("hmis-current-living-situation", {**row, "CurrentLivingSituation": silent})
        assert told.compartments["occurrence"]["place"] == {"description": "Pier 4"}


def test_a_docket_entry_becomes_a_court_status() -> None:
    columns = mapping.load("court-docket").input.columns
    row = dict.fromkeys(columns, "") | {
        "EntryID": "E1", "EntryDate": "03/01/2026", "EntryTime": "09:00", "EntryType": "HEARING",
        "DefendantID": "D-1", "DateOfBirth": "02/29/1980", "HearingDate": "03/20/2026",
        "HearingTime": "1:30 PM", "HearingStatus": "CONTINUED", "Courtroom": "4", "CaseNumber": "C-1",
    }  # fmt: skip
    found = published("court-docket", row)
    assert found.category == "court.hearing"
    assert found.compartments["occurrence"]["hearing"] == {
        "status": "moved",
        "at": 1_774_038_600_000,
        "room": "4",
    }
    assert found.compartments["legal"] == {"case_number": "C-1"}
    with pytest.raises(Invalid) as caught:
        published("court-docket", {**row, "HearingStatus": "NO SHOW"})
    assert caught.value.problems[0][:2] == ("HearingStatus", fields.NO_PLACE)


@pytest.mark.parametrize("name", mapping.ready())
def test_ready_mappings_speak_only_of_fields_and_categories_there_are(name: str) -> None:
    file = mapping.load(name).file
    if isinstance(file, mapping.Archive):
        assert set(file.archive.values()) <= set(mapping.ready())
        return
    named = {str(v) for v in (file.event.category.constant, *_tabled(file, file.event.category)) if v}
    assert named <= set(CATEGORIES)
    assert {events.type_of(category) for category in named} == {file.event.type}
    if file.event.labels is not None:
        assert {w for text in _tabled(file, file.event.labels) for w in str(text).split(",")} <= set(LABELS)
    model = fields.MODELS[file.event.type]
    for target in file.fields:
        head, *rest = segments(target)
        inner: Any = model.model_fields[head].annotation
        for part in rest:
            inner = next(kind for kind in inner.__args__ if hasattr(kind, "model_fields"))
            assert part in inner.model_fields
            inner = inner.model_fields[part].annotation


def test_formats_without_a_time_of_day_are_known_for_what_they_are() -> None:
    assert times.read("2026-03-01", ("%Y-%m-%d",), "UTC", "06:30", False) == "2026-03-01T06:30:00+00:00"
    with pytest.raises(times.Unreadable):
        times.read("2026-03-01", ("%d.%m.%Y",), "UTC", None, False)
    assert rules.texts("a")({"a": ["1", "2"]}) == ["1"]


def test_the_mapping_of_the_documentation_works() -> None:
    text = (Path(__file__).parent.parent / "docs" / "mapping.md").read_text("utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    row = {
        "Booking": "B-1", "Inmate": "I-1", "Booked": "03/01/2026 09:00", "Release": "03/04/2026",
        "Reason": "", "Medical": "WD/NONE", "Status": "",
    }  # fmt: skip
    item = mapper(example).event_of(row, "urn:agency:county-jail")
    found = events.validate(cloudevents.parse_structured(item), CATEGORIES, LABELS)
    assert found.category == "contact.custody-booking"
    assert found.compartments["activity"] == {"needs": ["withdrawal care"]}
    assert found.compartments["occurrence"]["release_expected_at"] == 1_772_640_000_000
    assert mapper(example).skips({**row, "Status": "TEST"})
