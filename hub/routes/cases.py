"""The case manager's page: who needs me now? What she does about it, and the stream that keeps it true."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final, NamedTuple, TypeVar, cast

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.background import BackgroundTask

from connectors.described import problems
from connectors.viewer import Permission
from hub import cards, news, people, today
from hub.access import key
from hub.live import Stream, Streams
from hub.parts import Parts, parts
from hub.rendering import render, speak
from hub.routes.installed import living
from hub.sessions import Person
from hub.today import Picture
from schemas import instant
from schemas.errors import Refused, Unavailable

MARK_CHARS_MAX: Final = 60
SINCE_CHARS_MAX: Final = 15
OUTCOMES: Final = frozenset({"done", "lost", "gone", "refused"})  # that a page is asked to tell

routes = APIRouter()

Drawn = TypeVar("Drawn")


class Reader(NamedTuple):
    """Who looks: somebody of an organisation, or one of its programs, and since when things are new."""

    organisation: str
    person: Person | None
    since_ms: int = 0

    @property
    def account(self) -> str | None:
        """Whose desk it is; None for the whole organisation."""
        return self.person.account if self.person else None


@routes.get("/cases", include_in_schema=False)
async def cases(request: Request, of: Parts = Depends(parts)) -> Response:
    """Urgent alerts of one's own people, oldest first, each with one sentence and one button."""
    who = reader(request)
    picture = await picture_of(of, who)
    who = who._replace(since_ms=picture.looked_at or 0)
    told = request.query_params.get("told", "")
    done = {"said": cards.told(told, speak(request)), "undo": ""} if told in OUTCOMES else None
    return await shown(request, of, "cases.html", who, picture, done, looked=True)


@routes.get("/cases/alerts", include_in_schema=False)
async def alerts(request: Request, of: Parts = Depends(parts)) -> Response:
    """The same alerts as a part of the page."""
    who = reader(request)
    return await shown(request, of, "_alerts.html", who, await picture_of(of, who))


@routes.get("/cases/alerts/{alert}", include_in_schema=False)
async def later(request: Request, alert: str, of: Parts = Depends(parts)) -> Response:
    """One alert, to leave it for later or give it to somebody else: for browsers without script."""
    who = reader(request)
    picture = await picture_of(of, who)
    found = [one for one in picture.waiting if one.id == alert]
    if not found:
        raise Refused("there is no such alert", code="not-found")
    picture = picture._replace(waiting=found, taken=[], snoozed=[])
    return await shown(request, of, "later.html", who, picture)


@routes.get(
    "/v1/alerts/stream",
    tags=["alerts"],
    summary="Alerts as they come and go",
    response_class=Stream,
    responses=problems(503),
)
async def stream(request: Request, of: Parts = Depends(parts)) -> Response:
    """Server-sent events of your organisation's alerts.

    Each event `changed` has the whole picture: `{"open": [ids], "more": n, "alerts": [...]}`. What is no
    longer in it was taken by somebody or taken back; `more` wait beyond those that are listed. Resumes by
    `Last-Event-ID`: nothing is sent until something changed, however long ago that was. `behind` says that
    nothing can be checked now, `checked` that it can again, `ended` that the token is not good any more.
    """
    who = reader(request)
    seen = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    live = streams(request)
    if not live.room(who.organisation):
        raise Unavailable("too many live pages are open; the page asks by itself now and then")

    on_page: frozenset[str] | None = None  # nothing is known of what was drawn before this stream
    had: dict[str, bytes] = {}  # the cards that its last picture brought or named, by what they look like
    noted: asyncio.Task[None] | None = None

    async def mark() -> str:
        return await run_in_threadpool(today.cursor, of.store, who.organisation)

    async def concerns(drawn: str) -> bool:
        if on_page is None or not drawn.isdecimal():
            return True
        told = await live.once(
            who.organisation,
            ("news", drawn),
            lambda: news.since(of.store, who.organisation, int(drawn), of.clock_ms()),
        )
        return told.concerns(who.account, on_page)

    @contextlib.asynccontextmanager
    async def picture(seen: str) -> AsyncIterator[tuple[str, str] | None]:
        nonlocal on_page, noted, had
        if request.query_params.get("as") == "mark":  # a page of another kind, which looks by itself
            at = f"{await mark()}."
            yield None if at == seen else (at, "")
            return
        async with live.drawing:
            now = await live.once(who.organisation, ("picture", who.account), lambda: _picture(of, who))
            resumed = cards.mark(now)
            on_page = frozenset(one.id for one in now.all)
            same = resumed.partition(".")[2] == seen.partition(".")[2]
            if not same:
                looks = _looks(request, of, who, now)
                known = frozenset(one for one, look in looks.items() if had.get(one) == look)
                let, permission, drawn = await _let(
                    of,
                    who.organisation,
                    now,
                    lambda let: _drawn(request, of, who, let, resumed, known),
                    known,
                )
        if same:
            yield None
            return
        left = begun = False
        try:
            if permission.late:
                raise Unavailable("the permission to show this has run out")
            begun = True
            yield resumed, drawn
            left = True
        finally:
            await permission.close(left, begun)
        had = {one.id: looks[one.id] for one in let.all if one.id in looks}
        new = [one for one in (*let.waiting, *let.taken) if one.id not in known]
        if who.person is not None and new:  # written while the page goes on: the next alert need not wait
            if noted is not None:
                await noted
            noted = live.behind(run_in_threadpool(of.handling.saw, who.person, new))

    events = live.follow(who.organisation, key(request), seen[:MARK_CHARS_MAX], mark, picture, concerns)
    return Stream(events, headers={"X-Accel-Buffering": "no"})


