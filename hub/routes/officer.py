"""The privacy officers' pages: is anything wrong; why was this shared, or not; which orders wait."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import acts, outcomes
from hub.access import person
from hub.explaining import explained
from hub.language import Tongue
from hub.outcomes import BARS, Bar, Choice, Counts
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.directives import approved, sender
from schemas import instant
from schemas.errors import BadTime, Refused

HOUR_MS: Final = 3_600_000
PERIODS: Final = {"hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 7 * 24 * HOUR_MS, "month": 30 * 24 * HOUR_MS}
PERIOD: Final = "day"
CHART_WIDTH: Final = 720
CHART_HEIGHT: Final = 96
ID_CHARS_MAX: Final = 128

routes = APIRouter(include_in_schema=False)


@routes.get("/officer")
async def officer(request: Request, of: Parts = Depends(parts)) -> Response:
    """Counts for the chosen period, their course, then the decisions, newest first."""
    return render(request, "officer.html", **await run_in_threadpool(_picture, request, of))


@routes.get("/officer/decisions")
async def decisions(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return render(request, "_decisions.html", **await run_in_threadpool(_picture, request, of))


@routes.get("/officer/why")
async def why(request: Request, of: Parts = Depends(parts)) -> Response:
    """One sentence; below it the rule, the consent, and where it all stands in the log."""
    asked = {
        name: request.query_params.get(name, "")[:ID_CHARS_MAX]
        for name in ("event", "stakeholder", "purpose")
    }
    words = speak(request)
    found, participant = await run_in_threadpool(explained, of, words, **asked)
    if participant is not None:
        await run_in_threadpool(
            acts.access,
            of.appender,
            acts.EXPLAINED,
            person(request).principal,
            {"event": asked["event"], "stakeholder": asked["stakeholder"]},
            participant,
        )
    return render(request, "why.html", decisions=found)


@routes.get("/officer/orders")
async def orders(request: Request, of: Parts = Depends(parts)) -> Response:
    """Orders that one officer filed, for another to approve."""
    return await _orders(request, of)


@routes.post("/officer/orders/{order}/approvals")
async def approve(request: Request, order: str, of: Parts = Depends(parts)) -> Response:
    """Let an order through."""
    return await _decide(request, of, order, approves=True)


@routes.post("/officer/orders/{order}/rejections")
async def reject(request: Request, order: str, of: Parts = Depends(parts)) -> Response:
    """Refuse an order; its text is forgotten."""
    return await _decide(request, of, order, approves=False)


async def _decide(request: Request, of: Parts, order: str, *, approves: bool) -> Response:
    words = speak(request)
    try:
        if approves:
            await run_in_threadpool(approved, of, sender(request), order)
        else:
            await run_in_threadpool(of.directives.reject, order, sender(request))
    except Refused as refusal:
        if refusal.code == "second-officer":
            return await _orders(
                request, of, words.say("You filed this order. Another officer decides."), 409
            )
        return await _orders(
            request, of, words.say("This order was decided already, or it is not there."), 409
        )
    return RedirectResponse("/officer/orders", 303)


async def _orders(request: Request, of: Parts, told: str = "", status: int = 200) -> Response:
    waiting = await run_in_threadpool(of.directives.waiting)
    names = await run_in_threadpool(_names, of)
    words, now, mine = speak(request), of.clock_ms(), person(request).principal
    shown = [
        {
            "id": one.directive,
            "sender": one.asked_by,
            "mine": one.asked_by == mine,
            "sentence": _order_in_words(one.rule, names, words),
            "about": words.say(
                "Filed %(ago)s, about participant %(who)s",
                ago=words.ago(one.at, now),
                who=masked(one.participant),
            ),
        }
        for one in waiting
    ]
    return render(request, "orders.html", status, orders=shown, told=told)


def _order_in_words(rule: Mapping[str, Any], names: Mapping[str, str], words: Tongue) -> str:
    order = rule.get("order")
    if not isinstance(order, Mapping):
        return words.say("Lift a court order that is on record.")
    recipient = str(order.get("recipient"))
    sentence = words.say(
        "%(recipient)s may receive %(categories)s from %(start)s until %(end)s.",
        recipient=names.get(recipient, recipient),
        categories=words.listed(words.term("category", str(one)) for one in order.get("categories", ())),
        start=_day(order.get("starts_at"), words),
        end=_day(order.get("expires_at"), words),
    )
    if order.get("subpoena"):
        return sentence
    return words.say("%(sentence)s Without a subpoena it permits nothing.", sentence=sentence)


def _day(text: Any, words: Tongue) -> str:
    try:
        return words.day(instant.parse(text))
    except BadTime:
        return "?"


def masked(participant: str) -> str:
    """The end of a participant's id: enough to tell rows apart, too little to look anybody up."""
    return "…" + participant[-4:]


def _names(of: Parts) -> dict[str, str]:
    return {key: str(body.get("name") or key) for key, body in of.register().stakeholders.items()}


