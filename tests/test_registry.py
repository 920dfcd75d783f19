"""The read side of the Schema Registry, as pure data."""

import json

import pytest

from schemas import registry, topics
from schemas.errors import UnknownSchema


def test_ids_are_fixed_unique_and_without_gaps() -> None:
    files = {}
    for row in registry.ROWS:
        assert files.setdefault(row.id, row.file) == row.file
    assert sorted(files) == list(range(1, len(files) + 1))
    assert len(set(files.values())) == len(files)


def test_every_topic_with_records_of_ours_has_its_subject() -> None:
    subjects = set(registry.subjects(["reach"]))
    for topic in (
        *topics.TOPICS.values(),
        *topics.agency_topics("reach"),
        *topics.stakeholder_topics("reach"),
    ):
        if topic.name not in {"timers", "tallied"}:  # which are Faust's own
            assert f"{topic.name}-value" in subjects
    for row in registry.ROWS:
        if row.subject.endswith("-value"):
            topics.find(row.subject.removesuffix("-value").replace("*", "reach"))


def test_versions_count_from_one() -> None:
    for subject in registry.subjects(["reach", "harbor-house"]):
        assert [row.version for row in registry.versions(subject)] == list(
            range(1, len(registry.versions(subject)) + 1)
        )
        assert registry.version(subject, "latest") == registry.versions(subject)[-1]
        assert registry.version(subject, 1) == registry.versions(subject)[0]


@pytest.mark.parametrize(
    "subject", ["", "nothing", "inbox.*-value", "inbox.A-value", "inbox.-value", "consent"]
)
def test_a_subject_that_is_not_there_has_no_versions(subject: str) -> None:
    assert registry.versions(subject) == ()
    assert registry.version(subject, "latest") is None
    assert registry.lookup(subject, registry.text(1)) is None


def test_a_schema_is_looked_up_by_what_it_reads_not_by_its_text() -> None:
    contact = registry.schema(registry.newest("Contact"))
    row = registry.lookup("diversion.Contact", json.dumps(contact, indent=4))
    assert row is not None
    assert row.id == registry.newest("Contact")
    del contact["doc"]
    assert registry.lookup("inbox.reach-value", json.dumps(contact)) is not None
    del contact["fields"][0]
    assert registry.lookup("diversion.Contact", json.dumps(contact)) is None


@pytest.mark.parametrize("text", ["", "{", "[" * 5000, '{"type": "record"}', '"nothing"', "1", "null"])
def test_looking_up_what_is_no_schema_finds_nothing(text: str) -> None:
    assert registry.lookup("consent-value", text) is None


def test_an_unknown_id_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownSchema):
        registry.text(9999)
    with pytest.raises(UnknownSchema):
        registry.newest("Nothing")


def test_records_that_embed_an_envelope_embed_the_same_one() -> None:
    """The hot path copies an envelope's bytes from one record into the next."""

    def envelopes(schema: object) -> list[object]:
        if isinstance(schema, list):
            return [found for item in schema for found in envelopes(item)]
        if not isinstance(schema, dict):
            return []
        found = [schema] if schema.get("name") == "Envelope" else []
        return found + [each for value in schema.values() for each in envelopes(value)]

    found = [
        each
        for name in ("Event", "Decision", "Outbound", "Reconsider")
        for each in envelopes(registry.schema(registry.newest(name)))
    ]
    assert len(found) == 4
    assert all(each == found[0] for each in found)


def test_a_row_is_shown_as_the_api_shows_it() -> None:
    row = registry.version("inbox.reach-value", 1)
    assert row is not None
    shown = registry.as_json(row)
    assert (shown["subject"], shown["version"], shown["schemaType"]) == ("inbox.reach-value", 1, "AVRO")
    assert json.loads(shown["schema"])["name"] == "Inbound"
    assert {each.subject for each in registry.subjects_of(registry.newest("Event"))} == {
        f"{topic}-value" for topic in topics.EVENT_TOPICS
    }
