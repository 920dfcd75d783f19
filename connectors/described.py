"""What a route takes and what it answers where something goes wrong, as OpenAPI says it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from connectors.problems import MEDIA_TYPE

Answers = dict[int | str, dict[str, Any]]
Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
FHIR: Final[Schema] = {
    "type": "object",
    "required": ["resourceType"],
    "properties": {"resourceType": {"type": "string"}},
}
PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "RFC 9457, in words, without what was sent",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail")},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "A constant, for programs"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "code", "detail"],
                "properties": {name: {"type": "string"} for name in ("path", "code", "detail")},
            },
        },
    },
}
_SAID: Final = {
    400: "Not to be read, or not all of it arrived",
    401: "No good token",
    403: "Not for who asks",
    404: "There is no such thing, or not for who asks",
    408: "The body did not arrive in time; nothing of it was kept",
    409: "Against what stands already",
    410: "Erased",
    413: "Too large; nothing of it was kept",
    415: "Of another kind",
    421: "For another host",
    422: "Not as it should be; each problem with its path",
    429: "Too much at once; see Retry-After",
    431: "Headers too large",
    503: "Not now, and nothing of it was done; see Retry-After",
}
_PLAIN: Final = frozenset({HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE})
_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def problems(*statuses: int, media: str = MEDIA_TYPE, schema: Schema | None = None) -> Answers:
    """Answers of these statuses, for a route's `responses`. In: of what media type and shape they are."""
    return {status: _problem(status, media, schema) for status in statuses}


def _problem(status: int, media: str, schema: Schema | None) -> dict[str, Any]:
    if status in _PLAIN:
        return {"description": _SAID[status], "content": {"text/plain": {"schema": {"type": "string"}}}}
    shape = {"$ref": "#/components/schemas/Problem"} if schema is None else dict(schema)
    answer: dict[str, Any] = {"description": _SAID[status], "content": {media: {"schema": shape}}}
    if status in _LATER:
        seconds = {"description": "Seconds", "schema": {"type": "integer"}}
        answer["headers"] = {"Retry-After": seconds}
    return answer


def also(status: int, said: str, media: str = "application/json", schema: Schema | None = None) -> Answers:
    """One more good answer, for a route's `responses`. In: its meaning, media type and shape."""
    return {status: {"description": said, "content": {media: {"schema": dict(schema or {})}}}}


def takes(schema: Schema, *media: str) -> dict[str, Any]:
    """A body, for a route's `openapi_extra`; JSON unless media types are named."""
    content = {one: {"schema": dict(schema)} for one in media or ("application/json",)}
    return {"requestBody": {"required": True, "content": content}}


def fields(needed: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object of these fields and no others."""
    shape: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if needed:
        shape["required"] = list(needed)
    return shape | {"properties": {**needed, **(optional or {})}}
