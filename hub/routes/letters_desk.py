"""What the community writes, at the program's desk: read, taken and closed, each of it recorded."""

from collections.abc import Iterable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub.access import FORM_FIELDS_MAX, Forbidden, person
from hub.accounts import named
from hub.language import Tongue
from hub.letters import LISTED_MAX, OUTCOMES, Letter
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.sessions import Person
from schemas.errors import Invalid, Refused

ID_CHARS_MAX: Final = 64
PERSON: Final = "person:"
TONES: Final = {"waiting": "soon", "taken": "info", "closed": "held"}

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/letters")
async def queue(request: Request, of: Parts = Depends(parts)) -> Response:
    """Letters that wait, oldest first; or those that were closed. What they say is a page of its own."""
    _desk(request, of)
    closed = "closed" in request.query_params
    found = await run_in_threadpool(lambda: of.letters.queue(closed=closed))
    waiting, days = await run_in_threadpool(of.letters.waiting), await run_in_threadpool(of.letters.days)
    words, now = speak(request), of.clock_ms()
    return render(
        request,
        "desk_letters.html",
        letters=[_line(one, words, now) for one in found],
        closed=closed,
        more=0 if closed else max(waiting - LISTED_MAX, 0),
        days=days,
        day_max=of.settings.letters_per_day_max,
    )


@routes.get("/cases/letters/{letter}")
async def one(request: Request, letter: str, of: Parts = Depends(parts)) -> Response:
    """One letter with what was written. That it was read is recorded."""
    return await _one(request, of, letter)


@routes.post("/cases/letters/{letter}/{act}")
async def act(request: Request, letter: str, act: str, of: Parts = Depends(parts)) -> Response:
    """Take it, or close it."""
    by = _desk(request, of).principal
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    words, name = speak(request), letter[:ID_CHARS_MAX]
    try:
        if act == "taking":
            await run_in_threadpool(of.letters.take, name, by)
        elif act == "closing":
            await run_in_threadpool(of.letters.close, name, by, str(form.get("outcome", "")))
        else:
            raise Refused("there is no such act", code="not-found")
    except Invalid:
        return await _one(request, of, letter, words.say("Nothing was changed: say what became of it."), 422)
    except Refused as refused:
        if refused.code == "not-found":
            raise
        return await _one(request, of, letter, words.say("Somebody else was quicker."), 409)
    return RedirectResponse(f"/cases/letters/{name}" if act == "taking" else "/cases/letters", 303)


async def _one(request: Request, of: Parts, letter: str, told: str = "", status: int = 200) -> Response:
    by = _desk(request, of).principal
    name, words = letter[:ID_CHARS_MAX], speak(request)
    written = await run_in_threadpool(of.letters.read, name, by)
    found = await run_in_threadpool(of.letters.one, name)
    names = await run_in_threadpool(_names, of, (found.taken_by, found.closed_by))
    facts = [(words.say("Came"), words.exact(found.at))]
    for label, at, who in (
        (words.say("Taken"), found.taken_at, found.taken_by),
        (words.say("Closed"), found.closed_at, found.closed_by),
    ):
        if at is not None and who is not None:
            facts.append((label, f"{words.exact(at)} · {names.get(who, who)}"))
    if found.outcome is not None:
        facts.append((words.say("What became of it"), words.term("letter-outcome", found.outcome)))
    return render(
        request,
        "desk_letter.html",
        status,
        one=_line(found, words, of.clock_ms()),
        written=written,
        facts=facts,
        outcomes=[(code, words.term("letter-outcome", code)) for code in OUTCOMES],
        told=told,
    )


def _desk(request: Request, of: Parts) -> Person:
    """Who asks. Raises `Forbidden` for whoever is not of the organisation that reads letters."""
    who = person(request)
    if of.letters.desk is None or who.stakeholder != of.letters.desk:
        raise Forbidden("desk", "letters reach the program's desk alone")
    return who


def _names(of: Parts, who: Iterable[str | None]) -> dict[str, str]:
    """What people are called, by how records name them."""
    wanted = [one.removeprefix(PERSON) for one in who if one is not None]
    with of.store.read() as connection:
        return {PERSON + account: name for account, name in named(connection, wanted).items()}


def _line(one: Letter, words: Tongue, now: int) -> dict[str, Any]:
    at = one.closed_at or one.at
    return {
        "id": one.id,
        "state": one.state,
        "tone": TONES[one.state],
        "says": words.term("letter", one.kind),
        "state_words": words.term("letter-state", one.state),
        "when": words.say("%(ago)s, %(time)s", ago=words.ago(at, now), time=words.moment(at, now)),
    }
