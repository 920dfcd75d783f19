"""People, added and linked by case management. The answers know them by ids that say nothing."""

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from connectors.described import TEXT, also, problems, takes
from connectors.described import fields as shaped
from hub.access import machine
from hub.parts import Parts, parts
from hub.routes.bodies import fields, read_json

routes = APIRouter(tags=["participants"])


@routes.post(
    "/v1/participants",
    status_code=201,
    summary="Add a person",
    responses=also(200, "Added before") | problems(400, 403, 410, 413, 422, 503),
    openapi_extra=takes(shaped({"local_id": TEXT})),
)
async def create(request: Request, of: Parts = Depends(parts)) -> JSONResponse:
    """Case management adds a person whom it knows as `local_id`: `{"local_id"}`.

    201 with `{"participant"}`; 200 where the person was added before.
    """
    who = machine(request)
    body = fields(await read_json(request), ("local_id",))
    linked = await run_in_threadpool(of.participants.create, who.stakeholder, body["local_id"], who.principal)
    return JSONResponse({"participant": linked.participant}, 201 if linked.new else 200)


@routes.post(
    "/v1/participants/{participant}/links",
    status_code=201,
    summary="Link a person",
    responses=also(200, "Known before") | problems(400, 403, 404, 409, 410, 413, 422, 503),
    openapi_extra=takes(shaped({"agency": TEXT, "local_id": TEXT})),
)
async def link(
    request: Request,
    participant: str,
    of: Parts = Depends(parts),
) -> JSONResponse:
    """Says under which id an agency knows the person: `{"agency", "local_id"}`.

    201, or 200 where that was known. Events that waited for it are admitted then, in their order.
    """
    who = machine(request)
    body = fields(await read_json(request), ("agency", "local_id"))
    linked = await run_in_threadpool(
        of.participants.link,
        participant,
        body["agency"],
        body["local_id"],
        who.stakeholder,
        who.principal,
    )
    answer = {"participant": linked.participant, "agency": body["agency"]}
    return JSONResponse(answer, 201 if linked.new else 200)
