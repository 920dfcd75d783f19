"""What a recipient has seen as FHIR R4: a transaction of the patient, what happened, and where it comes from.

A contact and a service are an Encounter, a referral is a ServiceRequest. For a status in court FHIR has no
resource, and none is made up. Everything is identified, so that a repeated transaction changes nothing. Pure.
Sources: FHIR R4 (4.0.1) Bundle, Encounter, ServiceRequest, Provenance; as security labels HL7 v3
Confidentiality, ActCode (refrain policies, information sensitivity), ActReason (purposes of use).
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from connectors.adapter import Outgoing
from consent import fhir_codes as codes

EVENT: Final = "urn:diversion-hub:event"
DELIVERY: Final = "urn:diversion-hub:delivery"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
NULL_FLAVOR: Final = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
AGENT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
PATIENT, HAPPENED, PROVENANCE = (
    f"urn:uuid:00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3)
)
STEPS: Final = {
    "offered": "planned",
    "accepted": "planned",
    "started": "in-progress",
    "ongoing": "in-progress",
    "paused": "onleave",
    "completed": "finished",
}
CLASSES: Final = {"in person": "AMB", "phone": "VR", "message": "VR", "video": "VR"}
REFRAIN: Final = {
    "no-redisclosure": (codes.ACT_CODE, "NORDSCLCD"),
    "attach-part2-notice": (codes.ACT_CODE, "42CFRPart2"),
}
RESOURCES: Final = {
    "contact": "Encounter",
    "service-engagement": "Encounter",
    "referral": "ServiceRequest",
}

Json = dict[str, Any]


def bundle(outgoing: Outgoing, recorded: str) -> Json | None:
    """The transaction of one delivery; None for a type that FHIR has no resource for.

    In: the time of this attempt, RFC 3339.
    """
    view = outgoing.view
    kind = RESOURCES.get(view["type"])
    if kind is None:
        return None
    fields = {name: value for part in view["data"].values() for name, value in part.items()}
    happened = _encounter(view, fields) if kind == "Encounter" else _request(view, fields)
    identifier = {"system": EVENT, "value": view["id"]}
    happened |= {
        "resourceType": kind,
        "identifier": [identifier],
        "subject": {"reference": PATIENT},
    }
    if narrative := fields.get("narrative"):
        happened["text"] = _text([narrative])
    person = _patient(view, fields)
    patient = person["identifier"][0]
    entries = [
        (PATIENT, person, {"method": "POST", "url": "Patient", "ifNoneExist": _token(patient)}),
        (HAPPENED, happened, {"method": "PUT", "url": f"{kind}?{_token(identifier)}"}),
        (
            PROVENANCE,
            _provenance(outgoing, recorded),
            {"method": "PUT", "url": f"Provenance/{outgoing.key}"},
        ),
    ]
    labels = _labels(view)
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": url, "resource": resource | {"meta": {"security": labels}}, "request": request}
            for url, resource, request in entries
        ],
    }


def _token(identifier: Mapping[str, str]) -> str:
    return f"identifier={identifier['system']}|{identifier['value']}"


def _labels(view: Mapping[str, Any]) -> list[Json]:
    """Restricted, what must be refrained from, and for what it may be used."""
    found = [(CONFIDENTIALITY, "R")]
    found += [code for duty, code in REFRAIN.items() if duty in view["obligations"]]
    found += [codes.code_of(one, codes.PURPOSES, codes.PURPOSE) for one in view["purposes"]]
    found += [(codes.ACT_REASON, "HTEST")] if view.get("sample") else []
    return [_coding(code) for code in found]


def _patient(view: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    """Known by the id that is this recipient's alone, and by its own where the hub knows it."""
    found: Json = {
        "resourceType": "Patient",
        "identifier": [{"system": codes.PARTICIPANT, "value": view["participant"]}],
    }
    if "local_id" in view:
        found["identifier"].append({"use": "secondary", "value": view["local_id"]})
    if "name" in fields:
        found["name"] = [{"text": fields["name"]}]
    if "birth_date" in fields:
        found["birthDate"] = fields["birth_date"]
    return found


def _encounter(view: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    status = STEPS.get(fields.get("step", ""), "unknown" if "step" in fields else "finished")
    if "booked_at" in fields:
        status = "finished" if "released_at" in fields else "in-progress"
    code = CLASSES.get(fields.get("mode", ""))
    found: Json = {
        "status": status,
        "class": _coding((codes.ACT_CODE, code) if code else (NULL_FLAVOR, "UNK")),
        "type": [_kind(view, fields.get("program") or fields.get("service_code"))],
    }
    start = fields.get("booked_at") or fields.get("occurred_at") or view.get("time")
    end = fields.get("released_at") or fields.get("ended_at")
    if start or end:
        found["period"] = {name: at for name, at in (("start", start), ("end", end)) if at}
    if where := fields.get("facility") or (fields.get("place") or {}).get("description"):
        found["location"] = [{"location": {"display": where}}]
    if "staff" in fields:
        found["participant"] = [{"individual": {"display": fields["staff"]}}]
    if "provider" in fields:
        found["serviceProvider"] = {"display": fields["provider"]}
    reasons = [{"coding": [dict(one)]} for one in fields.get("codes", ())]
    reasons += [{"text": one} for one in fields.get("needs", ())]
    if reasons:
        found["reasonCode"] = reasons
    return found


def _request(view: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    found: Json = {
        "status": "completed" if "handed_off_at" in fields else "active",
        "intent": "order",
        "code": _kind(view, fields.get("door")),
    }
    if at := fields.get("occurred_at") or view.get("time"):
        found["authoredOn"] = at
    if "handoff_due_at" in fields:
        found["occurrenceDateTime"] = fields["handoff_due_at"]
    if "referred_by" in fields:
        found["requester"] = {"display": fields["referred_by"]}
    return found


def _kind(view: Mapping[str, Any], text: str | None) -> Json:
    """What sort of thing it was: the category where it shows, and words."""
    found: Json = {"text": text or view["type"]}
    if "category" in view:
        found["coding"] = [_coding((codes.CATEGORY, view["category"]))]
    return found


def _provenance(outgoing: Outgoing, recorded: str) -> Json:
    view = outgoing.view
    found: Json = {
        "resourceType": "Provenance",
        "id": outgoing.key,
        "target": [{"reference": HAPPENED}],
        "recorded": recorded,
        "agent": [
            {
                "type": {"coding": [_coding((AGENT, "assembler"))]},
                "who": {"display": "diversion hub"},
            },
            {
                "type": {"coding": [_coding((AGENT, "author"))]},
                "who": {"identifier": {"system": "urn:ietf:rfc:3986", "value": view["source"]}},
            },
        ],
        "reason": [
            {"coding": [_coding(codes.code_of(one, codes.PURPOSES, codes.PURPOSE))]}
            for one in view["purposes"]
        ],
        "entity": [{"role": "source", "what": {"identifier": {"system": DELIVERY, "value": outgoing.key}}}],
    }
    said = [one["text"] for one in view["notices"]]
    said += [text for line in view["consent_scope"] if (text := line["said"].get("en"))]
    if said:
        found["text"] = _text(said)
    return found


def _coding(code: tuple[str, str]) -> Json:
    return {"system": code[0], "code": code[1]}


def _text(paragraphs: Sequence[str]) -> Json:
    inner = "".join(f"<p>{html.escape(one)}</p>" for one in paragraphs)
    return {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'}
