"""Consents as FHIR R4 resources: `application/fhir+json` in and out, errors as `OperationOutcome`."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from connectors.described import FHIR, Answers, also, problems, takes
from hub import fhir
from hub.parts import Parts, parts
from hub.routes.bodies import as_problem, read_json
from hub.routes.directives import sender
from schemas.errors import HubError, Invalid

FHIR_JSON: Final = "application/fhir+json"

routes = APIRouter(tags=["consent"])


class FhirAnswer(JSONResponse):
    """A FHIR resource."""

    media_type = FHIR_JSON


def _refused(error: HubError) -> FhirAnswer:
    return FhirAnswer(fhir.outcome(error), as_problem(error).status_code)


def outcomes(*statuses: int) -> Answers:
    """Refusals as FHIR has them, for a route's `responses`."""
    return problems(*statuses, media=FHIR_JSON, schema=FHIR)


@routes.post(
    "/v1/consents",
    status_code=201,
    summary="Take in a FHIR Consent",
    response_class=FhirAnswer,
    responses=also(200, "A repeat", FHIR_JSON, FHIR) | outcomes(400, 403, 404, 409, 410, 413, 422, 503),
    openapi_extra=takes(FHIR, FHIR_JSON),
)
async def take(request: Request, of: Parts = Depends(parts)) -> FhirAnswer:
    """A Consent resource (R4), checked as every directive is. 201 with `Location`, 200 for a repeat.

    What the hub cannot hold exactly is refused with an `OperationOutcome` that names the element.
    """
    try:
        if request.headers.get("content-type", "").split(";")[0].strip() != FHIR_JSON:
            raise Invalid.one("", "not-fhir", f"send it as `{FHIR_JSON}`")
        resource: Any = await read_json(request)
        sent, new = await run_in_threadpool(fhir.taken, of, sender(request), resource)
    except HubError as error:
        return _refused(error)
    location = f"/v1/consents/{sent.concerns}"
    issue = {"severity": "information", "code": "informational", "details": {"text": location}}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return FhirAnswer(body, 201 if new else 200, headers={"Location": location})


@routes.get(
    "/v1/consents/{consent}",
    summary="A consent as it stands, as a FHIR resource",
    response_class=FhirAnswer,
    responses=outcomes(403, 404, 410, 422, 503),
)
async def give(request: Request, consent: str, of: Parts = Depends(parts)) -> FhirAnswer:
    """Without what was taken back since; `inactive` where all of it was."""
    try:
        return FhirAnswer(await run_in_threadpool(fhir.standing, of, sender(request), consent))
    except HubError as error:
        return _refused(error)
