"""What participants ask for, as the officers' queue: what is due soonest first; each act recorded."""

import secrets
from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import acts, deadlines, requested
from hub.access import FORM_FIELDS_MAX, person
from hub.handles import masked
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.requests import TEXT_CHARS_MAX, State
from hub.routes.officer import ID_CHARS_MAX
from schemas.errors import Invalid, Refused

ONCE_CHARS_MAX: Final = 64

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/requests")
async def queue(request: Request, of: Parts = Depends(parts)) -> Response:
    """Open requests, what is due soonest first; or those that were closed."""
    return await _queue(request, of)


@routes.post("/officer/requests")
async def add(request: Request, of: Parts = Depends(parts)) -> Response:
    """Write down what somebody asked for in person, by letter or by telephone."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    kind, who, text, once = (str(form.get(name, "")) for name in ("kind", "participant", "text", "once"))
    by = person(request).principal
    try:
        name = await run_in_threadpool(
            lambda: of.requests.file(kind, who.strip(), by, text, once=once[:ONCE_CHARS_MAX] or None)
        )
    except (Invalid, Refused) as error:
        return await _queue(request, of, _told(request, error), 422)
    return RedirectResponse(f"/officer/requests/{name}", 303)


@routes.get("/officer/requests/{name}")
async def one(request: Request, name: str, of: Parts = Depends(parts)) -> Response:
    """One request with what was written about it, and what can be done. That it was read is recorded."""
    return await _one(request, of, name)


@routes.post("/officer/requests/{name}/{act}")
async def act(request: Request, name: str, act: str, of: Parts = Depends(parts)) -> Response:
    """Put it off, answer it, refuse it, with the words that the participant is told."""
    doing = {"extension": of.requests.extend, "answer": of.requests.answer, "refusal": of.requests.refuse}
    if act not in doing:
        raise Refused("there is no such act", code="not-found")
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    try:
        await run_in_threadpool(doing[act], name, person(request).principal, str(form.get("text", "")))
    except (Invalid, Refused) as error:
        if error.code == "not-found":
            raise
        return await _one(
            request, of, name, _told(request, error), 409 if isinstance(error, Refused) else 422
        )
    return RedirectResponse(f"/officer/requests/{name}", 303)


async def _queue(request: Request, of: Parts, told: str = "", status: int = 200) -> Response:
    words, now = speak(request), of.clock_ms()
    state: State = "closed" if "closed" in request.query_params else "open"
    after = request.query_params.get("after")
    try:
        page = await run_in_threadpool(of.requests.queue, state, after)
    except Invalid:
        page = await run_in_threadpool(of.requests.queue, state)
    lines = [
        requested.line(one, words, now)
        | {"about": words.say("participant %(who)s", who=masked(one.participant))}
        for one in page.requests
    ]
    more = f"/officer/requests?{'closed&' if state == 'closed' else ''}after={page.after}"
    return render(
        request,
        "requests.html",
        status,
        requests=lines,
        closed=state == "closed",
        more=more if page.after else None,
        told=told,
        kinds=[(kind, requested.named(kind, words)) for kind in deadlines.RIGHTS],
        once=secrets.token_hex(16),
        text_max=TEXT_CHARS_MAX,
    )


async def _one(request: Request, of: Parts, name: str, told: str = "", status: int = 200) -> Response:
    words, now = speak(request), of.clock_ms()
    found = await run_in_threadpool(of.requests.one, name[:ID_CHARS_MAX])
    by = person(request).principal
    await run_in_threadpool(
        acts.access, of.appender, acts.REQUEST_READ, by, {"about": found.id}, found.participant
    )
    said = await run_in_threadpool(of.requests.words, found.id)
    of_right = deadlines.right(found.kind)
    facts = [
        (words.say("About"), words.say("participant %(who)s", who=masked(found.participant))),
        (words.say("Asked"), words.exact(found.filed_at)),
        (words.say("Written down by"), found.by),
        (words.say("By right of"), of_right.source),
        (words.say("Due"), words.exact(found.due_at)),
    ]
    if found.extended_at is not None and found.extended_by is not None:
        facts.append((words.say("Put off"), f"{words.exact(found.extended_at)} · {found.extended_by}"))
    if found.closed_at is not None and found.closed_by is not None:
        facts.append((words.say("Closed"), f"{words.exact(found.closed_at)} · {found.closed_by}"))
    return render(
        request,
        "request.html",
        status,
        one=requested.line(found, words, now),
        facts=facts,
        said=said,
        open=found.outcome is None,
        extensible=found.extensible(now),
        more_days=of_right.more_days,
        told=told,
        text_max=TEXT_CHARS_MAX,
    )


def _told(request: Request, error: Invalid | Refused) -> str:
    words = speak(request)
    said = {
        "required": words.say("Nothing was changed: say in words what the participant is told."),
        "too-large": words.say("Nothing was changed: that is too long."),
        "not-text": words.say("Nothing was changed: the text has characters that nobody can read."),
        "not-found": words.say("Nothing was written down: nobody has this participant's id."),
        "erased": words.say("Nothing was written down: this participant was erased."),
        "closed": words.say("Nothing was changed: somebody closed this request already."),
        "extended": words.say("Nothing was changed: it was put off already, which is possible once."),
        "no-extension": words.say("Nothing was changed: this kind of request cannot be put off."),
        "too-late": words.say("Nothing was changed: its day has passed, so it cannot be put off any more."),
    }
    return said.get(error.code, words.say("Nothing was changed."))
