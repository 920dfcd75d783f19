"""Whether the hub lives, whether it is ready, its metrics, and the description of its interface."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from hub import health, metrics
from hub.parts import Parts, parts
from hub.rendering import render

routes = APIRouter(tags=["health"])


@routes.get("/livez", summary="Does this process answer?")
async def livez() -> JSONResponse:
    """200 as long as it does."""
    return JSONResponse({"status": "alive"})


@routes.get("/readyz", summary="Is the hub ready?", responses={503: {"description": "Not ready, and why"}})
def readyz(of: Parts = Depends(parts)) -> JSONResponse:
    """200 when every part that should run does and gets on; else 503 with a line for each that doesn't."""
    found = health.problems(of.settings.run_dir)
    if not of.fences.caught_up:
        found.append("web has not caught up with the deliveries yet")
    status = 503 if found else 200
    return JSONResponse({"status": "not ready" if found else "ready", "problems": found}, status)


@routes.get("/metrics", summary="Metrics of every process of this hub", response_class=PlainTextResponse)
def tell_metrics(of: Parts = Depends(parts)) -> Response:
    """In Prometheus' text format; the label `process` says which one."""
    return Response(metrics.together(of.settings.run_dir, "web"), media_type=CONTENT_TYPE_LATEST)


@routes.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The interface's description, to be read and tried."""
    return render(request, "docs.html")