def streams(request: Request) -> Streams:
    """The live pages of this process."""
    return cast(Streams, request.app.state.streams)


def reader(request: Request) -> Reader:
    """Who looks. Raises `Refused` where they belong to no organisation."""
    who = request.state.principal
    organisation: str | None = who.stakeholder
    if organisation is None:
        raise Refused("this account belongs to no organisation", code="no-organisation")
    since = request.query_params.get("since", "")[:SINCE_CHARS_MAX]
    someone = who if isinstance(who, Person) else None
    return Reader(organisation, someone, int(since) if since.isascii() and since.isdigit() else 0)


def _as_json(picture: Picture) -> dict[str, Any]:
    return {
        "open": [alert.id for alert in picture.waiting],
        "more": picture.more,
        "alerts": [
            {
                "id": alert.id,
                "rule": alert.rule,
                "urgency": alert.urgency,
                "at": instant.format(alert.at),
                "event": alert.view,
            }
            for alert in picture.waiting
        ],
    }


def _as_page(request: Request, who: Reader) -> bool:
    """Whether a stream is asked for by a page, which keeps what it was brought."""
    return who.person is not None and request.query_params.get("as") == "page"


def _looks(request: Request, of: Parts, who: Reader, picture: Picture) -> dict[str, bytes]:
    """What each card of a picture looks like; none for programs, which have all of it each time."""
    if not _as_page(request, who):
        return {}
    words, now, waiting = speak(request), of.clock_ms(), {alert.id for alert in picture.waiting}
    return {alert.id: cards.look(alert, alert.id not in waiting, words, now) for alert in picture.all}


def _drawn(
    request: Request, of: Parts, who: Reader, picture: Picture, mark: str, known: Collection[str]
) -> str:
    """What a stream says of a picture: a part of the page where a page asks, else JSON.

    In: the ids of those alerts whose cards were brought by this stream, and need only be named.
    """
    if not _as_page(request, who):
        return json.dumps(_as_json(picture))
    return bytes(_page(request, of, "_alerts.html", who, picture, mark, known=known).body).decode()


