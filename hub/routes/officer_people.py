"""A participant, as privacy officers see them: who learned what, consent over time, and who it is if need be.

An address names nobody: `hub/handles.py`. That a page was read, and why a name was, is in `access`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from consent.course import Course, Recorded, course
from consent.record import Placed
from hub import accounting, acts, changes, drawing, handles, helping, remarks, revealing
from hub.access import FORM_FIELDS_MAX, person
from hub.crosswalk import local_hash
from hub.governance import Register
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.report import YEARS
from hub.tables import crosswalk, directives
from schemas import instant
from schemas.errors import Refused

READ: Final = "participant-read"
DAY_MS: Final = 24 * 3_600_000
PERIODS: Final = {"quarter": 91 * DAY_MS, "year": 365 * DAY_MS, "all": (YEARS * 365 + 2) * DAY_MS}
PERIOD: Final = "year"
DIRECTIVES_MAX: Final = 1_000
FIELD_CHARS_MAX: Final = 128

routes = APIRouter(include_in_schema=False)


class Whom(NamedTuple):
    """A participant, and what addresses call them."""

    participant: str
    handle: str


def whom(of: Parts, name: str) -> Whom:
    """Whose page it is. Raises `Refused` where it is nobody's."""
    found = handles.participant(of.vault, name)
    if found is None or not accounting.known(of.store, found):
        raise Refused("there is nobody here", code="not-found")
    return Whom(found, name)


def periods(words: Tongue) -> list[tuple[str, str]]:
    """How far back one may look, in words."""
    return [
        ("quarter", words.say("Last 3 months")),
        ("year", words.say("Last 12 months")),
        ("all", words.say("Last 6 years")),
    ]


@routes.get("/officer/participants")
async def search(request: Request, of: Parts = Depends(parts)) -> Response:
    """Whom do you look for?"""
    return await _search(request, of)


@routes.post("/officer/participants")
async def find(request: Request, of: Parts = Depends(parts)) -> Response:
    """By the hub's id, or by what an agency calls them: typed into a form, which no address holds."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    typed = str(form.get("id", "")).strip()[:FIELD_CHARS_MAX]
    agency = str(form.get("agency", ""))[:FIELD_CHARS_MAX]
    found = await run_in_threadpool(_found, of, agency, typed)
    if found is None:
        return await _search(request, of, agency, missed=True)
    return RedirectResponse(f"/officer/participants/{handles.handle(of.vault, found)}", 303)


@routes.get("/officer/participants/{person}")
async def one(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """Consent as bars over time, disclosures as marks on them; below, every directive and what it changed."""
    return render(request, "officer_person.html", **await run_in_threadpool(_picture, request, of, person))


@routes.post("/officer/participants/{person}/names")
async def reveal(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """The same, with who it is. In: one of the reasons, perhaps a remark, which is sealed."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    reason = str(form.get("reason", ""))
    remark = str(form.get("remark", ""))[: remarks.CHARS_MAX]
    if reason not in revealing.REASONS:
        raise Refused("say why", path="/reason", code="not-found")
    found = await run_in_threadpool(_revealed, request, of, person, reason, remark)
    shown = await run_in_threadpool(_picture, request, of, person, found)
    return render(request, "officer_person.html", **shown)


async def _search(request: Request, of: Parts, agency: str = "", *, missed: bool = False) -> Response:
    names = await run_in_threadpool(lambda: of.register().names())
    agencies = sorted((name, code) for code, name in names.items())
    return render(
        request,
        "officer_search.html",
        404 if missed else 200,
        agencies=agencies,
        agency=agency,
        missed=missed,
    )


def _found(of: Parts, agency: str, typed: str) -> str | None:
    if not agency:
        return typed if accounting.known(of.store, typed) else None
    query = sa.select(crosswalk.c.participant).where(
        crosswalk.c.agency == agency, crosswalk.c.local == local_hash(of.vault, agency, typed)
    )
    with of.store.read() as connection:
        return connection.execute(query).scalar()


def _revealed(request: Request, of: Parts, name: str, reason: str, remark: str) -> revealing.Who:
    participant = whom(of, name).participant
    principal = person(request).principal
    revealing.recorded(of.appender, of.vault, principal, participant, reason, remark)
    return revealing.who(of.store, of.vault, of.lookup, participant)


