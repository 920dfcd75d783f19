"""What a case manager does about an alert; and that she looked."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import cards
from hub.access import FORM_FIELDS_MAX, person
from hub.handling import Act, Kind
from hub.parts import Parts, parts
from hub.rendering import speak
from hub.routes.cases import picture_of, reader, shown, streams
from schemas.errors import Refused

ACTS: Final[dict[str, Kind]] = {
    "acknowledgements": "acknowledge",
    "snoozes": "snooze",
    "handovers": "hand-over",
    "undos": "undo",
}
NUMBER_CHARS_MAX: Final = 15

routes = APIRouter(include_in_schema=False)


@routes.post("/cases/alerts/{alert}/{act}")
async def handle(request: Request, alert: str, act: str, of: Parts = Depends(parts)) -> Response:
    """`I have this`, later, somebody else, undo: written to the log first, then shown to everybody."""
    if act not in ACTS:
        raise Refused("there is nothing of that kind to be done", code="not-found")
    who = reader(request)
    wanted = _act(act, await request.form(max_fields=FORM_FIELDS_MAX, max_files=0))
    result = await run_in_threadpool(of.handling.act, person(request), alert, wanted)
    streams(request).wake(who.organisation)
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/cases?told={result.outcome}", 303)
    said = cards.told(result.outcome, speak(request), result.by or "", wanted.kind)
    done: dict[str, Any] = {"said": said, "undo": ""}
    if result.outcome == "done" and wanted.kind != "undo":
        done |= {"undo": f"/cases/alerts/{alert}/undos", "version": result.version}
    status = 200 if result.outcome == "done" else 409
    return await shown(request, of, "_alerts.html", who, await picture_of(of, who), done, status)


@routes.post("/cases/looks")
async def looked(request: Request, of: Parts = Depends(parts)) -> Response:
    """The page was in view until now: what it showed is not new any more."""
    await run_in_threadpool(of.preferences.looked, person(request).account, of.clock_ms())
    return Response(status_code=204)


def _act(name: str, form: Any) -> Act:
    """What a form asks for. Raises `Refused` where it is not one of ours."""
    version, until = str(form.get("version", "")), str(form.get("until", ""))
    if not (version.isascii() and version.isdigit() and len(version) <= NUMBER_CHARS_MAX):
        raise Refused("the form lacks the version of what was seen", code="no-version")
    later = int(until) if until.isascii() and until.isdigit() and len(until) <= NUMBER_CHARS_MAX else None
    return Act(ACTS[name], int(version), later, str(form.get("to", "")) or None)
