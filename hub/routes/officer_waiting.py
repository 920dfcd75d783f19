"""What waits for a privacy officer, and what is not as it should be."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from connectors.fence import Open
from hub import awaiting, remarks
from hub.access import FORM_FIELDS_MAX, person
from hub.awaiting import Emergency, Ending, Line
from hub.handles import handle, masked
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak

DOUBTS_MAX: Final = 50
WEEK_MS: Final = 7 * awaiting.DAY_MS

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/waiting")
async def waiting(request: Request, of: Parts = Depends(parts)) -> Response:
    """Emergencies to review, orders, consents that end, and what is held, in doubt, refused or unlinked."""
    doubts = of.fences.doubts(DOUBTS_MAX)  # here, where they are followed
    return render(request, "officer_waiting.html", **await run_in_threadpool(_picture, request, of, doubts))


@routes.post("/officer/emergencies/{emergency}/reviews")
async def review(request: Request, emergency: str, of: Parts = Depends(parts)) -> Response:
    """Write down that an emergency was reviewed, and what was found."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    finding, remark = str(form.get("finding", "")), str(form.get("remark", ""))[: remarks.CHARS_MAX]
    by = person(request).principal
    if not emergency.isprintable():
        emergency = ""
    await run_in_threadpool(
        awaiting.review, of.store, of.vault, of.appender, by, emergency, finding, remark.strip()
    )
    return RedirectResponse("/officer/waiting?reviewed=1", 303)


def _picture(request: Request, of: Parts, doubts: Sequence[Open] | None) -> dict[str, Any]:
    words, now, names = speak(request), of.clock_ms(), of.register().names()
    emergencies = awaiting.emergencies(of.store)
    soon = awaiting.expiring(of.store, now)
    orders = len(of.directives.waiting())
    unreviewed = sum(not one.reviews for one in emergencies)
    lines = {
        "held": awaiting.held(of.store, now - WEEK_MS),
        "refused": awaiting.refused(of.store, now),
        "unlinked": awaiting.unlinked(of.store),
    }
    return {
        "reviewed": "reviewed" in request.query_params,
        "numbers": _numbers(unreviewed, orders, doubts, soon, words),
        "emergencies": [_emergency(one, of, names, words, now) for one in emergencies],
        "findings": _findings(words),
        "doubts": None if doubts is None else [_doubt(one, of, names, words, now) for one in doubts],
        "held": [_line(one, names, words, now, "reason") for one in lines["held"]],
        "refused": [_line(one, names, words, now, "quarantine") for one in lines["refused"]],
        "unlinked": [_line(one, names, words, now, "quarantine") for one in lines["unlinked"]],
        "ending": [
            {
                "who": masked(participant),
                "whose": handle(of.vault, participant),
                "consent": consent,
                "when": words.ago(at, now),
                "exact": words.exact(at),
            }
            for participant, consent, at in soon.next
        ],
    }


def _numbers(
    unreviewed: int, orders: int, doubts: Sequence[Open] | None, soon: Ending, words: Tongue
) -> list[dict[str, str]]:
    """How many of each, with where they are."""
    in_doubt = "?" if doubts is None else _many(len(doubts), words)
    within = [
        (
            words.say_for(days, "Consents that end within a day", "Consents that end within %(count)s days"),
            count,
        )
        for days, count in soon.counts.items()
    ]
    found = [
        (words.say("Emergencies to review"), words.number(unreviewed), "#emergencies"),
        (words.say("Orders that wait"), words.number(orders), "/officer/orders"),
        (words.say("Deliveries in doubt"), in_doubt, "#doubts"),
        *((said, words.number(count), "#ending") for said, count in within),
    ]
    return [{"words": said, "value": value, "to": to} for said, value, to in found]


def _many(count: int, words: Tongue) -> str:
    return words.number(count) + ("+" if count >= DOUBTS_MAX else "")


def _findings(words: Tongue) -> list[tuple[str, str]]:
    said = {
        "in-order": words.say("It was in order"),
        "not-in-order": words.say("It was not in order"),
        "looked-into": words.say("I am still looking into it"),
    }
    return [(one, said[one]) for one in awaiting.FINDINGS]


def _emergency(
    one: Emergency, of: Parts, names: Mapping[str, str], words: Tongue, now: int
) -> dict[str, Any]:
    found = dict(_findings(words))
    return {
        "id": one.id,
        "waits": not one.reviews,
        "sentence": words.say(
            "%(recipient)s declared a medical emergency.", recipient=names.get(one.recipient, one.recipient)
        ),
        "when": words.moment(one.at, now),
        "who": masked(one.participant),
        "whose": handle(of.vault, one.participant),
        "attempts": words.say_for(
            one.attempts, "%(count)s attempt rests on it", "%(count)s attempts rest on it"
        ),
        "reviews": [
            words.say(
                "%(who)s, %(when)s: %(finding)s",
                who=each.by.rpartition(":")[2],
                when=words.moment(each.at, now),
                finding=found.get(each.finding, each.finding),
            )
            for each in one.reviews
        ],
    }


def _doubt(one: Open, of: Parts, names: Mapping[str, str], words: Tongue, now: int) -> dict[str, str]:
    return {
        "recipient": names.get(one.stakeholder, one.stakeholder),
        "stakeholder": one.stakeholder,
        "adapter": words.term("adapter", one.adapter),
        "event": one.event,
        "who": masked(one.participant),
        "whose": handle(of.vault, one.participant),
        "when": words.ago(one.at, now),
        "exact": words.exact(one.at),
    }


def _line(one: Line, names: Mapping[str, str], words: Tongue, now: int, context: str) -> dict[str, str]:
    return {
        "who": names.get(one.who, one.who) or "–",
        "reason": words.term(context, one.reason) if one.reason else "",
        "code": one.reason,
        "count": words.number(one.records),
        "first": words.ago(one.first_at, now),
        "last": words.ago(one.last_at, now),
    }
