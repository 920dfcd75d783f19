"""A consent as a FHIR R4 resource, as a hospital's consent service would hand it in.

A grant is a permission; the labels that it leaves out are denials inside it. Source: FHIR R4 (4.0.1) Consent;
the hub's page on FHIR for its own codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HUB = "urn:diversion-hub:"
HL7 = "http://terminology.hl7.org/CodeSystem/"
CLASS = "class:"
LABELS = {
    "part2": "42CFRPart2",
    "mental-health": "MH",
    "hiv": "HIV",
    "reproductive-health": "SEX",
    "counselling-notes": "PSYTHPN",
}
BY_FHIR = frozenset({"housing-only", "nothing-labelled"})  # whose consents come this way


def _coding(system: str, code: str) -> dict[str, Any]:
    return {"system": system, "code": code}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code)]}


def resource(consent: Mapping[str, Any], participant: str, witness: Mapping[str, str]) -> dict[str, Any]:
    """The resource of a consent, as `wishes.py` makes it, of a participant by the hub's id."""
    signature = [{"url": name, "valueString": consent["signature"][name]} for name in ("method", "reference")]
    seen = [{"url": name, "valueString": witness[name]} for name in ("name", "organisation")]
    return {
        "resourceType": "Consent",
        "identifier": [{"system": HUB + "consent", "value": consent["id"]}],
        "extension": [
            {"url": HUB + "signature", "extension": signature},
            {"url": HUB + "witness", "extension": seen},
        ],
        "status": "active",
        "scope": _concept(HL7 + "consentscope", "patient-privacy"),
        "category": [_concept("http://loinc.org", "59284-0")],
        "patient": {"identifier": {"system": HUB + "participant", "value": participant}},
        "dateTime": consent["signed_at"],
        "policy": [{"uri": f"{HUB}statement:{one}"} for one in consent["statements"]],
        "policyRule": _concept(HL7 + "v3-ActCode", "OPTOUT"),
        "provision": {
            "period": {"start": consent["starts_at"], "end": consent["expires_at"]},
            "provision": [_permit(one) for one in consent["grants"]],
        },
    }


def _permit(grant: Mapping[str, Any]) -> dict[str, Any]:
    """One grant. Disclosers are anybody, as in every grant that comes this way."""
    labels = [code for label, code in LABELS.items() if label not in grant["labels"]]
    made: dict[str, Any] = {
        "type": "permit",
        "actor": [_recipient(one) for one in grant["recipients"]],
        "purpose": [_coding(HUB + "purpose", one) for one in grant["purposes"]],
        "code": [_concept(HUB + "category", one) for one in grant["categories"]],
        "provision": [
            {"type": "deny", "securityLabel": [_coding(HL7 + "v3-ActCode", code)]} for code in labels
        ],
    }
    if grant["compartments"] != ["*"]:
        made["class"] = [_coding(HUB + "compartment", one) for one in grant["compartments"]]
    return made


def _recipient(name: str) -> dict[str, Any]:
    system = "class" if name.startswith(CLASS) else "stakeholder"
    identifier = {"system": HUB + system, "value": name.removeprefix(CLASS)}
    return {
        "role": _concept(HL7 + "v3-ParticipationType", "IRCP"),
        "reference": {"identifier": identifier},
    }
