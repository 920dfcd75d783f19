"""Signing in at the county's sign-in service, and out there too."""

from typing import Final

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response

from hub import acts
from hub.access import FORM_FIELDS_MAX
from hub.oidc import Provider
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.home import HOMES, opened
from hub.sessions import BOUND
from hub.tickets import TICKET_S_MAX
from hub.vouched import SignInFailed, Vouched
from schemas.errors import Refused, Unavailable

TICKET: Final = "hub_signin"
OWN_FAULT: Final = frozenset({"no-ticket", "ticket-expired", "wrong-state", "replayed", "no-code"})

log = structlog.get_logger(__name__)
routes = APIRouter(include_in_schema=False)


@routes.get("/signin/start")
async def start(request: Request, of: Parts = Depends(parts)) -> Response:
    """To the sign-in service, with a ticket to come back by."""
    provider = _provider(of)
    try:
        leaving = await provider.leave(_here(request, of, "/signin/callback"))
    except Unavailable:
        log.warning("sign_in_service_unavailable")
        return _told(request, "unavailable", 503)
    answer = RedirectResponse(leaving.address, 303)
    secure = of.settings.secure
    answer.set_cookie(
        BOUND + TICKET if secure else TICKET,
        leaving.ticket,
        max_age=TICKET_S_MAX,
        httponly=True,
        samesite="lax",  # else it would not come along when the service sends the browser back
        secure=secure,
    )
    return answer


@routes.get("/signin/callback")
async def callback(request: Request, of: Parts = Depends(parts)) -> Response:
    """Back from the sign-in service: open a session for whom it vouches for, if they may come in."""
    provider = _provider(of)
    name = BOUND + TICKET if of.settings.secure else TICKET
    who: Vouched | None = None
    try:
        answer = dict(request.query_params)
        who = await provider.arrive(request.cookies.get(name), answer, _here(request, of, "/signin/callback"))
        account = await run_in_threadpool(of.accounts.admit, who)
    except Unavailable:
        log.warning("sign_in_service_unavailable")
        return _told(request, "unavailable", 503)
    except SignInFailed as error:
        log.warning("sign_in_refused", code=error.code)
        if who is not None:
            known = of.vault.mac("subject", f"{who.issuer}\0{who.subject}".encode())[:26]
            body = {"code": error.code}
            await run_in_threadpool(acts.access, of.appender, acts.SIGN_IN_REFUSED, f"subject:{known}", body)
        return _told(request, error.code, 403, who.subject if who is not None else "")
    body = {"role": account.role, "by": "oidc"}
    await run_in_threadpool(acts.access, of.appender, acts.SIGNED_IN, f"person:{account.id}", body)
    back = RedirectResponse(HOMES[account.role], 303)
    await opened(request, of, back, account.id, who.sid)
    back.delete_cookie(name, secure=of.settings.secure, httponly=True, samesite="lax")
    return back


@routes.get("/signin/farewell")
async def farewell(request: Request, of: Parts = Depends(parts)) -> Response:
    """To where the sign-in service ends its own session."""
    try:
        place = await _provider(of).farewell(_here(request, of, "/signin"))
    except Unavailable:
        return _told(request, "unavailable", 503)
    return RedirectResponse(place or "/signin", 303)


@routes.post("/signin/ended")
async def ended(request: Request, of: Parts = Depends(parts)) -> Response:
    """The sign-in service says that somebody signed out there: their sessions end here."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    try:
        whose = await _provider(of).ended(str(form.get("logout_token", "")))
    except SignInFailed:
        log.warning("logout_token_refused")
        return JSONResponse({"error": "invalid_request"}, 400)
    gone = await run_in_threadpool(of.sessions.ended_elsewhere, *whose)
    for account in gone:
        body = {"by": "oidc"}
        await run_in_threadpool(acts.access, of.appender, acts.SIGNED_OUT, f"person:{account}", body)
    return Response(status_code=200)


def _provider(of: Parts) -> Provider:
    if of.provider is None:
        raise Refused("this hub has no sign-in service", code="not-found")
    return of.provider


def _here(request: Request, of: Parts, path: str) -> str:
    """An address of this web: by the settings, else by what it listens on, never by what the asker says."""
    if of.settings.web_url is not None:
        return of.settings.web_url + path
    host, port = request.scope["server"]
    return f"{request.scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def _told(request: Request, code: str, status: int, subject: str = "") -> Response:
    """Why somebody was not signed in, as a page."""
    words = speak(request)
    if code == "unavailable":
        why = words.say("The sign-in service does not answer. Nothing was lost. Wait a moment and try again.")
    elif code in OWN_FAULT:
        why = words.say("Signing in took too long, or was done already. Please begin again.")
    elif code in {"unknown-person", "ambiguous-groups", "removed"}:
        why = words.say(
            "You were signed in, but nobody let you in to this hub yet. Give whoever runs it this number, "
            "by which the sign-in service knows you:"
        )
    else:
        why = words.say(
            "The sign-in service did not let you in. If it should have, tell whoever runs the hub."
        )
        subject = ""
    return render(request, "refused.html", status, why=why, subject=subject)
