"""The form on which somebody says who may know what, at the case manager's side; a preview; a yes or a no."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.background import BackgroundTask

from connectors.viewer import Permission
from consent import Event, State
from consent.record import Placed, Record
from hub import agreeing, people, receipt, signed
from hub.agreeing import Party
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes import signatures
from hub.routes.cases import reader
from hub.routes.installed import living
from hub.routes.signatures import Fields, Whom, first
from hub.tables import alerts, decisions
from schemas import instant
from schemas.errors import Invalid, Problem

PREVIEWED_MAX: Final = 10

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/people/{person}/consent")
async def form(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """The form, with nothing ticked. As `?blank` it has nothing of a session, to be kept on a device."""
    whom = await run_in_threadpool(signatures.whom_of, of, request, person)
    return await _form(request, of, whom, {}, blank="blank" in request.query_params)


@routes.post("/cases/people/{person}/consent")
async def answered(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """What was answered: a preview, a signature, or no. A signature repeated is one signature."""
    fields, scan = await signatures.read_fields(request)
    whom = await run_in_threadpool(signatures.whom_of, of, request, person)
    wanted = first(fields, "act")
    young = wanted == "sign" and first(fields, "adult") == "no"
    if young or wanted == "refuse":
        await run_in_threadpool(signatures.answered, of, request, whom, fields)
        return render(request, "too_young.html" if young else "said_no.html", handle=whom.handle)
    if wanted != "sign":
        return await _form(request, of, whom, fields, preview=True)
    return await _taken(request, of, whom, fields, scan)


async def _taken(request: Request, of: Parts, whom: Whom, fields: Fields, scan: bytes) -> Response:
    """The receipt's address, or the form again with what is to be said first."""
    try:
        handle, consent = await run_in_threadpool(signatures.sign, of, request, whom, fields, scan)
    except Invalid as invalid:
        return await _form(request, of, whom, fields, problems=invalid.problems, status=422)
    except signatures.Conflict as conflict:
        return await _form(request, of, whom, fields, conflict=conflict.code, status=409)
    address = f"/cases/people/{handle}/receipts/{consent}"
    if "hx-request" in request.headers:
        return Response(status_code=201, headers={"Location": address})
    return RedirectResponse(address, 303)


async def _form(
    request: Request,
    of: Parts,
    whom: Whom,
    fields: Fields,
    *,
    preview: bool = False,
    problems: Sequence[Problem] = (),
    conflict: str | None = None,
    blank: bool = False,
    status: int = 200,
) -> Response:
    words, now = speak(request), of.clock_ms()
    offered = await run_in_threadpool(lambda: agreeing.offers(of.register(), now))
    shut = agreeing.kept_out(Record(whom.said).restrictions.values(), offered)
    seen, permission = await _seen(request, of, whom) if preview else ([], None)
    page = render(
        request,
        "consent.html",
        status,
        anonymous=blank,
        handle=whom.handle,
        known=whom.participant is not None,
        can_refer=whom.participant is None or whom.local_id is not None,
        parties=[_party(one, shut, words) for one in offered],
        statements=signatures.statements(offered, words),
        never=receipt.never(words),
        referrals=[(one, words.term("category", one)) for one in signatures.DOORS],
        filled={name: frozenset(values) for name, values in fields.items()},
        first={name: first(fields, name) for name in ("form", "signed_at", "seen", *_TYPED)},
        form=first(fields, "form") or signed.new_id(),
        signed_at=first(fields, "signed_at") or instant.format(now),
        offer=agreeing.mark(offered),
        seen=len(whom.said) if conflict or not fields else first(fields, "seen"),
        glimpses=_glimpses(of, whom, fields, offered, seen, words, now) if preview else None,
        problems=list(dict.fromkeys(one.code for one in problems)),
        conflict=conflict,
        live=None if blank else living(request, of),
    )
    if permission is not None:
        page.background = BackgroundTask(permission.close, True)
    return page


_TYPED: Final = ("name", "local_id", "typed", "drawing", "scanned", "door")


def _party(party: Party, shut: Mapping[str, str], words: Tongue) -> dict[str, Any]:
    return {
        "id": party.id,
        "name": party.name,
        "shut": shut.get(party.id),
        "lines": [signatures.line_of(party, line, words) for line in party.lines],
        "labels": [(f"{party.id}/{one}", words.term("label", one)) for one in agreeing.LABELS],
    }


async def _seen(request: Request, of: Parts, whom: Whom) -> tuple[list[Event], Permission | None]:
    """Events of theirs that this organisation was told, and may be shown again now."""
    if whom.participant is None:
        return [], None
    who = reader(request)
    entries = await run_in_threadpool(people.timeline, of.store, of.vault, who.organisation, whom.participant)
    asked = [(one.id, whom.participant) for one in entries if not one.desk][:PREVIEWED_MAX]
    permission = await of.viewer.ask(who.organisation, asked)
    shown = [one for one, _ in asked if one in permission.alerts]
    return await run_in_threadpool(_events, of, shown), permission


def _events(of: Parts, shown: Sequence[str]) -> list[Event]:
    query = (
        sa.select(decisions.c.envelope)
        .join(alerts, alerts.c.event == decisions.c.event)
        .where(alerts.c.id.in_(shown))
        .order_by(decisions.c.occurred_at.desc())
    )
    with of.store.read() as connection:
        rows = connection.execute(query).scalars().all()
    found = {one["id"]: Event(**{name: one[name] for name in Event._fields}) for one in rows}
    return list(found.values())


def _glimpses(
    of: Parts,
    whom: Whom,
    fields: Fields,
    offered: Sequence[Party],
    seen: Sequence[Event],
    words: Tongue,
    now: int,
) -> list[dict[str, Any]]:
    """What the ticks would mean for these events, in words."""
    ticked = {**fields, "name": ["?"], "adult": ["yes"], "until": ["90"]}
    ticked["since"] = fields.get("since") or ["earlier"]
    said = list(whom.said)
    try:
        made = agreeing.consent(agreeing.answer(ticked, offered, now), offered, "preview", "preview")
        body = {"type": "consent-granted", "consent": {**made, "id": "preview"}}
        said.append(Placed(said[-1].offset + 1 if said else 0, "preview", body))
    except Invalid:  # nothing is ticked
        pass
    register = of.register()
    rules = register.at(register.offset)
    assert rules.policy is not None
    found = agreeing.glimpses(seen, State(said), offered, now, rules.policy, rules.stakeholders)
    names = {one.id: one.name for one in offered}
    return [
        {
            "what": words.term("category", one.event.category),
            "when": words.moment(one.event.occurred_at, now),
            "learn": [(names[party], receipt.sees(some, words)) for party, some in one.learn.items()],
        }
        for one in found
    ]
