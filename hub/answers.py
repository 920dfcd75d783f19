"""What goes wrong, told: a page for people, `application/problem+json` for programs."""

import asyncio

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from connectors.problems import problem
from hub import acts
from hub.access import OWN, Forbidden, TooMany, Unauthenticated
from hub.parts import parts
from hub.passes import Visitor
from hub.rendering import render, speak
from hub.routes import bodies
from hub.sessions import Person
from hub.tokens import Machine
from schemas import strict
from schemas.errors import HubError, Problem, Unavailable

_MACHINES = ("/v1/", "/log/", "/subjects", "/schemas", "/config", "/livez", "/readyz", "/metrics")

log = structlog.get_logger(__name__)


def answer_errors(app: FastAPI) -> None:
    """Every error becomes a page for people, and `application/problem+json` for programs."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, HubError)
        answer = bodies.as_problem(error)
        return _page(request, answer.status_code) if _for_people(request) else answer

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, Unauthenticated)
        if not _for_people(request):
            challenge = {"WWW-Authenticate": 'Bearer realm="hub"'}
            return problem(401, "unauthenticated", "sign in, or show a good token", headers=challenge)
        if "hx-request" in request.headers:
            return Response(status_code=401)
        if request.url.path.startswith(f"{OWN}/"):
            return RedirectResponse(f"{OWN}?ended=1", 303)
        return RedirectResponse("/signin" if request.method == "GET" else "/signin?ended=1", 303)

    async def forbidden(request: Request, error: Exception) -> Response:
        assert isinstance(error, Forbidden)
        await _record_refusal(request, error)
        if _for_people(request):
            return _page(request, 403)
        return problem(403, error.code, error.detail)

    async def too_many(request: Request, error: Exception) -> Response:
        assert isinstance(error, TooMany)
        headers = {"Retry-After": str(error.wait_s)}
        if _for_people(request):
            answer = _page(request, 429)
            answer.headers.update(headers)
            return answer
        return problem(429, "too-many-requests", "ask less often, and again after a while", headers=headers)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if _for_people(request):
            return _page(request, error.status_code)
        return problem(error.status_code, "http", "there is nothing of that kind here", headers=error.headers)

    async def unfit(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [
            Problem(
                "/" + "/".join(strict.safe(part) for part in one["loc"]),
                "wrong-type",
                "not of the right type",
            )
            for one in error.errors()
        ]
        if _for_people(request):
            return _page(request, 404)
        return problem(422, "invalid", "something in the address is not of the right type", errors=found)

    async def broken(request: Request, error: Exception) -> Response:
        log.error("request_failed", error=type(error).__name__, route=_route(request))
        if _for_people(request):
            return _page(request, 500)
        return problem(500, "internal", "something broke here; what you sent may or may not have been kept")

    app.add_exception_handler(HubError, ours)
    app.add_exception_handler(Unauthenticated, unknown)
    app.add_exception_handler(Forbidden, forbidden)
    app.add_exception_handler(TooMany, too_many)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, unfit)
    app.add_exception_handler(Exception, broken)


def _route(request: Request) -> str:
    """The route's pattern, without what stood in its place."""
    return str(getattr(request.scope.get("route"), "path", "unknown"))


def _for_people(request: Request) -> bool:
    """Whether a page is the right answer: not where programs call, and the asker takes HTML."""
    path = request.url.path
    accepts = request.headers.get("accept", "")
    machines = path.startswith(_MACHINES)
    return not machines and ("text/html" in accepts or "hx-request" in request.headers or "*/*" in accepts)


def _page(request: Request, status: int) -> Response:
    words = speak(request)
    said = {
        403: (
            words.say("This is not open to you"),
            words.say("Nothing was changed, and that you asked was written down."),
            words.say("If it should be open to you, ask whoever runs the hub."),
        ),
        404: (
            words.say("There is no such page"),
            words.say("Nothing was lost."),
            words.say("The address may be mistyped, or what it led to was taken back."),
        ),
        409: (
            words.say("Somebody was quicker"),
            words.say("Nothing was changed."),
            words.say("Look at the page again and decide anew."),
        ),
        429: (
            words.say("Too much at once"),
            words.say("Nothing was changed."),
            words.say("Wait a moment and try again."),
        ),
        503: (
            words.say("The hub is not all there right now"),
            words.say("What you asked for was not done, and nothing was lost."),
            words.say("Wait a moment and try again."),
        ),
    }
    otherwise = (
        words.say("Something went wrong here"),
        words.say("What you asked for may not have been done. Nothing was shared because of it."),
        words.say("Try again. If it happens again, tell whoever runs the hub."),
    )
    title, kept, mend = said.get(404 if status in (404, 405, 421) else status, otherwise)
    return render(request, "problem.html", status, title=title, kept=kept, mend=mend)


async def _record_refusal(request: Request, error: Forbidden) -> None:
    """Write down that somebody known tried a door that is not theirs; failing that, say so in the journal."""
    who = getattr(request.state, "principal", None)
    if not isinstance(who, Machine | Person | Visitor):
        return
    body = {"route": _route(request), "code": error.code}
    try:
        await asyncio.to_thread(acts.access, parts(request).appender, "door-refused", who.principal, body)
    except Unavailable:
        log.warning("refusal_not_recorded", principal=who.principal, code=error.code)
