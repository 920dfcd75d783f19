"""FHIR R4 by REST: `Encounter`, `ServiceRequest` and Bundles of them in; answers are FHIR, too."""

import json
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from connectors import resources
from connectors.described import FHIR, also, takes
from connectors.intake import Taken
from connectors.resources import CONSENT, PATIENT, Entry
from hub import fhir
from hub.access import machine
from hub.parts import Parts, parts
from hub.routes.bodies import as_problem, read_json
from hub.routes.consents import FHIR_JSON, FhirAnswer, outcomes
from hub.routes.directives import sender
from schemas import cloudevents
from schemas.errors import HubError, Invalid, Problem, Refused

VIA: Final = "fhir"
ACCEPTED: Final = 202
REFUSED: Final = 422
UNTOUCHED: Final = 200

routes = APIRouter(tags=["events"])


class Outcome:
    """What becomes of one resource: a status, an `OperationOutcome`, and what is to be stored."""

    def __init__(self, status: int, body: dict[str, Any], taken: Taken | None = None, at: str = "") -> None:
        self.status = status
        self.body = body
        self.taken = taken
        self.location = at

    @property
    def refused(self) -> bool:
        """Whether nothing came of it."""
        return self.status >= 400


@routes.post(
    "/v1/fhir",
    status_code=200,
    summary="Take in a FHIR Bundle",
    response_class=FhirAnswer,
    responses=outcomes(400, 403, 413, 422, 503),
    openapi_extra=takes(FHIR, FHIR_JSON),
)
async def bundle(request: Request, of: Parts = Depends(parts)) -> FhirAnswer:
    """A Bundle of Encounters and ServiceRequests, in order; with Patients that they refer to.

    A `transaction` is taken whole or not at all, else each entry by itself. 200 with a Bundle of answers.
    """
    try:
        agency, resource = await _asked(request, of)
        if resources.kind_of(resource) != resources.BUNDLE:
            raise Invalid.one("Bundle.resourceType", "not-supported", "a resource alone goes to its own path")
        found = await run_in_threadpool(lambda: list(resources.entries(resource)))
        whole = resource["type"] == "transaction"
        outcomes = [await run_in_threadpool(_entry, request, of, agency, one, whole) for one in found]
        refused = [one for one in outcomes if one.refused]
        if whole and refused:
            issues = [issue for one in refused for issue in one.body["issue"]]
            await of.intake.append([one.taken for one in refused if one.taken is not None])
            return FhirAnswer({"resourceType": "OperationOutcome", "issue": issues}, REFUSED)
        await of.intake.append([one.taken for one in outcomes if one.taken is not None])
    except HubError as error:
        return _error(error)
    return FhirAnswer(answered("transaction-response" if whole else "batch-response", outcomes))


@routes.post(
    "/v1/fhir/{kind}",
    status_code=202,
    summary="Take in a FHIR resource",
    response_class=FhirAnswer,
    responses=also(200, "By its status no event", FHIR_JSON, FHIR) | outcomes(400, 403, 413, 422, 503),
    openapi_extra=takes(FHIR, FHIR_JSON),
)
async def resource(request: Request, kind: str, of: Parts = Depends(parts)) -> FhirAnswer:
    """An Encounter or a ServiceRequest (R4). 202 with an `OperationOutcome`, and where its status is.

    What is wrong is named by its element; the resource is kept in quarantine.
    """
    try:
        agency, found = await _asked(request, of)
        if kind not in resources.KINDS or resources.kind_of(found) != kind:
            raise Invalid.one(
                "Resource.resourceType", "not-supported", "a resource goes to the path of its kind"
            )
        outcome = await run_in_threadpool(_taken, of, agency, Entry(kind, kind, found))
        if outcome.taken is not None:
            await of.intake.append([outcome.taken])
    except HubError as error:
        return _error(error)
    headers = {"Location": outcome.location} if outcome.location else None
    return FhirAnswer(outcome.body, outcome.status, headers=headers)


async def _asked(request: Request, of: Parts) -> tuple[str, Any]:
    """Who asks, and the resource. Raises `Invalid`, `Refused`."""
    agency = machine(request).stakeholder
    if not await run_in_threadpool(of.intake.rulebook.registered, agency):
        raise Refused("your organisation is not registered here, or not any more", code="not-registered")
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != FHIR_JSON:
        raise Invalid.one("", "not-fhir", f"send it as `{FHIR_JSON}`")
    return agency, await read_json(request)


def _entry(request: Request, of: Parts, agency: str, entry: Entry, whole: bool) -> Outcome:
    """One entry of a Bundle. Consents are taken at once, and so not within a transaction."""
    if entry.kind == PATIENT:
        return _said(UNTOUCHED, "informational", "a patient is read for references, and not kept")
    if entry.kind != CONSENT:
        return _taken(of, agency, entry)
    try:
        if whole:
            raise Invalid.one(entry.path, "not-supported", "a consent goes alone, or in a batch")
        if "directives" not in machine(request).scopes:
            raise Refused("the token is not for consents", code="sender", path=entry.path)
        sent, new = fhir.taken(of, sender(request), entry.resource)
    except HubError as error:
        return Outcome(as_problem(error).status_code, fhir.outcome(error))
    location = f"/v1/consents/{sent.concerns}"
    return _said(201 if new else 200, "informational", location, at=location)


def _taken(of: Parts, agency: str, entry: Entry) -> Outcome:
    """Blocks on the vault: call it in a thread."""
    original = json.dumps(entry.resource, separators=(",", ":")).encode()
    try:
        item = resources.event(entry.resource, cloudevents.source_of(agency))
    except Invalid as error:
        _, kept = of.intake.quarantined(agency, original, error.problems[0], via=VIA)
        return Outcome(REFUSED, fhir.outcome(error), kept)
    if item is None:
        return _said(UNTOUCHED, "informational", "by its status this is no event")
    text = json.dumps(item, separators=(",", ":")).encode("ascii")
    taken = of.intake.take(agency, text, _read(text), via=VIA)
    if taken.answer["status"] != "accepted":
        wrong = Invalid(
            Problem(resources.where(entry.kind, one["path"]), one["code"], one["detail"])
            for one in taken.answer["errors"]
        )
        return Outcome(REFUSED, fhir.outcome(wrong), taken)
    location = f"/v1/events/{taken.answer['event']}"
    return _said(ACCEPTED, "informational", "accepted", taken, location)


def _read(text: bytes) -> cloudevents.CloudEvent | Invalid:
    try:
        return cloudevents.structured(text)
    except Invalid as error:
        return error


def _said(status: int, code: str, text: str, taken: Taken | None = None, at: str = "") -> Outcome:
    issue = {"severity": "information", "code": code, "details": {"text": text}}
    return Outcome(status, {"resourceType": "OperationOutcome", "issue": [issue]}, taken, at)


def answered(kind: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The Bundle of answers, in the order of the entries. FHIR has no empty lists."""
    entries = [{"response": _response(one)} for one in outcomes]
    return {"resourceType": "Bundle", "type": kind} | ({"entry": entries} if entries else {})


def _response(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"status": str(outcome.status), "outcome": outcome.body}
    if outcome.location:
        found["location"] = outcome.location
    return found


def _error(error: HubError) -> FhirAnswer:
    return FhirAnswer(fhir.outcome(error), as_problem(error).status_code)
