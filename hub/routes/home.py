"""The first page, signing in and out, the reader's language, and the files that pages need."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from hub import acts, language
from hub.access import FORM_FIELDS_MAX, person
from hub.parts import Parts, parts
from hub.rendering import FOREVER, compressed, files, render, speak
from hub.sessions import SESSION_MS_MAX, Account, Person, Role, cookie_name
from schemas.errors import Refused, Unavailable

HOMES: Final[dict[Role, str]] = {
    "case-manager": "/cases",
    "privacy-officer": "/officer",
    "operator": "/operator",
}
LANGUAGE_S_MAX: Final = 365 * 24 * 3600
CASE_MANAGERS_MAX: Final = 9

routes = APIRouter(include_in_schema=False)


@routes.get("/")
async def home(request: Request) -> Response:
    """What this is; whoever is signed in goes on to their own page."""
    who = request.state.principal
    if isinstance(who, Person):
        return RedirectResponse(HOMES[who.role], 303)
    return render(request, "home.html")


@routes.get("/signin")
async def signin(request: Request, of: Parts = Depends(parts)) -> Response:
    """In a demonstration: whose desk would you like to sit at?"""
    accounts = await run_in_threadpool(_offered, of)
    words = speak(request)
    names = await run_in_threadpool(_names, of)
    shown = [
        (one, words.term("role", one.role), names.get(one.stakeholder or "", one.stakeholder or ""))
        for one in accounts
    ]
    service = None
    if of.provider is not None:
        service = of.settings.oidc_name or words.say("your work account")
    ended = "ended" in request.query_params
    return render(request, "signin.html", accounts=shown, ended=ended, service=service)


@routes.post("/signin")
async def sign_in(request: Request, of: Parts = Depends(parts)) -> Response:
    """Open a session for a demo account, once that is written down."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    wanted = str(form.get("account", ""))
    found = {one.id: one for one in await run_in_threadpool(_offered, of)}.get(wanted)
    if found is None:
        raise Refused("there is no such account; choose one of the sign-in page", code="no-such-account")
    await run_in_threadpool(
        acts.access, of.appender, acts.SIGNED_IN, f"person:{found.id}", {"role": found.role}
    )
    answer = RedirectResponse(HOMES[found.role], 303)
    await opened(request, of, answer, found.id)
    return answer


async def opened(request: Request, of: Parts, answer: Response, account: str, sid: str | None = None) -> None:
    """Open a session for an account in the browser that asks; its cookie goes with the answer.

    Raises `Refused` where the account was removed meanwhile.
    """
    agent = request.headers.get("user-agent", "")
    try:
        cookie = await run_in_threadpool(of.sessions.open, account, agent, sid)
    except KeyError:
        raise Refused("this account was removed", code="no-such-account") from None
    answer.set_cookie(
        cookie_name(of.settings.secure),
        cookie,
        max_age=SESSION_MS_MAX // 1000,
        httponly=True,
        samesite="lax",
        secure=of.settings.secure,
    )


@routes.post("/signout")
async def sign_out(request: Request, of: Parts = Depends(parts)) -> Response:
    """Forget the session, here and in the browser."""
    who = person(request)
    await run_in_threadpool(of.sessions.close, who.session)
    await run_in_threadpool(acts.access, of.appender, acts.SIGNED_OUT, who.principal, {})
    answer = RedirectResponse("/signin?ended=1", 303)
    secure = of.settings.secure
    answer.delete_cookie(cookie_name(secure), secure=secure, httponly=True, samesite="lax")
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


@routes.post("/language")
async def choose_language(request: Request) -> Response:
    """Remember the reader's language, and go back to where they were."""
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    chosen, back = str(form.get("language", "")), str(form.get("back", "/"))
    target = urlsplit(back)
    here = not target.scheme and not target.netloc and back.startswith("/") and "\\" not in back
    answer = RedirectResponse(back if here and not back.startswith("//") else "/", 303)
    if chosen in language.LANGUAGES:
        answer.set_cookie(language.COOKIE, chosen, max_age=LANGUAGE_S_MAX, httponly=True, samesite="lax")
    return answer


@routes.get("/static/{name}")
async def file(request: Request, name: str) -> Response:
    """A stylesheet, a script or an image of ours."""
    if name not in files():
        raise Refused("there is no such file", code="not-found")
    content, kind, mark = files()[name]
    current = request.query_params.get("v") == mark
    headers = {"Cache-Control": FOREVER if current else "no-cache", "Vary": "Accept-Encoding"}
    packed = compressed(name) if "gzip" in request.headers.get("accept-encoding", "") else None
    headers["ETag"] = f'"{mark}"' if packed is None else f'"{mark}-gzip"'
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(packed or content, media_type=kind, headers=headers)


def _names(of: Parts) -> dict[str, str]:
    try:
        return {key: str(body.get("name") or key) for key, body in of.register().stakeholders.items()}
    except Unavailable:
        return {}


def _offered(of: Parts) -> list[Account]:
    """The demo accounts as they are now: a case manager for each such organisation, officers, an operator."""
    if not of.settings.demo:
        return []
    wanted = _demo_accounts(of)
    if of.sessions.offered() != sorted(wanted):
        of.sessions.offer(wanted)
    return wanted


def _demo_accounts(of: Parts) -> list[Account]:
    try:
        registered = of.register().stakeholders
    except Unavailable:
        registered = {}
    organisations = [key for key, body in registered.items() if body.get("role") == "case-management"]
    managers = [
        Account("case-manager" if not place else f"case-manager-{place + 1}", "case-manager", name, key)
        for place, (key, name) in enumerate(zip(organisations[:CASE_MANAGERS_MAX], _INVENTED, strict=False))
    ]
    colleague = [Account("colleague", "case-manager", "Mateo Silva", one) for one in organisations[:1]]
    return [
        *managers,
        *colleague,
        Account("officer", "privacy-officer", "Imani Brooks"),
        Account("officer-2", "privacy-officer", "Lena Park"),
        Account("operator", "operator", "Noor Haddad"),
    ]


_INVENTED: Final = (
    "Dana Whitfield",
    "Teo Marín",
    "Ruth Adeyemi",
    "Sam Okafor",
    "Grace Liu",
    "Omar Reyes",
    "Nell Novak",
    "Ines Duarte",
    "Kofi Mensah",
)
