"""The stream of directives, as they come: what changed, by whom, for whom (masked)."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from consent import direction
from hub import changes, helping, newest
from hub.handles import handle, masked
from hub.language import Tongue
from hub.newest import Wanted
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.officer import PERIOD, PERIODS, periods, typed
from schemas import instant

TYPES: Final = (
    *("consent-granted", "consent-revoked", "restriction-placed", "restriction-lifted"),
    *("order-filed", "order-vacated", "emergency-declared", "program-exited"),
)

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/consents")
async def stream(request: Request, of: Parts = Depends(parts)) -> Response:
    """Directives of the chosen period, newest first."""
    return render(request, "officer_consents.html", **await run_in_threadpool(_picture, request, of))


@routes.get("/officer/consents/newest")
async def again(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return render(request, "_consents.html", **await run_in_threadpool(_picture, request, of))


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    words, now, register = speak(request), of.clock_ms(), of.register()
    period = request.query_params.get("period", PERIOD)
    period = period if period in PERIODS else PERIOD
    kind = typed(request.query_params.get("type", ""))
    before = request.query_params.get("before")
    found = newest.page(of.store, Wanted(now - PERIODS[period] + 1, now, kind or None), before)
    query = urlencode({"period": period, **({"type": kind} if kind else {})})
    names = register.names()
    return {
        "periods": list(periods(words).items()),
        "period": period,
        "types": [("", words.say("All")), *types(words)],
        "type": kind,
        "rows": [_row(one, of, names, words, now) for one in found.rows],
        "shown": words.say_for(
            len(found.rows), "%(count)s directive, newest first", "%(count)s directives, newest first"
        ),
        "older": f"/officer/consents?{query}&before={found.older}" if found.older else None,
        "newest": f"/officer/consents?{query}" if before else None,
        "live": not before,
        "query": query,
    }


def types(words: Tongue) -> list[tuple[str, str]]:
    """Every kind of directive, in words."""
    said = {
        "consent-granted": words.say("Agreed to something"),
        "consent-revoked": words.say("Took something back"),
        "restriction-placed": words.say("Said never"),
        "restriction-lifted": words.say("Lifted a never"),
        "order-filed": words.say("Court order"),
        "order-vacated": words.say("Court order lifted"),
        "emergency-declared": words.say("Emergency"),
        "program-exited": words.say("Left the program"),
    }
    return [(one, said[one]) for one in TYPES]


def _row(row: Any, of: Parts, names: Mapping[str, str], words: Tongue, now: int) -> dict[str, Any]:
    ways = direction(row.type)
    by = row.sender if helping.is_one(row.sender) else row.sender.rpartition(":")[2]
    return {
        "id": f"c-{row.partition}-{row.offset}",
        "iso": instant.format(row.recorded_at),
        "exact": words.exact(row.recorded_at),
        "when": words.moment(row.recorded_at, now),
        "urgency": "held" if ways == {"narrows"} else "permit" if ways == {"widens"} else "info",
        "kind": dict(types(words)).get(row.type, row.type),
        "sentence": changes.said(json.loads(row.body), names, words),
        "who": masked(row.participant),
        "whose": handle(of.vault, row.participant),
        "by": changes.recipient(by, names, words),
    }
