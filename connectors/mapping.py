"""The one mapping format: a TOML file that says how records of another system become events.

`rules` says how one value is found and shaped. A CSV line is a record of one level; lines that are grouped
into one record are a list of them; an XML element is a tree. An archive says which mapping is for which of
its files.
"""

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from connectors import times
from connectors.rules import Given, Misfit, Part, Reader, Rule, Scalar, Tree, compiled, segments, texts
from schemas import compartments
from schemas.errors import Invalid, Problem

mapping_chars_max: Final = 1024 * 1024
_UNKNOWN: Final = {
    "csv": "`{path}` is none of the columns",
    "json": "`{path}` leads out of the record",
    "xml": "`{path}` has a prefix without a namespace, or `..` without references",
}
_FOLDER: Final = resources.files("connectors") / "mappings"
_OF_XML: Final = frozenset({"record", "namespaces", "references"})
_ASKED: Final = ("id", "subject", "time", "category")


class Skip(Part):
    """A record is left out where the path's text is one of `values`, or is there at all."""

    path: str
    values: list[str] | None = None


class References(Part):
    """Attributes by which one XML element stands for another: `ref` names what `id` names elsewhere."""

    id: str
    ref: str


class Input(Part):
    """What the file must look like. `timezone` is where its times are local.

    CSV: `columns` have to be there, `optional_columns` may be; `other_columns` may be ignored; `group` makes
    one record of neighbouring lines that agree in these columns.
    XML: `record` is the element that is one record, wherever it stands; `namespaces` gives each prefix that
    the mapping uses its namespace, or several that mean the same here. With `references` a document is read
    as a whole: they are followed, and `..` leads from a record to the element around it.
    JSON: one value is one record.
    """

    format: Literal["csv", "xml", "json"]
    timezone: str = "UTC"
    columns: list[str] = Field(default_factory=list)
    optional_columns: list[str] = Field(default_factory=list)
    other_columns: Literal["refuse", "ignore"] = "refuse"
    encoding: Literal["utf-8", "latin-1", "windows-1252"] = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    group: list[str] = Field(default_factory=list)
    record: str = ""
    namespaces: dict[str, str | list[str]] = Field(default_factory=dict)
    references: References | None = None

    @model_validator(mode="after")
    def _of_its_format(self) -> Self:
        for name in self.model_fields_set - {"format", "timezone"}:
            if self.format == "json" or (name in _OF_XML) != (self.format == "xml"):
                raise PydanticCustomError("not-of-this-format", f"`{name}` is not for {self.format}")
        needed = {"csv": "columns", "xml": "record"}.get(self.format)
        if needed is not None and not getattr(self, needed):
            raise PydanticCustomError("missing", f"{self.format} needs `{needed}`")
        return self

    def knows(self, path: str) -> bool:
        """Whether a path can lead anywhere: to one of the columns, or by prefixes that have a namespace."""
        *_, last = parts = segments(path)
        if self.format == "csv":
            return last in self.columns or last in self.optional_columns
        if self.format == "json":
            return ".." not in parts
        if ".." in parts and self.references is None:
            return False
        prefixes = {part.removeprefix("@").partition(":")[0] for part in parts if ":" in part}
        return prefixes <= self.namespaces.keys()


class Head(Part):
    """The attributes of the event. An id may be made of several parts; `labels` may be left out."""

    type: Literal["contact", "service-engagement", "court-status", "referral"]
    id: Given
    subject: Given
    time: Given
    category: Given
    labels: Given | None = None

    def rules(self) -> dict[str, Rule]:
        """The rules by the attribute that they make."""
        return {name: rule for name in (*_ASKED, "labels") if (rule := getattr(self, name)) is not None}


class File(Part):
    """A mapping as its file has it."""

    name: str
    title: str
    source: str = ""
    input: Input
    event: Head
    fields: dict[str, Given] = Field(default_factory=dict)
    tables: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    skip: list[Skip] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = compartments.fields(self.event.type)
        for target in self.fields:
            if segments(target)[0] not in known:
                raise PydanticCustomError("no-such-field", f"`{target}`: the type has no such field")
        for rule in (*self.event.rules().values(), *self.fields.values()):
            for table in rule.tables():
                if table not in self.tables:
                    raise PydanticCustomError("no-such-table", f"there is no table `{table}`")
        for path in (*self.paths(), *self.input.group):
            if not self.input.knows(path):
                raise PydanticCustomError("no-such-column", _UNKNOWN[self.input.format].format(path=path))
        if not times.is_zone(self.input.timezone):
            raise PydanticCustomError("no-such-zone", "input/timezone is not in the IANA database")
        return self

    def paths(self) -> Iterator[str]:
        """Every path that the mapping looks at."""
        for rule in (*self.event.rules().values(), *self.fields.values()):
            yield from rule.paths()
        for skip in self.skip:
            yield skip.path
        if self.input.record:
            yield self.input.record


