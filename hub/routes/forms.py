"""The form as it was signed: for whoever took the signature, for the participant, for the privacy officer.

That somebody reads one is in `access` before it is opened.
"""

import base64
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from hub import acts, forms, signed
from hub.access import person as asking
from hub.access import visitor
from hub.language import LANGUAGES, Tongue, tongue
from hub.parts import Parts, parts
from hub.passes import Visitor
from hub.rendering import render, speak
from hub.routes.officer_people import whom as participant_of
from hub.routes.signatures import signer, whom_of
from hub.signed import Form
from schemas import instant

PDF: Final = "application/pdf"

routes = APIRouter(include_in_schema=False)


@routes.get("/cases/people/{person}/receipts/{consent}/form")
async def taken(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """For the organisation that took the signature, and for no other."""
    whom = await run_in_threadpool(whom_of, of, request, person)
    back = f"/cases/people/{whom.handle}/receipts/{consent}"
    who = signer(request)
    return await run_in_threadpool(
        lambda: _page(request, of, who.principal, whom.participant, consent, back, only=who.stakeholder)
    )


@routes.get("/me/receipts/{consent}/form")
async def mine(request: Request, consent: str, of: Parts = Depends(parts)) -> Response:
    """For the participant, and for a helper whom they named."""
    who = visitor(request)
    return await run_in_threadpool(_page, request, of, who.principal, who.participant, consent, "/me")


@routes.get("/officer/participants/{person}/consents/{consent}/form")
async def looked_up(request: Request, person: str, consent: str, of: Parts = Depends(parts)) -> Response:
    """For the privacy officer."""
    whose, back = await run_in_threadpool(participant_of, of, person), f"/officer/participants/{person}"
    principal = asking(request).principal
    return await run_in_threadpool(_page, request, of, principal, whose.participant, consent, back)


def _page(
    request: Request,
    of: Parts,
    principal: str,
    participant: str | None,
    consent: str,
    back: str,
    *,
    only: str | None = None,
) -> Response:
    """The page; one that says so where there is no form, or none that `only` this organisation may see."""
    found = None if participant is None else _opened(of, principal, participant, consent, only)
    words = speak(request)
    return render(
        request,
        "form.html",
        200 if found else 404,
        form=_shown(found, of.register().names(), words, of.settings.time_zone) if found else None,
        back=back,
        visits=isinstance(request.state.principal, Visitor),
    )


def _opened(of: Parts, principal: str, participant: str, consent: str, only: str | None) -> Form | None:
    pointer = forms.pointer(of.store, of.vault, of.lookup, participant, consent)
    if pointer is None or only not in (None, pointer.organisation):
        return None
    acts.access(of.appender, acts.FORM_READ, principal, {"about": consent}, participant)
    return forms.form(of.store, of.vault, of.lookup, participant, pointer.sha256)


def _shown(form: Form, names: dict[str, str], words: Tongue, zone: str) -> dict[str, Any]:
    """What stood on it, in the language in which it was read."""
    body = form.body
    read = tongue(body["language"], zone) if body["language"] in LANGUAGES else words
    chosen, labels = set(body["chosen"]), set(body["labels"])
    lines = [(_called(one["value"], names), _line(one, read), one["value"]) for one in body["lines"]]
    return {
        "language": read.language,
        "name": body["name"],
        "day": read.exact(instant.parse(body["signed_at"])),
        "yes": [(name, line) for name, line, value in lines if value in chosen],
        "no": [(name, line) for name, line, value in lines if value not in chosen],
        "labels": [
            (_called(one, names), read.term("label", one.partition("/")[2])) for one in sorted(labels)
        ],
        "until": _until(read).get(body["until"], body["until"]),
        "since": _since(read).get(body["since"], body["since"]),
        "never": body["never"],
        "statements": body["statements"],
        "typed": body["typed"] if body["method"] == "typed" else "",
        "picture": _picture(form.picture),
        "paper": form.picture is not None and signed.kind(form.picture) == PDF,
        "witness": body["witness"]["name"],
        "organisation": names.get(body["witness"]["organisation"], body["witness"]["organisation"]),
        "sha256": form.sha256,
    }


def _called(value: str, names: dict[str, str]) -> str:
    party = value.partition("/")[0]
    return names.get(party, party)


def _line(line: dict[str, str], read: Tongue) -> str:
    return read.say(
        "They may learn about: %(what)s. What for: %(why)s. They see %(sees)s.",
        what=line["what"],
        why=line["why"],
        sees=line["sees"],
    )


def _until(read: Tongue) -> dict[str, str]:
    return {
        "90": read.say("3 months"),
        "180": read.say("6 months"),
        "365": read.say("1 year"),
        "exit": read.say("Until I leave the program"),
    }


def _since(read: Tongue) -> dict[str, str]:
    return {
        "today": read.say("Share only what happens from now on"),
        "earlier": read.say("Share also what happened before"),
    }


def _picture(content: bytes | None) -> str:
    """The drawing or the scan as a `data:` URL (RFC 2397), which no cache keeps apart from its page."""
    if content is None:
        return ""
    return f"data:{signed.kind(content)};base64," + base64.b64encode(content).decode()
