"""Events as two agencies' own systems write them: charges in NIEM XML, visits and requests as FHIR."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

from examples.county.events import Event

NAMESPACES = {
    "x": "http://example.org/prosecutor/filing/1",
    "nc": "http://release.niem.gov/niem/niem-core/5.0/",
    "j": "http://release.niem.gov/niem/domains/jxdm/7.2/",
    "structures": "http://release.niem.gov/niem/structures/5.0/",
}
STATUSES = {
    "offered": "planned",
    "started": "arrived",
    "ongoing": "in-progress",
    "paused": "onleave",
    "completed": "finished",
}
REQUESTED = {"offered": "active", "paused": "on-hold", "completed": "completed"}
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SENSITIVE = {"hiv": "HIV", "mental-health": "MH"}


def charge_case(event: Event, person: str | None = None) -> str:
    """A charge as a case of a NIEM message; `person` is put in place of the defendant's id."""
    fields = {name: escape(str(value)) for name, value in (event.fields | event.fields["charge"]).items()}
    number = fields["local_id"] if person is None else person
    known = f"P-{event.id}" if person is None else "P-spoilt"
    return f"""  <nc:Case>
    <nc:CaseTrackingID>{event.id if person is None else "spoilt"}</nc:CaseTrackingID>
    <nc:CaseDocketID>{fields["case_number"]}</nc:CaseDocketID>
    <j:CaseAugmentation>
      <j:CaseCharge>
        <j:ChargeDescriptionText>{fields["description"]}</j:ChargeDescriptionText>
        <j:ChargeFilingDate><nc:DateTime>{fields["occurred_at"]}</nc:DateTime></j:ChargeFilingDate>
        <j:ChargeSequenceID>1</j:ChargeSequenceID>
        <j:ChargeSeverityText>{fields["severity"]}</j:ChargeSeverityText>
        <j:ChargeStatute>
          <j:StatuteCodeIdentification>
            <nc:IdentificationID>{fields["statute"]}</nc:IdentificationID>
          </j:StatuteCodeIdentification>
        </j:ChargeStatute>
      </j:CaseCharge>
      <j:CaseCourt><j:CourtName>{fields["court"]}</j:CourtName></j:CaseCourt>
      <j:CaseDefendantParty><nc:EntityPerson structures:ref="{known}"/></j:CaseDefendantParty>
    </j:CaseAugmentation>
  </nc:Case>
  <nc:Person structures:id="{known}">
    <nc:PersonBirthDate><nc:Date>{fields["birth_date"]}</nc:Date></nc:PersonBirthDate>
    <nc:PersonName><nc:PersonFullName>{fields["name"]}</nc:PersonFullName></nc:PersonName>
    <nc:PersonOtherIdentification>
      <nc:IdentificationID>{number}</nc:IdentificationID>
    </nc:PersonOtherIdentification>
  </nc:Person>
"""


def filing(cases: Iterable[str]) -> str:
    """A whole message of the prosecutor's own exchange, by NIEM 5.2."""
    names = "".join(f'\n    xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    begin = f'<?xml version="1.0" encoding="UTF-8"?>\n<x:ChargeFilings{names}>\n'
    return begin + "".join(cases) + "</x:ChargeFilings>\n"


def encounter(event: Event) -> dict[str, Any]:
    """A visit as a FHIR R4 Encounter."""
    fields = event.fields
    return {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:example:visits", "value": event.id}],
        "meta": {"security": [{"system": ACT_CODE, "code": SENSITIVE[label]} for label in event.labels]},
        "status": STATUSES[fields["step"]],
        "class": {"system": ACT_CODE, "code": "AMB"},
        "type": [{"text": fields["service_code"]}],
        "subject": {"identifier": {"system": "urn:example:patients", "value": fields["local_id"]}},
        "period": {"start": fields["occurred_at"]},
        "serviceProvider": {"display": fields["provider"]},
    }


def service_request(event: Event) -> dict[str, Any]:
    """A service that was asked for, as a FHIR R4 ServiceRequest."""
    fields = event.fields
    return {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": "urn:example:requests", "value": event.id}],
        "meta": {"security": [{"system": ACT_CODE, "code": SENSITIVE[label]} for label in event.labels]},
        "status": REQUESTED[fields["step"]],
        "intent": "order",
        "code": {"text": fields["service_code"]},
        "subject": {"identifier": {"system": "urn:example:patients", "value": fields["local_id"]}},
        "authoredOn": fields["occurred_at"],
        "performer": [{"display": fields["provider"]}],
    }


def resource(event: Event) -> dict[str, Any]:
    """A visit, or what was asked for, as the clinic's record has it."""
    return encounter(event) if event.category == "service.medical" else service_request(event)


def batch(events: Iterable[Event]) -> dict[str, Any]:
    """Such resources as a FHIR Bundle, each to be taken by itself."""
    return {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": resource(e)} for e in events]}
