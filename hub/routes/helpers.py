"""Whom a participant names to help them: a consent of its own, and a card that opens as long as it stands."""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import helping
from hub.access import visitor
from hub.entrance import Sender
from hub.mine import DAY_MS
from hub.parts import Parts, parts
from hub.passes import Asked, Card, Visitor
from hub.rendering import render
from hub.routes.me import fields
from schemas.errors import Invalid, Refused

HELP_DAYS: Final = {"30": 30, "90": 90, "365": 365}

routes = APIRouter(include_in_schema=False)


@routes.post("/me/helpers")
async def name_helper(request: Request, of: Parts = Depends(parts)) -> Response:
    """Name somebody who may see, or see and act, for a time. They get a card of their own, shown once."""
    who, form = visitor(request), await fields(request)
    if who.helper:
        raise Refused("a helper names no other helper", code="helper")
    days = HELP_DAYS.get(form("days"))
    until = None if days is None else of.clock_ms() + days * DAY_MS
    helper = Asked(" ".join(form("name").split()), form("may") == helping.ACTS, until)
    try:
        if form("pin") != form("again"):
            raise Invalid.one("/again", "pins-differ", "the two PINs are not the same")
        made = await run_in_threadpool(_named, of, who, form("pin"), helper)
    except Invalid as invalid:
        return render(request, "helper.html", 422, code=None, problem=invalid.code)
    return render(request, "helper.html", code=made.code, problem="")


@routes.post("/me/helpers/ends")
async def end_helper(request: Request, of: Parts = Depends(parts)) -> Response:
    """They help no more, from now on: the consent that named them is taken back."""
    who, form = visitor(request), await fields(request)
    if who.helper and form("helper") != who.card:
        raise Refused("a helper ends no help but their own", code="helper")
    await run_in_threadpool(_ended, of, who, form("helper"))
    return RedirectResponse("/me?done=ended", 303)


def _named(of: Parts, who: Visitor, pin: str, helper: Asked) -> Card:
    def agreed(card: str, now: int) -> None:
        assert helper.until is not None, "it was checked"
        may = helping.ACTS if helper.acts else helping.SEES
        body = helping.directive(
            who.participant,
            card,
            helper.name,
            who.card,
            (now, helper.until),
            may,
            helping.scope(of.register()),
        )
        of.directives.send(Sender(who.principal, participant=who.participant), body)

    return of.passes.name(who.participant, pin, who.principal, helper, agreed)


def _ended(of: Parts, who: Visitor, card: str) -> None:
    for one in of.passes.helpers(who.participant):
        if one.id == card:
            body = {"type": "consent-revoked", "consent_id": one.consent, "participant": who.participant}
            sender = Sender(who.principal, participant=who.participant)
            of.directives.send(sender, {"id": f"end-{card}", **body})
