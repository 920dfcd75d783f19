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
from consent.record import Record
from hub import accounting, acts, comings, fencing, receipt, requested
from hub.access import FORM_FIELDS_MAX, visitor
from hub.directives import Sent
from hub.entrance import Sender
from hub.explaining import EXPLAINED_MAX
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.passes import COOKIE, LEFT, Resting, Visitor
from hub.rendering import render, speak
from hub.report import YEARS, told
from hub.report import row as told_of
from hub.routes.directives import outboxes
from hub.said import placed
from schemas.errors import Invalid, Refused

SHOWN_MAX: Final = 50
FENCE_WAIT_MS_MAX: Final = 1_000
AGAIN_S: Final = 1
DAY_MS: Final = 24 * 3_600_000
HELP_DAYS: Final = {"30": 30, "90": 90, "365": 365}
ASKED: Final = ("copy", "accounting", "correction", "erasure")
FORGET: Final = '"cache", "cookies", "storage"'

routes = APIRouter(include_in_schema=False)


@routes.get("/me")
async def own(request: Request, of: Parts = Depends(parts)) -> Response:
    """My page; without a visit, where card and PIN are asked for."""
    if not isinstance(request.state.principal, Visitor):
        return render(request, "me_signin.html", problem="", ended="ended" in request.query_params)
    return render(request, "me.html", **await run_in_threadpool(_picture, request, of))


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
    found = await run_in_threadpool(_account, of, who.participant)
    content = await run_in_threadpool(handout, found, of.register(), words, of.clock_ms())
    return Response(content, media_type="application/pdf")


@routes.get("/me/receipts/{consent}")
async def received(request: Request, consent: str, of: Parts = Depends(parts)) -> Response:
    """One receipt as a PDF in large type."""
    who, words = visitor(request), speak(request)
    held = (await run_in_threadpool(_record, of, who)).consents.get(consent)
    if held is None:
        raise Refused("there is no such receipt", code="not-found")
    made = receipt.receipt(held, of.register().names(), words, of.clock_ms())
    return Response(await run_in_threadpool(receipt.paper, made, words), media_type="application/pdf")


# ---- what they do ------------------------------------------------------------------------------------------


@routes.post("/me/revocations")
async def take_back(request: Request, of: Parts = Depends(parts)) -> Response:
    """Take a consent back, from one party or from all."""
    form = await _form(request)
    body = {"type": "consent-revoked", "consent_id": form("consent")}
    if form("recipient"):
        body["recipients"] = [form("recipient")]  # type: ignore[assignment]
    return await _say(request, of, f"back-{form('consent')}-{form('recipient')}", body)


@routes.post("/me/restrictions")
async def never(request: Request, of: Parts = Depends(parts)) -> Response:
    """Never share anything with them."""
    recipient = (await _form(request))("recipient")
    everything = {name: ["*"] for name in ("purposes", "categories", "labels")}
    restriction = {"id": f"never-{recipient}", "recipients": [recipient], **everything}
    body = {"type": "restriction-placed", "restriction": restriction}
    return await _say(request, of, f"never-{recipient}-{of.clock_ms()}", body)


@routes.post("/me/liftings")
async def lift(request: Request, of: Parts = Depends(parts)) -> Response:
    """Take a never back: only the participant's own to do, for it lets more be shared."""
    if visitor(request).helper:
        raise Refused("a helper does not widen what is shared", code="helper")
    restriction = (await _form(request))("restriction")
    body = {"type": "restriction-lifted", "restriction_id": restriction}
    await _say(request, of, f"lift-{restriction}-{of.clock_ms()}", body)
    return RedirectResponse("/me?done=lifted", 303)


@routes.post("/me/requests")
async def ask(request: Request, of: Parts = Depends(parts)) -> Response:
    """Ask for a copy, for the list, for a correction, or to be erased."""
    who, form = _acting(request), await _form(request)
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


@routes.post("/me/helpers")
async def name_helper(request: Request, of: Parts = Depends(parts)) -> Response:
    """Name somebody who may see, or see and act, for a time. They get a card of their own, shown once."""
    who, form = visitor(request), await _form(request)
    if who.helper:
        raise Refused("a helper names no other helper", code="helper")
    days = HELP_DAYS.get(form("days"))
    until = None if days is None else of.clock_ms() + days * DAY_MS
    try:
        if form("pin") != form("again"):
            raise Invalid.one("/again", "pins-differ", "the two PINs are not the same")
        made = await run_in_threadpool(
            lambda: of.passes.make(
                who.participant,
                form("pin"),
                who.principal,
                helper=" ".join(form("name").split()),
                acts_too=form("may") == "act",
                until=until,
            )
        )
    except Invalid as invalid:
        return render(request, "helper.html", 422, code=None, problem=invalid.code)
    return render(request, "helper.html", code=made.code, problem="")