def _picture(request: Request, of: Parts, name: str, who: revealing.Who | None = None) -> dict[str, Any]:
    mine, words, now = whom(of, name), speak(request), of.clock_ms()
    period = request.query_params.get("period", PERIOD)
    period = period if period in PERIODS else PERIOD
    if who is None:
        acts.access(of.appender, READ, person(request).principal, {"period": period}, mine.participant)
    register = of.register()
    names, since = register.names(), now - PERIODS[period]
    rows = _directives(of, mine.participant)
    told = _course(rows, register)
    disclosures = accounting.account(of.store, mine.participant, since, now).disclosures
    return {
        "whose": mine.handle,
        "masked": handles.masked(mine.participant),
        "participant": mine.participant if who else None,
        "erased": of.vault.gone(mine.participant),
        "who": _who(who, names, words, now) if who else None,
        "reasons": _reasons(words),
        "periods": periods(words),
        "period": period,
        "drawing": drawing.drawn(told, disclosures, since, now, names, words),
        "numbers": _numbers(disclosures, words),
        "steps": _steps(told, rows, names, words, now),
        "untold": told.untold,
    }


def _directives(of: Parts, participant: str) -> list[Any]:
    query = (
        sa.select(directives)
        .where(directives.c.participant == participant)
        .order_by(directives.c.offset)
        .limit(DIRECTIVES_MAX)
    )
    with of.store.read() as connection:
        return list(connection.execute(query).all())


def _course(rows: Sequence[Any], register: Register) -> Course:
    known = register.at(register.offset).stakeholders
    in_class = frozenset(
        name for name in register.stakeholders if (one := known.get(name)) is not None and one.in_class
    )
    told = [Recorded(row.recorded_at, Placed(row.offset, row.id, json.loads(row.body))) for row in rows]
    return course(told, in_class)


def _steps(
    told: Course, rows: Sequence[Any], names: Mapping[str, str], words: Tongue, now: int
) -> list[dict[str, Any]]:
    """Every directive, newest first."""
    places = {row.offset: row for row in rows}
    return [
        {
            "iso": instant.format(step.recorded.at),
            "when": words.moment(step.recorded.at, now),
            "exact": words.exact(step.recorded.at),
            "sentence": changes.said(step.recorded.placed.body, names, words),
            "effects": changes.effects(step, names, words),
            "signed": _signed(places[step.recorded.placed.offset]),
            "helped": helping.is_one(places[step.recorded.placed.offset].sender),
            "place": f"consent/{places[step.recorded.placed.offset].partition}@{step.recorded.placed.offset}",
        }
        for step in reversed(told.steps)
    ]


def _signed(row: Any) -> str | None:
    """The consent that a directive gave, whose form may be looked at; a helper is named on no form."""
    if row.type != "consent-granted" or helping.named(json.loads(row.body)):
        return None
    given: str | None = row.concerns
    return given


def _numbers(disclosures: Any, words: Tongue) -> list[dict[str, str]]:
    certain = [one for one in disclosures if one.certain]
    return [
        {"words": words.say("Disclosed"), "value": words.number(len(certain)), "more": ""},
        {
            "words": words.say("In doubt"),
            "value": words.number(len(disclosures) - len(certain)),
            "more": "",
        },
        {
            "words": words.say("To how many"),
            "value": words.number(len({one.stakeholder for one in disclosures})),
            "more": "",
        },
    ]


def _reasons(words: Tongue) -> list[tuple[str, str]]:
    said = {
        "participant-asked": words.say("The participant asks, or somebody for them"),
        "court-or-auditor": words.say("A court or an auditor asks"),
        "complaint": words.say("I look into a complaint"),
        "mixed-up": words.say("Two people may have been mixed up"),
        "other": words.say("Something else, which I write down"),
    }
    return [(code, said[code]) for code in revealing.REASONS]


def _who(who: revealing.Who, names: Mapping[str, str], words: Tongue, now: int) -> dict[str, Any]:
    return {
        "erased": who.erased,
        "names": [
            words.say("%(name)s, as %(agency)s says", name=name, agency=names.get(agency, agency))
            for agency, name in who.names
        ],
        "local_ids": [
            words.say("%(id)s at %(agency)s", id=local, agency=names.get(agency, agency))
            for agency, local in who.local_ids
        ],
        "remarks": [
            words.say(
                "%(who)s wrote, %(when)s: %(text)s",
                who=by.rpartition(":")[2],
                when=words.moment(at, now),
                text=text,
            )
            for at, by, text in who.remarks
        ],
    }
