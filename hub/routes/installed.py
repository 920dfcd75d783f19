"""What makes the case manager's pages installable, and openable without a network: nothing about anybody."""

import hashlib
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hub.access import person
from hub.language import DEFAULT, LANGUAGES, tongue
from hub.parts import Parts, parts
from hub.rendering import files, render, speak, static

SCOPE: Final = "/cases"
WORKER: Final = "cases-worker.js"

routes = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Living:
    """What a live page tells its scripts: whose it is, as names that say nothing, and which worker it has."""

    session: str
    account: str
    worker: str
    aloud: bool


def living(request: Request, of: Parts) -> Living:
    """In: a request of somebody who is signed in."""
    who = person(request)
    return Living(
        _name("session", who.session),
        _name("account", who.account),
        f"/cases/worker.js?v={_version(speak(request).language)}",
        of.preferences.of(who.account).aloud,
    )


def _name(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}\0{value}".encode()).hexdigest()[:16]


def _version(language: str) -> str:
    """Another one for each language, and whenever a file is another."""
    marks = ".".join(f"{name}={mark}" for name, (_, _, mark) in sorted(files().items()))
    return _name(language, marks)


@routes.get("/cases/worker.js")
async def worker() -> Response:
    """The service worker, which may not act beyond the case manager's pages."""
    headers = {"Service-Worker-Allowed": SCOPE, "Cache-Control": "no-cache"}
    return Response(files()[WORKER][0], media_type="text/javascript", headers=headers)


@routes.get("/cases/offline")
async def offline(request: Request) -> Response:
    """A page with nothing on it, which opens what was kept on the device."""
    return render(request, "offline.html", anonymous=True)


@routes.get("/cases/manifest.webmanifest")
async def manifest(request: Request) -> Response:
    """Name and look of the installed application (W3C Web Application Manifest)."""
    chosen = request.query_params.get("language", "")
    words = tongue(chosen if chosen in LANGUAGES else DEFAULT, parts(request).settings.time_zone)
    icon = {"src": static("icon.svg"), "type": "image/svg+xml", "sizes": "any"}
    picture = {"src": static("icon-512.png"), "type": "image/png", "sizes": "512x512"}
    body = {
        "id": SCOPE,
        "name": words.say("Who needs me now?"),
        "short_name": words.say("Today"),
        "lang": words.language,
        "start_url": SCOPE,
        "scope": SCOPE,
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#ffffff",
        "icons": [icon, {**picture, "purpose": "any"}, {**picture, "purpose": "maskable"}],
    }
    return JSONResponse(body, media_type="application/manifest+json")
