"""In from the community: a referral or a report of harm, by form or program, and how far it has come."""

import secrets
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from connectors.described import problems, takes
from connectors.problems import problem
from hub.access import FORM_FIELDS_MAX, TooMany
from hub.language import Tongue
from hub.letters import BOUNDS, KINDS, Full, State, Words
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.bodies import fields, read_json
from schemas.errors import Invalid, Refused, TooLarge

LETTER_BYTES_MAX: Final = 64 * 1024  # as a form, where every character may take twelve
FORM: Final = "application/x-www-form-urlencoded"
OPTIONAL: Final = ("whom", "where", "reach", "once")
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_LETTER: Final = {
    "required": ["kind", "what"],
    "properties": {
        "kind": {"enum": list(KINDS)},
        **{part: {"type": "string", "maxLength": most} for part, most in BOUNDS.items()},
        "once": {"type": "string", "description": "a text of yours: a repeat with it is the same letter"},
    },
}
_CODE: Final = {"required": ["code"], "properties": {"code": _TEXT}}

routes = APIRouter()


@routes.get("/public/letters", include_in_schema=False)
async def start(request: Request, of: Parts = Depends(parts)) -> Response:
    """What one may write, and where one asks how far it is."""
    return _start(request, of)


@routes.post("/public/letters", include_in_schema=False)
async def asked(request: Request, of: Parts = Depends(parts)) -> Response:
    """How far a letter is. Its code is in the form, never in an address."""
    code = (await _form(request)).get("code", "")
    try:
        found = await run_in_threadpool(of.letters.state, code)
    except Refused:
        return _start(request, of, unknown=True, status=404)
    return _start(request, of, told=said(found, speak(request)))


@routes.get("/public/letters/{kind}", include_in_schema=False)
async def blank(request: Request, kind: str, of: Parts = Depends(parts)) -> Response:
    """An empty form."""
    _known(kind)
    return _page(request, of, kind, {"once": secrets.token_hex(16)})


@routes.post("/public/letters/{kind}", include_in_schema=False)
async def write(request: Request, kind: str, of: Parts = Depends(parts)) -> Response:
    """Take it in, and show the receipt; or the form again, with what was written and what is wrong."""
    _known(kind)
    given = await _form(request)
    words = speak(request)
    try:
        _bounded(request, of)
        code = await _sent(of, kind, given)
    except Invalid as invalid:
        wrong = {one.path.removeprefix("/"): _wrong(one.code, one.path, words) for one in invalid.problems}
        return _page(request, of, kind, given, wrong=wrong, status=422)
    except (Full, TooMany) as full:
        answer = _page(
            request, of, kind, given, full="day" if isinstance(full, Full) else "address", status=429
        )
        answer.headers["Retry-After"] = str(full.wait_s)
        return answer
    return render(request, "letter_sent.html", 201, anonymous=True, kind=kind, code=code)


@routes.post(
    "/v1/letters",
    status_code=201,
    summary="Refer somebody, or report harm",
    tags=["public"],
    responses=problems(400, 413, 422, 429, 503),
    openapi_extra=takes({"type": "object", **_LETTER}),
)
async def post(request: Request, of: Parts = Depends(parts)) -> Response:
    """No account is needed: `{"kind": "referral" or "harm", "what", "whom", "where", "reach", "once"}`.

    All but `kind` and `what` may be missing; `reach` is how you can be reached, if you want to be. 201 with
    `{"code", "state"}`: keep the code, it is told once. 429 with `Retry-After` where too many came from your
    address, or from everybody today.
    """
    _bounded(request, of)
    body = fields(await read_json(request, LETTER_BYTES_MAX), ("kind", "what", *OPTIONAL), optional=OPTIONAL)
    given = {name: body.get(name) or "" for name in ("what", *OPTIONAL)}
    try:
        code = await _sent(of, body["kind"], given)
    except Full as full:
        headers = {"Retry-After": str(full.wait_s)}
        detail = "so many letters came today that no more are taken; try again tomorrow"
        return problem(429, "day-full", detail, headers=headers)
    return JSONResponse({"code": code, "state": "waiting"}, 201)


@routes.post(
    "/v1/letters/states",
    summary="How far a letter is",
    tags=["public"],
    responses=problems(400, 404, 413, 422, 503),
    openapi_extra=takes({"type": "object", **_CODE}),
)
async def state(request: Request, of: Parts = Depends(parts)) -> JSONResponse:
    """`{"code"}` of the receipt. Out: `{"state": "waiting", "taken" or "closed", "says"}`, and no more."""
    body = fields(await read_json(request, LETTER_BYTES_MAX), ("code",))
    found = await run_in_threadpool(of.letters.state, body["code"])
    return JSONResponse({"state": found, "says": said(found, speak(request))})


def said(state: State, words: Tongue) -> str:
    """How far a letter is, in general words: never what was found, and never about whom."""
    return {
        "waiting": words.say("We have it. Nobody has started on it yet."),
        "taken": words.say("Somebody is working on it."),
        "closed": words.say("It is closed."),
    }[state]


def _bounded(request: Request, of: Parts) -> None:
    """Raises `TooMany` where too many came from one address."""
    if wait := request.app.state.writers.take(request):
        of.letters.turned_away("address")
        raise TooMany(wait)


async def _sent(of: Parts, kind: str, given: dict[str, str]) -> str:
    """The receipt's code. Raises what `Letters.send` raises."""
    words = Words(*(given.get(name, "") for name in Words._fields))
    return await run_in_threadpool(of.letters.send, kind, words, given.get("once"))


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises `TooLarge` for one that is, or does not say how large it is."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length) <= LETTER_BYTES_MAX):
        raise TooLarge(f"a letter has at most {LETTER_BYTES_MAX} bytes")
    if not request.headers.get("content-type", "").startswith(FORM):
        raise Invalid.one("", "not-a-form", "send the form of the page")
    form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _known(kind: str) -> None:
    if kind not in KINDS:
        raise Refused("there is no such form", code="not-found")


def _start(
    request: Request, of: Parts, *, told: str = "", unknown: bool = False, status: int = 200
) -> Response:
    here = of.letters.desk is not None
    return render(request, "letters.html", status, anonymous=True, open=here, told=told, unknown=unknown)


def _page(
    request: Request,
    of: Parts,
    kind: str,
    given: dict[str, str],
    *,
    wrong: dict[str, str] | None = None,
    full: str = "",
    status: int = 200,
) -> Response:
    return render(
        request,
        "letter_form.html",
        status if of.letters.desk is not None else 404,
        anonymous=True,
        open=of.letters.desk is not None,
        kind=kind,
        given={name: given.get(name, "") for name in (*Words._fields, "once")},
        bounds=BOUNDS,
        wrong=wrong or {},
        full=full,
    )


def _wrong(code: str, path: str, words: Tongue) -> str:
    most = BOUNDS.get(path.removeprefix("/"), 0)
    return {
        "required": words.say("Write a few words here, so that we know what it is about."),
        "too-large": words.say("This is too long. Use %(count)s letters at most.", count=words.number(most)),
    }.get(code, words.say("There are signs in it that nobody can read. Type it again."))
