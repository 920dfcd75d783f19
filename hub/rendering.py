"""Pages: Jinja2 templates in `hub/pages`, in the reader's language, and the files that they refer to."""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import swagger_ui_bundle
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hub.language import COOKIE, LANGUAGES, Tongue, catalogue, choose, tongue
from hub.parts import parts
from hub.sessions import Person

_PAGES: Final = Path(__file__).parent / "pages"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}
FOREVER: Final = "public, max-age=31536000, immutable"  # a changed file has another address


@cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """Every file that a page may ask for: name to content, media type and a hash of it."""
    swagger = Path(swagger_ui_bundle.swagger_ui_path)
    paths = [
        *sorted((_PAGES / "static").iterdir()),
        *sorted((_PAGES / "vendor").glob("*.js")),
        swagger / "swagger-ui.css",
        swagger / "swagger-ui-bundle.js",
    ]
    found = {}
    for path in paths:
        content = path.read_bytes()
        found[path.name] = (content, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])
    return found


@cache
def compressed(name: str) -> bytes | None:
    """A file with gzip (RFC 1952), where that is smaller. Only files: pages have secrets in them (BREACH)."""
    content = files()[name][0]
    packed = gzip.compress(content, mtime=0)
    return packed if len(packed) < len(content) else None


def static(name: str) -> str:
    """The address of a file, which changes with its content. Raises `KeyError` for one that isn't there."""
    return f"/static/{name}?v={files()[name][2]}"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGES / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(static=static, languages=LANGUAGES)
    return environment


def speak(request: Request) -> Tongue:
    """The language and place in which to answer."""
    language = choose(request.cookies.get(COOKIE), request.headers.get("accept-language", ""))
    return tongue(language, parts(request).settings.time_zone)


def _doors(person: Person | None, desk: str | None, words: Tongue) -> list[tuple[str, str]]:
    if person is None:
        return []
    if person.role == "case-manager":
        own = [("/cases", words.say("Today")), ("/cases/people", words.say("My people"))]
        return [*own, ("/cases/letters", words.say("Letters"))] if person.stakeholder == desk else own
    if person.role == "privacy-officer":
        return [
            ("/officer", words.say("Decisions")),
            ("/officer/consents", words.say("Consents")),
            ("/officer/participants", words.say("Participants")),
            ("/officer/waiting", words.say("Waiting")),
            ("/officer/unusual", words.say("Unusual")),
            ("/officer/orders", words.say("Orders")),
            ("/officer/requests", words.say("Requests")),
        ]
    return [("/operator", words.say("Flow"))]


def render(
    request: Request,
    template: str,
    status: int = 200,
    *,
    anonymous: bool = False,
    words: Tongue | None = None,
    **context: Any,
) -> HTMLResponse:
    """A page, or a part of one, for whoever asks; an anonymous one is the same for everybody.

    In: `words`, where the language is not the reader's.
    """
    words = words or speak(request)
    now = parts(request).clock_ms()
    principal = getattr(request.state, "principal", None)
    person = principal if isinstance(principal, Person) and not anonymous else None
    page = (
        _environment(words.language)
        .get_template(template)
        .render(
            tongue=words,
            person=person,
            doors=_doors(person, parts(request).settings.linking_desk, words),
            here=request.url.path,
            demo=parts(request).settings.demo,
            quick_exit=parts(request).settings.quick_exit,
            as_of=words.clock(now),
            **context,
        )
    )
    headers = {"Content-Language": words.language, "Vary": "Cookie, Accept-Language"}
    return HTMLResponse(page, status, headers=headers)
