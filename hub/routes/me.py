"""A participant's own page: who learned what about me, what I agreed to, and how I take it back.

Opened by a card and a PIN, also by a helper whom the participant named, with a card of their own. Made for a
computer that others use next: no page stays in a cache, a visit is short, and one button leaves at once.
"""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from connectors.fence import Narrowing
from hub import acts, fencing, mine, receipt
from hub.access import FORM_FIELDS_MAX, visitor
from hub.directives import Sent
from hub.entrance import Sender
from hub.guesses import Resting
from hub.parts import Parts, parts
from hub.passes import COOKIE, LEFT, Visitor
from hub.rendering import render, speak
from hub.routes.directives import outboxes
from schemas.errors import Invalid, Refused

FENCE_WAIT_MS_MAX: Final = 1_000
AGAIN_S: Final = 1
ASKED: Final = ("copy", "accounting", "correction", "erasure")
FORGET: Final = '"cache", "cookies", "storage"'

routes = APIRouter(include_in_schema=False)


@routes.get("/me")
async def own(request: Request, of: Parts = Depends(parts)) -> Response:
    """My page; without a visit, where card and PIN are asked for."""
    if not isinstance(request.state.principal, Visitor):
        return render(request, "me_signin.html", problem="", ended="ended" in request.query_params)
    shown = await run_in_threadpool(mine.picture, of, visitor(request), speak(request))
    return render(request, "me.html", **shown, done=request.query_params.get("done", ""))


@routes.post("/me/signin")
async def sign_in(request: Request, of: Parts = Depends(parts)) -> Response:
    """Code and PIN. Whatever is wrong with them is answered alike."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    try:
        cookie = await run_in_threadpool(of.passes.enter, str(form.get("code", "")), str(form.get("pin", "")))
    except Resting as resting:
        words, now = speak(request), of.clock_ms()
        when = words.moment(resting.until, now)
        return render(request, "me_signin.html", 429, problem="resting", until=when, ended=False)
    if cookie is None:
        return render(request, "me_signin.html", 403, problem="wrong", ended=False)
    answer = RedirectResponse("/me", 303)
    answer.set_cookie(
        COOKIE, cookie, path="/me", httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    answer.delete_cookie(LEFT, path="/me")
    return answer


@routes.post("/me/signout")
async def sign_out(request: Request, of: Parts = Depends(parts)) -> Response:
    """End the visit, and have the browser forget everything."""
    await run_in_threadpool(_leave, of, visitor(request))
    return _forgetting(RedirectResponse("/me?ended=1", 303))


@routes.post("/me/exit")
async def leave(request: Request, of: Parts = Depends(parts)) -> Response:
    """The quick exit: to a page about nothing, whether or not there is a visit to end."""
    if isinstance(request.state.principal, Visitor):
        await run_in_threadpool(_leave, of, request.state.principal)
    elsewhere = of.settings.quick_exit
    return _forgetting(HTMLResponse("", headers={"Refresh": f"0; url={elsewhere}"}))


def _forgetting(answer: Response) -> Response:
    answer.delete_cookie(COOKIE, path="/me")
    answer.headers["Clear-Site-Data"] = FORGET
    return answer


def _leave(of: Parts, who: Visitor) -> None:
    of.passes.leave(who.session)
    acts.access(of.appender, acts.SIGNED_OUT, who.principal, {}, who.participant)


@routes.get("/me/disclosures")
async def disclosures(request: Request, of: Parts = Depends(parts)) -> Response:
    """The accounting as a PDF."""
    from hub.handout import handout  # noqa: PLC0415  its library is slow to import

    who, words = visitor(request), speak(request)
    found = await run_in_threadpool(mine.account, of, who.participant)
    content = await run_in_threadpool(handout, found, of.register(), words, of.clock_ms())
    return Response(content, media_type="application/pdf")


@routes.get("/me/receipts/{consent}")
async def received(request: Request, consent: str, of: Parts = Depends(parts)) -> Response:
    """One receipt as a PDF in large type."""
    who, words = visitor(request), speak(request)
    held = (await run_in_threadpool(mine.record, of, who.participant)).consents.get(consent)
    if held is None:
        raise Refused("there is no such receipt", code="not-found")
    names = await run_in_threadpool(mine.names, of, who.participant)
    made = receipt.receipt(held, names, words, of.clock_ms())
    return Response(await run_in_threadpool(receipt.paper, made, words), media_type="application/pdf")


# ---- what they do ------------------------------------------------------------------------------------------


@routes.post("/me/revocations")
async def take_back(request: Request, of: Parts = Depends(parts)) -> Response:
    """Take a consent back, from one party or from all."""
    who, form = _acting(request), await fields(request)
    body = {"type": "consent-revoked", "consent_id": form("consent")}
    await run_in_threadpool(_own_help, of, who, form("consent"))
    if form("recipient"):
        body["recipients"] = [form("recipient")]  # type: ignore[assignment]
    return await _say(request, of, f"back-{form('consent')}-{form('recipient')}", body)


@routes.post("/me/restrictions")
async def never(request: Request, of: Parts = Depends(parts)) -> Response:
    """Never share anything with them."""
    recipient = (await fields(request))("recipient")
    everything = {name: ["*"] for name in ("purposes", "categories", "labels")}
    restriction = {"id": f"never-{recipient}", "recipients": [recipient], **everything}
    body = {"type": "restriction-placed", "restriction": restriction}
    return await _say(request, of, f"never-{recipient}-{of.clock_ms()}", body)


@routes.post("/me/liftings")
async def lift(request: Request, of: Parts = Depends(parts)) -> Response:
    """Take a never back: only the participant's own to do, for it lets more be shared."""
    if visitor(request).helper:
        raise Refused("a helper does not widen what is shared", code="helper")
    restriction = (await fields(request))("restriction")
    body = {"type": "restriction-lifted", "restriction_id": restriction}
    await _say(request, of, f"lift-{restriction}-{of.clock_ms()}", body)
    return RedirectResponse("/me?done=lifted", 303)


