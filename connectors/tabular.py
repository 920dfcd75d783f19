"""What recipients have seen as files: JSON lines, or CSV with the same columns in every file of a type.

Pure. CSV is RFC 4180, in UTF-8, with every cell quoted. Text that a spreadsheet would take for a formula gets
an apostrophe before it, as OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection).
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from connectors.adapter import Outgoing
from connectors.projection import SENDERS_OWN
from schemas import registry
from schemas.compartments import RECORDS

Format = Literal["csv", "jsonl"]
ALWAYS: Final = (
    "id",
    "event",
    "category",
    "time",
    "participant",
    "local_id",
    "purposes",
    "obligations",
    "notices",
    "consent_scope",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
BETWEEN: Final = "; "


@cache
def columns(kind: str) -> tuple[str, ...]:
    """The columns of a type's files: what every delivery has, then `compartment.field` as in the schema."""

    def inside(schema: Any, path: str) -> list[str]:
        branches = schema if isinstance(schema, list) else [schema]
        record = next((one for one in branches if isinstance(one, dict) and one["type"] == "record"), None)
        if record is None:
            return [path]
        return [found for one in record["fields"] for found in inside(one["type"], f"{path}.{one['name']}")]

    fields = registry.schema(registry.newest(RECORDS[kind]))["fields"]
    shown = [one for one in fields if one["name"] not in SENDERS_OWN]
    return (
        *ALWAYS,
        *(path for one in shown for path in inside(one["type"], f"{one['compartment']}.{one['name']}")),
    )


def cell(value: Any) -> str:
    """One value as a cell: lists joined, what has parts as JSON, nothing for what is absent."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = BETWEEN.join(value)
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"'{value}" if value.startswith(FORMULA) else value


def row(outgoing: Outgoing) -> dict[str, str]:
    """One delivery as cells by column. What this version's schema does not know is left out."""
    view = outgoing.view
    found: dict[str, Any] = {name: view.get(name) for name in ALWAYS}
    found |= {"id": outgoing.key, "event": view["id"]}
    found["notices"] = "\n".join(one["text"] for one in view["notices"])
    for compartment, fields in view["data"].items():
        _flat(fields, compartment, found)
    return {name: cell(found.get(name)) for name in columns(view["type"])}


def _flat(fields: Mapping[str, Any], path: str, found: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _flat(value, f"{path}.{name}", found)
        else:
            found[f"{path}.{name}"] = value


def written(several: Sequence[Outgoing], form: Format) -> bytes:
    """A file of deliveries of one type, in their order."""
    if form == "jsonl":
        lines = (json.dumps({"id": one.key, "event": one.view}, ensure_ascii=False) for one in several)
        return "".join(f"{line}\n" for line in lines).encode()
    out = io.StringIO(newline="")
    writer = csv.DictWriter(
        out, columns(several[0].view["type"]), quoting=csv.QUOTE_ALL, lineterminator="\r\n"
    )
    writer.writeheader()
    writer.writerows(row(one) for one in several)
    return out.getvalue().encode()