def _asked(request: Request) -> dict[str, str]:
    given = {
        name: request.query_params.get(name, "")[:ID_CHARS_MAX]
        for name in ("effect", "reason", "stakeholder")
    }
    period = request.query_params.get("period", PERIOD)
    return {"period": period if period in PERIODS else PERIOD, **given}


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    asked, before = _asked(request), request.query_params.get("before")
    words, now, names = speak(request), of.clock_ms(), _names(of)
    choice = Choice(
        now - PERIODS[asked["period"]] + 1,
        now,
        asked["effect"] or None,
        asked["reason"] or None,
        asked["stakeholder"] or None,
    )
    page = outcomes.page(of.store, choice, before)
    query = urlencode({name: value for name, value in asked.items() if value})
    return {
        "fields": _fields(asked, of, words, names),
        "numbers": _numbers(outcomes.counts(of.store, choice), words),
        "chart": _chart(outcomes.course(of.store, choice), words, now),
        "rows": [_row(row, words, names, now) for row in page.rows],
        "shown": words.say_for(
            len(page.rows), "%(count)s decision, newest first", "%(count)s decisions, newest first"
        ),
        "older": f"/officer?{query}&before={page.older}" if page.older else None,
        "newest": f"/officer?{query}" if before else None,
        "live": not before,
        "query": query,
    }


def _fields(
    asked: Mapping[str, str], of: Parts, words: Tongue, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    everything = ("", words.say("All"))
    periods = {
        "hour": words.say("Last hour"),
        "day": words.say("Last 24 hours"),
        "week": words.say("Last 7 days"),
        "month": words.say("Last 30 days"),
    }
    reasons = sorted((words.term("reason", code), code) for code in outcomes.reasons(of.store))
    recipients = sorted((name, code) for code, name in names.items())
    effects = [("permit", words.say("Shared")), ("deny", words.say("Not shared"))]
    chosen = [
        ("period", words.say("When"), list(periods.items())),
        ("effect", words.say("Outcome"), [everything, *effects]),
        ("reason", words.say("Reason"), [everything, *((code, text) for text, code in reasons)]),
        ("stakeholder", words.say("For whom"), [everything, *((code, name) for name, code in recipients)]),
    ]
    return [
        {"name": name, "words": label, "choices": choices, "value": asked[name]}
        for name, label, choices in chosen
    ]


def _numbers(counts: Counts, words: Tongue) -> list[dict[str, str]]:
    most = max(counts.reasons.items(), key=lambda item: (item[1], item[0]), default=None)
    often = words.say("most often: %(reason)s", reason=words.term("reason", most[0])) if most else ""
    return [
        {"words": words.say("Shared"), "value": words.number(counts.permit), "more": ""},
        {"words": words.say("Not shared"), "value": words.number(counts.deny), "more": often},
        {"words": words.say("Delivered"), "value": words.number(counts.delivered), "more": ""},
        {
            "words": words.say("Held at the door"),
            "value": words.number(counts.withheld),
            "more": words.say("taken back in time") if counts.withheld else "",
        },
        {
            "words": words.say("Attempts that failed"),
            "value": words.number(counts.failed),
            "more": words.say("they are tried again") if counts.failed else "",
        },
    ]


def _chart(bars: Sequence[Bar], words: Tongue, now: int) -> dict[str, Any]:
    tallest = max((bar.permits + bar.denials for bar in bars), default=0) or 1
    step, shown = CHART_WIDTH / BARS, []
    for number, bar in enumerate(bars):
        permit = round(bar.permits / tallest * (CHART_HEIGHT - 4), 1)
        deny = round(bar.denials / tallest * (CHART_HEIGHT - 4), 1)
        since = words.moment(bar.since, now)
        shown.append(
            {
                "x": round(number * step + 2, 1),
                "width": round(step - 4, 1),
                "permit": permit,
                "permit_y": round(CHART_HEIGHT - permit, 1),
                "deny": deny,
                "deny_y": round(CHART_HEIGHT - permit - deny, 1),
                "permits": words.number(bar.permits),
                "denials": words.number(bar.denials),
                "since": since,
                "words": words.say(
                    "from %(since)s: %(permits)s shared, %(denials)s not shared",
                    since=since,
                    permits=words.number(bar.permits),
                    denials=words.number(bar.denials),
                ),
            }
        )
    return {
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "bars": shown,
        "words": words.say("Decisions over time, shared and not shared"),
        "span": words.say("from %(since)s until now", since=words.moment(bars[0].since, now)),
    }


def _row(row: Any, words: Tongue, names: Mapping[str, str], now: int) -> dict[str, Any]:
    permits = row.effect == "permit"
    return {
        "id": f"o-{row.decision}-{row.number}",
        "iso": instant.format(row.at),
        "exact": words.exact(row.at),
        "when": words.moment(row.at, now),
        "about": words.term("category", row.category),
        "who": masked(row.participant),
        "event": row.event,
        "stakeholder": row.stakeholder,
        "recipient": names.get(row.stakeholder, row.stakeholder),
        "purpose": words.term("purpose", row.purpose),
        "purpose_code": row.purpose,
        "effect": "permit" if permits else "held",
        "outcome": words.say("Shared") if permits else words.say("Not shared"),
        "reason": "" if row.reason == "consent" else words.term("reason", row.reason),
    }
