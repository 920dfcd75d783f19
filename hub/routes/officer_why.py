"""Why was this shared, or not; and what would have been decided, had the participant said something else?"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from consent.supposing import KINDS, NotOnRecord, Supposed
from hub import acts, changes, supposing
from hub.access import person
from hub.explaining import explained
from hub.governance import Register
from hub.handles import handle
from hub.language import Tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.supposing import Answer, AsOf, Ground

ID_CHARS_MAX: Final = 128
CONSENTS_MAX: Final = 50
FIELDS: Final = ("event", "stakeholder", "purpose", "if", "consent", "as_of")
PARTY: Final = "revoked-party"  # a consent taken back from this recipient, rather than all of it

routes = APIRouter(include_in_schema=False)


@routes.get("/officer/why")
async def why(request: Request, of: Parts = Depends(parts)) -> Response:
    """One sentence; below it the rule, the consent, and where it all stands in the log; then, what if."""
    asked = {name: _typed(request.query_params.get(name, "")) for name in FIELDS}
    return render(request, "why.html", **await run_in_threadpool(_picture, request, of, asked))


def _typed(text: str) -> str:
    text = text.strip()[:ID_CHARS_MAX]
    return text if text.isprintable() else ""


def _picture(request: Request, of: Parts, asked: Mapping[str, str]) -> dict[str, Any]:
    words, register, principal = speak(request), of.register(), person(request).principal
    about = {name: asked[name] for name in ("event", "stakeholder", "purpose")}
    found, participant = explained(of, words, **about)
    if participant is not None:
        body = {"event": asked["event"], "stakeholder": asked["stakeholder"]}
        acts.access(of.appender, acts.EXPLAINED, principal, body, participant)
    as_of: AsOf = "now" if asked["as_of"] == "now" else "then"
    ground = supposing.ground(of.store, register, **about, as_of=as_of, now=of.clock_ms())
    return {
        "decisions": found,
        "whose": handle(of.vault, ground.participant) if ground else None,
        "form": _form(ground, register, asked, as_of, words) if ground else None,
        "answer": _answer(of, principal, ground, register, asked, as_of, words) if ground else None,
    }


def _form(
    ground: Ground, register: Register, asked: Mapping[str, str], as_of: AsOf, words: Tongue
) -> dict[str, Any]:
    names = register.names()
    signed = [
        (name, _short(changes.said(body, names, words)))
        for name, body in supposing.consents(ground)[-CONSENTS_MAX:]
    ]
    return {
        "event": ground.event.id,
        "kind": asked["if"],
        "consent": asked["consent"],
        "stakeholder": asked["stakeholder"],
        "purpose": ground.purpose,
        "as_of": as_of,
        "kinds": [
            (PARTY, words.say("they had taken this consent back from the recipient")),
            ("revoked", words.say("they had taken all of this consent back")),
            ("stood", words.say("this consent had stood, as it was signed")),
            ("restricted", words.say("they had said never, for the recipient")),
            ("granted", words.say("they had agreed to just this")),
        ],
        "consents": signed,
        "recipients": sorted((name, code) for code, name in names.items()),
        "purposes": sorted((words.term("purpose", one), one) for one in register.terms("purposes")),
    }


def _short(text: str) -> str:
    return text if len(text) <= ID_CHARS_MAX else text[: ID_CHARS_MAX - 1] + "…"


def _answer(
    of: Parts,
    principal: str,
    ground: Ground,
    register: Register,
    asked: Mapping[str, str],
    as_of: AsOf,
    words: Tongue,
) -> dict[str, Any] | None:
    """What would be decided, beside what is; None where nothing is supposed. Asking is recorded."""
    kind = "revoked" if asked["if"] == PARTY else asked["if"]
    if kind not in KINDS:
        return None
    recipient = "" if asked["if"] in ("revoked", "stood") else ground.stakeholder
    supposed = Supposed(kind, asked["consent"], recipient)
    supposing.recorded(of.appender, principal, ground, supposed, as_of)
    try:
        answer = supposing.answered(ground, supposed, words, register.names())
    except NotOnRecord:
        return {"missing": True}
    return _told(answer, ground, words) | {"missing": False}


def _told(answer: Answer, ground: Ground, words: Tongue) -> dict[str, Any]:
    columns = [
        {
            "title": title,
            "effect": "permit" if decision.effect == "permit" else "held",
            "outcome": words.say("Shared") if decision.effect == "permit" else words.say("Not shared"),
            "sentence": why.sentence,
            "rule": words.say("rule %(number)s: %(statement)s", number=why.rule, statement=why.statement),
            "parts": words.listed(words.term("compartment", one) for one in decision.compartments),
        }
        for title, decision, why in (
            (words.say("As it is"), answer.before, answer.why_before),
            (words.say("As it would be"), answer.after, answer.why_after),
        )
    ]
    return {
        "columns": columns,
        "changes": answer.changes,
        "at": words.exact(ground.at),
        "differs": ground.recorded is not None and ground.recorded != answer.before,
    }
