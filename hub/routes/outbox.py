"""Pull: a recipient fetches what is permitted to it, in pages."""

import asyncio
from collections import Counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from connectors.described import problems
from connectors.problems import problem
from connectors.pull import ADAPTER
from connectors.recheck import PAUSED
from connectors.schedule import awake_ms
from connectors.viewer import Permission
from hub.access import machine
from hub.parts import Parts, parts
from schemas.errors import Unavailable

WAIT_S_MAX: Final = 30
LOOK_S: Final = 0.4  # between two looks
ASKING_MAX: Final = 4  # of one recipient, at the same time
CURSOR_CHARS_MAX: Final = 64

routes = APIRouter(tags=["outbox"])


@routes.get("/v1/outbox", summary="Fetch what is permitted to you", responses=problems(422, 503))
async def outbox(
    request: Request,
    cursor: Annotated[str | None, Query(max_length=CURSOR_CHARS_MAX)] = None,
    wait: Annotated[int, Query(ge=0, le=WAIT_S_MAX)] = 0,
    of: Parts = Depends(parts),
) -> Response:
    """Your oldest deliveries: `{"events": [{"id", "event"}], "cursor"}`, at most 100, in order.

    Store them, then ask again with the `cursor` that you got: that confirms them. Until you do you get the
    same ones again, less what was taken back meanwhile; `id` tells which you have. With `wait` the answer
    comes as soon as there is something, at the latest after so many seconds.
    """
    who = machine(request).stakeholder
    asking = _asking(request)
    if asking[who] >= ASKING_MAX:
        detail = f"at most {ASKING_MAX} of your programs may ask at the same time"
        return problem(429, "too-many-askings", detail, headers={"Retry-After": "1"})
    asking[who] += 1
    try:
        if cursor is not None:
            await run_in_threadpool(of.pulls.confirm, who, cursor)
        return await _answer(request, of, who, cursor, wait)
    finally:
        asking[who] -= 1
        if not asking[who]:
            del asking[who]


def _asking(request: Request) -> Counter[str]:
    found: Counter[str] = request.app.state.asking
    return found


async def _answer(request: Request, of: Parts, who: str, cursor: str | None, wait_s: int) -> Response:
    until = awake_ms() + wait_s * 1000
    while _paused(of, who) or not (rows := await run_in_threadpool(of.pulls.page, who)):
        if awake_ms() >= until or request.app.state.streams.closing or await request.is_disconnected():
            return JSONResponse({"events": [], "cursor": cursor})
        await asyncio.sleep(LOOK_S)
    permission = await of.viewer.ask(who, [(row.key, row.participant) for row in rows])
    try:
        allowed = [row for row in rows if row.key in permission.alerts]
        events = await run_in_threadpool(of.pulls.fetch, allowed, of.vault)
        if permission.late:
            raise Unavailable("the permission to hand this over has run out; ask again")
        return _Page({"events": events, "cursor": events[-1]["id"] if events else cursor}, permission)
    except BaseException:
        await permission.close(False)
        raise


def _paused(of: Parts, who: str) -> bool:
    """Whether the operator lets this recipient wait."""
    return any(
        one["stakeholder"] == who and one["adapter"] == ADAPTER and PAUSED in one.get("settings", ())
        for one in tuple(of.register().subscriptions.values())
    )


class _Page(JSONResponse):
    """Leaves before its permission ends, or is cut off; then says how that went."""

    def __init__(self, body: Any, permission: Permission) -> None:
        super().__init__(body)
        self._permission = permission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = left = False
        try:
            async with asyncio.timeout(max(0, self._permission.deadline_ms - awake_ms()) / 1000):
                if not self._permission.late:
                    begun = True
                    await super().__call__(scope, receive, send)
                    left = True
        finally:
            await self._permission.close(left, begun)
