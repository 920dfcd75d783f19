"""Values on the wire: a zero byte, the schema's id (4 bytes, big-endian), Avro. One place encodes and
decodes.

A record is named by its Avro name (`Event`, `Directive`, `Contact`, …) and is a `dict` on this side of the
wire; times are whole milliseconds since the epoch. What is written is the newest version; what is read may
be of any released version and comes out as the newest.
"""

import struct
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas import registry
from schemas.errors import BrokenRecord, TooLarge

Record = dict[str, Any]

record_bytes_max: Final = 16 * 1024 * 1024
_HEADER: Final = struct.Struct(">bI")
_SILENT = frozenset({"doc", "logicalType", "compartment"})


def bare(schema: Any, keep: str = "") -> Any:
    """A schema without what leaves the bytes alone; logical types would cost a `datetime` for each time.

    In: a schema as JSON; an attribute to keep all the same. Out: a copy.
    """
    if isinstance(schema, dict):
        return {k: bare(v, keep) for k, v in schema.items() if k not in _SILENT or k == keep}
    return [bare(item, keep) for item in schema] if isinstance(schema, list) else schema


@cache
def _parsed(schema_id: int) -> tuple[str, Any]:
    """Name and parsed schema of a released version. Raises `UnknownSchema`."""
    schema = registry.schema(schema_id)
    return schema["name"], parse_schema(bare(schema))


@cache
def _newest(name: str) -> tuple[bytes, Any]:
    """Header and parsed schema of a record's newest version. Raises `UnknownSchema`."""
    schema_id = registry.newest(name)
    return _HEADER.pack(0, schema_id), _parsed(schema_id)[1]


@cache
def _reading(schema_id: int) -> tuple[str, Any, Any]:
    """Name, writer's schema, and reader's schema or None where they are the same."""
    name, writer = _parsed(schema_id)
    newest = registry.newest(name)
    return name, writer, None if newest == schema_id else _parsed(newest)[1]


def write(header: bytes, schema: Any, value: Mapping[str, Any], name: str) -> bytes:
    """A value after its header, by a parsed schema. Raises `BrokenRecord`; `name` is for its message."""
    out = BytesIO()
    out.write(header)
    try:
        schemaless_writer(out, schema, value, strict_allow_default=True)
    except Exception as error:
        raise BrokenRecord(f"not a value of `{name}` ({type(error).__name__})") from None
    return out.getvalue()


def read(data: bytes, start: int, writer: Any, reader: Any, name: str) -> Record:
    """The one value that fills `data` from `start` to its end. Raises `BrokenRecord`."""
    source = BytesIO(data)
    source.seek(start)
    try:
        value = schemaless_reader(source, writer, reader)
    except Exception as error:  # fastavro raises what its parts raise; none of it may show the bytes
        raise BrokenRecord(f"not the Avro of `{name}` ({type(error).__name__})") from None
    left = len(data) - source.tell()
    if left:
        raise BrokenRecord(f"{left} bytes follow the Avro of `{name}`")
    return value  # type: ignore[return-value]


def header(name: str) -> bytes:
    """The five bytes before every value of a record's newest version. Raises `UnknownSchema`."""
    return _newest(name)[0]


def schema_id(data: bytes) -> int:
    """The schema id that a value names. Raises `BrokenRecord` when it is not registry wire format."""
    if len(data) < _HEADER.size or data[0] != 0:
        raise BrokenRecord("expected a zero byte and a schema id of 4 bytes")
    if len(data) > record_bytes_max:
        raise TooLarge(f"a record is at most {record_bytes_max} bytes")
    return int.from_bytes(data[1:5], "big")


def encode(name: str, value: Mapping[str, Any]) -> bytes:
    """A record in the newest version of its schema. Missing fields take their defaults.

    Raises `UnknownSchema` for a name that is not ours, `BrokenRecord` for a value that does not fit it (a
    field too many included).
    """
    header, schema = _newest(name)
    return write(header, schema, value, name)


def ending(name: str, value: Mapping[str, Any], last: str) -> Callable[[bytes], bytes]:
    """Encodes many records that differ in their last field alone, which is one of bytes.

    In: the other fields, as `encode` takes them. Out: a function from that field to the record's bytes.
    Raises as `encode`, and `BrokenRecord` where the record does not end with that field.
    """
    field = _newest(name)[1]["fields"][-1]
    if (field["name"], field["type"]) != (last, "bytes"):
        raise BrokenRecord(f"`{name}` does not end with the bytes `{last}`")
    start = encode(name, {**value, last: b""})[:-1]  # without the length of nothing
    return lambda data: start + _length(len(data)) + data


def _length(size: int) -> bytes:
    """A length as Avro writes it: doubled, then seven bits a byte, least first."""
    rest, out = size << 1, bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def decode(data: bytes) -> tuple[str, Record]:
    """Name and value of any of our records, as the newest version of its schema has it.

    Raises `UnknownSchema`, `BrokenRecord` (cut short, trailing bytes, not Avro) and `TooLarge`.
    """
    name, writer, reader = _reading(schema_id(data))
    return name, read(data, _HEADER.size, writer, reader, name)


def decode_as(name: str, data: bytes) -> Record:
    """The value of a record that must be of this name. Raises as `decode`, and `BrokenRecord` for another."""
    found, value = decode(data)
    if found != name:
        raise BrokenRecord(f"expected `{name}`, found `{found}`")
    return value


def directive(key: bytes | None, value: bytes | None) -> Record:
    """What a record of `consent` says. Raises as `decode_as`, and `BrokenRecord` under another key than its
    participant's: that participant's state would miss it.
    """
    found = decode_as("Directive", value or b"")
    if key != found["participant"].encode():
        raise BrokenRecord("a directive stands under another key than its participant's")
    return found
