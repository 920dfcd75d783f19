"""One value's rule: where it is found in a record, and what is done to it until it is an event's value.

A record is a tree: texts, named parts, lists. A path names parts with slashes between
(`Person/Name/Surname`). Where it meets a list it takes the first, all of them at a `*` (`Charge/*/Statute`),
and at `*[Kind=local]` those whose `Kind` is that text; one part alone is a list of itself. `~1` stands for a
slash within a name and `~0` for a tilde, as in JSON Pointer. A named part that has a text of its own keeps it
under `#text`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from connectors import times
from schemas import fields

Tree = Mapping[str, Any] | Sequence[Any] | str
Scalar = bool | float | str
Table = Mapping[str, Scalar]
Reader = Callable[[Tree], Any]

remembered_max: Final = 4_096  # texts of one rule, with what was made of them
OWN_TEXT: Final = "#text"
_ITEMS: Final = re.compile(r"\*\[([^=\]]+)=([^\]]*)\]")
_TRUE: Final = frozenset({"1", "y", "yes", "t", "true"})
_FALSE: Final = frozenset({"0", "n", "no", "f", "false"})


class Misfit(Exception):
    """A value that does not fit its rule; `path` is where it was found."""

    def __init__(self, code: str, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.path = code, detail, path


def segments(path: str) -> tuple[str, ...]:
    """A path's parts, with `~1` and `~0` put back."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))


def select(tree: Any, path: Sequence[str]) -> Iterator[str]:
    """Every text at a path of a tree, in order; nothing where the path leads nowhere."""
    if path and path[0].startswith("*") and (wanted := _each(path[0])) is not None:
        if isinstance(tree, Mapping) and path[0] in tree:
            yield from select(tree[path[0]], path[1:])
            return
        for item in [tree] if isinstance(tree, Mapping | str) else tree:
            if not wanted or wanted[1] in select(item, wanted[:1]):
                yield from select(item, path[1:])
    elif isinstance(tree, str):
        if not path:
            yield tree
    elif isinstance(tree, Mapping):
        if not path:
            yield from select(tree.get(OWN_TEXT, ()), path)
        elif path[0] in tree:
            yield from select(tree[path[0]], path[1:])
    elif tree:
        yield from select(tree[0], path)


def _each(step: str) -> tuple[str, ...] | None:
    """What a step asks of each item of a list: nothing, or a name and its text; None where it is a name."""
    if step == "*":
        return ()
    asked = _ITEMS.fullmatch(step)
    return None if asked is None else (asked[1], asked[2])


