"""Is anything unusual: how long fences took, and who sends or receives otherwise than on other such days."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from hub import closings, unusual
from hub.closings import Closing
from hub.handles import handle, masked
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.officer import PERIODS, periods
from hub.store import Store
from hub.unusual import Finding, Hour
from hub.watching import HOUR_MS, RECIPIENT, SENDER
from hub.watchtables import hourly

PERIOD: Final = "month"
WIDTH: Final = 720
HEIGHT: Final = 120
SLOWEST_MAX: Final = 20
GRACE_MS: Final = 2_000  # what clocks and queues may add to an attempt's deadline

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/unusual")
async def page(request: Request, of: Parts = Depends(parts)) -> Response:
    """Time to fence as a distribution, the slowest, and what is not as it used to be."""
    return render(request, "officer_unusual.html", **await run_in_threadpool(_picture, request, of))


def hours(store: Store, until: int) -> dict[str, dict[str, list[Hour]]]:
    """By kind and by who: what the same hours of the weeks before had, for the 24 hours before `until`."""
    weeks = [until - 7 * unusual.HOURS * week for week in range(unusual.WEEKS + 1)]
    within = sa.or_(*(sa.and_(hourly.c.hour >= end - unusual.HOURS, hourly.c.hour < end) for end in weeks))
    key = (hourly.c.kind, hourly.c.who, hourly.c.hour)
    sums = (sa.func.sum(hourly.c.count), sa.func.sum(hourly.c.labelled))
    since = hourly.c.hour >= min(weeks) - unusual.HOURS  # said apart: an index begins there
    query = sa.select(*key, *sums).where(since, within).group_by(*key)
    found: dict[str, dict[str, list[Hour]]] = {SENDER: {}, RECIPIENT: {}}
    with store.read() as connection:
        for kind, who, hour, count, labelled in connection.execute(query):
            found[kind].setdefault(who, []).append(Hour(hour, int(count), int(labelled)))
    return found


def _picture(request: Request, of: Parts) -> dict[str, Any]:
    words, now, register = speak(request), of.clock_ms(), of.register()
    names = register.names()
    period = request.query_params.get("period", PERIOD)
    period = period if period in PERIODS else PERIOD
    overdue = now - of.settings.send_ms_max - GRACE_MS
    found, whole = closings.closings(
        of.store, now - PERIODS[period] + 1, now, register.registered_at, overdue
    )
    until = now // HOUR_MS
    told = hours(of.store, until)
    return {
        "periods": list(periods(words).items()),
        "period": period,
        "numbers": _numbers(found, words),
        "chart": _chart(found, words),
        "slowest": [_slow(one, of, words, now) for one in _slowest(found)],
        "sampled": "" if whole else words.number(len(found)),
        "findings": [
            _said(one, names, words) for one in unusual.findings(told[SENDER], told[RECIPIENT], until)
        ],
        "until": words.moment(until * HOUR_MS, now),
    }


def _slowest(found: Sequence[Closing]) -> list[Closing]:
    """Those that are not closed, and then those that took longest."""
    return sorted(found, key=lambda one: (one.took_ms is not None, -(one.took_ms or 0)))[:SLOWEST_MAX]


def _numbers(found: Sequence[Closing], words: Tongue) -> list[dict[str, str]]:
    took = [one.took_ms for one in found if one.took_ms is not None]
    half, most = closings.percentile(took, 0.5), closings.percentile(took, 0.99)
    doubts = sum(one.doubts > 0 for one in found)
    return [
        {"words": words.say("Fences closed"), "value": words.number(len(took))},
        {"words": words.say("Half of them within"), "value": lasting(half, words)},
        {"words": words.say("99 of 100 within"), "value": lasting(most, words)},
        {"words": words.say("Not closed yet"), "value": words.number(len(found) - len(took) - doubts)},
        {"words": words.say("Closed in doubt"), "value": words.number(doubts)},
    ]


def lasting(ms: int | None, words: Tongue) -> str:
    """A length of time."""
    if ms is None:
        return "–"
    if ms < 10_000:
        return words.say("%(count)s ms", count=words.number(ms))
    if ms < 120_000:
        return words.say("%(count)s s", count=words.number(ms // 1_000))
    return words.say("%(count)s min", count=words.number(ms // 60_000))


def _chart(found: Sequence[Closing], words: Tongue) -> dict[str, Any]:
    bins = closings.histogram(one.took_ms for one in found if one.took_ms is not None)
    tallest = max((one.fences for one in bins), default=0) or 1
    step = WIDTH / len(bins)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "some": any(one.fences for one in bins),
        "words": words.say("How long fences took to close"),
        "bars": [
            {
                "x": round(place * step + 2, 1),
                "width": round(step - 4, 1),
                "height": (height := round(one.fences / tallest * (HEIGHT - 4), 1)),
                "y": round(HEIGHT - height, 1),
                "count": words.number(one.fences),
                "label": words.say("under %(time)s", time=lasting(one.until_ms, words))
                if one.until_ms is not None
                else words.say("%(time)s or more", time=lasting(one.since_ms, words)),
            }
            for place, one in enumerate(bins)
        ],
    }


def _slow(one: Closing, of: Parts, words: Tongue, now: int) -> dict[str, str]:
    took = lasting(one.took_ms, words) if one.took_ms is not None else words.say("not closed yet")
    if one.doubts:
        took = words.say_for(one.doubts, "closed with %(count)s in doubt", "closed with %(count)s in doubt")
    return {
        "who": masked(one.participant),
        "whose": handle(of.vault, one.participant),
        "place": f"consent/{one.partition}@{one.offset}",
        "when": words.moment(one.started_at, now),
        "took": took,
    }


def _said(one: Finding, names: Mapping[str, str], words: Tongue) -> str:
    """A finding as a plain sentence."""
    who = names.get(one.who, one.who)
    if one.kind == "labels-drop":
        return words.say(
            "%(who)s put a label on %(now)s%% of what it sent; on other such days it is %(usual)s%%.",
            who=who,
            now=words.number(round(one.now * 100)),
            usual=words.number(round(one.usual * 100)),
        )
    values = {"who": who, "now": words.number(round(one.now)), "usual": words.number(round(one.usual))}
    if one.kind == "volume-drop":
        return words.say("%(who)s sent %(now)s events; on other such days it is %(usual)s.", **values)
    return words.say("%(who)s was permitted %(now)s things; on other such days it is %(usual)s.", **values)
