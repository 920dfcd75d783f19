"""JSON bodies, read whole within a bound and taken strictly; and what each error of ours is over HTTP."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from connectors.gateway import read_body
from connectors.problems import problem
from schemas import strict
from schemas.errors import HubError, Invalid, Problem

BODY_BYTES_MAX: Final = 1024 * 1024
RETRY_AFTER_S: Final = 2
STATUS: Final = {
    "not-json": 400,
    "not-utf-8": 400,
    "not-found": 404,
    "conflict": 409,
    "merged": 409,
    "too-many-directives": 409,
    "erased": 410,
    "too-large": 413,
    "refused": 403,
    "unavailable": 503,
}


async def read_json(request: Request, bytes_max: int = BODY_BYTES_MAX) -> Any:
    """The body as JSON, still to be checked by whoever knows its shape.

    Raises `Invalid` for what is not JSON, does not arrive or is cut off, `TooLarge` past `bytes_max`.
    """
    try:
        body = await read_body(request, lambda _size: None, bytes_max)
    except (TimeoutError, ClientDisconnect):
        raise Invalid.one("", "not-json", "the body did not arrive whole") from None
    value = strict.load(body)
    strict.check(value)
    return value


def fields(body: Any, texts: Sequence[str], lists: Sequence[str] = (), optional: Sequence[str] = ()) -> Any:
    """A JSON object of just these fields. Raises `Invalid` naming each that is missing, wrong or unknown."""
    if not isinstance(body, dict):
        raise Invalid.one("", "wrong-type", "expected a JSON object")
    problems = [
        Problem(f"/{strict.safe(name)}", "unknown-field", "there is no such field here")
        for name in body
        if name not in (*texts, *lists)
    ]
    for name in (*texts, *lists):
        value = body.get(name)
        if value is None:
            if name not in optional:
                problems.append(Problem(f"/{name}", "missing", "this field is needed"))
        elif name in texts and not (isinstance(value, str) and value):
            problems.append(Problem(f"/{name}", "wrong-type", "expected text"))
        elif name in lists and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            problems.append(Problem(f"/{name}", "wrong-type", "expected a list of texts"))
    if problems:
        raise Invalid(problems)
    return body


def as_problem(error: HubError) -> JSONResponse:
    """An error of ours as an answer: 422 for what is wrong with a body, 403 for what may not be."""
    kind = type(error).code
    status = STATUS.get(error.code, STATUS.get(kind, 422))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    problems: tuple[Problem, ...] = ()
    if isinstance(error, Invalid):
        problems = error.problems
    elif error.path:
        problems = (error.problem(),)
    citation = getattr(error, "citation", "")
    more = {"citation": citation} if citation else {}
    return problem(status, error.code, error.detail, errors=problems, headers=headers, **more)
