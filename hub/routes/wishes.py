"""How a case manager wants to be told: quiet hours, an overview a day, sound, mail, and on which devices."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub.access import FORM_FIELDS_MAX, person
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.installed import living
from schemas import strict
from schemas.errors import Invalid

BODY_BYTES_MAX: Final = 8 * 1024
DAY_MINUTES: Final = 24 * 60

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/wishes")
async def wishes(request: Request, of: Parts = Depends(parts)) -> Response:
    """The settings as they are."""
    return await _shown(request, of)


@routes.post("/cases/wishes")
async def wish(request: Request, of: Parts = Depends(parts)) -> Response:
    """Change them. A time that isn't one changes nothing, and is told."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    try:
        changes: dict[str, Any] = {
            name: _minutes(str(form.get(name, ""))) for name in ("quiet_from", "quiet_until", "digest_at")
        }
        if (changes["quiet_from"] is None) != (changes["quiet_until"] is None):
            raise Invalid.one("/quiet_until", "half-a-time", "quiet hours have a beginning and an end")
        changes |= {"aloud": form.get("aloud") == "yes", "mail": str(form.get("mail", "")).strip() or None}
        changes["language"] = speak(request).language
        account = person(request).account
        await run_in_threadpool(lambda: of.preferences.set(account, **changes))
    except Invalid:
        return await _shown(request, of, 422)
    return RedirectResponse("/cases/wishes?kept=1", 303)


@routes.post("/cases/devices")
async def add(request: Request, of: Parts = Depends(parts)) -> Response:
    """This device wants to be told too: its push subscription (W3C Push API) as JSON."""
    subscription = await _json(request)
    await run_in_threadpool(of.devices.add, person(request).account, subscription)
    return Response(status_code=201)


@routes.post("/cases/devices/removals")
async def remove(request: Request, of: Parts = Depends(parts)) -> Response:
    """This device wants to be told no more."""
    endpoint = (await _json(request)).get("endpoint")
    if isinstance(endpoint, str):
        await run_in_threadpool(of.devices.remove, person(request).account, endpoint)
    return Response(status_code=204)


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for some in request.stream():
        body += some
        if len(body) > BODY_BYTES_MAX:
            raise Invalid.one("", "too-large", "a push subscription is smaller than this")
    read = strict.parse(body)
    if not isinstance(read, dict):
        raise Invalid.one("", "wrong-type", "a push subscription is an object")
    return read


def _minutes(text: str) -> int | None:
    """Minutes after midnight of `hh:mm`, None of nothing. Raises `Invalid`."""
    if not text:
        return None
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and len(text) == 5):
        raise Invalid.one("", "not-a-time", "a time of day is written as hh:mm")
    found = int(hours) * 60 + int(minutes)
    if found >= DAY_MINUTES or int(minutes) > 59:
        raise Invalid.one("", "not-a-time", "a day has 24 hours, and an hour 60 minutes")
    return found


def _clock(minutes: int | None) -> str:
    return "" if minutes is None else f"{minutes // 60:02d}:{minutes % 60:02d}"


async def _shown(request: Request, of: Parts, status: int = 200) -> Response:
    who = person(request)
    kept = await run_in_threadpool(of.preferences.of, who.account)
    key = await run_in_threadpool(of.devices.public_key)
    devices = await run_in_threadpool(of.devices.of, who.account)
    return render(
        request,
        "wishes.html",
        status,
        wish=kept,
        quiet_from=_clock(kept.quiet_from),
        quiet_until=_clock(kept.quiet_until),
        digest_at=_clock(kept.digest_at),
        key=key,
        devices=len(devices),
        kept="kept" in request.query_params,
        refused=status != 200,
        live=living(request, of),
    )
