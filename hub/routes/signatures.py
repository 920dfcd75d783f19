"""Taking a signature at the case manager's side: whether it is whole, and what goes to the log."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from fastapi import Request
from starlette.datastructures import UploadFile

from consent.record import Placed, Record
from hub import acts, agreeing, people, receipt, signed
from hub.access import person
from hub.agreeing import Answer, Party
from hub.entrance import Sender
from hub.language import Tongue
from hub.parts import Parts
from hub.rendering import speak
from hub.routes.cases import reader
from hub.said import placed
from hub.sessions import Person
from hub.tables import submissions
from schemas import instant
from schemas.errors import BadTime, Invalid, Problem, Refused

NEW: Final = "new"  # somebody who is not known yet: no handle is called so
LATE_MS_MAX: Final = 8 * 24 * 3_600_000  # so long a form may wait on a device that has no network
DOORS: Final = ("referral.arrest-diversion", "referral.social-contact", "referral.community")
_FORM: Final = re.compile(r"[A-Za-z0-9-]{8,64}")

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


def signer(request: Request) -> Person:
    """Who takes the signature. Raises `Refused` for an account that belongs to no organisation."""
    who = person(request)
    if who.stakeholder is None:
        raise Refused("this account belongs to no organisation", code="no-organisation")
    return who


def whom_of(of: Parts, request: Request, handle: str) -> Whom:
    """Whose form it is, by what this organisation calls them. Raises `Refused` for nobody of theirs."""
    who = reader(request)
    assert who.account is not None
    if handle == NEW:
        return Whom(NEW, None, None, ())
    found = people.resolve(of.store, of.vault, who.organisation, who.account, of.clock_ms(), handle[:80])
    if found is None:
        raise Refused("there is nobody of yours here", code="not-found")
    local_id = of.crosswalk.local_id(who.organisation, found)
    return Whom(handle, found, local_id, placed(of.store, of.lookup, found))


async def read_fields(request: Request) -> tuple[Fields, bytes]:
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


def first(fields: Fields, name: str) -> str:
    """A field, the first of that name; empty where there is none."""
    return next(iter(fields.get(name, ())), "").strip()


def answered(of: Parts, request: Request, whom: Whom, fields: Fields) -> None:
    """That the form was answered; not what, for that would be a record of a no."""
    about = first(fields, "form")
    body = {"form": about if _FORM.fullmatch(about) else ""}
    acts.access(of.appender, acts.FORM_ANSWERED, signer(request).principal, body, whom.participant)


def sign(of: Parts, request: Request, whom: Whom, fields: Fields, scan: bytes) -> tuple[str, str]:
    """Takes a signature. Out: the handle and the consent. Raises `Invalid`, `Conflict`, `Refused`."""
    who, words, now = signer(request), speak(request), of.clock_ms()
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
        "consent": agreeing.consent(said, offered, first(fields, "method"), made.reference),
    }
    events = _referral(said, whom, who.stakeholder, first(fields, "door"))
    done = of.submissions.submit(
        sender, {"id": f"form-{said.id}", "directives": [directive], "events": events}
    )
    consent = done.directives[0].concerns
    assert consent is not None
    if whom.handle == NEW:
        of.caseloads.assign(who.principal, who.stakeholder, whom.participant, who.account)
    if done.new:
        answered(of, request, whom, fields)
    return people.handle(of.vault, who.stakeholder, whom.participant), consent


def _checked(fields: Fields, scan: bytes, offered: Sequence[Party], now: int) -> tuple[Answer, bytes | None]:
    """What is on the form and how it is signed, whole. Raises `Invalid` with everything that is missing."""
    problems: list[Problem] = []
    said, picture = None, None
    try:
        said = agreeing.answer(fields, offered, _signed_at(fields, now))
    except Invalid as invalid:
        problems += invalid.problems
    if not _FORM.fullmatch(first(fields, "form")) or first(fields, "offer") != agreeing.mark(offered):
        problems.append(Problem("/form", "changed", "not one of our forms, or not as it is now"))
    if first(fields, "witness") != "yes":
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
    method = first(fields, "method")
    if method == "typed" and first(fields, "typed"):
        return None
    drawn = first(fields, "drawing" if method == "drawn" else "scanned")
    if method in ("drawn", "paper") and (drawn or scan):
        return signed.picture(scan if method == "paper" and scan else signed.from_url(drawn))
    raise Invalid.one("/method", "signature", "it is not signed")


def _signed_at(fields: Fields, now: int) -> int:
    """When it was signed: as the form says, which may have waited for a network; never in the future."""
    try:
        said = instant.parse(first(fields, "signed_at"))
    except BadTime:
        return now
    return said if now - LATE_MS_MAX <= said <= now else now


def _known(of: Parts, who: Person, whom: Whom, fields: Fields) -> Whom:
    """Makes somebody known by the organisation's own number. Raises `Conflict` for somebody else's."""
    assert who.stakeholder is not None
    linked = of.participants.create(who.stakeholder, first(fields, "local_id"), who.principal)
    said = placed(of.store, of.lookup, linked.participant)
    if said and not _sent(of, who, first(fields, "form")):
        raise Conflict("number-taken")
    return whom._replace(participant=linked.participant, local_id=first(fields, "local_id"), said=said)


def _sent_before(of: Parts, who: Person, said: Answer) -> bool:
    return _sent(of, who, said.id)


def _sent(of: Parts, who: Person, form: str) -> bool:
    """Whether this very form was begun to be taken in before."""
    mine = sa.and_(submissions.c.sender == who.principal, submissions.c.id == f"form-{form}")
    with of.store.read() as connection:
        return connection.execute(sa.select(submissions.c.id).where(mine)).scalar() is not None


def _conflicts(whom: Whom, fields: Fields, said: Answer, offered: Sequence[Party]) -> None:
    """Raises `Conflict` for what has to be said before: a "never" that stays, or another tablet's change."""
    seen, late = first(fields, "seen"), first(fields, "late") == "yes"
    if seen.isdigit() and int(seen) != len(whom.said) and not late:
        raise Conflict("changed-meanwhile")
    shut = agreeing.kept_out(Record(whom.said).restrictions.values(), offered)
    if {party for party, _ in said.choices} & set(shut) and first(fields, "knows") != "yes" and not late:
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
        "lines": [line_of(party, line, words) for party in offered for line in party.lines],
        "chosen": [f"{party}/{kind}" for party, kind in said.choices],
        "labels": [f"{party}/{label}" for party, label in said.labels],
        "until": first(fields, "until"),
        "since": first(fields, "since"),
        "never": list(receipt.never(words)),
        "statements": statements(offered, words),
        "method": first(fields, "method"),
        "typed": first(fields, "typed"),
        "witness": {"name": who.name, "organisation": who.stakeholder},
    }


def line_of(party: Party, line: agreeing.Line, words: Tongue) -> dict[str, str]:
    """A line of the form in words."""
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
