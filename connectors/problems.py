"""Errors over HTTP, as RFC 9457 has them: `application/problem+json`, in words, without what was sent."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from schemas.errors import Problem

MEDIA_TYPE: Final = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Iterable[Problem] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """An answer that says what went wrong.

    In: HTTP status; a constant code in kebab-case; a sentence; each single problem with its path; headers;
    further members of the object.
    """
    body: dict[str, Any] = {
        "type": f"urn:diversion-hub:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    listed = [one.as_json() for one in errors]
    if listed:
        body["errors"] = listed
    return JSONResponse(body | more, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)
