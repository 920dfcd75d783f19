"""Whether two Avro schemas can read each other's records: Avro's rules of schema resolution, as a checker.

The log is kept for ever, so every released version must be readable with every other, both ways
(FULL_TRANSITIVE).
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final

_PROMOTIONS: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED: Final = ("record", "enum", "fixed")


def unreadable(reader: Any, writer: Any) -> list[str]:
    """Why records of `writer` can't be read with `reader`: a line each, with its place; empty when they can.

    In: two schemas as JSON gives them.
    """
    return list(_Comparison(_names(reader), _names(writer)).differences(reader, writer, ""))


def full_transitive(versions: Sequence[Any]) -> list[str]:
    """What breaks FULL_TRANSITIVE among versions of a schema, oldest first; empty when nothing does."""
    numbered = list(enumerate(versions, 1))
    return [
        f"version {reads} cannot read version {wrote}: {line}"
        for (reads, reader), (wrote, writer) in permutations(numbered, 2)
        for line in unreadable(reader, writer)
    ]


def unsafe(schema: Any, path: str = "") -> list[str]:
    """What would make a schema hard to evolve: an enum without a default, or with one that isn't its
    symbol.
    """
    if isinstance(schema, list):
        return [line for branch in schema for line in unsafe(branch, path)]
    if not isinstance(schema, dict):
        return []
    if schema["type"] == "enum" and schema.get("default") not in schema["symbols"]:
        return [f"{path or '/'}: enum `{schema['name']}` has no default among its symbols"]
    inner = [(f"{path}/{f['name']}", f["type"]) for f in schema.get("fields", ())]
    inner += [(f"{path}/*", schema[key]) for key in ("items", "values") if key in schema]
    if isinstance(schema["type"], dict | list):
        inner.append((path, schema["type"]))
    return [line for where, part in inner for line in unsafe(part, where)]


def _names(schema: Any, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Named types of a schema, by their short names, which is how readers and writers are matched."""
    found = {} if found is None else found
    if isinstance(schema, list):
        for branch in schema:
            _names(branch, found)
    elif isinstance(schema, dict):
        if schema["type"] in _NAMED:
            found[_short(schema["name"])] = schema
        for field in schema.get("fields", ()):
            _names(field["type"], found)
        for key in ("items", "values"):
            _names(schema.get(key), found)
        if isinstance(schema["type"], dict | list):
            _names(schema["type"], found)
    return found


def _short(name: str) -> str:
    return name.rpartition(".")[2]


class _Comparison:
    """One reader against one writer; remembers pairs of records under way, for types that contain
    themselves.
    """

    def __init__(self, reads: dict[str, Any], wrote: dict[str, Any]) -> None:
        self._reads = reads
        self._wrote = wrote
        self._open: set[tuple[str, str]] = set()

    def differences(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        """A line for each reason why `writer`'s values can't be read as `reader`'s."""
        reader, writer = _resolved(reader, self._reads), _resolved(writer, self._wrote)
        where = path or "/"
        if isinstance(writer, list):
            for branch in writer:
                yield from self.differences(reader, branch, path)
        elif isinstance(reader, list):
            if not any(not list(self.differences(branch, writer, path)) for branch in reader):
                yield f"{where}: no branch of the reader's union reads `{_kind(writer)}`"
        elif _kind(reader) != _kind(writer):
            if _kind(reader) not in _PROMOTIONS.get(_kind(writer), ()):
                yield f"{where}: `{_kind(writer)}` was written, `{_kind(reader)}` is expected"
        else:
            yield from self._same_kind(reader, writer, path)

    def _same_kind(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        kind, where = _kind(reader), path or "/"
        if kind in _NAMED and _short(reader["name"]) != _short(writer["name"]):
            yield f"{where}: `{_short(writer['name'])}` was written, `{_short(reader['name'])}` is expected"
        elif kind == "record":
            yield from self._records(reader, writer, path)
        elif kind == "enum":
            missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if missing and reader.get("default") not in reader["symbols"]:
                yield f"{where}: the reader has neither `{missing[0]}` nor a default"
        elif kind == "fixed" and reader["size"] != writer["size"]:
            yield f"{where}: fixed of {writer['size']} bytes was written, {reader['size']} are expected"
        elif kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            yield from self.differences(reader[key], writer[key], f"{path}/*")

    def _records(self, reader: Any, writer: Any, path: str) -> Iterator[str]:
        pair = (_short(reader["name"]), _short(writer["name"]))
        if pair in self._open:
            return
        self._open.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = [field["name"], *field.get("aliases", ())]
            source = next((written[name] for name in names if name in written), None)
            where = f"{path}/{field['name']}"
            if source is not None:
                yield from self.differences(field["type"], source["type"], where)
            elif "default" not in field:
                yield f"{where}: was not written and has no default"
        self._open.discard(pair)


def _resolved(schema: Any, names: dict[str, Any]) -> Any:
    while isinstance(schema, dict) and isinstance(schema["type"], dict | list):
        schema = schema["type"]
    return names.get(_short(schema), schema) if isinstance(schema, str) else schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)
