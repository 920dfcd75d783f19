"""The case manager's page: who needs me now? And the stream that keeps it true."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.background import BackgroundTask

from connectors.viewer import Permission
from hub import acts, today
from hub.access import key, person
from hub.language import Tongue
from hub.live import Stream, Streams
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.today import Alert, Picture
from schemas import instant
from schemas.errors import BadTime, Refused, Unavailable

TONES: Final = {"urgent": "urgent", "soon": "soon", "information": "info"}
MARK_CHARS_MAX: Final = 60

routes = APIRouter()


@routes.get("/cases", include_in_schema=False)
async def cases(request: Request, of: Parts = Depends(parts)) -> Response:
    """Urgent alerts of one's own people, oldest first, each with one sentence and one button."""
    return await _shown(request, of, "cases.html")


@routes.get("/cases/alerts", include_in_schema=False)
async def alerts(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same alerts as a part of the page."""
    return await _shown(request, of, "_alerts.html")


@routes.post("/cases/alerts/{alert}/acknowledgements", include_in_schema=False)
async def have(request: Request, alert: str, of: Parts = Depends(parts)) -> Response:
    """`I have this`: written to the log first, then shown to everybody in the organisation."""
    who = person(request)
    organisation = _organisation(request)
    participant = await run_in_threadpool(today.find, of.store, organisation, alert)
    if participant is not None:
        await run_in_threadpool(
            acts.work, of.appender, acts.ACKNOWLEDGED, who.principal, participant, alert, {"alert": alert}
        )
        await run_in_threadpool(today.acknowledge, of.store, alert, who.account, of.clock_ms())
        _streams(request).wake(organisation)
    if "hx-request" in request.headers:
        return await _shown(request, of, "_alerts.html")
    return RedirectResponse("/cases", 303)


@routes.get("/v1/alerts/stream", tags=["alerts"], summary="Alerts as they come and go")
async def stream(request: Request, of: Parts = Depends(parts)) -> Response:
    """Server-sent events of your organisation's alerts.

    Each event, `changed`, has the whole picture: `{"open": [ids], "alerts": [...]}`. What is no longer in it
    was taken by somebody or taken back. Resumes by `Last-Event-ID`: nothing is sent until something changed.
    """
    organisation = _organisation(request)
    seen = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    streams = _streams(request)
    if not streams.room(organisation):
        raise Unavailable("too many live pages are open; the page asks by itself now and then")

    async def mark() -> str:
        return await run_in_threadpool(today.cursor, of.store, organisation)

    @contextlib.asynccontextmanager
    async def picture(seen: str) -> AsyncIterator[tuple[str, str] | None]:
        async with streams.drawing:
            now = await _picture(of, organisation)
            if _mark(now).partition(".")[2] == seen.partition(".")[2]:
                drawn = None
            else:
                shown, permission = await _permitted(of, organisation, now)
                drawn = _mark(now), json.dumps(_as_json(shown))
        if drawn is None:
            yield None
            return
        left = begun = False
        try:
            if permission.late:
                raise Unavailable("the permission to show this has run out")
            begun = True
            yield drawn
            left = True
        finally:
            await permission.close(left, begun)

    events = streams.follow(organisation, key(request), seen[:MARK_CHARS_MAX], mark, picture)
    return Stream(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _streams(request: Request) -> Streams:
    return cast(Streams, request.app.state.streams)


def _mark(picture: Picture) -> str:
    """By what a page resumes: how far it has seen, and what it looks like."""
    said = [(alert.id, alert.acknowledged_at) for alert in (*picture.waiting, *picture.taken)]
    looks = hashlib.sha256(repr((said, picture.more)).encode()).hexdigest()[:16]
    return f"{picture.cursor}.{looks}"


def _as_json(picture: Picture) -> dict[str, Any]:
    return {
        "open": [alert.id for alert in picture.waiting],
        "alerts": [
            {
                "id": alert.id,
                "rule": alert.rule,
                "urgency": alert.urgency,
                "at": instant.format(alert.at),
                "event": alert.view,
            }
            for alert in picture.waiting
        ],
    }


def _organisation(request: Request) -> str:
    who = request.state.principal
    found: str | None = who.stakeholder
    if found is None:
        raise Refused("this account belongs to no organisation", code="no-organisation")
    return found


async def _shown(request: Request, of: Parts, template: str) -> Response:
    organisation = _organisation(request)
    picture, permission = await _permitted(of, organisation, await _picture(of, organisation))
    try:
        page = _page(request, of, template, picture)
        if permission.late:
            raise Unavailable("the permission to show this has run out; try again")
    except BaseException:
        await permission.close(False)
        raise
    page.background = BackgroundTask(permission.close, True)  # runs once the page has left
    return page


async def _picture(of: Parts, organisation: str) -> Picture:
    return await run_in_threadpool(today.picture, of.store, of.vault, organisation, of.clock_ms())


async def _permitted(of: Parts, organisation: str, picture: Picture) -> tuple[Picture, Permission]:
    """What an organisation sees now, as far as the owners let it be shown. Raises `Unavailable`."""
    asked = [(alert.id, alert.participant) for alert in (*picture.waiting, *picture.taken)]
    permission = await of.viewer.ask(organisation, asked)
    shown = picture._replace(
        waiting=[alert for alert in picture.waiting if alert.id in permission.alerts],
        taken=[alert for alert in picture.taken if alert.id in permission.alerts],
    )
    return shown, permission


def _page(request: Request, of: Parts, template: str, picture: Picture) -> Response:
    now, words = of.clock_ms(), speak(request)
    count = len(picture.waiting)
    said = words.say("Nobody needs you now.")
    if count:
        said = words.say_for(count, "%(count)s person needs somebody.", "%(count)s people need somebody.")
    return render(
        request,
        template,
        waiting=[_in_words(alert, words, now) for alert in picture.waiting],
        taken=[_in_words(alert, words, now) for alert in picture.taken],
        more=picture.more,
        cursor=_mark(picture),
        said=said,
    )


def _in_words(alert: Alert, words: Tongue, now_ms: int) -> dict[str, Any]:
    view: Mapping[str, Any] = alert.view
    data: Mapping[str, Any] = view.get("data", {})
    subject, occurrence = data.get("subject", {}), data.get("occurrence", {})
    who = subject.get("name")
    if not who and view.get("local_id"):
        who = words.say("Your participant %(id)s", id=view["local_id"])
    at = _happened_at(occurrence.get("booked_at") or view.get("time"), alert.at)
    facility = occurrence.get("facility")
    sentence = words.say("%(who)s was booked into custody.", who=who or words.say("One of your people"))
    if facility:
        sentence = words.say(
            "%(who)s was booked into %(facility)s.",
            who=who or words.say("One of your people"),
            facility=facility,
        )
    taken = ""
    if alert.acknowledged_at is not None:
        taken = words.say(
            "%(name)s has this, since %(time)s",
            name=alert.acknowledged_by or "",
            time=words.moment(alert.acknowledged_at, now_ms),
        )
    return {
        "id": alert.id,
        "urgency": TONES.get(alert.urgency, "info"),
        "urgency_words": words.term("urgency", alert.urgency),
        "sentence": sentence,
        "place": (occurrence.get("place") or {}).get("description"),
        "iso": instant.format(at),
        "when": words.say("%(ago)s, %(time)s", ago=words.ago(at, now_ms), time=words.moment(at, now_ms)),
        "may": words.say(
            "you may know this for %(purposes)s",
            purposes=words.listed(words.term("purpose", one) for one in view.get("purposes", ())),
        ),
        "taken": taken,
        "notices": [one["text"] for one in view.get("notices", ()) if one["form"] == "short"],
    }


def _happened_at(text: str | None, otherwise: int) -> int:
    try:
        return instant.parse(text) if text else otherwise
    except BadTime:
        return otherwise
