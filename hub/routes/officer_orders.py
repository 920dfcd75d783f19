"""Court orders that one officer filed, and another lets through or refuses."""

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import changes, handles
from hub.access import person
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.directives import approved, sender
from schemas.errors import Refused

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/orders")
async def orders(request: Request, of: Parts = Depends(parts)) -> Response:
    """Orders that one officer filed, for another to approve."""
    return await _orders(request, of)


@routes.post("/officer/orders/{order}/approvals")
async def approve(request: Request, order: str, of: Parts = Depends(parts)) -> Response:
    """Let an order through."""
    return await _decide(request, of, order, approves=True)


@routes.post("/officer/orders/{order}/rejections")
async def reject(request: Request, order: str, of: Parts = Depends(parts)) -> Response:
    """Refuse an order; its text is forgotten."""
    return await _decide(request, of, order, approves=False)


async def _decide(request: Request, of: Parts, order: str, *, approves: bool) -> Response:
    words = speak(request)
    try:
        if approves:
            await run_in_threadpool(approved, of, sender(request), order)
        else:
            await run_in_threadpool(of.directives.reject, order, sender(request))
    except Refused as refusal:
        if refusal.code == "second-officer":
            return await _orders(
                request, of, words.say("You filed this order. Another officer decides."), 409
            )
        return await _orders(
            request, of, words.say("This order was decided already, or it is not there."), 409
        )
    return RedirectResponse("/officer/orders", 303)


async def _orders(request: Request, of: Parts, told: str = "", status: int = 200) -> Response:
    waiting = await run_in_threadpool(of.directives.waiting)
    names = await run_in_threadpool(lambda: of.register().names())
    words, now, mine = speak(request), of.clock_ms(), person(request).principal
    shown = [
        {
            "id": one.directive,
            "sender": one.asked_by,
            "mine": one.asked_by == mine,
            "sentence": changes.order(one.rule, names, words),
            "about": words.say(
                "Filed %(ago)s, about participant %(who)s",
                ago=words.ago(one.at, now),
                who=handles.masked(one.participant),
            ),
        }
        for one in waiting
    ]
    return render(request, "orders.html", status, orders=shown, told=told)
