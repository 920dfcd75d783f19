"""The plain layouts for systems that can export a report: police dispatch and the jail's roster."""

import csv
import io

import pytest

from connectors import archive, mapping
from connectors.rows import Row
from schemas import cloudevents, events, fields, instant
from tests.test_events import CATEGORIES, LABELS


def read(name: str, *lines: dict[str, str]) -> list[Row]:
    mapper = mapping.load(name)
    assert isinstance(mapper, mapping.Mapper)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, mapper.input.columns, restval="")
    writer.writeheader()
    writer.writerows(lines)
    return list(archive.read(io.BytesIO(text.getvalue().encode()), mapper, "urn:agency:county-jail"))


def published(row: Row) -> events.Published:
    assert row.event is not None, row.problems
    return events.validate(cloudevents.parse_structured(row.event), CATEGORIES, LABELS)


CALL = {
    "IncidentNumber": "26-0044",
    "SubjectID": "S-1",
    "CallType": "CRISIS",
    "ReceivedAt": "03/01/2026 21:14",
    "ClosedAt": "03/01/2026 22:02:30",
    "Location": "3rd and Pine",
    "Latitude": "47.61",
    "Longitude": "-122.34",
    "District": "West",
    "Officer": "u12",
    "ContactMode": "FIELD",
    "Needs": "SHELTER;NONE;MH",
    "CrisisLevel": "2",
    "NaloxoneReversal": "N",
    "Remarks": "Talked, then walked along to the day centre.",
}


def test_a_call_becomes_a_contact_and_each_compartment_gets_its_own() -> None:
    found = published(*read("police-dispatch", CALL))
    assert (found.category, found.id, found.local_id) == ("contact.crisis", "26-0044/S-1", "S-1")
    assert found.compartments == {
        "subject": {"local_id": "S-1"},
        "occurrence": {
            "occurred_at": instant.parse("2026-03-01T21:14:00-08:00"),
            "ended_at": instant.parse("2026-03-01T22:02:30-08:00"),
            "place": {
                "description": "3rd and Pine",
                "latitude": 47.61,
                "longitude": -122.34,
                "district": "West",
            },
        },
        "activity": {"mode": "in_person", "staff": "u12", "needs": ["shelter", "mental health care"]},
        "clinical": {"crisis_level": "2", "overdose_reversed": False},
        "narrative": {"narrative": "Talked, then walked along to the day centre."},
    }


def test_several_people_of_one_call_are_several_events_and_calls_about_nobody_are_none() -> None:
    rows = read("police-dispatch", CALL, CALL | {"SubjectID": "S-2"}, CALL | {"CallType": "ALARM"})
    assert [row.event and row.event["id"] for row in rows] == ["26-0044/S-1", "26-0044/S-2", None]
    assert not any(row.problems for row in rows)


@pytest.mark.parametrize(
    ("change", "column", "code"),
    [
        ({"CallType": "HOMICIDE"}, "CallType", "no-such-value"),
        ({"SubjectID": ""}, "SubjectID", "missing"),
        ({"Needs": "no-show"}, "Needs", fields.NO_PLACE),
        ({"Latitude": "north"}, "Latitude", "bad-number"),
    ],
)
def test_what_does_not_fit_a_call_is_told_by_its_column(
    change: dict[str, str], column: str, code: str
) -> None:
    (row,) = read("police-dispatch", CALL | change)
    assert (f"line 2, column {column}", code) in {problem[:2] for problem in row.problems}


STAY = {
    "BookingNumber": "B-1",
    "InmateID": "I-1",
    "BookedAt": "03/01/2026 20:05",
    "ReleaseExpected": "03/04/2026",
    "Facility": "Harbor County Jail",
    "MedicalNeeds": "MED/WD",
    "Status": "HELD",
}


def test_a_stay_is_a_booking_and_then_a_release() -> None:
    booked, moved, left, practice = read(
        "jail-roster",
        STAY,
        STAY | {"ReleaseExpected": "03/05/2026"},
        STAY | {"ReleasedAt": "03/03/2026 06:40"},
        STAY | {"Status": "TEST"},
    )
    first, second, third = (published(row) for row in (booked, moved, left))
    assert [one.category for one in (first, second, third)] == [
        "contact.custody-booking",
        "contact.custody-booking",
        "contact.custody-release",
    ]
    assert len({one.id for one in (first, second, third)}) == 3
    assert first.compartments["occurrence"]["release_expected_at"] == instant.parse(
        "2026-03-04T08:00:00-08:00"
    )
    assert first.compartments["activity"] == {"needs": ["medication", "withdrawal care"]}
    assert third.occurred_at == instant.parse("2026-03-03T06:40:00-08:00")
    assert (practice.event, practice.problems) == (None, ())
    assert published(read("jail-roster", STAY)[0]) == first  # tomorrow's roster says the same again
