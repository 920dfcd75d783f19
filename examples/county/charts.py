"""FHIR resources as a clinic's record reads them: facts, and what a sight (`sight.py`) has to be as facts.

FHIR has a place for some of what the hub tells, and other words for it; what it has no place for does not
come this way. Source: FHIR R4 (4.0.1) Encounter, ServiceRequest, Provenance; HL7 v3 ActCode, ActReason.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from examples.county.calendar import rfc3339
from examples.county.record import instant

EVENT = "urn:diversion-hub:event"
PURPOSES = {
    "TREAT": "treatment",
    "COC": "care-coordination",
    "HLEGAL": "legal-coordination",
    "HOUTCOMS": "program-evaluation",
    "ETREAT": "emergency",
}
DUTIES = {"NORDSCLCD": "no-redisclosure", "42CFRPart2": "attach-part2-notice"}
STATUSES = {
    "offered": "planned",
    "accepted": "planned",
    "started": "in-progress",
    "ongoing": "in-progress",
    "paused": "onleave",
    "completed": "finished",
}
CLASSES = {"in person": "AMB", "phone": "VR", "message": "VR"}
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)


def read(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of one transaction's resources. Raises `KeyError`, `StopIteration` where one is missing."""
    by_kind = {one["resourceType"]: one for one in entries}
    patient, origin = by_kind["Patient"], by_kind["Provenance"]
    kind = next(one for one in ("Encounter", "ServiceRequest") if one in by_kind)
    what = by_kind[kind]
    labels = {one["code"] for one in what["meta"]["security"]}
    named = what["type"][0] if kind == "Encounter" else what["code"]
    own = [one["value"] for one in patient["identifier"] if one.get("use") == "secondary"]
    found: dict[str, Any] = {
        "id": next(one["value"] for one in what["identifier"] if one["system"] == EVENT),
        "participant": patient["identifier"][0]["value"],
        "resource": kind,
        "source": origin["agent"][1]["who"]["identifier"]["value"],
        "purposes": sorted(PURPOSES[one["coding"][0]["code"]] for one in origin["reason"]),
        "duties": sorted(meant for code, meant in DUTIES.items() if code in labels),
        "restricted": "R" in labels,
        "said_besides": len(_paragraphs(origin)),
        "kind": named["text"],
        "status": what["status"],
    }
    found |= {"category": named["coding"][0]["code"]} if "coding" in named else {}
    found |= {"local_id": own[0]} if own else {}
    found |= {"name": patient["name"][0]["text"]} if "name" in patient else {}
    found |= {"birth_date": patient["birthDate"]} if "birthDate" in patient else {}
    found |= {"narrative": _paragraphs(what)[0]} if "text" in what else {}
    return found | (_visit(what) if kind == "Encounter" else _request(what))


def _paragraphs(resource: Mapping[str, Any]) -> list[str]:
    return [html.unescape(one) for one in PARAGRAPH.findall(resource.get("text", {}).get("div", ""))]


def _visit(what: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"class": what["class"]["code"]}
    found |= {name: _moment(text) for name, text in what.get("period", {}).items()}
    found |= {"where": what["location"][0]["location"]["display"]} if "location" in what else {}
    found |= {"staff": what["participant"][0]["individual"]["display"]} if "participant" in what else {}
    found |= {"provider": what["serviceProvider"]["display"]} if "serviceProvider" in what else {}
    reasons = what.get("reasonCode", [])
    return found | {
        "needs": [one["text"] for one in reasons if "text" in one],
        "codes": [one["coding"][0] for one in reasons if "coding" in one],
    }


def _request(what: Mapping[str, Any]) -> dict[str, Any]:
    found = {"due": _moment(what["occurrenceDateTime"])} if "occurrenceDateTime" in what else {}
    found |= {"start": _moment(what["authoredOn"])} if "authoredOn" in what else {}
    return found | ({"requester": what["requester"]["display"]} if "requester" in what else {})


def _moment(text: str) -> str:
    """An instant in the county's own spelling; as it stands where it is none."""
    read = instant(text)
    return text if read is None else rfc3339(read)


def facts(sight: Mapping[str, Any]) -> dict[str, Any]:
    """What a sight is as facts: of what the organisation may see, that which FHIR has a place for."""
    fields = {name: value for part in sight["data"].values() for name, value in part.items()}
    request = sight["type"] == "referral"
    found: dict[str, Any] = {
        "resource": "ServiceRequest" if request else "Encounter",
        "source": sight["source"],
        "purposes": sorted(sight["purposes"]),
        "duties": sorted(one for one in DUTIES.values() if one in sight["obligations"]),
        "restricted": True,
        "said_besides": len(sight["notices"]) + len(sight["consent_scope"]),
        "kind": fields.get("door") if request else fields.get("program") or fields.get("service_code"),
    }
    found["kind"] = found["kind"] or sight["type"]
    found |= {name: sight[name] for name in ("category", "local_id") if name in sight}
    found |= {name: fields[name] for name in ("name", "birth_date", "narrative") if name in fields}
    return found | (_as_request(fields) if request else _as_visit(sight, fields))


def _as_visit(sight: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    booked = "booked_at" in fields
    status = STATUSES[fields["step"]] if "step" in fields else "finished"
    if booked:
        status = "finished" if "released_at" in fields else "in-progress"
    found = {"status": status, "class": CLASSES.get(fields.get("mode", ""), "UNK")}
    start = fields.get("booked_at") or sight.get("time")
    found |= {"start": start} if start else {}
    found |= {"end": fields["released_at"]} if "released_at" in fields else {}
    where = fields.get("facility") or fields.get("place", {}).get("description")
    found |= {"where": where} if where else {}
    found |= {name: fields[name] for name in ("staff", "provider") if name in fields}
    return found | {"needs": list(fields.get("needs", [])), "codes": list(fields.get("codes", []))}


def _as_request(fields: Mapping[str, Any]) -> dict[str, Any]:
    found = {"status": "completed" if "handed_off_at" in fields else "active"}
    names = {"start": "occurred_at", "due": "handoff_due_at", "requester": "referred_by"}
    return found | {name: fields[field] for name, field in names.items() if field in fields}
