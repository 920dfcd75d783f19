"""The transparency log for auditors and witnesses, as c2sp.org/tlog-tiles has it.

What is in it are commitments alone: that something was recorded, and nothing of what.
"""

import re
from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from connectors.described import problems
from hub.ledger.tiles import ENTRIES, WIDTH, Folder, Missing, name
from hub.ledger.tree import CHECKPOINT
from hub.parts import Parts, parts

CHECKPOINT_S_MAX: Final = 2
TILE_S_MAX: Final = 31_536_000
PATH: Final = re.compile(
    r"(?P<level>[0-7]|entries)/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)

routes = APIRouter(tags=["log"])


@routes.get(
    "/log/checkpoint",
    summary="How far the log has come",
    response_class=PlainTextResponse,
    responses=problems(404),
)
async def checkpoint(of: Parts = Depends(parts)) -> Response:
    """The last checkpoint: a note signed with Ed25519, and by a witness where one is set."""
    path = of.settings.log_dir / CHECKPOINT
    try:
        note = await run_in_threadpool(path.read_text, "utf-8")
    except FileNotFoundError:
        raise HTTPException(404) from None
    headers = {"Cache-Control": f"private, max-age={CHECKPOINT_S_MAX}"}
    return PlainTextResponse(note, headers=headers)


class Bytes(Response):
    """A tile."""

    media_type = "application/octet-stream"


@routes.get(
    "/log/tile/{path:path}",
    summary="A tile of its tree, or a bundle of its leaves",
    response_class=Bytes,
    responses=problems(404),
)
async def tile(path: str, of: Parts = Depends(parts)) -> Response:
    """`LEVEL/INDEX` with 256 hashes, or `LEVEL/INDEX.p/WIDTH` with fewer; `entries/INDEX` with the leaves."""
    found = PATH.fullmatch(path)
    if found is None:
        raise HTTPException(404)
    level = ENTRIES if found["level"] == "entries" else int(found["level"])
    index, width = int(re.sub("[x/]", "", found["index"])), int(found["width"] or WIDTH)
    if name(level, index, width) != f"tile/{path}":
        raise HTTPException(404)
    try:
        data = await run_in_threadpool(Folder(of.settings.log_dir).read, level, index, width)
    except Missing:
        raise HTTPException(404) from None
    headers = {"Cache-Control": f"private, max-age={TILE_S_MAX}, immutable"}
    return Bytes(data, headers=headers)
