"""The hot path's bytes are the codec's bytes."""

from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, raw
from schemas.errors import BrokenRecord

LONGS = st.integers(-(2**63), 2**63 - 1)
INSTANTS = st.one_of(st.integers(1_100_000_000_000, 2_190_000_000_000), LONGS)
NAMES = st.text(max_size=70)
IDS = st.one_of(st.from_regex(r"e-[a-z2-7]{26}", fullmatch=True), NAMES)
FEW = st.lists(st.text(max_size=12), max_size=3)
COMPARTMENTS = ("subject", "occurrence", "clinical", "narrative")


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    sealed = draw(st.dictionaries(st.sampled_from(COMPARTMENTS), st.binary(max_size=200)))
    envelope = {
        "source": draw(st.one_of(st.just("urn:agency:8e-x"), NAMES)),
        "type": "contact",
        "category": draw(NAMES),
        "labels": draw(FEW),
        "discloser": draw(NAMES),
        "compartments": list(sealed),
        "id": draw(IDS),
        "participant": draw(NAMES),
        "occurred_at": draw(INSTANTS),
        "admitted_at": draw(INSTANTS),
        "consent_at_least": draw(st.none() | LONGS),
    }
    return {"envelope": envelope, "sealed": sealed}


@given(events())
def test_a_cut_says_what_decoding_says_and_loses_no_byte(event: dict[str, Any]) -> None:
    data = codec.encode("Event", event)
    for _ in range(2):  # the second time from the memory of traits
        cut = raw.cut(data)
        envelope = event["envelope"]
        assert cut.traits._asdict() == {
            name: tuple(envelope[name]) if isinstance(envelope[name], list) else envelope[name]
            for name in raw.Traits._fields
        }
        for name in ("id", "participant", "occurred_at", "consent_at_least"):
            assert getattr(cut, name) == envelope[name]
        assert codec.header("Event") + cut.envelope + cut.sealed == data


@given(events(), st.sets(st.sampled_from(COMPARTMENTS)))
def test_only_the_permitted_compartments_are_passed_on(event: dict[str, Any], wanted: set[str]) -> None:
    cut = raw.cut(codec.encode("Event", event))
    found = raw.entries(cut.sealed)
    kept = sorted(wanted & set(found))
    passed = codec.decode(codec.header("Event") + cut.envelope + raw.permitted(found, kept))[1]
    assert passed == {"envelope": event["envelope"], "sealed": {name: event["sealed"][name] for name in kept}}
    assert raw.permitted(found, found) == cut.sealed


@pytest.mark.parametrize("edge", [0, 64, 8192, 1 << 20, 1 << 27, 1 << 34, 1 << 62])
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_number_is_written_as_the_codec_does_at_each_of_its_lengths(edge: int, off: int) -> None:
    for value in (edge + off, -edge + off):
        out = BytesIO()
        schemaless_writer(out, {"type": "long"}, value)
        assert raw.long(value) == out.getvalue()


def test_every_cut_of_an_envelope_is_found_out() -> None:
    envelope = {
        "source": "urn:agency:reach", "type": "contact", "category": "contact.outreach", "labels": ["part2"],
        "discloser": "reach", "compartments": ["subject"], "id": "e-" + "a" * 26, "participant": "p-1",
        "occurred_at": 1_772_384_400_123, "admitted_at": 1_772_384_400_999, "consent_at_least": None,
    }  # fmt: skip
    data = codec.encode("Event", {"envelope": envelope, "sealed": {"subject": b"secret"}})
    whole = len(codec.header("Event") + raw.cut(data).envelope)
    for end in range(5, whole):
        with pytest.raises(BrokenRecord):
            raw.cut(data[:end])
    for end in range(whole, len(data)):
        with pytest.raises(BrokenRecord):
            raw.entries(raw.cut(data[:end]).sealed)
    with pytest.raises(BrokenRecord, match="1 bytes follow"):
        raw.entries(raw.cut(data + b"\0").sealed)


def test_blocks_with_their_size_are_read_though_never_written() -> None:
    """Avro allows a negative count, followed by the block's bytes; other writers use it."""
    text = raw.string("part2")
    block = raw.long(-1) + raw.long(len(text)) + text + b"\0"
    head = raw.string("s") + raw.string("contact") + raw.string("c")
    tail = raw.string("d") + b"\0" + raw.string("e-1") + raw.string("p") + raw.long(5) + raw.long(6) + b"\0"
    entry = raw.string("subject") + raw.long(2) + b"xy"
    sealed = raw.long(-1) + raw.long(len(entry)) + entry + b"\0"
    data = codec.header("Event") + head + block + tail + sealed
    cut = raw.cut(data)
    assert cut.traits.labels == ("part2",)
    assert raw.entries(cut.sealed) == {"subject": entry}
    envelope = codec.decode_as("Event", data)["envelope"]
    assert (envelope["labels"], envelope["participant"]) == (["part2"], "p")


def test_the_memory_of_traits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "traits_max", 3)
    monkeypatch.setattr(raw, "_traits", {})
    for number in range(10):
        data = codec.header("Event") + raw.string(f"s{number}") + raw.string("t") + raw.string("c") + b"\0"
        data += raw.string("d") + b"\0" + raw.string("e-1") + raw.string("p") + b"\2\2\0\0"
        assert raw.cut(data).traits.source == f"s{number}"
        assert len(raw._traits) <= 3


@pytest.mark.parametrize("moment", [-17_179_869_185, -(2**40), 17_179_869_184, 2**41 - 1, 2**41, 0, -1])
def test_instants_before_1970_and_at_the_edges_of_their_bytes_are_read(moment: int) -> None:
    data = codec.header("Event") + raw.string("s") + raw.string("t") + raw.string("c") + b"\0"
    data += raw.string("d") + b"\0" + raw.string("e-1") + raw.string("p")
    data += raw.long(moment) + raw.long(1_772_384_400_000) + b"\0\0"
    assert raw.cut(data).occurred_at == moment == codec.decode_as("Event", data)["envelope"]["occurred_at"]
