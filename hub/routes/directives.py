"""The participant's word, courts' orders and emergencies; and the fence around whatever takes back."""

import hashlib
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from connectors.described import TEXT, TEXTS, also, problems, takes
from connectors.described import fields as shaped
from connectors.fence import Answer, Narrowing
from hub import fencing
from hub.access import person
from hub.directives import Sent
from hub.entrance import Sender
from hub.governance import canonical
from hub.parts import Parts, parts
from hub.routes.bodies import fields, read_json
from hub.sessions import Person
from hub.tables import requests
from hub.tokens import Machine
from schemas.errors import Refused

FENCE_WAIT_MS_MAX: Final = 10_000
POLL_AFTER_S: Final = 1
WAITS: Final[dict[int | str, Any]] = {
    202: {
        "description": "Not known to be closed yet; `Location` is where to ask again",
        "content": {"application/json": {"schema": {}}},
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}},
        },
    }
}

routes = APIRouter(tags=["consent"])


def sender(request: Request) -> Sender:
    """Who sends, as the table of senders knows them."""
    who = request.state.principal
    if isinstance(who, Machine):
        return Sender(who.principal, organisation=who.stakeholder)
    assert isinstance(who, Person)
    return Sender(who.principal, organisation=who.stakeholder, officer=who.role == "privacy-officer")


def told(sent: Sent) -> dict[str, Any]:
    """What is said about a directive: where it stands in the log, and the address of its fence."""
    answer = {
        "directive": sent.directive,
        "type": sent.type,
        "state": sent.state,
        "concerns": sent.concerns,
        "partition": sent.partition,
        "offset": sent.offset,
        "fence": None,
    }
    if sent.narrows and sent.offset is not None:
        answer["fence"] = f"/v1/fences/{sent.partition}/{sent.offset}"
    return answer


def _answered(sent: Sent) -> JSONResponse:
    if sent.state == "written":
        return JSONResponse(told(sent), 201 if sent.new else 200)
    location = {"Location": f"/v1/directives/{sent.directive}"}
    return JSONResponse(told(sent), 202 if sent.state == "waiting" else 200, headers=location)


@routes.post(
    "/v1/directives",
    status_code=201,
    summary="Send a directive",
    responses=also(200, "A repeat")
    | also(202, "An order, which waits")
    | problems(400, 403, 404, 409, 410, 413, 422, 503),
    openapi_extra=takes({"$ref": "#/components/schemas/Directive"}),
)
async def send(request: Request, of: Parts = Depends(parts)) -> JSONResponse:
    """One directive, checked whole: `{"id", "participant", "type", …}`.

    201 with its place in the log, and the fence's address where it takes something back; 200 for a repeat;
    202 for an order, which waits for a second officer.
    """
    body = await read_json(request)
    return _answered(await run_in_threadpool(of.directives.send, sender(request), body))


@routes.get("/v1/directives/{directive}", summary="What became of a directive", responses=problems(404))
async def find(request: Request, directive: str, of: Parts = Depends(parts)) -> JSONResponse:
    """The answer that was given when it was sent, as it is now. Its sender and officers can ask."""
    who = sender(request)
    sent = await run_in_threadpool(_sent_by, of, who, directive)
    return JSONResponse(told(sent))


def _sent_by(of: Parts, who: Sender, directive: str) -> Sent:
    query = sa.select(requests.c.directive).where(
        requests.c.directive == directive, sa.true() if who.officer else requests.c.sender == who.principal
    )
    with of.store.read() as connection:
        known = connection.execute(query).scalar()
    sent = of.directives.find(known) if known else None
    if sent is None:
        raise Refused("no such directive of yours", code="not-found")
    return sent


@routes.post(
    "/v1/directives/{directive}/approvals",
    status_code=201,
    summary="Approve an order",
    responses=also(200, "A repeat") | problems(403, 404, 409, 410, 413, 503),
)
async def approve(request: Request, directive: str, of: Parts = Depends(parts)) -> JSONResponse:
    """A second privacy officer lets an order through. In: the hub's id of it, or the one it was sent with."""
    who = sender(request)
    person(request)
    return _answered(await run_in_threadpool(approved, of, who, directive))


def approved(of: Parts, officer: Sender, directive: str) -> Sent:
    """Approve an order; a repeat says what stands. Raises `Refused`."""
    order = _order(of, directive)
    try:
        return of.directives.approve(order, officer)
    except Refused:
        sent = of.directives.find(order)
        if sent is not None and sent.state == "written" and officer.officer:
            return sent
        raise


