"""For everybody, without an account: published numbers as a page, charts, JSON and CSV."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from markupsafe import Markup

from connectors.described import also, problems
from hub import fairness, figures
from hub.headers import HEADERS
from hub.language import LANGUAGES, Tongue, tongue
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.watch import sentence
from schemas.errors import Invalid, Refused
from streams.measures import MONTH

SHOWN_MAX: Final = 100
CACHED: Final = "public, max-age=300"
ANYWHERE: Final = {  # a picture and numbers that any page may show; they say nothing about anybody
    "Cache-Control": CACHED,
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
FRAMED: Final = {
    **ANYWHERE,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "frame-ancestors 'none'", "frame-ancestors *"
    ),
}
KNOWN: Final = frozenset({"measure", "month", "format", "language"})

routes = APIRouter()


@routes.get("/public", include_in_schema=False)
async def page(request: Request, of: Parts = Depends(parts)) -> Response:
    """What was published, three measures first."""
    words = speak(request)
    found = await run_in_threadpool(figures.published, of.store, of.measures)
    shown = [figures.figure(one, words) for one in found]
    hidden = words.say("hidden")
    charts = {(one.id, one.version): Markup(figures.chart(one.title, one.bars, hidden)) for one in shown}  # noqa: S704  escaped there
    return render(request, "public.html", anonymous=True, figures=shown, charts=charts)


@routes.get("/public/measures/{name}", include_in_schema=False)
async def whom(request: Request, name: str, of: Parts = Depends(parts)) -> Response:
    """For whom: the newest month of one measure by district, race, age and gender."""
    words = speak(request)
    shown = [figures.figure(one, words) for one in await _published(of, name)]
    return render(request, "whom.html", anonymous=True, figures=shown)


@routes.get("/public/rules", include_in_schema=False)
async def rules(request: Request, of: Parts = Depends(parts)) -> Response:
    """Policy watch: what changed in the rules, newest first."""
    words = speak(request)
    register = await run_in_threadpool(of.register)
    found = reversed([*register.changes][-SHOWN_MAX:])
    said = [(words.day(one.at), sentence(one, words)) for one in found]
    return render(request, "rules.html", anonymous=True, changes=said)


@routes.get("/public/equity", include_in_schema=False)
async def fair(request: Request, of: Parts = Depends(parts)) -> Response:
    """Rates by race and ethnicity, against the largest group, from what is published."""
    words = speak(request)
    found = await run_in_threadpool(figures.published, of.store, of.measures)
    shown = fairness.sections(found, of.census, words)
    silent = fairness.unsaid(of.census, words)
    source = None if of.census is None else of.census.source
    return render(request, "equity.html", anonymous=True, sections=shown, source=source, silent=silent)


@routes.get("/public/embed/{name}", include_in_schema=False)
async def embedded(request: Request, name: str, of: Parts = Depends(parts)) -> Response:
    """The newest month of a measure as a page that any other may frame; `?language=es`. No cookie."""
    words = _asked(request, of)
    one = figures.figure((await _published(of, name))[0], words)
    drawn = Markup(figures.chart(one.title, one.bars, words.say("hidden")))  # noqa: S704  escaped there
    answer = render(request, "embed.html", anonymous=True, words=words, one=one, chart=drawn)
    answer.headers.update(FRAMED)
    return answer


@routes.get("/public/charts/{name}.svg", include_in_schema=False)
async def picture(request: Request, name: str, of: Parts = Depends(parts)) -> Response:
    """The newest month of a measure as a picture, to be put into any page; `?language=es`."""
    words = _asked(request, of)
    shown = figures.figure((await _published(of, name))[0], words)
    title = f"{shown.title} · {shown.month}"
    svg = figures.chart(title, shown.bars, words.say("hidden"), alone=True)
    return Response(svg, media_type="image/svg+xml", headers=FRAMED)


@routes.get(
    "/v1/aggregates",
    summary="Published numbers",
    tags=["public"],
    responses=also(200, "The numbers", "text/csv", {"type": "string"}) | problems(422, 503),
)
async def aggregates(
    request: Request,
    measure: Annotated[str | None, Query(pattern=r"^[a-z][a-z-]{1,40}$")] = None,
    month: Annotated[str | None, Query(pattern=f"^{MONTH}$")] = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
    of: Parts = Depends(parts),
) -> Response:
    """Every number that was published, of one measure or month where you name it; JSON or CSV.

    Tables are whole: there is no way to ask for a combination of your own. A number is of people, each
    counted once, rounded; null (empty in CSV) where it is hidden.
    """
    _only_known(request)
    found = await run_in_threadpool(figures.published, of.store, of.measures, measure, month)
    if format == "csv":
        name = {"Content-Disposition": 'attachment; filename="aggregates.csv"'}
        return Response(figures.as_csv(found), media_type="text/csv; charset=utf-8", headers=ANYWHERE | name)
    return JSONResponse({"aggregates": list(figures.records(found))}, headers=ANYWHERE)


@routes.get(
    "/v1/aggregates/dictionary",
    summary="What the numbers mean",
    tags=["public"],
    responses=problems(422, 503),
)
async def dictionary(
    request: Request,
    language: Annotated[Literal["en", "es"], Query()] = "en",
    of: Parts = Depends(parts),
) -> JSONResponse:
    """The data dictionary: columns, measures with their definitions, and the rules of disclosure control."""
    _only_known(request)
    said: dict[str, Any] = figures.dictionary(of.measures, language)
    return JSONResponse(said, headers=ANYWHERE)


async def _published(of: Parts, name: str) -> list[figures.Series]:
    """What was published of a measure. Raises `Refused` where that is nothing."""
    found = await run_in_threadpool(figures.published, of.store, of.measures, name)
    if not found:
        raise Refused("nothing was published of such a measure yet", code="not-found")
    return found


def _asked(request: Request, of: Parts) -> Tongue:
    """The language that the address asks for; else as of any page."""
    language = request.query_params.get("language", "")
    return tongue(language, of.settings.time_zone) if language in LANGUAGES else speak(request)


def _only_known(request: Request) -> None:
    """Refuses every other filter, rather than passing it over: what looks filtered has to be."""
    for name in request.query_params:
        if name not in KNOWN:
            raise Invalid.one("/query", "no-such-filter", "tables are whole: `measure` or `month` alone")
