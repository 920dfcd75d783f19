"""Each field has one compartment, and a compartment's bytes hold nothing of another."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, compartments, fields, registry
from schemas.errors import BrokenRecord, HubError, UnknownSchema
from tests.test_codec import values_of

COMPARTMENTS = {
    "subject", "occurrence", "engagement", "activity", "clinical", "legal", "narrative", "equity",
}  # fmt: skip


def tags(schema: Any, inherited: str | None = None) -> list[tuple[str | None, str | None]]:
    """(own, enclosing) compartment of every field within a schema."""
    if isinstance(schema, list):
        return [tag for branch in schema for tag in tags(branch, inherited)]
    if not isinstance(schema, dict):
        return []
    found = []
    for field in schema.get("fields", ()):
        found.append((field.get("compartment"), inherited))
        found += tags(field["type"], field.get("compartment"))
    return found + tags(schema.get("items"), inherited)


@pytest.mark.parametrize("kind", compartments.RECORDS)
def test_every_field_is_tagged_and_a_part_never_leaves_its_whole(kind: str) -> None:
    found = tags(registry.schema(registry.newest(compartments.RECORDS[kind])))
    assert {own for own, _ in found} <= COMPARTMENTS
    assert all(enclosing in (None, own) for own, enclosing in found)


def test_the_table_of_fields_is_the_published_one() -> None:
    common = {
        "subject": "local_id name birth_date",
        "occurrence": "occurred_at ended_at place",
        "engagement": "engaged phase",
        "narrative": "narrative",
        "equity": "race_ethnicity gender tallies",
    }
    own = {
        "contact": {
            "occurrence": "facility booked_at release_expected_at released_at",
            "activity": "mode staff needs",
            "clinical": "crisis_level overdose_reversed",
            "legal": "booking_number",
        },
        "service-engagement": {
            "activity": "provider program service_code step units",
            "clinical": "codes medication",
        },
        "court-status": {"occurrence": "hearing court", "legal": "case_number charge warrant disposition"},
        "referral": {"activity": "door referred_by handoff_due_at handed_off_at", "narrative": "harm"},
    }
    for kind, extra in own.items():
        wanted = {
            name: compartment
            for table in (common, extra)
            for compartment, names in table.items()
            for name in names.split()
        }
        assert dict(compartments.fields(kind)) == wanted


@pytest.mark.parametrize("kind", compartments.RECORDS)
def test_the_models_at_the_edge_have_the_schemas_fields(kind: str) -> None:
    own = {"tallies"}  # which admit writes, and no sender
    assert set(fields.MODELS[kind].model_fields) | own == set(compartments.fields(kind))


PART_SCHEMAS = [
    (kind, compartment)
    for kind in compartments.RECORDS
    for compartment in sorted(set(compartments.fields(kind).values()))
]


@pytest.mark.parametrize(("kind", "compartment"), PART_SCHEMAS)
def test_a_compartment_survives_sealing_bytes_and_holds_only_its_own(kind: str, compartment: str) -> None:
    schema = registry.schema(registry.newest(compartments.RECORDS[kind]))
    names: dict[str, Any] = {}
    values_of(schema, names)

    @settings(max_examples=30)
    @given(values_of(schema, names))
    def check(values: dict[str, Any]) -> None:
        parts = compartments.split(kind, values)
        if compartment not in parts:
            return
        own = parts[compartment]
        data = compartments.encode(kind, compartment, own)
        found_kind, found_compartment, found = compartments.decode(data)
        assert (found_kind, found_compartment) == (kind, compartment)
        assert set(found) <= set(own)
        assert compartments.encode(kind, compartment, found) == data
        for other, values_of_other in parts.items():
            if other != compartment:
                with pytest.raises(BrokenRecord):
                    compartments.encode(kind, compartment, values_of_other)

    check()


def test_a_part_of_a_compartment_that_is_not_there_is_refused() -> None:
    with pytest.raises(BrokenRecord):
        compartments.encode("referral", "clinical", {})
    data = compartments.encode("contact", "legal", {"booking_number": "B-1"})
    with pytest.raises(BrokenRecord):
        compartments.decode(data.replace(b"legal", b"legit"))
    with pytest.raises(UnknownSchema):
        compartments.decode(b"\0\0\0\x27\x0f" + data[5:])
    with pytest.raises(BrokenRecord):
        compartments.decode(codec.header("Seen") + data[5:])


@given(st.binary(max_size=80))
def test_no_bytes_do_worse_than_one_of_our_errors(tail: bytes) -> None:
    data = codec.header("Contact") + tail
    try:
        kind, compartment, found = compartments.decode(data)
    except HubError:
        return
    assert (kind, compartments.encode(kind, compartment, found)[:5]) == ("contact", data[:5])


def test_what_a_newer_writer_says_in_words_of_its_own_is_left_out() -> None:
    shown = compartments.render(
        "contact",
        {
            "mode": compartments.UNSPECIFIED,
            "booked_at": 1_772_384_400_123,
            "place": {"district": "D1", "latitude": None},
        },
    )
    assert shown == {"booked_at": "2026-03-01T17:00:00.123Z", "place": {"district": "D1"}}
    assert compartments.render("referral", {"door": "arrest_diversion"}) == {"door": "arrest diversion"}
    assert compartments.render("court-status", {"hearing": {"status": "moved", "at": 0}}) == {
        "hearing": {"status": "moved", "at": "1970-01-01T00:00:00.000Z"}
    }
