"""Signing a consent at the case manager's side, and the receipt: what may be known, by whom, until when."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile

from connectors.viewer import Permission
from consent import Event, State
from consent.record import Held, Placed, Record
from hub import acts, agreeing, people, receipt, signed
from hub.access import person
from hub.agreeing import Answer, Party
from hub.entrance import Sender
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.cases import reader
from hub.routes.installed import living
from hub.said import placed
from hub.sessions import Person
from hub.tables import alerts, decisions, submissions
from schemas import instant
from schemas.errors import BadTime, Invalid, Problem, Refused

NEW: Final = "new"  # somebody who is not known yet: no handle is called so
BLANK: Final = "/cases/people/new/consent"
PREVIEWED_MAX: Final = 10
LATE_MS_MAX: Final = 8 * 24 * 3_600_000  # so long a form may wait on a device that has no network
DOORS: Final = ("referral.arrest-diversion", "referral.social-contact", "referral.community")
_FORM: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_CONSENT: Final = re.compile(r"c-[a-z2-7]{26}")

routes = APIRouter(include_in_schema=False)
Fields = Mapping[str, Sequence[str]]


class Whom(NamedTuple):
    """Whose form it is. Without a `participant` it is somebody new; `said` is what is on record of theirs."""

    handle: str
    participant: str | None
    local_id: str | None
    said: Sequence[Placed]


class Conflict(Exception):
    """Something is to be said before anything is signed. `code` names the sentence."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@routes.get("/cases/people/{person}/consent")
