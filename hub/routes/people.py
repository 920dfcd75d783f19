"""One's own people: who they are, and for each what is going on, and what one may know."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.background import BackgroundTask

from connectors.viewer import Permission
from hub import cards, people, requested, today
from hub.access import FORM_FIELDS_MAX, person
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.people import Agreed, Entry, Found
from hub.rendering import render, speak
from hub.routes.cases import reader
from hub.routes.installed import living
from schemas.errors import Refused, Unavailable

WANTED_CHARS_MAX: Final = 100
HANDLE_CHARS_MAX: Final = 80

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/people")
async def everybody(request: Request, of: Parts = Depends(parts)) -> Response:
    """One's own caseload."""
    return await _listed(request, of, "people.html")


@routes.get("/cases/caseload")
async def again(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return await _listed(request, of, "_people.html")


@routes.post("/cases/people")
async def like(request: Request, of: Parts = Depends(parts)) -> Response:
    """Those of it whose name or number is like what was typed, which no address shall hold."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    return await _listed(request, of, "people.html", str(form.get("who", ""))[:WANTED_CHARS_MAX])


async def _listed(request: Request, of: Parts, template: str, wanted: str = "") -> Response:
    who, account = reader(request), person(request).account
    mark = await run_in_threadpool(today.cursor, of.store, who.organisation)  # of before what is read
    listed: Sequence[Found] = await run_in_threadpool(
        people.search, of.store, of.vault, of.crosswalk, who.organisation, account, of.clock_ms(), wanted
    )
    asked = [(one.entry, one.participant) for one in listed if one.entry]
    permission = await of.viewer.ask(who.organisation, asked)
    words = speak(request)
    lines = [
        {
            "person": one.handle,
            "name": (one.name if one.entry in permission.alerts else None) or words.say("One of your people"),
            "local_id": one.local_id,
            "waiting": words.say_for(one.waiting, "%(count)s alert waits", "%(count)s alerts wait")
            if one.waiting
            else "",
        }
        for one in listed
    ]
    return await _leaving(
        request, permission, template, people=lines, wanted=wanted, mark=f"{mark}.", live=living(request, of)
    )


@routes.get("/cases/people/{person}")
async def one(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """A person's timeline in plain words, and beside it what they agreed to."""
    return await _person(request, of, person, "person.html")


@routes.get("/cases/people/{person}/timeline")
async def timeline(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return await _person(request, of, person, "_person.html")


async def _person(request: Request, of: Parts, handle: str, template: str) -> Response:
    who, words, now = reader(request), speak(request), of.clock_ms()
    account = person(request).account
    participant = await run_in_threadpool(
        people.resolve, of.store, of.vault, who.organisation, account, now, handle[:HANDLE_CHARS_MAX]
    )
    if participant is None:
        raise Refused("there is nobody of yours here", code="not-found")
    if template == "person.html":
        kept = await run_in_threadpool(of.preferences.of, account)
        who = who._replace(since_ms=kept.looked_at or 0)
    mark = await run_in_threadpool(today.cursor, of.store, who.organisation)
    entries: Sequence[Entry] = await run_in_threadpool(
        people.timeline, of.store, of.vault, who.organisation, participant
    )
    asked = [(one.id, participant) for one in entries if not one.desk]
    own = await run_in_threadpool(of.caseloads.people, who.organisation, account)
    petitions = await run_in_threadpool(of.requests.waiting, {participant}.intersection(own))
    permission = await of.viewer.ask(who.organisation, asked)
    shown = [one for one in entries if one.desk or one.id in permission.alerts]
    lines = [cards.entry(one, words, now, who.since_ms, of.alert_rules) for one in shown]
    return await _leaving(
        request,
        permission,
        template,
        partial(of.handling.saw, person(request), [one for one in shown if one.rule]),
        name=_name(shown) or words.say("One of your people"),
        handle=handle,
        erased=await run_in_threadpool(of.vault.gone, participant),
        mark=f"{mark}.",
        entries=lines,
        new_since=cards.new_since(lines, who.since_ms, words, now),
        agreed=[_agreed(one, words) for one in people.agreed(shown)],
        asked=[requested.line(one, words, now) for one in petitions.get(participant, ())],
        since=who.since_ms,
        live=living(request, of),
    )


def _name(entries: Sequence[Entry]) -> str | None:
    names = (one.view.get("data", {}).get("subject", {}).get("name") for one in entries)
    return next((str(name) for name in names if name), None)


def _agreed(one: Agreed, words: Tongue) -> str:
    """A line of what they agreed to; in plain terms where it came without a sentence of its own."""
    if said := one.said.get(words.language):
        return said
    return words.say(
        "%(parts)s, for %(purpose)s",
        parts=words.listed(words.term("compartment", part) for part in one.compartments),
        purpose=words.term("purpose", one.purpose),
    )


async def _leaving(
    request: Request,
    permission: Permission,
    template: str,
    then: Callable[[], None] = lambda: None,
    **context: Any,
) -> Response:
    """A page that leaves on a permission. In: what to do once it has. Raises `Unavailable` if it is late."""
    try:
        page = render(request, template, **context)
        if permission.late:
            raise Unavailable("the permission to show this has run out; try again")
    except BaseException:
        await permission.close(False)
        raise

    async def left() -> None:
        await permission.close(True)
        await run_in_threadpool(then)

    page.background = BackgroundTask(left)
    return page