@routes.post("/me/helpers/ends")
async def end_helper(request: Request, of: Parts = Depends(parts)) -> Response:
    """They help no more, from now on."""
    who, form = visitor(request), await _form(request)
    if who.helper and form("helper") != who.card:
        raise Refused("a helper ends no help but their own", code="helper")
    await run_in_threadpool(of.passes.end, who.participant, form("helper"), who.principal)
    return RedirectResponse("/me?done=ended", 303)


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
    had = await run_in_threadpool(_had, of, narrowing, names)
    page = render(request, "fence.html", state=answer.state, doubtful=doubtful, had=had)
    if answer.state == "closing":
        page.headers["Refresh"] = str(AGAIN_S)
    return page


async def _form(request: Request) -> Callable[[str], str]:
    """A form's fields by name, the first of each."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    return lambda name: str(form.get(name, "")).strip()


def _acting(request: Request) -> Visitor:
    """Who does something. Raises `Refused` for a helper who may only look."""
    who = visitor(request)
    if not who.acts:
        raise Refused("this helper may look, not act", code="helper")
    return who


async def _say(request: Request, of: Parts, name: str, body: dict[str, Any]) -> Response:
    """Writes a directive in the name of whoever acts; out: where its fence can be watched."""
    who = _acting(request)
    sender = Sender(who.principal, participant=who.participant)
    sent: Sent = await run_in_threadpool(
        of.directives.send, sender, {"id": name[:128], "participant": who.participant, **body}
    )
    return RedirectResponse(f"/me/fences/{sent.partition}/{sent.offset}", 303)


# ---- what they see -----------------------------------------------------------------------------------------


def _record(of: Parts, who: Visitor) -> Record:
    return Record(placed(of.store, of.lookup, who.participant))


def _account(of: Parts, participant: str) -> accounting.Account:
    now = of.clock_ms()
    return accounting.account(of.store, participant, now - YEARS * 366 * DAY_MS, now)


def _had(of: Parts, narrowing: Narrowing, names: dict[str, str]) -> list[str]:
    """Who has read something that can't be called back, of those it was taken back from."""
    assert narrowing.participant is not None, "a participant's directive"
    got = {one.stakeholder for one in _account(of, narrowing.participant).disclosures}
    from_whom = narrowing.recipients
    return sorted(names.get(one, one) for one in got if from_whom is None or one in from_whom)


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    """Everything on the page, newest first."""
    who, words, now = visitor(request), speak(request), of.clock_ms()
    register, record = of.register(), _record(of, who)
    names = register.names()
    found = _account(of, who.participant)
    shown = [_learned(one, found, register, words, now) for one in found.disclosures[:SHOWN_MAX]]
    receipts = [receipt.receipt(one, names, words, now) for one in record.consents.values()][::-1]
    helpers = of.passes.helpers(who.participant)
    kept_out = {one for rule in record.restrictions.values() for one in rule.recipients}
    return {
        "who": who,
        "disclosures": shown,
        "more": len(found.disclosures) - len(shown),
        "standing": [(one, _parties(one)) for one in receipts if one.standing],
        "over": [one for one in receipts if not one.standing],
        "never": [
            (rule.id, words.listed(_never(rule.recipients, names, words)))
            for rule in record.restrictions.values()
        ],
        "others": [(one, names[one]) for one in sorted(names, key=names.__getitem__) if one not in kept_out],
        "helpers": [(one, words.day(one.until)) for one in helpers],
        "requests": [_asked(one, words) for one in of.requests.of(who.participant)[:EXPLAINED_MAX]],
        "comings": [
            (
                comings.told(one, {helper.id: helper.name for helper in helpers}, words),
                words.moment(one.at, now),
            )
            for one in comings.comings(of.store, who.participant)
        ],
        "done": request.query_params.get("done", ""),
        "once": f"{who.session[:16]}-{now}",
        "promises": receipt.never(words),
    }


def _never(recipients: Any, names: dict[str, str], words: Tongue) -> list[str]:
    return [words.say("everybody") if one == "*" else names.get(one, one) for one in recipients]


def _parties(one: receipt.Receipt) -> list[tuple[str, str]]:
    """From whom it can be taken back, each once."""
    return list(dict.fromkeys((line.recipient, line.name) for line in one.lines if not line.back))


def _learned(one: Any, found: Any, register: Any, words: Tongue, now: int) -> dict[str, str]:
    """One disclosure in a sentence."""
    said = told_of(one, found, register, words)
    _, _, what, why, leave, sure = told(one, said, words)
    return {
        "when": words.moment(one.last_at, now),
        "sentence": words.say(
            "%(name)s learned about %(what)s. What for: %(why)s.", name=said["recipient"], what=what, why=why
        ),
        "leave": words.say("What allowed it: %(leave)s", leave=leave.replace("\n", ", ")),
        "doubt": "" if one.certain else sure,
    }


def _asked(one: Any, words: Tongue) -> dict[str, str]:
    """One request, and how it stands."""
    if one.outcome is None:
        state = words.say("You get an answer by %(day)s.", day=words.day(one.due_at))
    elif one.outcome == "answered":
        state = words.say("Answered on %(day)s.", day=words.day(one.closed_at))
    else:
        state = words.say(
            "Refused on %(day)s. Ask your case manager why, and what you can do.",
            day=words.day(one.closed_at),
        )
    return {"what": requested.named(one.kind, words), "when": words.day(one.filed_at), "state": state}
