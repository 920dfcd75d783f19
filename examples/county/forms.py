"""How a delivery looks by each way: what an organisation's own system reads out of what it was given.

A webhook, a fetched page, a file of JSON lines, a feed and the alerts page all tell the same, in other
clothes: it is read back into one shape. A CSV file and FHIR resources tell less, or otherwise: `sheets.py`,
`charts.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from examples.county.calendar import EPOCH, rfc3339
from examples.county.charts import facts
from examples.county.fields import COMPARTMENTS
from examples.county.sheets import cells

MADE_FOR_RECIPIENT = {"id", "participant"}
TOLD_OTHERWISE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"csv": cells, "fhir": facts}


def told(sight: Mapping[str, Any], form: str) -> str:
    """What a form tells of a sight (`sight.py`), in the spelling in which two can be held together."""
    return canonical(TOLD_OTHERWISE[form](sight) if form in TOLD_OTHERWISE else sight)


def arrived(body: Mapping[str, Any], form: str) -> str:
    """What came, without the ids made for this recipient, in the same spelling."""
    sight = {name: value for name, value in body.items() if name not in MADE_FOR_RECIPIENT}
    if form not in TOLD_OTHERWISE:
        sight["notices"] = [one["citation"] for one in body["notices"]]
        sight["consent_scope"] = sorted(
            [one["purpose"], one["compartments"]] for one in body["consent_scope"]
        )
    return canonical(sight)


def canonical(value: Any) -> str:
    """JSON with one spelling only; a whole number is one, however it was written."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def heard(attributes: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A record of a feed as a webhook would have told it.

    In: its CloudEvents attributes, without their prefix; its value, as an Avro reader gives it.
    """
    body: dict[str, Any] = {
        "id": attributes["id"],
        "source": attributes["source"],
        "type": attributes["type"],
        "participant": attributes["subject"],
        "purposes": _listed(attributes["purposes"]),
        "obligations": _listed(attributes["obligations"]),
        "notices": json.loads(attributes["notices"]),
        "consent_scope": json.loads(attributes["consentscope"]),
    }
    body |= {name: attributes[name] for name in ("time", "category") if name in attributes}
    said = {name: value for name, value in ((n, _said(v)) for n, v in fields.items()) if value is not None}
    if "local_id" in said:
        body["local_id"] = said.pop("local_id")
    where = {name: part for part, names in COMPARTMENTS.items() for name in names}
    data: dict[str, dict[str, Any]] = {}
    for name, value in said.items():
        data.setdefault(where[name], {})[name] = value
    return body | {"data": data}


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _said(value: Any) -> Any:
    """A value of Avro as JSON has it; None for what is absent."""
    if isinstance(value, datetime):
        return rfc3339((value - EPOCH) // (datetime.resolution * 1000))
    if isinstance(value, Mapping):
        inner = {name: one for name, one in ((n, _said(v)) for n, v in value.items()) if one is not None}
        return inner or None
    if isinstance(value, list):
        return [_said(one) for one in value] or None
    return value
