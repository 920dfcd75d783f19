"""Which compartment each field of the four types belongs to, and a compartment's own bytes.

Both come from the types' Avro schemas, where every field carries the attribute `compartment`. The bytes of
one compartment are: a zero byte, the id of the type's schema (4 bytes), the compartment's name as an Avro
string, and the Avro of the record that is left when all other fields are taken away. They are what gets
sealed.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from fastavro import parse_schema

from schemas import codec, instant, registry
from schemas.errors import BrokenRecord

RECORDS: Final = {
    "contact": "Contact",
    "service-engagement": "ServiceEngagement",
    "court-status": "CourtStatus",
    "referral": "Referral",
}
UNSPECIFIED: Final = "unspecified"  # the default of every enum of the four types; no sender may write it
TYPES: Final = {record: kind for kind, record in RECORDS.items()}

_name_chars_max: Final = 32


@cache
def fields(kind: str) -> Mapping[str, str]:
    """Field name to compartment, for one of the four types, in the order of the schema."""
    schema = registry.schema(registry.newest(RECORDS[kind]))
    return {field["name"]: field["compartment"] for field in schema["fields"]}


@cache
def symbols(enum: str) -> tuple[str, ...]:
    """The words of an enum of the four types, by its Avro name, without the default. Raises `KeyError`."""

    def inside(schema: Any) -> dict[str, tuple[str, ...]]:
        if isinstance(schema, list):
            return {name: found for branch in schema for name, found in inside(branch).items()}
        if not isinstance(schema, dict):
            return {}
        if schema["type"] == "enum":
            return {schema["name"]: tuple(s for s in schema["symbols"] if s != UNSPECIFIED)}
        return {name: found for f in schema.get("fields", ()) for name, found in inside(f["type"]).items()}

    return {k: v for r in RECORDS.values() for k, v in inside(registry.schema(registry.newest(r))).items()}[
        enum
    ]


@cache
def _paths(kind: str, trait: str) -> frozenset[str]:
    """Where a type has instants or enums; a field within another is written `hearing/at`."""

    def inside(schema: Any, path: str) -> list[str]:
        if isinstance(schema, list):
            return [found for branch in schema for found in inside(branch, path)]
        if not isinstance(schema, dict):
            return []
        if trait in (schema.get("logicalType"), schema["type"]):
            return [path]
        prefix = f"{path}/" if path else ""
        return [found for f in schema.get("fields", ()) for found in inside(f["type"], prefix + f["name"])]

    return frozenset(inside(registry.schema(registry.newest(RECORDS[kind])), ""))


def render(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON shows them: instants in RFC 3339, enum symbols as words, nothing that is absent.

    In: fields of one of the four types as `decode` gives them. What a newer writer said in a word that this
    version does not know is left out.
    """
    return _render(kind, _present(values), "")


def _render(kind: str, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in values.items():
        path = prefix + name
        if isinstance(value, Mapping):
            shown[name] = _render(kind, value, path + "/")
        elif path in _paths(kind, "timestamp-millis"):
            shown[name] = instant.format(value)
        elif path in _paths(kind, "enum"):
            if value != UNSPECIFIED:
                shown[name] = value.replace("_", " ")
        else:
            shown[name] = value
    return shown


@cache
def _schema(schema_id: int, compartment: str) -> tuple[str, Any]:
    """Type, and parsed schema of one compartment's part of a released version of it."""
    whole = codec.bare(registry.schema(schema_id), keep="compartment")
    kind = TYPES.get(whole["name"])
    kept = [field for field in whole["fields"] if field.get("compartment") == compartment]
    if kind is None or not kept:
        raise BrokenRecord("no type of ours has such a compartment")
    part = {**whole, "name": f"{whole['name']}_{compartment.replace('-', '_')}", "fields": kept}
    return kind, parse_schema(codec.bare(part))


def split(kind: str, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A type's fields sorted into their compartments; what is absent (None, an empty list, a part
    without fields) is left out.

    Raises `KeyError` for a field that the type does not have.
    """
    found: dict[str, dict[str, Any]] = {}
    where = fields(kind)
    for name, value in values.items():
        if _there(value):
            found.setdefault(where[name], {})[name] = value
    return found


def encode(kind: str, compartment: str, values: Mapping[str, Any]) -> bytes:
    """One compartment's fields as bytes to seal. Raises `BrokenRecord` when they are not of that
    compartment.
    """
    schema_id = registry.newest(RECORDS[kind])
    _, schema = _schema(schema_id, compartment)
    return codec.write(codec.header(RECORDS[kind]) + _string(compartment), schema, values, compartment)


def decode(data: bytes) -> tuple[str, str, dict[str, Any]]:
    """Type, compartment and fields of what `encode` gave, in any released version; absent fields are left
    out.

    Raises `UnknownSchema` or `BrokenRecord`.
    """
    schema_id = codec.schema_id(data)
    size = data[5] >> 1 if len(data) > 5 else 0
    if not 0 < size <= _name_chars_max or data[5] & 1:
        raise BrokenRecord("a compartment's bytes begin with its name")
    compartment = data[6 : 6 + size].decode("ascii", errors="replace")
    kind, writer = _schema(schema_id, compartment)
    newest = registry.newest(RECORDS[kind])
    reader = None if newest == schema_id else _schema(newest, compartment)[1]
    values = codec.read(data, 6 + size, writer, reader, compartment)
    return kind, compartment, _present(values)


def _there(value: Any) -> bool:
    return value is not None and value not in ([], {})


def _present(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _present(v) for name, v in value.items() if _there(v)}
    return [_present(v) for v in value] if isinstance(value, list) else value


def _string(text: str) -> bytes:
    return bytes((len(text) << 1,)) + text.encode("ascii")
