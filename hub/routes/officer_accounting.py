"""The accounting of disclosures as a page, and as files to hand over. Each time is in `access`."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from hub import accounting, acts, handles, passes, report
from hub.access import person
from hub.accounting import Account, TooMuch
from hub.governance import Register
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.officer_people import whom
from schemas import instant
from schemas.errors import Refused

ROWS_MAX: Final = 500  # of the page; the files have all of it
DAY_CHARS: Final = 10

routes = APIRouter(include_in_schema=False)


class Asked(NamedTuple):
    """Days as they were typed, and the period that they mean in epoch milliseconds, both ends included."""

    first: str
    last: str
    since: int
    until: int


def _pdf(found: Account, register: Register, words: Tongue, now: int) -> bytes:
    from hub.handout import handout  # noqa: PLC0415  its library is slow to import

    return handout(found, register, words, now)


def _json(found: Account, register: Register, words: Tongue, now: int) -> bytes:
    value = report.as_json_value(found, register, words, now)
    return json.dumps(value, ensure_ascii=False).encode()


def _csv(found: Account, register: Register, words: Tongue, _now: int) -> bytes:
    return report.as_csv(found, register, words).encode()


FORMS: Final[dict[str, tuple[str, Callable[[Account, Register, Tongue, int], bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "json": ("application/json", _json),
    "pdf": ("application/pdf", _pdf),
}


@routes.get("/officer/participants/{person}/disclosures")
async def disclosures(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """Who learned what, when, for what and by whose leave."""
    shown = await run_in_threadpool(_picture, request, of, person)
    return render(request, "officer_accounting.html", **shown)


@routes.get("/officer/participants/{person}/disclosures/{form}")
async def file(request: Request, person: str, form: str, of: Parts = Depends(parts)) -> Response:
    """The same as a file; its name says nothing of whom it is about."""
    if form not in FORMS:
        raise Refused("there is no such file", code="not-found")
    kind, _ = FORMS[form]
    headers = {"Content-Disposition": f'attachment; filename="disclosures.{form}"'}
    return Response(
        await run_in_threadpool(_made, request, of, person, form), media_type=kind, headers=headers
    )


def _made(request: Request, of: Parts, name: str, form: str) -> bytes:
    found = _account(request, of, name, form)
    return FORMS[form][1](found, of.register(), speak(request), of.clock_ms())


def _asked(request: Request, of: Parts) -> Asked:
    """The days asked for. What is no day, or a first after the last, is as if it had not been given."""
    zone = ZoneInfo(of.settings.time_zone)
    first, last = (_day(request.query_params.get(name, "")) for name in ("from", "to"))
    if first and last and first > last:
        first = last = None
    texts = [one.isoformat() if one else None for one in (first, last)]
    since, until = report.period(texts[0], texts[1], zone, of.clock_ms())
    if since > until:
        since, until = report.period(None, None, zone, of.clock_ms())
    return Asked(texts[0] or "", texts[1] or "", since, until)


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text[:DAY_CHARS])
    except ValueError:
        return None
    return found if 1970 <= found.year < 9999 else None


def _account(request: Request, of: Parts, name: str, form: str) -> Account:
    """A participant's accounting; that it was asked for is written down before it is told."""
    mine, asked = whom(of, name), _asked(request, of)
    try:
        helpers = passes.names(of.store, of.vault, mine.participant)
        found = accounting.account(of.store, mine.participant, asked.since, asked.until, helpers)
    except TooMuch as error:
        raise Refused(str(error), path="/from", code="conflict") from error
    body = {"from": instant.format(asked.since), "to": instant.format(asked.until), "format": form}
    acts.access(of.appender, report.ACCOUNTED, person(request).principal, body, mine.participant)
    return found


def _picture(request: Request, of: Parts, name: str) -> dict[str, Any]:
    words, register, asked = speak(request), of.register(), _asked(request, of)
    found = _account(request, of, name, "page")
    shown = found.disclosures[:ROWS_MAX]
    query = "&".join(f"{key}={value}" for key, value in (("from", asked.first), ("to", asked.last)) if value)
    return {
        "whose": name,
        "masked": handles.masked(found.participant),
        "since": words.day(found.since),
        "until": words.day(found.until),
        "first": asked.first,
        "last": asked.last,
        "query": f"?{query}" if query else "",
        "rows": [
            {
                "cells": report.told(one, report.row(one, found, register, words), words),
                "certain": one.certain,
                "event": one.event,
                "stakeholder": one.stakeholder,
            }
            for one in shown
        ],
        "count": words.say_for(len(found.disclosures), "%(count)s disclosure", "%(count)s disclosures"),
        "more": len(found.disclosures) - len(shown),
    }