class Archive(Part):
    """A zip of files: the mapping of each one that is read, by its name there, in this order."""

    name: str
    title: str
    source: str = ""
    archive: Annotated[dict[str, str], Field(min_length=1, max_length=20)]


class Mapper:
    """A mapping made ready to be applied to many records."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.input = file.input
        self._head = [(name, rule, self._reader(rule)) for name, rule in file.event.rules().items()]
        self._fields = [(segments(to), rule, self._reader(rule)) for to, rule in file.fields.items()]
        self._skips = [(texts(s.path), None if s.values is None else frozenset(s.values)) for s in file.skip]

    def _reader(self, rule: Rule) -> Reader:
        return compiled(rule, self.file.tables, self.input.timezone)

    def skips(self, tree: Tree) -> bool:
        """Whether this record is left out."""
        for find, values in self._skips:
            found = find(tree)
            if found and (values is None or not values.isdisjoint(found)):
                return True
        return False

    def event_of(self, tree: Tree, source: str) -> dict[str, Any]:
        """The record as a CloudEvent in JSON event format.

        In: a record, and the `source` to publish under. Raises `Invalid` with a problem for each value that
        does not fit; its path is where the value stands in the record.
        """
        problems: list[Problem] = []
        event: dict[str, Any] = {"specversion": "1.0", "source": source, "type": self.file.event.type}
        for name, rule, read in self._head:
            before = len(problems)
            value = _value(rule, read, tree, problems)
            if value is not None:
                event[name] = ",".join(value) if isinstance(value, list) else value
            elif name in _ASKED and len(problems) == before:
                problems.append(Problem(_first(rule), "missing", "there is no value here"))
        data: dict[str, Any] = {}
        for (*parents, last), rule, read in self._fields:
            value = _value(rule, read, tree, problems)
            if value is not None:
                at = data
                for parent in parents:
                    at = at.setdefault(parent, {})
                at[last] = value
        if problems:
            raise Invalid(problems)
        event["data"] = data
        return event

    def at(self, line: int, path: str) -> str:
        """A place in a record that begins at that line, in words."""
        return f"line {line}, column {path}" if self.input.format == "csv" else f"line {line}, {path}"

    def origin(self, pointer: str) -> str | None:
        """Where in the record an event's value came from, for the JSON Pointer of an error; None if
        unknown.
        """
        name, _, rest = pointer.removeprefix("/").partition("/")
        if name != "data":
            return next((_first(rule) for attribute, rule, _ in self._head if attribute == name), None)
        wanted = rest.split("/")
        for target, rule, _ in self._fields:
            shared = min(len(target), len(wanted))
            if list(target[:shared]) == wanted[:shared]:
                return _first(rule)
        return None


def _first(rule: Rule) -> str:
    return next(rule.paths(), "")


def _value(rule: Rule, read: Reader, tree: Tree, problems: list[Problem]) -> Any:
    try:
        return read(tree)
    except Misfit as misfit:
        problems.append(Problem(misfit.path or _first(rule), misfit.code, misfit.detail))
        return None


def ready() -> list[str]:
    """The names of the mappings that come with the hub."""
    return sorted(
        item.name.removesuffix(".toml") for item in _FOLDER.iterdir() if item.name.endswith(".toml")
    )


class Mappers:
    """An archive with the mappings of its files, ready to be applied."""

    def __init__(self, file: Archive, folder: Path) -> None:
        """In: where mappings stand that are not among the ready ones. Raises `Invalid`."""
        self.file = file
        self.files: dict[str, Mapper] = {}
        for entry, name in file.archive.items():
            found = load(name if name in ready() else str(folder / name))
            if isinstance(found, Mappers):
                raise Invalid.one("/archive", "archive-in-archive", "a file of an archive is no archive")
            self.files[entry] = found


def load(name: str) -> Mapper | Mappers:
    """A mapping by its name among the ready ones, or by the path of its file.

    Raises `Invalid` when there is none, or when it is not a mapping; the problems say where.
    """
    file = _FOLDER / f"{name}.toml" if name in ready() else Path(name)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        known = ", ".join(ready())
        raise Invalid.one(
            "", "no-such-mapping", f"no such file, and none of the ready ones: {known}"
        ) from None
    found = parse(text)
    return Mapper(found) if isinstance(found, File) else Mappers(found, Path(name).parent)


def parse(text: str) -> File | Archive:
    """A mapping from the text of its file. Raises `Invalid`."""
    if len(text) > mapping_chars_max:
        raise Invalid.one("", "too-large", f"a mapping has at most {mapping_chars_max} characters")
    try:
        item = tomllib.loads(text)
        return Archive.model_validate(item) if "archive" in item else File.model_validate(item)
    except tomllib.TOMLDecodeError as error:
        raise Invalid.one("", "not-toml", str(error)) from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid(
            Problem("/" + "/".join(str(part) for part in e["loc"]), e["type"].replace("_", "-"), e["msg"])
            for e in found
        ) from None
