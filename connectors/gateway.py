"""Events by HTTP: CloudEvents 1.0, structured, binary and batch.

What a request holds is `connectors/intake.py`'s to judge; here are the bounds around it: size, time, how much
at once. What is refused is kept in quarantine, whole and sealed, before the sender hears of it.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from connectors.described import TEXT, also, fields, problems, takes
from connectors.direct import Guard, guarded
from connectors.intake import Intake, Taken
from connectors.problems import problem
from schemas import cloudevents, strict
from schemas.errors import Invalid, Problem, Refused, TooLarge

body_bytes_max: Final = 12 * 1024 * 1024  # so much is read, so that one field too long can be kept whole
quarantine_body_bytes_max: Final = 17 * 1024 * 1024  # the same in base64
body_wait_ms_max: Final = 30_000
in_flight_bytes_max: Final = 96 * 1024 * 1024
sender_requests_max: Final = 16  # of one sender at once
at_once_bytes_max: Final = 16 * 1024  # of one event that is looked at without handing it to a thread
retry_after_s: Final = 1
reference_chars_max: Final = 200
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Busy(Exception):
    """More is being taken in than the bounds allow; the sender tries again."""


class InFlight:
    """How much is being taken in at this moment, in all and for each sender."""

    def __init__(self, bytes_max: int = in_flight_bytes_max, requests_max: int = sender_requests_max) -> None:
        self._bytes_max = bytes_max
        self._requests_max = requests_max
        self._bytes = 0
        self._requests: dict[str, int] = {}

    @contextmanager
    def request(self, sender: str) -> Iterator[Callable[[int], None]]:
        """Hold one request's place; the function given takes room for so many bytes more. Raises `Busy`."""
        if self._requests.get(sender, 0) >= self._requests_max:
            raise Busy
        self._requests[sender] = self._requests.get(sender, 0) + 1
        held = 0

        def grow(size: int) -> None:
            nonlocal held
            if self._bytes + size > self._bytes_max:
                raise Busy
            self._bytes += size
            held += size

        try:
            yield grow
        finally:
            self._bytes -= held
            self._requests[sender] -= 1
            if not self._requests[sender]:
                del self._requests[sender]


async def read_body(request: Request, grow: Callable[[int], None], bytes_max: int) -> bytes:
    """The body, of at most `bytes_max`. Raises `TooLarge`, `Busy`, `TimeoutError` or `ClientDisconnect`."""
    too_large = TooLarge(f"a body has at most {bytes_max} bytes; nothing of it was kept")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise too_large
    chunks, size = [], 0
    async with asyncio.timeout(body_wait_ms_max / 1000):
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise too_large
            grow(len(chunk))
            chunks.append(chunk)
    return b"".join(chunks)


def router(intake: Callable[[Request], Intake], sender: Callable[[Request], str], guard: Guard) -> APIRouter:
    """The routes. In: how to get the intake, and the id of the stakeholder who is asking; what lets in."""
    routes = APIRouter(tags=["events"], route_class=guarded(guard))
    in_flight = InFlight()

    @routes.post(
        "/v1/events", status_code=202, summary="Publish events", responses=_DESCRIBED, openapi_extra=_BODY
    )
    async def publish(request: Request) -> Response:
        """CloudEvents 1.0 over HTTP: structured, binary or batch.

        Answers 202 with one result for each event, in order. `accepted` says that form and category are
        right, nothing about whether the person is known here.
        """

        to, agency = intake(request), sender(request)

        async def take(body: bytes) -> Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            refusal = _unreadable_type(headers)
            if refusal is not None:
                return refusal
            judged = partial(_judged, to, agency, headers, body)
            if len(body) <= at_once_bytes_max and to.at_hand and _media(headers) != cloudevents.BATCH:
                taken = judged()
            else:
                taken = await asyncio.to_thread(judged)
            if isinstance(taken, Invalid):
                return await _unreadable(to, agency, body, taken)
            await to.append(taken)
            return JSONResponse([one.answer for one in taken], 202)

        return await _bounded(request, agency, in_flight, body_bytes_max, take)

    @routes.post(
        "/v1/quarantine",
        status_code=201,
        summary="Hand over what could not be read",
        responses=problems(400, 403, 408, 413, 429, 503),
        openapi_extra=_HANDED_OVER,
    )
    async def keep(request: Request) -> Response:
        """A record of a file that the sender's side could not make an event of, with the reason.

        The body: `{"reason", "detail", "path", "original"}`, the original in base64. Answers 201 with
        `{"quarantine"}`, its reference.
        """

        to, agency = intake(request), sender(request)

        async def take(body: bytes) -> Response:
            why, original = _handed_over(body)
            await run_in_threadpool(_registered, to, agency)
            reference, record = await run_in_threadpool(to.quarantined, agency, original, why, via="file")
            await to.append([record])
            return JSONResponse({"quarantine": reference}, 201)

        return await _bounded(request, agency, in_flight, quarantine_body_bytes_max, take)

    return routes


