"""CSV files as an organisation reads them: cells by column, and what a sight (`sight.py`) has to be there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

FORMULA = tuple("=+-@\t\r\n")  # what a spreadsheet would calculate has an apostrophe before it
LISTS = ("purposes", "obligations")
BETWEEN = "; "


def rows(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line of a file with its key: `type`, and by column what stands there; empty cells are left out.

    In: the file's name, which begins with the type, and its text.
    """
    kind = name[: name.index("-2")]  # before the time, which begins with the year
    for line in csv.DictReader(io.StringIO(text, newline="")):
        said = {column: _unguarded(cell) for column, cell in line.items() if cell}
        key = said.pop("id")
        body: dict[str, Any] = {"id": said.pop("event"), "type": kind, **said}
        body["notices"] = len(said["notices"].split("\n42 CFR")) if "notices" in said else 0
        scope = json.loads(said.get("consent_scope", "[]"))
        body["consent_scope"] = sorted([one["purpose"], one["compartments"]] for one in scope)
        yield key, body


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def cells(sight: Mapping[str, Any]) -> dict[str, Any]:
    """What a sight is in cells. Who disclosed it has no column; notices are counted, their text is law."""
    found: dict[str, Any] = {
        name: sight[name] for name in ("type", "category", "time", "local_id") if name in sight
    }
    found |= {name: BETWEEN.join(sight[name]) for name in LISTS if sight[name]}
    found |= {"notices": len(sight["notices"]), "consent_scope": list(sight["consent_scope"])}
    for part, fields in sight["data"].items():
        _flat(fields, part, found)
    return found


def _flat(fields: Mapping[str, Any], path: str, found: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _flat(value, f"{path}.{name}", found)
        else:
            found[f"{path}.{name}"] = _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return BETWEEN.join(value)
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(float(value)) if isinstance(value, int | float) else str(value)