def tree_of(value: Any) -> Tree:
    """A JSON value as a record: numbers and truths as texts, nothing that is null."""
    if isinstance(value, Mapping):
        return {name: tree_of(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [tree_of(item) for item in value if item is not None]
    return value if isinstance(value, str) else json.dumps(value)


def texts(path: str) -> Callable[[Tree], list[str]]:
    """A function that finds the texts at a path, trimmed, blank ones left out."""
    parts = segments(path)
    name = parts[0]

    def find(tree: Tree) -> list[str]:
        if isinstance(tree, dict) and len(parts) == 1:
            text = tree.get(name, "")
            if isinstance(text, str):
                text = text.strip()
                return [text] if text else []
        return [found for text in select(tree, parts) if (found := text.strip())]

    return find


class Part(BaseModel):
    """A part of a mapping's file: nothing unknown in it, nothing of another type, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _shorthand(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Rule(Part):
    """Where a value comes from and what is done to it. A bare text in the file is a rule's `path`.

    `first` is the first of several rules that gives anything; `parts` joins several; `table` looks the text
    up, and `otherwise` is for what isn't in it (an empty text in either is no value); `format` reads a local
    date or time in `timezone`, a bare date at `time_of_day`; `as` says what comes out.
    """

    path: str | None = None
    first: "Annotated[list[Given], Field(min_length=1)] | None" = None
    parts: "list[Given] | None" = None
    join: str = " "
    constant: Scalar | list[str] | None = None
    table: str | dict[str, Scalar] | None = None
    otherwise: Scalar | None = None
    format: str | list[str] | None = None
    timezone: str | None = None
    time_of_day: str | None = None
    kind: Literal["text", "list", "number", "boolean", "instant", "date"] = Field("text", alias="as")
    split: Annotated[str, Field(min_length=1)] = ";"
    required: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if sum(origin is not None for origin in (self.path, self.first, self.parts, self.constant)) != 1:
            raise PydanticCustomError(
                "one-origin", "a rule has one of `path`, `first`, `parts` and `constant`"
            )
        if (self.kind in ("instant", "date")) != (self.format is not None):
            raise PydanticCustomError(
                "no-format", "an instant or a date has its `format`, and nothing else has"
            )
        if self.timezone is not None and not times.is_zone(self.timezone):
            raise PydanticCustomError("no-such-zone", "not a time zone of the IANA database")
        if self.time_of_day is not None and not times.is_clock(self.time_of_day):
            raise PydanticCustomError("no-such-time", "a time of day is written as 12:00")
        return self

    def paths(self) -> Iterator[str]:
        """Every path that the rule looks at."""
        if self.path is not None:
            yield self.path
        for part in (*(self.first or ()), *(self.parts or ())):
            yield from part.paths()

    def tables(self) -> Iterator[str]:
        """The names of the tables that the rule looks up in."""
        if isinstance(self.table, str):
            yield self.table
        for part in (*(self.first or ()), *(self.parts or ())):
            yield from part.tables()


Given = Annotated[Rule, BeforeValidator(_shorthand)]


def compiled(rule: Rule, tables: Mapping[str, Table], zone: str) -> Reader:
    """The rule as a function from a record to a value, or None where there is none. It raises `Misfit`.

    In: the mapping's tables, and the time zone of its input.
    """
    if rule.constant is not None:
        return lambda tree: rule.constant
    shape = _shape(rule, tables, zone)
    where = next(rule.paths(), "")
    if rule.parts is not None:
        return _joined([compiled(part, tables, zone) for part in rule.parts], rule, shape, where)
    if rule.first is not None:
        return _chosen([compiled(one, tables, zone) for one in rule.first], rule, shape, where)
    return _found(rule, shape, where)


def _found(rule: Rule, shape: Callable[[str], Any], where: str) -> Reader:
    path = rule.path or ""
    find, name = texts(path), segments(path)[0] if len(segments(path)) == 1 else None

    def read(tree: Tree) -> Any:
        if name is not None and type(tree) is dict and rule.kind != "list":
            text = tree.get(name)  # a line of a CSV file, by far the most
            if type(text) is str and (text := text.strip()):
                try:
                    return shape(text)
                except Misfit as misfit:
                    raise Misfit(misfit.code, misfit.detail, where) from None
        found = find(tree)
        if not found:
            if rule.required:
                raise Misfit("missing", "there is no value here", where)
            return None
        try:
            if rule.kind != "list":
                return shape(found[0])
            shaped = [
                shape(item.strip()) for text in found for item in text.split(rule.split) if item.strip()
            ]
            return [item for item in shaped if item is not None] or None
        except Misfit as misfit:
            raise Misfit(misfit.code, misfit.detail, where) from None

    return read


def _chosen(readers: list[Reader], rule: Rule, shape: Callable[[str], Any], where: str) -> Reader:
    def read(tree: Tree) -> Any:
        found = next((value for reader in readers if (value := reader(tree)) is not None), None)
        if found is None and rule.required:
            raise Misfit("missing", "there is no value here", where)
        try:
            return shape(found) if isinstance(found, str) else found
        except Misfit as misfit:
            raise Misfit(misfit.code, misfit.detail, misfit.path or where) from None

    return read


def _joined(readers: list[Reader], rule: Rule, shape: Callable[[str], Any], where: str) -> Reader:
    def read(tree: Tree) -> Any:
        found = [str(value) for reader in readers if (value := reader(tree)) is not None]
        if not found:
            if rule.required:
                raise Misfit("missing", "there is no value here", where)
            return None
        try:
            return shape(rule.join.join(found))
        except Misfit as misfit:
            raise Misfit(misfit.code, misfit.detail, misfit.path or where) from None

    return read


def _shape(rule: Rule, tables: Mapping[str, Table], zone: str) -> Callable[[str], Any]:
    """What is done to a text once it is found."""
    table = tables[rule.table] if isinstance(rule.table, str) else rule.table
    formats = (rule.format,) if isinstance(rule.format, str) else tuple(rule.format or ())
    zone = rule.timezone or zone

    if table is None and not formats and rule.kind in ("text", "list"):
        return str  # as it stands

    @lru_cache(maxsize=remembered_max)
    def shape(text: str) -> Any:
        value: Scalar = text
        if table is not None:
            value = _looked_up(table, rule.otherwise, text)
        if value == "" and isinstance(value, str):
            return None
        if formats and isinstance(value, str):
            return _time(value, formats, zone, rule.time_of_day, rule.kind == "date")
        if rule.kind == "number" and isinstance(value, str):
            return _number(value)
        return _boolean(value) if rule.kind == "boolean" and isinstance(value, str) else value

    return shape


def _looked_up(table: Table, otherwise: Scalar | None, text: str) -> Scalar:
    value = table.get(text, otherwise)
    if value is None:
        if fields.tells_failure(text):
            raise Misfit(fields.NO_PLACE, fields.NO_PLACE_DETAIL)
        raise Misfit("no-such-value", f"not one of the {len(table)} values that the mapping knows")
    return value


def _time(text: str, formats: tuple[str, ...], zone: str, time_of_day: str | None, date_only: bool) -> str:
    try:
        return times.read(text, formats, zone, time_of_day, date_only)
    except times.Unreadable as error:
        raise Misfit(error.code, error.detail) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Misfit("bad-number", "expected a number") from None


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise Misfit("bad-boolean", "expected yes or no, true or false, 1 or 0")
    return word in _TRUE
