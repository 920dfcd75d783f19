"""The read side of the Schema Registry's interface, enough for stock clients to decode and to encode.

It is the wire of Confluent's registry: its media type, its error codes, its look-up by POST.
"""

from typing import Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from connectors.described import TEXT, Answers, problems, takes
from hub.parts import Parts, parts
from hub.routes.bodies import read_json
from schemas import registry
from schemas.errors import Unavailable, UnknownSchema

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
NO_SUBJECT: Final = 40401
NO_VERSION: Final = 40402
NO_SCHEMA: Final = 40403
NOT_A_SCHEMA: Final = 42201
NOT_A_VERSION: Final = 42202


class RegistryAnswer(JSONResponse):
    """As Confluent's registry has it."""

    media_type = MEDIA_TYPE


def _answer(value: Any, status: int = 200) -> JSONResponse:
    return RegistryAnswer(value, status)


def _refusals(*statuses: int) -> Answers:
    error = {
        "type": "object",
        "required": ["error_code", "message"],
        "properties": {"error_code": {"type": "integer"}, "message": {"type": "string"}},
    }
    return problems(*statuses, media=MEDIA_TYPE, schema=error)


def _refusal(code: int, message: str) -> JSONResponse:
    return _answer({"error_code": code, "message": message}, code // 100)


def _either(status: int) -> Answers:
    """Refused for its form as everywhere here, or for its meaning as the registry has it."""
    ours, theirs = problems(status), _refusals(status)
    ours[status]["content"] |= theirs[status]["content"]
    return ours


routes = APIRouter(tags=["schemas"], default_response_class=RegistryAnswer)


@routes.get("/subjects", summary="All subjects")
def subjects(of: Parts = Depends(parts)) -> JSONResponse:
    """Their names, sorted."""
    try:
        known = sorted(of.register().stakeholders)
    except Unavailable:
        known = []
    return _answer(registry.subjects(known))


@routes.get("/subjects/{subject}/versions", summary="A subject's versions", responses=_refusals(404))
def versions(subject: str) -> JSONResponse:
    """Their numbers, oldest first."""
    rows = registry.versions(subject)
    return _answer([row.version for row in rows]) if rows else _refusal(NO_SUBJECT, "Subject not found.")


@routes.get(
    "/subjects/{subject}/versions/{version}",
    summary="One version of a subject",
    responses=_refusals(404, 422),
)
def version(subject: str, version: str) -> JSONResponse:
    """The version with its schema; `latest` is the newest."""
    row = _row(subject, version)
    return row if isinstance(row, JSONResponse) else _answer(registry.as_json(row))


@routes.get(
    "/subjects/{subject}/versions/{version}/schema",
    summary="One version's schema alone",
    responses=_refusals(404, 422),
)
def version_schema(subject: str, version: str) -> JSONResponse:
    """The schema itself."""
    row = _row(subject, version)
    return row if isinstance(row, JSONResponse) else _answer(registry.schema(row.id))


def _row(subject: str, version: str) -> registry.Row | JSONResponse:
    if not registry.versions(subject):
        return _refusal(NO_SUBJECT, "Subject not found.")
    if version != "latest" and not (version.removeprefix("-").isdecimal() and len(version) < 10):
        return _refusal(NOT_A_VERSION, "The specified version is not a number or `latest`.")
    row = registry.version(subject, "latest" if version == "latest" else int(version))
    return row or _refusal(NO_VERSION, "Version not found.")


@routes.post(
    "/subjects/{subject}",
    summary="Look a schema up under a subject",
    responses=_refusals(404) | _either(422) | problems(400, 413),
    openapi_extra=takes(
        {"type": "object", "required": ["schema"], "properties": {"schema": TEXT}},
        MEDIA_TYPE,
        "application/json",
    ),
)
async def look_up(request: Request, subject: str) -> JSONResponse:
    """The version of a subject that has this schema. The hub registers nothing for anybody."""
    body = await read_json(request)
    text = body.get("schema") if isinstance(body, dict) else None
    if not isinstance(text, str):
        return _refusal(NOT_A_SCHEMA, "Expected an object with `schema`, a string.")
    if not registry.versions(subject):
        return _refusal(NO_SUBJECT, "Subject not found.")
    row = registry.lookup(subject, text)
    return _answer(registry.as_json(row)) if row else _refusal(NO_SCHEMA, "Schema not found.")


@routes.get("/schemas/types", summary="Kinds of schemas")
def types() -> JSONResponse:
    """Avro alone."""
    return _answer(["AVRO"])


@routes.get("/schemas/ids/{id}", summary="A schema by its id", responses=_refusals(404) | problems(422))
def by_id(id: int, subject: str | None = Query(None, include_in_schema=False)) -> JSONResponse:
    """The schema that a record names in its five first bytes."""
    try:
        return _answer({"schema": registry.text(id), "schemaType": "AVRO"})
    except UnknownSchema:
        return _refusal(NO_SCHEMA, "Schema not found.")


@routes.get(
    "/schemas/ids/{id}/versions", summary="Where a schema is used", responses=_refusals(404) | problems(422)
)
def used(id: int) -> JSONResponse:
    """Subjects and versions with this schema."""
    rows = registry.subjects_of(id)
    if not rows:
        return _refusal(NO_SCHEMA, "Schema not found.")
    return _answer([{"subject": row.subject, "version": row.version} for row in rows])


@routes.get("/config", summary="The rule by which schemas evolve")
def config() -> JSONResponse:
    """FULL_TRANSITIVE, for the log is kept for ever."""
    return _answer({"compatibilityLevel": registry.COMPATIBILITY})


@routes.get("/config/{subject}", summary="The same for one subject", responses=_refusals(404))
def subject_config(subject: str) -> JSONResponse:
    """FULL_TRANSITIVE for every subject."""
    if not registry.versions(subject):
        return _refusal(NO_SUBJECT, "Subject not found.")
    return config()
