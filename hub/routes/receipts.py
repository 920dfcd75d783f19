"""Receipts of what was signed, at the case manager's side, and a card for one's own page."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from consent.record import Held, Placed, Record
from hub import receipt
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.signatures import Whom, first, read_fields, signer, whom_of
from schemas.errors import Invalid, Refused

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/people/{person}/receipts/{consent}")
async def received(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """What was agreed to, to read and to print."""
    whom = await run_in_threadpool(whom_of, of, request, person)
    return _receipt(request, of, whom, consent)


@routes.get("/cases/people/{person}/receipts/{consent}/paper")
async def on_paper(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """The same as a PDF in large type."""
    whom = await run_in_threadpool(whom_of, of, request, person)
    words, held = speak(request), _held(whom.said, consent)
    made = receipt.receipt(held, of.register().names(), words, of.clock_ms())
    content = await run_in_threadpool(receipt.paper, made, words)
    return Response(content, media_type="application/pdf")


@routes.post("/cases/people/{person}/card")
async def card(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """A card for their own page. The PIN is theirs: they type it, twice. The card before ends."""
    fields, _ = await read_fields(request)
    whom = await run_in_threadpool(whom_of, of, request, person)
    consent, pin = first(fields, "consent"), first(fields, "pin")
    _held(whom.said, consent)
    assert whom.participant is not None, "who has signed is known"
    try:
        if pin != first(fields, "again"):
            raise Invalid.one("/again", "pins-differ", "the two PINs are not the same")
        who = signer(request).principal
        made = await run_in_threadpool(of.passes.make, whom.participant, pin, who)
    except Invalid as invalid:
        return _receipt(request, of, whom, consent, problem=invalid.code, status=422)
    return _receipt(request, of, whom, consent, code=made.code)


def _receipt(
    request: Request,
    of: Parts,
    whom: Whom,
    consent: str,
    *,
    code: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    words, held = speak(request), _held(whom.said, consent)
    assert whom.participant is not None
    return render(
        request,
        "receipt.html",
        status,
        receipt=receipt.receipt(held, of.register().names(), words, of.clock_ms()),
        never=receipt.never(words),
        back=receipt.back(words),
        handle=whom.handle,
        code=code,
        card=receipt.card_texts(words),
        has_card=of.passes.has(whom.participant),
        problem=problem,
    )


def _held(said: Sequence[Placed], consent: str) -> Held:
    """A consent on record. Raises `Refused` where there is none of that id."""
    held = Record(said).consents.get(consent)
    if held is None:
        raise Refused("there is no such receipt", code="not-found")
    return held
