"""Justice XML of NIEM 5 by the ready mappings: whole messages, as a county's own exchange has them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from connectors import mapping, markup
from connectors.rows import Row
from connectors.rules import segments
from schemas import cloudevents, events, fields, instant
from tests.test_events import CATEGORIES, LABELS

DATA = Path(__file__).parent / "data" / "niem"
KNOWN = set(json.loads((DATA / "elements.json").read_bytes())["elements"])
NAMES = ("booking", "release", "court-event", "charge-filing")


def read(name: str, data: bytes | None = None) -> list[Row]:
    mapper = mapping.load(f"niem-{name}")
    assert isinstance(mapper, mapping.Mapper)
    data = data or (DATA / f"{name}.xml").read_bytes()
    return list(markup.read(io.BytesIO(data), mapper, "urn:agency:county-jail"))


def published(row: Row) -> events.Published:
    assert row.event is not None, row.problems
    return events.validate(cloudevents.parse_structured(row.event), CATEGORIES, LABELS)


def at(text: str) -> int:
    return instant.parse(text)


@pytest.mark.parametrize("name", NAMES)
def test_every_element_that_a_mapping_asks_for_is_in_the_releases(name: str) -> None:
    file = mapping.load(f"niem-{name}").file
    assert isinstance(file, mapping.File)
    named = {part for path in file.paths() for part in segments(path) if part != ".."}
    assert named <= KNOWN
    assert len(named) > 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", ["7.0", "7.1", "7.2"])
def test_the_three_versions_of_niem_5_are_read_the_same(name: str, version: str) -> None:
    data = (DATA / f"{name}.xml").read_bytes()
    for other in (b"7.0", b"7.1", b"7.2"):
        data = data.replace(b"jxdm/" + other, b"jxdm/" + version.encode())
    assert [row.event for row in read(name, data)] == [row.event for row in read(name)]


def test_a_booking_is_read_with_its_person_from_elsewhere_in_the_message() -> None:
    found = published(*read("booking"))
    assert (found.category, found.id, found.local_id) == (
        "contact.custody-booking",
        "B-2026-004417",
        "I-30077",
    )
    assert found.compartments == {
        "subject": {"local_id": "I-30077", "name": "Zoë Marsh", "birth_date": "1980-02-29"},
        "occurrence": {
            "occurred_at": at("2026-03-01T20:05:00-08:00"),
            "booked_at": at("2026-03-01T20:05:00-08:00"),
            "facility": "Harbor County Jail",
        },
        "legal": {"booking_number": "B-2026-004417"},
    }


def test_what_somebody_was_arrested_for_is_no_part_of_a_contact() -> None:
    assert "Trespass" in (DATA / "booking.xml").read_text("utf-8")
    assert "Trespass" not in json.dumps(read("booking")[0].event)


def test_a_release_knows_the_booking_around_it() -> None:
    first, second = [published(row) for row in read("release")]
    assert (first.category, first.id, first.local_id) == ("contact.custody-release", "R-9001", "I-30077")
    assert first.compartments["occurrence"] == {
        "occurred_at": at("2026-03-03T06:40:00-08:00"),
        "booked_at": at("2026-03-01T20:05:00-08:00"),
        "released_at": at("2026-03-03T06:40:00-08:00"),
        "facility": "Harbor County Jail",
        "place": {"description": "North gate"},
    }
    assert (second.id, second.local_id) == ("B-2026-004420/released", "I-30101")
    assert second.occurred_at == at("2026-03-03T12:00:00-08:00")  # a day alone stands for its noon


def test_a_date_in_court_is_set_and_moved_and_a_failure_has_no_place() -> None:
    first, second, third = read("court-event")
    put, moved = published(first), published(second)
    assert (put.type, put.category, put.local_id) == ("court-status", "court.hearing", "D-5501")
    assert put.id != moved.id
    assert put.compartments["occurrence"]["hearing"] == {
        "id": "H-77",
        "status": "set",
        "at": at("2026-03-20T13:30:00-07:00"),
        "kind": "Arraignment",
        "room": "Courtroom 4",
    }
    assert put.compartments["legal"] == {"case_number": "26-1-00345-7"}
    assert moved.compartments["occurrence"]["hearing"]["status"] == "moved"
    assert moved.compartments["occurrence"]["hearing"]["at"] == at("2026-04-02T09:00:00-07:00")
    assert third.event is None
    assert [(p.path, p.code) for p in third.problems] == [
        ("line 40, nc:ActivityStatus/nc:StatusText", fields.NO_PLACE)
    ]


def test_each_charge_of_a_case_is_an_event_of_its_own() -> None:
    first, second = [published(row) for row in read("charge-filing")]
    assert [one.id for one in (first, second)] == ["F-2026-118/1", "F-2026-118/2"]
    assert {one.local_id for one in (first, second)} == {"D-5501"}
    assert first.occurred_at == at("2026-03-05T16:20:00-08:00")
    assert second.occurred_at == at("2026-03-06T12:00:00-08:00")
    assert first.compartments["legal"] == {
        "case_number": "26-1-00345-7",
        "charge": {
            "description": "Criminal trespass in the second degree",
            "severity": "Misdemeanor",
            "statute": "9A.52.080",
        },
    }
    assert second.compartments["subject"]["name"] == "Zoë Marsh"


@pytest.mark.parametrize("name", NAMES)
def test_a_message_without_a_person_is_refused_and_says_where_one_was_looked_for(name: str) -> None:
    data: Any = (DATA / f"{name}.xml").read_bytes().replace(b"IdentificationID>", b"IdentificationNo>")
    for row in read(name, data):
        assert row.event is None
        assert {problem.code for problem in row.problems} >= {"missing"}