def _order(of: Parts, directive: str) -> str:
    """The hub's id of an order, from that or from the id under which an officer sent it."""
    query = sa.select(requests.c.directive).where(
        sa.or_(requests.c.directive == directive, requests.c.id == directive),
        requests.c.type.in_(("order-filed", "order-vacated")),
    )
    with of.store.read() as connection:
        found = connection.execute(query.limit(2)).scalars().all()
    if len(found) > 1:
        raise Refused("several officers used this id; use the hub's", code="conflict")
    return found[0] if found else directive


@routes.post(
    "/v1/consents/{consent}/revocations",
    summary="Take a consent back",
    responses=WAITS | problems(400, 403, 404, 409, 410, 413, 422, 503),
    openapi_extra=takes(shaped({"participant": TEXT}, {"id": TEXT, "recipients": TEXTS, "grants": TEXTS})),
)
async def revoke(request: Request, consent: str, of: Parts = Depends(parts)) -> JSONResponse:
    """All of a consent, or what goes to some `recipients`, or some `grants`: `{"participant", …}`.

    Waits. 200 when nothing that was taken back can begin to be delivered; 202 with `Location` while that is
    not known yet, or where a delivery is in doubt: `{"state", "in_doubt": [...]}`.
    """
    asked = fields(
        await read_json(request),
        ("id", "participant"),
        ("recipients", "grants"),
        optional=("id", "recipients", "grants"),
    )
    body = {name: value for name, value in asked.items() if value is not None}
    body |= {"type": "consent-revoked", "consent_id": consent}
    body.setdefault("id", "revocation-" + hashlib.sha256(canonical(body)).hexdigest()[:32])
    sent = await run_in_threadpool(of.directives.send, sender(request), body)
    assert sent.partition is not None
    assert sent.offset is not None
    recorded = await run_in_threadpool(fencing.narrowing, of.lookup, sent.partition, sent.offset)
    assert recorded is not None, "a directive was written and is not in the log"
    wait_ms = fencing.wished_ms(request.headers.get("prefer", ""), FENCE_WAIT_MS_MAX)
    answer = await of.fences.wait(recorded.narrowing, outboxes(of, recorded.narrowing), wait_ms)
    return _fenced(told(sent), answer)


@routes.get(
    "/v1/fences/{partition}/{offset}",
    summary="How far a fence is",
    responses=WAITS | problems(404, 422, 503),
)
async def fence(
    request: Request,
    partition: int,
    offset: int,
    of: Parts = Depends(parts),
) -> JSONResponse:
    """The same answer as to the revocation, for whoever sent it and for privacy officers."""
    who = sender(request)
    if not (0 <= partition < of.settings.partitions and 0 <= offset < 2**63):
        raise Refused("no such fence", code="not-found")
    recorded = await run_in_threadpool(fencing.narrowing, of.lookup, partition, offset)
    if recorded is None or not (who.officer or recorded.sender == who.principal):
        raise Refused("no such fence", code="not-found")
    wait_ms = fencing.wished_ms(request.headers.get("prefer", ""), FENCE_WAIT_MS_MAX, otherwise_ms=0)
    answer = await of.fences.wait(recorded.narrowing, outboxes(of, recorded.narrowing), wait_ms)
    place = {"partition": partition, "offset": offset, "fence": f"/v1/fences/{partition}/{offset}"}
    return _fenced(place, answer)


def outboxes(of: Parts, narrowing: Narrowing) -> list[str]:
    """The stakeholders whose outboxes are concerned."""
    everybody = of.register().stakeholders
    if narrowing.recipients is None or narrowing.grants:
        return list(everybody)
    return [stakeholder for stakeholder in everybody if stakeholder in narrowing.recipients]


def _fenced(place: dict[str, Any], answer: Answer) -> JSONResponse:
    """200 for `closed` and nothing else."""
    body = {**place, "state": answer.state}
    if answer.state == "closed":
        return JSONResponse(body)
    if answer.in_doubt:
        body["in_doubt"] = [
            {"stakeholder": one.stakeholder, "event": one.event, "attempt": one.attempt, "at": one.at}
            for one in answer.in_doubt
        ]
    headers = {"Location": str(place["fence"]), "Retry-After": str(POLL_AFTER_S)}
    return JSONResponse(body, 202, headers=headers)
