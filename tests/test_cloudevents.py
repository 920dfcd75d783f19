"""CloudEvents in every form they may take; the official SDK writes them, and ours reads them."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Written

from schemas import cloudevents, codec
from schemas.cloudevents import CloudEvent
from schemas.errors import BrokenRecord, Invalid, UnknownSchema

ITEM: dict[str, Any] = {
    "specversion": "1.0", "id": "1", "source": "urn:agency:reach", "type": "contact", "subject": "L-1",
    "time": "2026-03-01T09:00:00-08:00", "category": "contact.outreach", "labels": "part2",
    "data": {"staff": "Zoë", "needs": ["bus pass"]},
}  # fmt: skip
READ = CloudEvent(
    id="1", source="urn:agency:reach", type="contact", subject="L-1", time="2026-03-01T09:00:00-08:00",
    extensions={"category": "contact.outreach", "labels": "part2"}, data=ITEM["data"],
)  # fmt: skip


def body(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**ITEM, **changes}.items() if v is not ...}).encode()


def refused(raw: bytes) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        cloudevents.structured(raw)
    return caught.value.path, caught.value.code


def test_structured_mode() -> None:
    assert cloudevents.structured(body()) == READ
    assert cloudevents.structured(cloudevents.dump(READ)) == READ
    assert cloudevents.structured(body(dataschema="https://x", traceparent="00-a")).extensions["traceparent"]


def test_data_in_base64() -> None:
    encoded = base64.b64encode(json.dumps(ITEM["data"]).encode()).decode()
    assert cloudevents.structured(body(data=..., data_base64=encoded)) == READ
    long = base64.b64encode(json.dumps({"needs": ["x" * 30_000, "y" * 30_000]}).encode()).decode()
    assert cloudevents.structured(body(data=..., data_base64=long)).data["needs"][1][:1] == "y"


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"id": ...}, "/id", "missing"),
        ({"id": ""}, "/id", "missing"),
        ({"source": ...}, "/source", "missing"),
        ({"type": ...}, "/type", "missing"),
        ({"specversion": ...}, "/specversion", "missing"),
        ({"specversion": "0.3"}, "/specversion", "unknown-version"),
        ({"id": 5}, "/id", "wrong-type"),
        ({"labels": ["part2"]}, "/labels", "wrong-type"),
        ({"id": "x" * 256}, "/id", "too-long"),
        ({"Jane Doe": "x"}, "/*", "bad-attribute"),
        ({"data": [1]}, "/data", "wrong-type"),
        ({"data": ...}, "/data", "wrong-type"),
        ({"data": {"name": "\ud800"}}, "/data/name", "lone-surrogate"),
        ({"data": {"name": "x\0"}}, "/data/name", "nul-character"),
        ({"data": {"narrative": "x" * 40_000}}, "/data/narrative", "too-long"),
        ({"data_base64": "AA=="}, "/data", "data-twice"),
        ({"data": ..., "data_base64": "*"}, "/data_base64", "not-base64"),
        ({"data": ..., "data_base64": 5}, "/data_base64", "not-base64"),
        ({"data": ..., "data_base64": "W10="}, "/data", "wrong-type"),
        ({"data": ..., "data_base64": "eyJuYW1lIjoiXHUwMDAwIn0="}, "/data/name", "nul-character"),
        ({"datacontenttype": "text/xml"}, "/datacontenttype", "unknown-content-type"),
        ({"id": "x\0"}, "/id", "nul-character"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], path: str, code: str) -> None:
    assert refused(body(**changes)) == (path, code)


def test_too_many_attributes_are_refused() -> None:
    assert refused(body(**{f"a{n}": "x" for n in range(70)})) == ("", "too-many-attributes")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not-json"),
        (b"[]", "not-an-event"),
        (b"null", "not-an-event"),
        (b'{"id": "1", "id": "2"}', "duplicate-key"),
        (b" " * (1024 * 1024 + 1), "too-large"),
    ],
)
def test_what_is_no_event_is_refused(raw: bytes, code: str) -> None:
    assert refused(raw) == ("", code)


def test_one_bad_item_leaves_the_rest_of_a_batch_alone() -> None:
    raw = b"[" + body() + b', {"id": "2", "id": "3"}, 7, ' + body(data={"narrative": "x" * 40_000}) + b"]"
    found = cloudevents.parse_batch(raw)
    assert found[0] == (body(), READ)
    assert [error.code for _, error in found[1:] if isinstance(error, Invalid)] == [
        "duplicate-key",
        "not-an-event",
        "too-long",
    ]
    assert found[1][0] == b'{"id": "2", "id": "3"}'


def test_an_item_of_a_batch_past_an_events_bound_is_refused_alone() -> None:
    big = body(data={"needs": ["x" * 30_000] * 40})
    (_, first), (_, second) = cloudevents.parse_batch(b"[" + big + b"," + body() + b"]")
    assert isinstance(first, Invalid)
    assert first.code == "too-large"
    assert second == READ


def test_the_official_sdks_http_messages_are_read() -> None:
    written = Written({**_attributes(), "note": "100% sure, Zoë"}, ITEM["data"])
    binary = http.to_binary(written, JSONFormat())
    headers = {name.lower(): value for name, value in binary.headers.items()}
    event = cloudevents.parse_binary(headers, binary.body)
    assert (event.id, event.subject, event.data) == ("1", "L-1", ITEM["data"])
    assert event.extensions["note"] == "100% sure, Zoë"
    structured = http.to_structured(written, JSONFormat())
    assert cloudevents.structured(structured.body).data == ITEM["data"]
    assert structured.headers["content-type"].startswith(cloudevents.STRUCTURED)


def test_the_official_sdks_kafka_messages_are_read() -> None:
    written = Written(_attributes(), ITEM["data"])
    for convert in (kafka.to_binary, kafka.to_structured):
        message = convert(written, JSONFormat())
        event = cloudevents.parse_kafka(list(message.headers.items()), message.value)
        assert (event.id, event.type, event.extensions["category"]) == ("1", "contact", "contact.outreach")
        assert event.data == ITEM["data"]


def test_ours_is_read_by_the_official_sdk() -> None:
    message = http.HTTPMessage({"content-type": cloudevents.STRUCTURED}, cloudevents.dump(READ))
    read = http.from_structured(message, JSONFormat())
    assert read.get_id() == "1"
    assert read.get_data() == ITEM["data"]


def _attributes() -> dict[str, Any]:
    names = ("specversion", "id", "source", "type", "subject", "category", "labels")
    moment = datetime(2026, 3, 1, 17, tzinfo=UTC)
    return {**{name: ITEM[name] for name in names}, "time": moment, "datacontenttype": "application/json"}


def _headers(**changes: str | None) -> list[tuple[str, bytes | None]]:
    attributes = {k: v for k, v in {**ITEM, **changes}.items() if k != "data" and v is not None}
    return [(f"ce_{name}", str(value).encode()) for name, value in attributes.items()]


AVRO = [("content-type", b"application/avro")]


def test_a_native_senders_avro_is_read_with_its_instants_as_numbers() -> None:
    value = codec.encode("Contact", {"mode": "in_person", "booked_at": 1_772_384_400_123, "needs": []})
    event = cloudevents.parse_kafka(_headers() + AVRO, value)
    assert event.numeric
    assert event.data["booked_at"] == 1_772_384_400_123
    again = cloudevents.structured(cloudevents.dump(event))
    assert again.data == {"mode": "in person", "booked_at": "2026-03-01T17:00:00.123Z"}


def test_avro_that_is_broken_unknown_or_of_another_type_is_told_apart() -> None:
    value = codec.encode("Contact", {"staff": "x"})
    with pytest.raises(BrokenRecord):
        cloudevents.parse_kafka(_headers() + AVRO, value[:-3])
    with pytest.raises(BrokenRecord):
        cloudevents.parse_kafka(_headers() + AVRO, value + b"\0")
    with pytest.raises(UnknownSchema):
        cloudevents.parse_kafka(_headers() + AVRO, b"\0\0\0\x27\x0f" + value[5:])
    for record, changes, code in (
        ("Contact", {"type": "referral"}, "type-differs"),
        ("Seen", {}, "not-an-event"),
    ):
        bytes_ = (
            value
            if record == "Contact"
            else codec.encode("Seen", {"event": "e", "fingerprint": b"", "at": 0, "offset": 0})
        )
        with pytest.raises(Invalid) as caught:
            cloudevents.parse_kafka(_headers(**changes) + AVRO, bytes_)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ([], None, "empty-value"),
        (None, b"", "empty-value"),
        (None, b"{}", "not-an-event"),
        ([("ce_id", b"\xff")], b"{}", "not-utf-8"),
        ([("ce_id", None)], b"{}", "missing"),
        ([("content-type", b"application/cloudevents+json; charset=utf-8")], b"{}", "missing"),
        ([("ce_id", b"1"), ("content-type", b"text/csv")], b"a,b", "unknown-content-type"),
        ([("ce_id", b"1")], b"x" * (1024 * 1024 + 1), "too-large"),
    ],
)
def test_records_that_are_no_events_are_refused(
    headers: list[tuple[str, bytes | None]] | None, value: bytes | None, code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        cloudevents.parse_kafka(headers, value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("urn:agency:reach", True),
        ("urn:agency:reach:hmis", True),
        ("urn:agency:reach/hmis", True),
        ("urn:agency:reach2", False),
        ("urn:agency:", False),
        ("URN:agency:reach", False),
        ("urn:agency:harbor-pd", False),
    ],
)
def test_nobody_publishes_in_anothers_name(source: str, own: bool) -> None:
    assert cloudevents.belongs(source, "reach") is own


def test_avro_in_an_item_of_a_batch_is_judged_like_any_other() -> None:
    def item(value: bytes) -> bytes:
        encoded = base64.b64encode(value).decode()
        return body(data=..., data_base64=encoded, datacontenttype="application/avro")

    value = codec.encode("Contact", {"staff": "x"})
    found = cloudevents.parse_batch(b"[" + b",".join([item(value), item(value[:-1]), item(b"\0")]) + b"]")
    assert isinstance(found[0][1], CloudEvent)
    assert [error.code for _, error in found[1:] if isinstance(error, Invalid)] == ["broken-record"] * 2


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"ce-id": "%ff"}, "not-utf-8"),
        ({"ce-id": "1", "ce-datacontenttype": "application/json"}, "bad-attribute"),
        ({"ce-id": "1", "ce-no spaces": "x"}, "bad-attribute"),
        ({"ce-id": "1"}, "missing"),
    ],
)
def test_headers_that_make_no_event_are_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        cloudevents.parse_binary(headers, b"{}")
    assert caught.value.code == code


def test_extensions_may_be_numbers_or_truths_and_null_is_absent() -> None:
    event = cloudevents.structured(body(sequence=5, urgent=True, nothing=None))
    assert event.extensions["sequence"] == "5"
    assert event.extensions["urgent"] == "true"
    assert "nothing" not in event.extensions


def test_an_event_without_subject_or_time_keeps_them_absent_when_written() -> None:
    event = cloudevents.structured(body(subject=..., time=...))
    assert cloudevents.structured(cloudevents.dump(event)) == event
