"""A signature and the events that came with it, in one; and what became of an event."""

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from connectors.described import TEXT, also, fields, problems, takes
from hub.access import machine
from hub.parts import Parts, parts
from hub.routes.bodies import read_json
from hub.routes.directives import sender, told
from hub.tables import event_status
from schemas.errors import Refused

routes = APIRouter(tags=["events"])
_LISTED = {
    "directives": {"type": "array", "items": {"$ref": "#/components/schemas/Directive"}},
    "events": {"type": "array", "items": {"type": "object"}, "description": "CloudEvents, structured"},
}
VISIBLE = {"parked": "admitted"}  # nobody learns from a status whether a person is known here


@routes.post(
    "/v1/submissions",
    status_code=201,
    summary="Directives, then events, in one",
    responses=also(200, "A repeat") | problems(400, 403, 404, 409, 410, 413, 422, 503),
    openapi_extra=takes(fields({"id": TEXT}, _LISTED)),
)
async def submit(request: Request, of: Parts = Depends(parts)) -> JSONResponse:
    """All about one participant: `{"id", "directives": [...], "events": [...]}`. Nothing or all is written.

    The events are decided on what the directives say. 201 with both lists of answers, 200 for a repeat.
    """
    body = await read_json(request)
    done = await run_in_threadpool(of.submissions.submit, sender(request), body)
    answer = {
        "id": done.id,
        "directives": [told(one) for one in done.directives],
        "events": list(done.events),
    }
    return JSONResponse(answer, 201 if done.new else 200)


@routes.get("/v1/events/{event}", summary="What became of an event", responses=problems(404))
async def status(request: Request, event: str, of: Parts = Depends(parts)) -> JSONResponse:
    """The hub's id of one of your events: was it admitted, a repeat, in conflict with an earlier one?

    404 until it has been looked at. Nothing is said about who the person is, or what was shared.
    """
    who = machine(request)
    row = await run_in_threadpool(_status, of, event, who.stakeholder)
    if row is None:
        raise Refused("no event of yours under this id has been looked at yet", code="not-found")
    answer: dict[str, Any] = {
        "event": event,
        "status": VISIBLE.get(row.status, row.status),
        "reason": row.reason,
        "at": row.at,
        "duplicates": row.duplicates,
        "conflicts": row.conflicts,
    }
    return JSONResponse(answer)


def _status(of: Parts, event: str, agency: str) -> Any:
    query = sa.select(event_status).where(event_status.c.event == event, event_status.c.agency == agency)
    with of.store.read() as connection:
        return connection.execute(query).one_or_none()