async def form(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """The form, with nothing ticked. As `?blank` it has nothing of a session, to be kept on a device."""
    whom = await run_in_threadpool(_whom, of, request, person)
    return await _form(request, of, whom, {}, blank="blank" in request.query_params)


@routes.post("/cases/people/{person}/consent")
async def answered(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """What was answered: a preview, a signature, or no. A signature repeated is one signature."""
    fields, scan = await _fields(request)
    whom = await run_in_threadpool(_whom, of, request, person)
    wanted = _first(fields, "act")
    young = wanted == "sign" and _first(fields, "adult") == "no"
    if young or wanted == "refuse":
        await run_in_threadpool(_answered, of, request, whom, fields)
        return render(request, "too_young.html" if young else "said_no.html", handle=whom.handle)
    if wanted != "sign":
        return await _form(request, of, whom, fields, preview=True)
    return await _taken(request, of, whom, fields, scan)


async def _taken(request: Request, of: Parts, whom: Whom, fields: Fields, scan: bytes) -> Response:
    """The receipt's address, or the form again with what is to be said first."""
    try:
        handle, consent = await run_in_threadpool(_sign, of, request, whom, fields, scan)
    except Invalid as invalid:
        return await _form(request, of, whom, fields, problems=invalid.problems, status=422)
    except Conflict as conflict:
        return await _form(request, of, whom, fields, conflict=conflict.code, status=409)
    address = f"/cases/people/{handle}/receipts/{consent}"
    if "hx-request" in request.headers:
        return Response(status_code=201, headers={"Location": address})
    return RedirectResponse(address, 303)


@routes.get("/cases/people/{person}/receipts/{consent}")
async def received(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """What was agreed to, to read and to print."""
    whom = await run_in_threadpool(_whom, of, request, person)
    return _receipt(request, of, whom, consent)


@routes.get("/cases/people/{person}/receipts/{consent}/paper")
async def on_paper(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """The same as a PDF in large type."""
    whom = await run_in_threadpool(_whom, of, request, person)
    words, held = speak(request), _held(whom.said, consent)
    made = receipt.receipt(held, of.register().names(), words, of.clock_ms())
    content = await run_in_threadpool(receipt.paper, made, words)
    return Response(content, media_type="application/pdf")


@routes.post("/cases/people/{person}/card")
async def card(request: Request, person: str, of: Parts = Depends(parts)) -> Response:
    """A card for their own page. The PIN is theirs: they type it, twice. The card before ends."""
    fields, _ = await _fields(request)
    whom = await run_in_threadpool(_whom, of, request, person)
    consent, pin = _first(fields, "consent"), _first(fields, "pin")
    assert whom.participant is not None
    try:
        if pin != _first(fields, "again"):
            raise Invalid.one("/again", "pins-differ", "the two PINs are not the same")
        who = _who(request).principal
        made = await run_in_threadpool(of.passes.make, whom.participant, pin, who)
    except Invalid as invalid:
        return _receipt(request, of, whom, consent, problem=invalid.code, status=422)
    return _receipt(request, of, whom, consent, code=made.code)


def _receipt(
    request: Request,
    of: Parts,
    whom: Whom,
    consent: str,
    *,
    code: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    words, held = speak(request), _held(whom.said, consent)
    assert whom.participant is not None
    return render(
        request,
        "receipt.html",
        status,
        receipt=receipt.receipt(held, of.register().names(), words, of.clock_ms()),
        never=receipt.never(words),
        back=receipt.back(words),
        handle=whom.handle,
        code=code,
        card=receipt.card_texts(words),
        has_card=of.passes.has(whom.participant),
        problem=problem,
    )


def _held(said: Sequence[Placed], consent: str) -> Held:
    """A consent on record. Raises `Refused` where there is none of that id."""
    held = Record(said).consents.get(consent) if _CONSENT.fullmatch(consent) else None
    if held is None:
        raise Refused("there is no such receipt", code="not-found")
    return held


def _who(request: Request) -> Person:
    who = person(request)
    if who.stakeholder is None:
        raise Refused("this account belongs to no organisation", code="no-organisation")
    return who


def _whom(of: Parts, request: Request, handle: str) -> Whom:
    """Raises `Refused` for nobody of theirs."""
    who = reader(request)
    assert who.account is not None
    if handle == NEW:
        return Whom(NEW, None, None, ())
    found = people.resolve(of.store, of.vault, who.organisation, who.account, of.clock_ms(), handle[:80])
    if found is None:
        raise Refused("there is nobody of yours here", code="not-found")
    local_id = of.crosswalk.local_id(who.organisation, found)
    return Whom(handle, found, local_id, placed(of.store, of.lookup, found))


async def _fields(request: Request) -> tuple[Fields, bytes]:
    """A form's fields by name, and the file that came with it; the gate has read it already."""
    found: dict[str, list[str]] = {}
    scan = b""
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            scan = await value.read()
            await value.close()
        else:
            found.setdefault(name, []).append(value)
    return found, scan


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _answered(of: Parts, request: Request, whom: Whom, fields: Fields) -> None:
    """That the form was answered; not what, for that would be a record of a no."""
    about = _first(fields, "form")
    body = {"form": about if _FORM.fullmatch(about) else ""}
    acts.access(of.appender, acts.FORM_ANSWERED, _who(request).principal, body, whom.participant)


# ---- signing -----------------------------------------------------------------------------------------------


def _sign(of: Parts, request: Request, whom: Whom, fields: Fields, scan: bytes) -> tuple[str, str]:
    """Takes a signature. Out: the handle and the consent. Raises `Invalid`, `Conflict`, `Refused`."""
    who, words, now = _who(request), speak(request), of.clock_ms()
    assert who.stakeholder is not None
    offered = agreeing.offers(of.register(), now)
    said, picture = _checked(fields, scan, offered, now)
    if whom.participant is None:
        whom = _known(of, who, whom, fields)
    assert whom.participant is not None
    sender = Sender(who.principal, organisation=who.stakeholder)
    if not _sent_before(of, who, said):
        _conflicts(whom, fields, said, offered)
    body = _written(said, fields, offered, words, who)
    made = signed.form(body, picture)
    signed.keep(of.appender, of.vault, whom.participant, who.principal, made, of.clock_ms)
    directive = {
        "id": f"consent-{said.id}",
        "participant": whom.participant,
        "type": "consent-granted",
        "names": {"participant": said.name},
        "witness": {"name": who.name, "organisation": who.stakeholder},
        "consent": agreeing.consent(said, offered, _first(fields, "method"), made.reference),
    }
    events = _referral(said, whom, who.stakeholder, _first(fields, "door"))
    done = of.submissions.submit(
        sender, {"id": f"form-{said.id}", "directives": [directive], "events": events}
    )
    consent = done.directives[0].concerns
    assert consent is not None
    if whom.handle == NEW:
        of.caseloads.assign(who.principal, who.stakeholder, whom.participant, who.account)
    if done.new:
        _answered(of, request, whom, fields)
    return people.handle(of.vault, who.stakeholder, whom.participant), consent


def _checked(fields: Fields, scan: bytes, offered: Sequence[Party], now: int) -> tuple[Answer, bytes | None]:
    """What is on the form and how it is signed, whole. Raises `Invalid` with everything that is missing."""
    problems: list[Problem] = []
    said, picture = None, None
    try:
        said = agreeing.answer(fields, offered, _signed_at(fields, now))
    except Invalid as invalid:
        problems += invalid.problems
    if not _FORM.fullmatch(_first(fields, "form")) or _first(fields, "offer") != agreeing.mark(offered):
        problems.append(Problem("/form", "changed", "not one of our forms, or not as it is now"))
    if _first(fields, "witness") != "yes":
        problems.append(Problem("/witness", "witness", "nobody says that they saw it"))
    try:
        picture = _picture(fields, scan)
    except Invalid as invalid:
        problems += invalid.problems
    if problems or said is None:
        raise Invalid(problems)
    return said, picture


def _picture(fields: Fields, scan: bytes) -> bytes | None:
    """The drawing or the scan; None where a name was typed. Raises `Invalid` where nothing was signed."""
    method = _first(fields, "method")
    if method == "typed" and _first(fields, "typed"):
        return None
    drawn = _first(fields, "drawing" if method == "drawn" else "scanned")
    if method in ("drawn", "paper") and (drawn or scan):
        return signed.picture(scan if method == "paper" and scan else signed.from_url(drawn))
    raise Invalid.one("/method", "signature", "it is not signed")


def _signed_at(fields: Fields, now: int) -> int:
    """When it was signed: as the form says, which may have waited for a network; never in the future."""
    try:
        said = instant.parse(_first(fields, "signed_at"))
    except BadTime:
        return now
    return said if now - LATE_MS_MAX <= said <= now else now


def _known(of: Parts, who: Person, whom: Whom, fields: Fields) -> Whom:
    """Makes somebody known by the organisation's own number. Raises `Conflict` for somebody else's."""
    assert who.stakeholder is not None
    linked = of.participants.create(who.stakeholder, _first(fields, "local_id"), who.principal)
    said = placed(of.store, of.lookup, linked.participant)
    if said and not _sent(of, who, _first(fields, "form")):
        raise Conflict("number-taken")
    return whom._replace(participant=linked.participant, local_id=_first(fields, "local_id"), said=said)


def _sent_before(of: Parts, who: Person, said: Answer) -> bool:
    return _sent(of, who, said.id)


def _sent(of: Parts, who: Person, form: str) -> bool:
    """Whether this very form was begun to be taken in before."""
    mine = sa.and_(submissions.c.sender == who.principal, submissions.c.id == f"form-{form}")
    with of.store.read() as connection:
        return connection.execute(sa.select(submissions.c.id).where(mine)).scalar() is not None


def _conflicts(whom: Whom, fields: Fields, said: Answer, offered: Sequence[Party]) -> None:
    """Raises `Conflict` for what has to be said before: a "never" that stays, or another tablet's change."""
    seen, late = _first(fields, "seen"), _first(fields, "late") == "yes"
    if seen.isdigit() and int(seen) != len(whom.said) and not late:
        raise Conflict("changed-meanwhile")
    shut = agreeing.kept_out(Record(whom.said).restrictions.values(), offered)
    if {party for party, _ in said.choices} & set(shut) and _first(fields, "knows") != "yes" and not late:
        raise Conflict("never-stands")


def _written(
    said: Answer, fields: Fields, offered: Sequence[Party], words: Tongue, who: Person
) -> dict[str, Any]:
    """Everything that stood on the form when it was signed, in the words in which it was read."""
    return {
        "form": said.id,
        "language": words.language,
        "name": said.name,
        "signed_at": instant.format(said.signed_at),
        "lines": [_line(party, line, words) for party in offered for line in party.lines],
        "chosen": [f"{party}/{kind}" for party, kind in said.choices],
        "labels": [f"{party}/{label}" for party, label in said.labels],
        "until": _first(fields, "until"),
        "since": _first(fields, "since"),
        "never": list(receipt.never(words)),
        "statements": statements(offered, words),
        "method": _first(fields, "method"),
        "typed": _first(fields, "typed"),
        "witness": {"name": who.name, "organisation": who.stakeholder},
    }


def _line(party: Party, line: agreeing.Line, words: Tongue) -> dict[str, str]:
    return {
        "value": f"{party.id}/{line.kind}",
        "what": words.listed(receipt.news(one, words) for one in line.categories),
        "why": words.listed(receipt.aim(one, words) for one in line.purposes),
        "sees": receipt.sees(line.compartments, words),
    }


def statements(offered: Sequence[Party], words: Tongue) -> list[str]:
    """What has to be said with every consent: 42 CFR 2.31(a)(2), (6), (10); RCW 70.02.030(3)."""
    names = words.listed(one.name for one in offered)
    return [
        words.say("Who may share what you tick: any of these groups. They are: %(names)s.", names=names),
        *receipt.back(words),
        words.say(
            "Who gets your news may share it again where the law lets them. Then the law may not guard it. "
            "Drug and alcohol treatment records stay under a strict federal law."
        ),
        words.say("You do not have to sign. If you say no, you still get care, help and your place here."),
        words.say("You get a copy of this form."),
    ]


def _referral(said: Answer, whom: Whom, organisation: str, door: str) -> list[dict[str, Any]]:
    """The referral that came with the signature, as a CloudEvent; nothing where none did."""
    if door not in DOORS or whom.local_id is None:
        return []
    at = instant.format(said.signed_at)
    way = door.partition(".")[2].replace("-", "_")
    data = {"local_id": whom.local_id, "name": said.name, "occurred_at": at, "door": way}
    return [
        {
            "specversion": "1.0",
            "id": f"referral-{said.id}",
            "source": f"urn:agency:{organisation}",
            "type": "referral",
            "category": door,
            "subject": whom.local_id,
            "time": at,
            "datacontenttype": "application/json",
            "data": data,
        }
    ]


# ---- the page ----------------------------------------------------------------------------------------------


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
        statements=statements(offered, words),
        never=receipt.never(words),
        referrals=[(one, words.term("category", one)) for one in DOORS],
        filled={name: frozenset(values) for name, values in fields.items()},
        first={name: _first(fields, name) for name in ("form", "signed_at", "seen", *_TYPED)},
        form=_first(fields, "form") or signed.new_id(),
        signed_at=_first(fields, "signed_at") or instant.format(now),
        offer=agreeing.mark(offered),
        seen=len(whom.said) if conflict or not fields else _first(fields, "seen"),
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
        "lines": [_line(party, line, words) for line in party.lines],
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
