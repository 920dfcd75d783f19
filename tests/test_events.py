"""What an event must say, and the words that the hub has no place for."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas import cloudevents, codec, compartments, events, fields
from schemas.errors import Invalid

POLICY = json.loads((Path(__file__).parent.parent / "consent" / "policy.json").read_text())
CATEGORIES, LABELS = frozenset(POLICY["categories"]), frozenset(POLICY["labels"])
FIRST = {
    "contact": "contact.outreach",
    "service-engagement": "service.housing",
    "court-status": "court.hearing",
    "referral": "referral.community",
}


def event(kind: str = "contact", data: Any = None, **changes: Any) -> cloudevents.CloudEvent:
    item = {
        "specversion": "1.0", "id": "1", "source": "urn:agency:reach", "type": kind, "subject": "L-1",
        "time": "2026-03-01T09:00:00-08:00", "category": FIRST.get(kind), "data": data or {}, **changes,
    }  # fmt: skip
    return cloudevents.parse_structured({k: v for k, v in item.items() if v is not ...})


def valid(kind: str = "contact", data: Any = None, **changes: Any) -> events.Published:
    return events.validate(event(kind, data, **changes), CATEGORIES, LABELS)


def problems(kind: str = "contact", data: Any = None, **changes: Any) -> set[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        valid(kind, data, **changes)
    return {(problem.path, problem.code) for problem in caught.value.problems}


def test_an_event_is_sorted_into_its_compartments() -> None:
    found = valid(
        data={
            "name": "Ana Ríos",
            "birth_date": "1980-02-29",
            "place": {"description": "Pier 4", "latitude": 47.6},
            "engaged": True,
            "phase": "outreach",
            "mode": "in person",
            "crisis_level": "low",
            "booking_number": "B-1",
            "narrative": "Met.",
            "gender": "woman",
            "race_ethnicity": ["Latina"],
            "booked_at": "2026-03-01T10:00:00.5-08:00",
        },
        labels=" part2,hiv ,, ",
    )
    assert found.labels == ("hiv", "part2")
    assert (found.category, found.occurred_at, found.local_id) == (
        "contact.outreach",
        1_772_384_400_000,
        "L-1",
    )
    assert found.compartments == {
        "subject": {"name": "Ana Ríos", "birth_date": "1980-02-29", "local_id": "L-1"},
        "occurrence": {
            "place": {"description": "Pier 4", "latitude": 47.6},
            "booked_at": 1_772_388_000_500,
            "occurred_at": 1_772_384_400_000,
        },
        "engagement": {"engaged": True, "phase": "outreach"},
        "activity": {"mode": "in_person"},
        "clinical": {"crisis_level": "low"},
        "legal": {"booking_number": "B-1"},
        "narrative": {"narrative": "Met."},
        "equity": {"gender": "woman", "race_ethnicity": ["Latina"]},
    }


@pytest.mark.parametrize("kind", FIRST)
def test_every_event_has_a_person_and_a_time_and_its_parts_can_be_written(kind: str) -> None:
    found = valid(kind)
    assert found.compartments == {
        "subject": {"local_id": "L-1"},
        "occurrence": {"occurred_at": 1_772_384_400_000},
    }
    for compartment, part in found.compartments.items():
        assert compartments.decode(compartments.encode(kind, compartment, part))[2] == part


WORDS = {
    ("contact", "phase"): ["outreach", "intake", "active", "graduated"],
    ("contact", "mode"): ["in person", "phone", "message", "video"],
    ("service-engagement", "step"): ["offered", "accepted", "started", "ongoing", "paused", "completed"],
    ("court-status", "hearing/status"): ["set", "moved", "cancelled", "held"],
    ("court-status", "warrant/status"): ["issued", "quashed", "served"],
    ("referral", "door"): ["arrest diversion", "social contact", "community"],
}


def nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition("/")
    return {head: nested(rest, value) if rest else value}


@pytest.mark.parametrize(("kind", "path"), WORDS)
def test_the_words_of_a_list_are_these_however_they_are_joined(kind: str, path: str) -> None:
    for word in WORDS[kind, path]:
        for written in (word, word.upper(), word.replace(" ", "-"), word.replace(" ", "_"), f" {word} "):
            found = valid(kind, nested(path, written))
            assert word.replace(" ", "_") in json.dumps(found.compartments)
    for wrong in ("unspecified", "other", 3, ["phone"]):
        assert problems(kind, nested(path, wrong)) == {(f"/data/{path}", "unknown-value")}


FAILURES = [
    "failed", "no-show", "no show", "NO_SHOW", "noshow", "non-compliant", "Noncompliant", "not compliant",
    "positive test", "positive-test", "tested positive", "failed to appear", "FTA", "non-compliance",
]  # fmt: skip


@pytest.mark.parametrize("word", FAILURES)
@pytest.mark.parametrize(("kind", "path"), WORDS)
def test_no_list_has_a_place_for_a_failure(kind: str, path: str, word: str) -> None:
    assert problems(kind, nested(path, word)) == {(f"/data/{path}", "failure-has-no-place")}


@pytest.mark.parametrize("word", ["failed", "No show", "non-compliant", "positive test"])
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("contact", "crisis_level"),
        ("contact", "needs"),
        ("service-engagement", "service_code"),
        ("court-status", "disposition"),
        ("court-status", "hearing/kind"),
    ],
)
def test_nor_have_fields_of_codes(kind: str, path: str, word: str) -> None:
    value = [word] if path == "needs" else word
    where = "/data/needs/0" if path == "needs" else f"/data/{path}"
    assert problems(kind, nested(path, value)) == {(where, "failure-has-no-place")}


@pytest.mark.parametrize("name", ["no_show", "failed", "positive_test", "compliance_failure", "noncompliant"])
def test_nor_does_an_invented_field_make_one(name: str) -> None:
    assert problems(data={name: True}) == {(f"/data/{name}", "failure-has-no-place")}


@pytest.mark.parametrize("category", ["contact.no-show", "service.failed", "court.failure-to-appear"])
def test_nor_does_an_invented_category(category: str) -> None:
    assert problems(category=category) == {("/category", "failure-has-no-place")}


@pytest.mark.parametrize("value", [False, "no", "false", "not engaged"])
def test_engaged_is_true_or_absent(value: object) -> None:
    assert problems(data={"engaged": value}) == {("/data/engaged", "failure-has-no-place")}
    assert problems(data={"engaged": 1}) == {("/data/engaged", "wrong-type")}


def test_words_that_only_sound_like_failure_are_left_alone() -> None:
    valid(data={"needs": ["heart failure clinic"], "narrative": "She failed to reach her sister."})
    valid("service-engagement", {"codes": [{"system": "icd", "code": "N19", "display": "Kidney failure"}]})
    valid("court-status", {"charge": {"description": "Failure to appear", "severity": "violation"}})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "smoke"}, {("/type", "unknown-type")}),
        ({"category": ...}, {("/category", "missing")}),
        ({"category": "contact"}, {("/category", "unknown-category")}),
        ({"category": "contact.outreach.more"}, {("/category", "unknown-category")}),
        ({"category": "court.hearing"}, {("/category", "category-not-of-type")}),
        ({"labels": "part2,secret"}, {("/labels", "unknown-label")}),
        ({"time": ...}, {("/time", "missing")}),
        ({"time": "2026-03-01T09:00:00"}, {("/time", "bad-time")}),
        ({"subject": ...}, {("/subject", "missing")}),
        ({"subject": "  "}, {("/subject", "missing")}),
        ({"data": {"local_id": "L-2"}}, {("/data/local_id", "subject-differs")}),
        ({"data": {"occurred_at": "2026-03-01T09:00:01-08:00"}}, {("/data/occurred_at", "time-differs")}),
        ({"data": {"ended_at": "2026-03-01T08:00:00-08:00"}}, {("/data/ended_at", "ends-before-it-begins")}),
        ({"data": {"booked_at": 1_772_384_400_123}}, {("/data/booked_at", "bad-time")}),
        ({"data": {"booked_at": "soon"}}, {("/data/booked_at", "bad-time")}),
        ({"data": {"birth_date": "1980-02-30"}}, {("/data/birth_date", "bad-date")}),
        ({"data": {"birth_date": "19800201"}}, {("/data/birth_date", "bad-date")}),
        ({"data": {"name": "x" * 600}}, {("/data/name", "too-long")}),
        ({"data": {"name": 5}}, {("/data/name", "wrong-type")}),
        ({"data": {"needs": "shelter"}}, {("/data/needs", "wrong-type")}),
        ({"data": {"needs": ["x"] * 51}}, {("/data/needs", "too-many")}),
        ({"data": {"overdose_reversed": "yes"}}, {("/data/overdose_reversed", "wrong-type")}),
        ({"data": {"place": {"latitude": 91}}}, {("/data/place/latitude", "out-of-range")}),
        ({"data": {"place": {"planet": "x"}}}, {("/data/place/planet", "unknown-field")}),
        ({"data": {"place": "here"}}, {("/data/place", "wrong-type")}),
        ({"data": {"hearing": {}}}, {("/data/hearing", "unknown-field")}),
        ({"data": {"Jane Doe": 1}}, {("/data/*", "unknown-field")}),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_its_place(
    changes: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert problems(**changes) == expected


def test_all_problems_are_told_at_once_and_none_repeats_what_was_said() -> None:
    with pytest.raises(Invalid) as caught:
        valid(data={"mode": "Ana Ríos", "staff": ["Ana Ríos"], "Ana Ríos": "Ana Ríos"}, labels="Ana Ríos")
    assert len(caught.value.problems) == 4
    assert "Ana" not in str([*caught.value.problems, caught.value])


def test_what_is_blank_is_absent() -> None:
    blank = {"name": "", "staff": "  ", "needs": [], "place": {"district": ""}, "phase": None, "mode": ""}
    assert valid(data=blank).compartments == {
        "subject": {"local_id": "L-1"},
        "occurrence": {"occurred_at": 1_772_384_400_000},
    }


def test_a_person_may_be_named_in_the_payload_alone() -> None:
    assert valid(data={"local_id": "L-9"}, subject=...).local_id == "L-9"


def test_instants_in_avro_are_numbers() -> None:
    headers = [
        (f"ce_{name}", value)
        for name, value in {
            "specversion": b"1.0", "id": b"1", "source": b"urn:agency:reach", "type": b"contact",
            "subject": b"L-1", "time": b"2026-03-01T17:00:00Z", "category": b"contact.outreach",
        }.items()
    ]  # fmt: skip
    value = codec.encode("Contact", {"booked_at": 1_772_384_400_123, "mode": "in_person"})
    found = events.validate(
        cloudevents.parse_kafka([*headers, ("content-type", b"application/avro")], value), CATEGORIES, LABELS
    )
    assert found.compartments["occurrence"]["booked_at"] == 1_772_384_400_123
    assert found.compartments["activity"] == {"mode": "in_person"}


def test_a_fingerprint_tells_a_repeat_from_another_event_under_the_same_id() -> None:
    first = events.fingerprint(valid(data={"staff": "a", "mode": "phone"}, labels="hiv,part2"))
    same = valid(data={"mode": "PHONE", "staff": "a"}, labels="part2,hiv", time="2026-03-01T17:00:00.0001Z")
    assert events.fingerprint(same) == first
    for other in (
        valid(data={"staff": "b", "mode": "phone"}, labels="hiv,part2"),
        valid(data={"staff": "a", "mode": "phone"}, labels="hiv"),
        valid(data={"staff": "a", "mode": "phone"}, labels="hiv,part2", subject="L-2"),
        valid(data={"staff": "a", "mode": "phone"}, labels="hiv,part2", time="2026-03-01T17:00:01Z"),
    ):
        assert events.fingerprint(other) != first


def test_every_category_of_the_policy_belongs_to_a_type() -> None:
    assert {events.type_of(category) for category in CATEGORIES} == set(fields.MODELS)
