"""Released versions of a schema must all be readable with each other; the checker must see when not."""

import hashlib
import io
import json
from importlib import resources
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import compatibility, registry

FOLDER = resources.files("schemas") / "avro"


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


@pytest.mark.parametrize("name", registry.names())
def test_released_versions_can_all_read_each_other(name: str) -> None:
    versions = [registry.schema(schema_id) for schema_id in registry.released(name)]
    assert compatibility.full_transitive(versions) == []
    assert compatibility.unsafe(versions[-1]) == []


def test_released_files_are_never_edited() -> None:
    """A change of a schema is a new file with a new id; the digests of the released ones stand in a file."""
    released = json.loads((FOLDER / "released.json").read_text("utf-8"))
    found = {
        item.name: hashlib.sha256(item.read_bytes()).hexdigest()
        for item in FOLDER.iterdir()
        if item.name.endswith(".avsc")
    }
    assert found == released
    assert set(found) == {row.file for row in registry.ROWS}


BASE = record(field("a", "long"), field("e", enum("x", "y", default="x")))
BREAKING = {
    "a field without a default added": record(*BASE["fields"], field("b", "string")),
    "a field without a default removed": record(BASE["fields"][1]),
    "a field renamed": record(field("aa", "long"), BASE["fields"][1]),
    "a field's type changed": record(field("a", "string"), BASE["fields"][1]),
    "a field widened": record(field("a", "double"), BASE["fields"][1]),
    "a field made optional": record(field("a", ["null", "long"], default=None), BASE["fields"][1]),
    "the record renamed": record(*BASE["fields"], name="Q"),
    "an enum's default taken away and a symbol added": record(BASE["fields"][0], field("e", enum("x", "z"))),
    "a field made a list": record(field("a", {"type": "array", "items": "long"}), BASE["fields"][1]),
    "a field made a record": record(field("a", record(field("a", "long"), name="S")), BASE["fields"][1]),
}
HARMLESS = {
    "a field with a default added": record(*BASE["fields"], field("b", "string", default="")),
    "a word added to an enum with a default": record(
        BASE["fields"][0], field("e", enum("x", "y", "z", default="x"))
    ),
    "docs and attributes": record(field("a", "long", doc="d", compartment="c"), BASE["fields"][1]),
    "fields in another order": record(*reversed(BASE["fields"])),
}


@pytest.mark.parametrize("change", BREAKING)
def test_a_breaking_change_is_refused(change: str) -> None:
    assert compatibility.full_transitive([BASE, BREAKING[change]])


@pytest.mark.parametrize("change", HARMLESS)
def test_a_harmless_change_is_not(change: str) -> None:
    assert compatibility.full_transitive([BASE, HARMLESS[change]]) == []


def test_compatibility_is_asked_of_all_versions_not_only_of_neighbours() -> None:
    first = record(field("a", "long"), field("b", "string", default=""))
    second = record(field("a", "long"))
    third = record(field("a", "long"), field("b", "int", default=0))
    assert compatibility.full_transitive([first, second]) == []
    assert compatibility.full_transitive([second, third]) == []
    assert compatibility.full_transitive([first, second, third]) == [
        "version 1 cannot read version 3: /b: `int` was written, `string` is expected",
        "version 3 cannot read version 1: /b: `string` was written, `int` is expected",
    ]


def test_unions_and_types_that_contain_themselves_are_followed() -> None:
    def tree(kind: Any) -> dict[str, Any]:
        return record(field("v", kind), field("next", ["null", "R"], default=None))

    assert compatibility.unreadable(tree("long"), tree("int")) == []
    assert compatibility.unreadable(tree("int"), tree("long"))
    assert compatibility.unreadable(["null", "string"], ["null", "long"])
    assert compatibility.unreadable(["null", "long"], "int") == []
    assert compatibility.unreadable("long", ["null", "long"]) == ["/: `null` was written, `long` is expected"]


def test_an_enum_that_could_never_grow_is_refused() -> None:
    bare = record(field("a", {"type": "array", "items": ["null", enum("x")]}))
    assert compatibility.unsafe(bare) == ["/a/*: enum `E` has no default among its symbols"]
    assert compatibility.unsafe(record(field("a", enum("x", default="q"))))


PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string", "bytes"])
TYPES = st.recursive(
    PRIMITIVES | st.lists(PRIMITIVES, min_size=1, max_size=3, unique=True),
    lambda inner: (
        st.builds(lambda t: {"type": "array", "items": t}, inner)
        | st.builds(lambda t: {"type": "map", "values": t}, inner)
    ),
    max_leaves=3,
)
SAMPLES: dict[str, Any] = {
    "null": None, "boolean": True, "int": 5, "long": 2**40, "float": 1.5, "double": 2.5, "string": "s",
    "bytes": b"b",
}  # fmt: skip


def sample(kind: Any) -> Any:
    if isinstance(kind, list):
        return sample(kind[-1])
    if isinstance(kind, dict):
        return [sample(kind["items"])] if kind["type"] == "array" else {"k": sample(kind["values"])}
    return SAMPLES[kind]


@settings(max_examples=400)
@given(TYPES, TYPES)
def test_what_the_checker_allows_fastavro_can_read(writer: Any, reader: Any) -> None:
    """An independent reader agrees: where no difference is found, what was written is read."""
    written, read = record(field("a", writer)), record(field("a", reader))
    if compatibility.unreadable(read, written):
        return
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(written), {"a": sample(writer)})
    out.seek(0)
    schemaless_reader(out, parse_schema(written), parse_schema(read))


def test_fixed_sizes_and_wrapped_types_are_compared() -> None:
    def fixed(size: int) -> dict[str, Any]:
        return {"type": {"type": "fixed", "name": "F", "size": size}}

    assert compatibility.unreadable(fixed(4), fixed(8)) == ["/: fixed of 8 bytes was written, 4 are expected"]
    assert compatibility.unreadable(fixed(4), fixed(4)) == []
    assert compatibility.unsafe({"type": enum("x")}) == ["/: enum `E` has no default among its symbols"]


def test_an_alias_finds_a_field_under_its_old_name() -> None:
    old, new = record(field("a", "long")), record(field("b", "long", aliases=["a"]))
    assert compatibility.unreadable(new, old) == []
    assert compatibility.unreadable(old, new) == ["/a: was not written and has no default"]