async def shown(
    request: Request,
    of: Parts,
    template: str,
    who: Reader,
    picture: Picture,
    done: dict[str, Any] | None = None,
    status: int = 200,
    looked: bool = False,
) -> Response:
    """A page, or a part of it, that leaves on the owners' permission. In: what came of an act.

    `looked` says that it is a person's first sight of it. Raises `Unavailable`.
    """
    mark = cards.mark(picture)
    let, permission, page = await _let(
        of, who.organisation, picture, lambda let: _page(request, of, template, who, let, mark, done, status)
    )
    if permission.late:
        await permission.close(False)
        raise Unavailable("the permission to show this has run out; try again")

    async def left() -> None:  # runs once the page has left
        await permission.close(True)
        assert who.person is not None, "programs have the stream"
        await run_in_threadpool(of.handling.saw, who.person, (*let.waiting, *let.taken))
        if looked:
            await run_in_threadpool(of.preferences.looked, who.person.account, of.clock_ms())

    page.background = BackgroundTask(left)
    return page


async def picture_of(of: Parts, who: Reader) -> Picture:
    """What they are to see now, before anybody was asked whether it may be shown."""
    return await run_in_threadpool(_picture, of, who)


def _picture(of: Parts, who: Reader) -> Picture:
    return today.picture(of.store, of.vault, who.organisation, of.clock_ms(), who.account)


async def _let(
    of: Parts,
    organisation: str,
    picture: Picture,
    draw: Callable[[Picture], Drawn],
    known: Collection[str] = (),
) -> tuple[Picture, Permission, Drawn]:
    """What an organisation sees now, on whose permission, and as it is drawn. Raises `Unavailable`.

    In: how to draw it, in a thread; the ids of alerts that are only named.
    """
    let, permission = await _permitted(of, organisation, picture, known)
    try:
        return let, permission, await run_in_threadpool(draw, let)
    except BaseException:
        await permission.close(False)
        raise


async def _permitted(
    of: Parts, organisation: str, picture: Picture, known: Collection[str]
) -> tuple[Picture, Permission]:
    """What an organisation sees now, as far as the owners let it be shown. Raises `Unavailable`.

    In: the ids of those of which nothing leaves but that they still stand: nobody is asked about them.
    """

    def free(alert: today.Alert) -> bool:
        return alert.desk or alert.id in known

    parts_of = (picture.waiting, picture.taken, picture.snoozed)
    asked = [(alert.id, alert.participant) for alert in picture.all if not free(alert)]
    permission = await of.viewer.ask(organisation, asked)
    waiting, taken, snoozed = (
        [alert for alert in some if free(alert) or alert.id in permission.alerts] for some in parts_of
    )
    return picture._replace(waiting=waiting, taken=taken, snoozed=snoozed), permission


def _page(
    request: Request,
    of: Parts,
    template: str,
    who: Reader,
    picture: Picture,
    mark: str,
    done: dict[str, Any] | None = None,
    status: int = 200,
    known: Collection[str] = (),
) -> Response:
    now, words = of.clock_ms(), speak(request)
    assert who.person is not None, "programs have the stream"
    # to whom one of these is handed over
    colleagues = of.handling.colleagues(who.person) if picture.all else []

    def drawn(alert: today.Alert) -> dict[str, Any]:
        if alert.id in known:
            return cards.same(alert, who.since_ms)
        about = people.handle(of.vault, who.organisation, alert.participant) if alert.participant else None
        mine = {"undo": alert.acknowledged_by == who.person.name if who.person else False}
        return cards.card(alert, words, now, who.since_ms, about, of.alert_rules) | mine

    waiting = [(alert, drawn(alert)) for alert in picture.waiting]
    aside = [
        (words.say("Left for later"), [drawn(alert) | {"undo": True} for alert in picture.snoozed]),
        (words.say("Somebody has these"), [drawn(alert) for alert in picture.taken]),
    ]
    count = picture.more + sum(1 + alert.also for alert, _ in waiting)
    said = words.say("Nobody needs you now.")
    if count:
        said = words.say_for(count, "%(count)s alert waits", "%(count)s alerts wait")
    return render(
        request,
        template,
        status,
        one=waiting[0][1] if template == "later.html" and waiting else None,
        waiting=cards.waiting(waiting, words),
        set_aside=[(title, some) for title, some in aside if some],
        more=cards.more(picture, words),
        new_since=cards.new_since([card for _, card in waiting], who.since_ms, words, now),
        laters=cards.laters(words, now),
        colleagues=colleagues,
        mark=mark,
        said=said,
        done=done,
        since=who.since_ms,
        live=living(request, of),
    )
