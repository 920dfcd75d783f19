"""The privacy officers' first page: is anything wrong?"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from hub import outcomes
from hub.handles import handle, masked, participant
from hub.language import Tongue
from hub.outcomes import BARS, Bar, Choice, Counts
from hub.parts import Parts, parts
from hub.rendering import render, speak
from schemas import instant

HOUR_MS: Final = 3_600_000
PERIODS: Final = {"hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 7 * 24 * HOUR_MS, "month": 30 * 24 * HOUR_MS}
PERIOD: Final = "day"
CHART_WIDTH: Final = 720
CHART_HEIGHT: Final = 96
ID_CHARS_MAX: Final = 128
NOTHING: Final = "\ufffd"  # no id of the hub, an agency or a consent is called so

routes = APIRouter(include_in_schema=False)


@routes.get("/officer")
async def officer(request: Request, of: Parts = Depends(parts)) -> Response:
    """Counts for the chosen period, their course, then the decisions, newest first."""
    return render(request, "officer.html", **await run_in_threadpool(_picture, request, of))


@routes.get("/officer/decisions")
async def decisions(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same as a part of the page."""
    return render(request, "_decisions.html", **await run_in_threadpool(_picture, request, of))


def _asked(request: Request) -> dict[str, str]:
    given = {
        name: typed(request.query_params.get(name, ""))
        for name in ("effect", "reason", "stakeholder", "participant", "consent")
    }
    period = request.query_params.get("period", PERIOD)
    return {"period": period if period in PERIODS else PERIOD, **given}


def typed(text: str) -> str:
    """What somebody typed, within its bound; what no id has in it is such that it matches nothing."""
    text = text.strip()[:ID_CHARS_MAX]
    return text if text.isprintable() else NOTHING


def periods(words: Tongue) -> dict[str, str]:
    """The periods that one may look at, in words."""
    return {
        "hour": words.say("Last hour"),
        "day": words.say("Last 24 hours"),
        "week": words.say("Last 7 days"),
        "month": words.say("Last 30 days"),
    }


def _choice(asked: Mapping[str, str], of: Parts, now: int) -> Choice:
    """The outcomes meant. A participant or consent that there is none of means none of them."""
    whose = None
    if asked["participant"]:
        whose = participant(of.vault, asked["participant"]) or NOTHING
    return Choice(
        now - PERIODS[asked["period"]] + 1,
        now,
        asked["effect"] or None,
        asked["reason"] or None,
        asked["stakeholder"] or None,
        whose,
        asked["consent"] or None,
    )


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    asked, before = _asked(request), request.query_params.get("before")
    words, now, names = speak(request), of.clock_ms(), of.register().names()
    choice = outcomes.owned(of.store, _choice(asked, of, now))
    page = outcomes.page(of.store, choice, before)
    query = urlencode({name: value for name, value in asked.items() if value})
    return {
        "fields": _fields(asked, of, words, names),
        "consent": asked["consent"],
        "participant": asked["participant"],
        "masked": masked(choice.participant) if choice.participant and asked["participant"] else "",
        "everybody": "/officer?" + urlencode({k: v for k, v in asked.items() if v and k != "participant"}),
        "numbers": _numbers(outcomes.counts(of.store, choice), words, whole=choice.consent is None),
        "chart": _chart(outcomes.course(of.store, choice), words, now),
        "rows": [_row(row, handle(of.vault, row.participant), words, names, now) for row in page.rows],
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
    reasons = sorted((words.term("reason", code), code) for code in outcomes.reasons(of.store))
    recipients = sorted((name, code) for code, name in names.items())
    effects = [("permit", words.say("Shared")), ("deny", words.say("Not shared"))]
    chosen = [
        ("period", words.say("When"), list(periods(words).items())),
        ("effect", words.say("Outcome"), [everything, *effects]),
        ("reason", words.say("Reason"), [everything, *((code, text) for text, code in reasons)]),
        ("stakeholder", words.say("For whom"), [everything, *((code, name) for name, code in recipients)]),
    ]
    return [
        {"name": name, "words": label, "choices": choices, "value": asked[name]}
        for name, label, choices in chosen
    ]


def _numbers(counts: Counts, words: Tongue, *, whole: bool) -> list[dict[str, str]]:
    """Decisions counted, and how their deliveries ended: but not by consent, which those do not name."""
    most = max(counts.reasons.items(), key=lambda item: (item[1], item[0]), default=None)
    often = words.say("most often: %(reason)s", reason=words.term("reason", most[0])) if most else ""
    decided = [
        {"words": words.say("Shared"), "value": words.number(counts.permit), "more": ""},
        {"words": words.say("Not shared"), "value": words.number(counts.deny), "more": often},
    ]
    if not whole:
        return decided
    return [
        *decided,
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


def _row(row: Any, whose: str, words: Tongue, names: Mapping[str, str], now: int) -> dict[str, Any]:
    permits = row.effect == "permit"
    return {
        "id": f"o-{row.decision}-{row.number}",
        "iso": instant.format(row.at),
        "exact": words.exact(row.at),
        "when": words.moment(row.at, now),
        "about": words.term("category", row.category),
        "who": masked(row.participant),
        "whose": whose,
        "event": row.event,
        "stakeholder": row.stakeholder,
        "recipient": names.get(row.stakeholder, row.stakeholder),
        "purpose": words.term("purpose", row.purpose),
        "purpose_code": row.purpose,
        "effect": "permit" if permits else "held",
        "outcome": words.say("Shared") if permits else words.say("Not shared"),
        "reason": "" if row.reason == "consent" else words.term("reason", row.reason),
    }