@routes.post("/me/requests")
async def ask(request: Request, of: Parts = Depends(parts)) -> Response:
    """Ask for a copy, for the list, for a correction, or to be erased."""
    who, form = _acting(request), await fields(request)
    if form("kind") not in ASKED:
        raise Refused("nothing of that kind can be asked for", code="not-found")
    try:
        await run_in_threadpool(
            lambda: of.requests.file(
                form("kind"), who.participant, who.principal, form("text"), once=form("once") or None
            )
        )
    except Invalid:
        return RedirectResponse("/me?done=too-long", 303)
    return RedirectResponse("/me?done=asked", 303)


@routes.get("/me/fences/{partition}/{offset}")
async def fence(request: Request, partition: int, offset: int, of: Parts = Depends(parts)) -> Response:
    """How far taking back is: closing, closed, or closed with something that may have gone."""
    who = visitor(request)
    if not (0 <= partition < of.settings.partitions and 0 <= offset < 2**63):
        raise Refused("no such fence", code="not-found")
    recorded = await run_in_threadpool(fencing.narrowing, of.lookup, partition, offset)
    if recorded is None or recorded.narrowing.participant != who.participant:
        raise Refused("no such fence", code="not-found")
    narrowing: Narrowing = recorded.narrowing
    answer = await of.fences.wait(narrowing, outboxes(of, narrowing), FENCE_WAIT_MS_MAX)
    names = of.register().names()
    doubtful = sorted({names.get(one.stakeholder, one.stakeholder) for one in answer.in_doubt})
    had = await run_in_threadpool(mine.had, of, narrowing)
    page = render(request, "fence.html", state=answer.state, doubtful=doubtful, had=had)
    if answer.state == "closing":
        page.headers["Refresh"] = str(AGAIN_S)
    return page


async def fields(request: Request) -> Callable[[str], str]:
    """A form's fields by name, the first of each."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    return lambda name: str(form.get(name, "")).strip()


def _acting(request: Request) -> Visitor:
    """Who does something. Raises `Refused` for a helper who may only look."""
    who = visitor(request)
    if not who.acts:
        raise Refused("this helper may look, not act", code="helper")
    return who


def _own_help(of: Parts, who: Visitor, consent: str) -> None:
    """Raises `Refused` where a helper would end another one's help."""
    helpers = of.passes.helpers(who.participant) if who.helper else []
    if any(one.consent == consent and one.id != who.card for one in helpers):
        raise Refused("a helper ends no help but their own", code="helper")


async def _say(request: Request, of: Parts, name: str, body: dict[str, Any]) -> Response:
    """Writes a directive in the name of whoever acts; out: where its fence can be watched."""
    who = _acting(request)
    sender = Sender(who.principal, participant=who.participant)
    sent: Sent = await run_in_threadpool(
        of.directives.send, sender, {"id": name[:128], "participant": who.participant, **body}
    )
    return RedirectResponse(f"/me/fences/{sent.partition}/{sent.offset}", 303)
