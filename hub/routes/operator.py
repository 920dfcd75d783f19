"""The operator's page: does everything flow?"""

from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from hub import health
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.standstill import BY
from hub.store import Store
from hub.tables import quarantine
from hub.ways import Way, ways
from schemas.errors import Unavailable

WEEK_MS: Final = 7 * 24 * 3_600_000
LINES_MAX: Final = 50

routes = APIRouter(include_in_schema=False)


@routes.get("/operator")
async def operator(request: Request, of: Parts = Depends(parts)) -> Response:
    """One line for each part that should run; below them what was refused."""
    return render(request, "operator.html", **await run_in_threadpool(_picture, request, of))


@routes.get("/operator/stages")
async def stages(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return render(request, "_stages.html", **await run_in_threadpool(_picture, request, of))


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    words, now = speak(request), of.clock_ms()
    names = {key: str(body.get("name") or key) for key, body in of.register().stakeholders.items()}
    beats = health.read_all(of.settings.run_dir)
    running = {beat.stage for beat in beats if beat.state == "running"}
    shown = []
    for beat in sorted(beats, key=lambda one: (one.stage, one.pid)):
        silent = now - beat.at_ms > health.SILENCE_MS_MAX
        state, urgency = words.say("Running"), "permit"
        if silent or beat.stuck:
            state, urgency = words.say("Stuck"), "urgent"
        elif beat.state != "running":
            state, urgency = words.term("stage", beat.state), "soon"
        shown.append(
            {
                "name": beat.name,
                "state": state,
                "urgency": urgency,
                "when": words.ago(beat.at_ms, now),
                "detail": words.say("waits at %(places)s", places=words.listed(beat.stuck))
                if beat.stuck
                else "",
            }
        )
    for stage in health.expected(of.settings.run_dir):
        if stage not in running and all(beat.stage != stage for beat in beats):
            shown.append(
                {
                    "name": stage,
                    "state": words.say("Not running"),
                    "urgency": "urgent",
                    "when": "–",
                    "detail": words.say(
                        "the hub starts it again by itself; if it stays like this, look at its log"
                    ),
                }
            )
    return {
        "stages": shown,
        "ways": _ways(of, words, names, now),
        "refused": [_line(row, words, names, now) for row in refused(of.store, now)],
    }


def _ways(of: Parts, words: Any, names: dict[str, str], now: int) -> list[dict[str, str]] | None:
    """Every way out in words, what needs somebody first; None where the log does not answer."""
    try:
        found = ways(of.store, of.register(), of.backlog.items(), now)
    except Unavailable:
        return None
    urgencies = {"fails": "urgent", "ended": "urgent", "paused": "soon", "flows": "permit"}
    order = list(urgencies)

    def urgency(one: Way) -> str:
        return "urgent" if one.by == BY else urgencies[one.state]

    return [
        {
            "stakeholder": names.get(one.stakeholder, one.stakeholder),
            "adapter": words.term("adapter", one.adapter),
            "state": words.term("way", one.state),
            "urgency": urgency(one),
            "code": one.code or "" if one.state in ("fails", "ended") or one.by == BY else "",
            "held": _held(one, words, now),
            "waits": words.number(one.waits),
            "next": words.ago(one.next_at, now) if one.next_at else "",
            "delivered": words.number(one.delivered),
            "withheld": words.number(one.withheld),
            "failed": words.number(one.failed + one.refused),
        }
        for one in sorted(
            found, key=lambda one: (one.by != BY, order.index(one.state), one.stakeholder, one.adapter)
        )
    ]


def _held(one: Way, words: Any, now: int) -> str:
    """Who lets a way out wait, since when and why; nothing where nobody does."""
    if one.by is None:
        return ""
    when = words.ago(one.since, now) if one.since else "–"
    if one.by == BY:
        return str(words.say("by the hub itself, %(when)s: resume it when it is mended", when=when))
    return str(words.say("by an operator, %(when)s: %(why)s", when=when, why=one.why or "–"))


def refused(store: Store, now: int) -> list[Any]:
    """What was refused within a week, by agency and reason, the newest first."""
    agency = sa.func.coalesce(quarantine.c.agency, sa.literal_column("''"))  # else SQLite goes by its index
    query = (
        sa.select(
            agency,
            quarantine.c.reason,
            sa.func.count().label("count"),
            sa.func.max(quarantine.c.at),
        )
        .where(quarantine.c.at > now - WEEK_MS)
        .group_by(agency, quarantine.c.reason)
        .order_by(sa.func.max(quarantine.c.at).desc())
        .limit(LINES_MAX)
    )
    with store.read() as connection:
        return list(connection.execute(query).all())


def _line(row: Any, words: Any, names: dict[str, str], now: int) -> dict[str, str]:
    agency, reason, count, latest = row
    return {
        "agency": names.get(agency or "", agency or "–"),
        "reason": words.term("quarantine", reason),
        "code": reason,
        "count": words.number(count),
        "when": words.ago(latest, now),
    }
