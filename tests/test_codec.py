"""Every record on the wire: there and back, and every way in which bytes can be wrong."""

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, raw, registry
from schemas.errors import BrokenRecord, HubError, TooLarge, UnknownSchema

BIG = 2**63 - 1


def values_of(schema: Any, names: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Any value of an Avro schema."""
    names = {} if names is None else names
    if isinstance(schema, list):
        return st.one_of([values_of(branch, names) for branch in schema])
    if isinstance(schema, str):
        simple: dict[str, st.SearchStrategy[Any]] = {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-BIG - 1, BIG),
            "double": st.floats(allow_nan=False),
            "string": st.text(max_size=12),
            "bytes": st.binary(max_size=12),
        }
        return simple[schema] if schema in simple else values_of(names[schema], names)
    match schema["type"]:
        case "record":
            names[schema["name"]] = schema
            return st.fixed_dictionaries({f["name"]: values_of(f["type"], names) for f in schema["fields"]})
        case "enum":
            names[schema["name"]] = schema
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values_of(schema["items"], names), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=6), values_of(schema["values"], names), max_size=3)
    return values_of(schema["type"], names)


@pytest.mark.parametrize("name", registry.names())
def test_every_record_survives_the_wire(name: str) -> None:
    schema = registry.schema(registry.newest(name))

    @settings(max_examples=25)
    @given(values_of(schema))
    def check(value: dict[str, Any]) -> None:
        data = codec.encode(name, value)
        assert data[:1] == b"\0"
        assert int.from_bytes(data[1:5], "big") == registry.newest(name)
        assert codec.decode(data) == (name, value)
        assert codec.decode_as(name, data) == value

    check()


SEEN = {"event": "e-1", "fingerprint": b"\1\2", "at": 1_772_384_400_123, "offset": 7}


def test_a_schema_from_the_future_is_told_apart_from_garbage() -> None:
    data = codec.encode("Seen", SEEN)
    with pytest.raises(UnknownSchema) as caught:
        codec.decode(struct.pack(">bI", 0, 9999) + data[5:])
    assert caught.value.code == "unknown-schema"
    assert "9999" in caught.value.detail


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\1x", b'{"id": 1}'])
def test_what_is_not_wire_format_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenRecord):
        codec.decode(data)


def test_every_cut_of_a_record_is_refused() -> None:
    data = codec.encode("Seen", SEEN)
    for end in range(len(data)):
        with pytest.raises(BrokenRecord):
            codec.decode(data[:end])


def test_bytes_that_follow_are_refused_and_counted() -> None:
    with pytest.raises(BrokenRecord, match="3 bytes follow"):
        codec.decode(codec.encode("Seen", SEEN) + b"abc")


def test_a_record_of_another_name_is_refused() -> None:
    with pytest.raises(BrokenRecord, match="expected `Directive`, found `Seen`"):
        codec.decode_as("Directive", codec.encode("Seen", SEEN))


def test_a_record_past_its_bound_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        codec.decode(codec.header("Seen") + b"\0" * codec.record_bytes_max)


@given(st.one_of(st.binary(max_size=300), st.integers(0, 40_000).map(bytes)))
def test_records_that_differ_in_their_end_alone_are_written_as_ever(end: bytes) -> None:
    value = {"agency": "reach", "via": "file", "received_at": 1_760_000_000_000, "reference": "q-1"}
    assert codec.ending("Inbound", value, "sealed")(end) == codec.encode("Inbound", {**value, "sealed": end})


@pytest.mark.parametrize(
    ("name", "value", "last"),
    [
        ("Inbound", {"agency": "reach"}, "sealed"),
        ("Inbound", {"agency": "reach", "via": "file", "received_at": 1}, "via"),
        ("Clock", {}, "due_at"),
    ],
)
def test_an_end_that_is_none_is_refused(name: str, value: dict[str, Any], last: str) -> None:
    with pytest.raises(BrokenRecord):
        codec.ending(name, value, last)


@pytest.mark.parametrize(
    "value",
    [
        {**SEEN, "ofset": 1},
        {k: v for k, v in SEEN.items() if k != "at"},
        {**SEEN, "at": "noon"},
        {**SEEN, "event": None},
        {**SEEN, "event": "\ud800"},
        {**SEEN, "offset": 2**63},
    ],
    ids=["misspelt", "missing", "text for a number", "null", "half a surrogate", "too big"],
)
def test_a_value_that_does_not_fit_is_never_written_nor_repeated(value: dict[str, Any]) -> None:
    with pytest.raises(BrokenRecord) as caught:
        codec.encode("Seen", value)
    assert "noon" not in str(caught.value)
    with pytest.raises(UnknownSchema):
        codec.encode("Nothing", value)


@settings(max_examples=300)
@given(st.sampled_from(sorted({row.id for row in registry.ROWS})), st.binary(max_size=300))
def test_no_bytes_do_worse_than_one_of_our_errors(schema_id: int, body: bytes) -> None:
    data = struct.pack(">bI", 0, schema_id) + body
    for read in (codec.decode, raw.cut):
        with suppress(HubError):
            read(data)


def test_an_array_that_claims_to_be_endless_costs_nothing() -> None:
    value = {"stakeholder": "a", "adapter": "b", "outbox_partition": 0, "outbox_offset": 0, "key": "k"}
    envelope = b"\2a\2b\2c" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"  # so many labels, and none follows
    with pytest.raises(BrokenRecord):
        codec.decode(codec.header("Event") + envelope)
    with pytest.raises(BrokenRecord):
        raw.cut(codec.header("Event") + envelope)
    with pytest.raises(BrokenRecord):
        codec.encode("Pending", value)
