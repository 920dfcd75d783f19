"""The released Avro schemas and their ids: what the code runs on, and what a Schema Registry's read side
answers.

Ids and files never change once released; a change is a new file, a new id and a new row. A `*` in a subject
stands for a stakeholder's id. `<topic>-value` is the TopicNameStrategy; the four types that agencies write,
several of them to one inbox, have also a subject of their own by the RecordNameStrategy.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from fastavro.schema import to_parsing_canonical_form

from schemas.errors import UnknownSchema
from schemas.topics import STAKEHOLDER_ID

COMPATIBILITY: Final = "FULL_TRANSITIVE"
_FOLDER = resources.files("schemas") / "avro"


class Row(NamedTuple):
    """One version of one subject."""

    id: int
    subject: str
    version: int
    file: str


ROWS: Final = tuple(Row(**row) for row in json.loads((_FOLDER / "registry.json").read_text("utf-8")))
_FILES: Final = {row.id: row.file for row in ROWS}


@cache
def text(schema_id: int) -> str:
    """A schema as its file has it, on one line. Raises `UnknownSchema`."""
    file = _FILES.get(schema_id)
    if file is None:
        raise UnknownSchema(f"no schema has the id {schema_id}")
    return json.dumps(json.loads((_FOLDER / file).read_text("utf-8")), separators=(",", ":"))


def schema(schema_id: int) -> dict[str, Any]:
    """A schema as a fresh dict. Raises `UnknownSchema`."""
    parsed: dict[str, Any] = json.loads(text(schema_id))
    return parsed


@cache
def _ids() -> dict[str, tuple[int, ...]]:
    """Record name to the ids of its versions, oldest first."""
    ids: dict[str, tuple[int, ...]] = {}
    for schema_id in sorted(_FILES):
        name = schema(schema_id)["name"]
        ids[name] = (*ids.get(name, ()), schema_id)
    return ids


def names() -> tuple[str, ...]:
    """The names of all records."""
    return tuple(_ids())


def released(name: str) -> tuple[int, ...]:
    """The ids of a record's versions, oldest first. Raises `UnknownSchema`."""
    try:
        return _ids()[name]
    except KeyError:
        raise UnknownSchema("no record of ours has that name") from None


def newest(name: str) -> int:
    """The id of a record's newest version. Raises `UnknownSchema`."""
    return released(name)[-1]


def _pattern(subject: str) -> str:
    """The subject as `ROWS` has it: a stakeholder's id gives way to `*`."""
    topic, dot, rest = subject.partition(".")
    stakeholder, dash, suffix = rest.rpartition("-")
    if dot and dash and suffix == "value" and STAKEHOLDER_ID.fullmatch(stakeholder):
        return f"{topic}.*-value"
    return subject


def subjects(stakeholders: Iterable[str] = ()) -> list[str]:
    """All subjects, sorted; those of a stakeholder's topics for each of the given ids."""
    known = list(stakeholders)
    found: set[str] = set()
    for row in ROWS:
        found.update(
            [row.subject] if "*" not in row.subject else (row.subject.replace("*", s) for s in known)
        )
    return sorted(found)


def versions(subject: str) -> tuple[Row, ...]:
    """The rows of a subject, oldest first, with the subject as it was asked for; empty when there is none."""
    pattern = _pattern(subject)
    if "*" in subject:
        return ()
    rows = (row._replace(subject=subject) for row in ROWS if row.subject == pattern)
    return tuple(sorted(rows, key=lambda row: row.version))


def version(subject: str, number: int | str) -> Row | None:
    """One version of a subject; `latest` or -1 is the newest. None when there is none."""
    rows = versions(subject)
    if number in ("latest", -1):
        return rows[-1] if rows else None
    return next((row for row in rows if row.version == number), None)


def subjects_of(schema_id: int) -> tuple[Row, ...]:
    """The rows that name a schema id."""
    return tuple(row for row in ROWS if row.id == schema_id)


def _canonical(parsed: Any) -> str | None:
    try:
        return to_parsing_canonical_form(parsed)
    except Exception:
        return None


def lookup(subject: str, schema_text: str) -> Row | None:
    """The newest row of a subject whose schema reads the same bytes as the given one; None when there is
    none.

    Compared by Avro's parsing canonical form, which leaves out docs, defaults and our own attributes.
    """
    try:
        wanted = _canonical(json.loads(schema_text))
    except (ValueError, RecursionError):
        return None
    if wanted is None:
        return None
    return next((row for row in reversed(versions(subject)) if _canonical(schema(row.id)) == wanted), None)


def as_json(row: Row) -> Mapping[str, Any]:
    """A row as the registry's API shows it: `{"subject", "id", "version", "schema", "schemaType"}`."""
    return {
        "subject": row.subject,
        "id": row.id,
        "version": row.version,
        "schemaType": "AVRO",
        "schema": text(row.id),
    }