async def _bounded(
    request: Request,
    agency: str,
    in_flight: InFlight,
    bytes_max: int,
    take: Callable[[bytes], Awaitable[Response]],
) -> Response:
    """Read the body within the bounds and hand it on; what goes wrong becomes a problem."""
    try:
        with in_flight.request(agency) as grow:
            return await take(await read_body(request, grow, bytes_max))
    except Busy:
        wait = {"Retry-After": str(retry_after_s)}
        return problem(429, "busy", "too much at once; send the same again", headers=wait)
    except TimeoutError:
        status, why = 408, Problem("", "too-slow", "the body did not arrive in time; nothing of it was kept")
    except ClientDisconnect:
        status, why = 400, Problem("", "cut-off", "the body was cut off; nothing of it was kept")
    except TooLarge as error:
        status, why = 413, error.problem()
    except Invalid as error:
        return problem(400, error.code, error.detail, errors=error.problems)
    except Refused as error:
        return problem(403, error.code, error.detail)
    return problem(status, why.code, why.detail)


def _registered(to: Intake, agency: str) -> None:
    """Raises `Refused` for whom governance does not know. Blocks until it has been read."""
    if not to.rulebook.registered(agency):
        raise Refused("your organisation is not registered here, or not any more", code="not-registered")


def _judged(to: Intake, agency: str, headers: dict[str, str], body: bytes) -> list[Taken] | Invalid:
    """What becomes of one request's events; `Invalid` where it can't be read. Raises `Refused`."""
    _registered(to, agency)
    return to.examine(agency, headers, body)


def _media(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").split(";")[0].strip().lower()


def _unreadable_type(headers: dict[str, str]) -> Response | None:
    media = _media(headers)
    if media in {cloudevents.STRUCTURED, cloudevents.BATCH} or "ce-specversion" in headers:
        return None
    if media.startswith("application/cloudevents") or "ce-id" not in headers:
        return problem(
            415,
            "unknown-content-type",
            f"send {cloudevents.STRUCTURED}, {cloudevents.BATCH}, or ce- headers in binary mode",
        )
    return None


async def _unreadable(to: Intake, agency: str, body: bytes, why: Invalid) -> Response:
    """A body that can't be told apart into events is kept as a whole."""
    reference, record = await run_in_threadpool(to.quarantined, agency, body, why.problems[0], via="http")
    await to.append([record])
    return problem(400, why.code, why.detail, errors=why.problems, quarantine=reference)


def _handed_over(body: bytes) -> tuple[Problem, bytes]:
    """Why a file's record was refused, and the record. Raises `Invalid`."""
    item = strict.load(body)
    if not isinstance(item, dict):
        strict.refuse("", "wrong-type", "expected an object")
    encoded = item.get("original")
    texts = {name: item.get(name) for name in ("reason", "detail", "path")}
    strict.check(texts)
    for name, value in texts.items():
        if not (isinstance(value, str) or (name == "path" and value is None)):
            strict.refuse(f"/{name}", "wrong-type", "expected text")
    try:
        original = base64.b64decode(encoded if isinstance(encoded, str) else "!", validate=True)
    except ValueError:  # of what is not ASCII, too
        strict.refuse("/original", "not-base64", "expected base64")
    reason = str(texts["reason"])
    if _CODE.fullmatch(reason) is None:
        strict.refuse("/reason", "bad-code", "a reason is lower-case words joined by hyphens")
    path = texts["path"]
    return Problem(
        str(path)[:reference_chars_max] if path else "", reason, str(texts["detail"])[:reference_chars_max]
    ), original


_RESULT: Final = {
    "type": "object",
    "required": ["id", "status", "errors"],
    "properties": {
        "id": {"type": "string", "nullable": True, "description": "The event's id as its sender gave it"},
        "event": {
            "type": "string",
            "nullable": True,
            "description": "The hub's id, for `GET /v1/events/{event}`",
        },
        "status": {"type": "string", "enum": ["accepted", "rejected"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("path", "code", "detail")},
            },
        },
        "quarantine": {"type": "string", "description": "Where a rejected event is kept"},
    },
}
_DESCRIBED: Final = also(
    202, "One result for each event, in order", schema={"type": "array", "items": _RESULT}
) | problems(400, 403, 408, 413, 415, 429, 503)
_BODY: Final = takes({"type": "object"}, cloudevents.STRUCTURED)
_BODY["requestBody"]["content"][cloudevents.BATCH] = {
    "schema": {"type": "array", "items": {"type": "object"}}
}
_HANDED_OVER: Final = takes(
    fields(
        dict.fromkeys(("reason", "detail", "original"), TEXT), {"path": {"type": "string", "nullable": True}}
    )
)
