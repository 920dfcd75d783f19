"""The live stream: what is new comes by itself, what was taken back goes, nothing is missed in between."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from hub import live, tokens
from hub.live import Stream, Streams
from schemas.errors import Unavailable
from tests.webside import NORTH, REACH, Side

pytestmark = pytest.mark.broker
WAIT_S = 60  # a busy machine takes its time; that it takes nobody long is measured elsewhere
PAGES = 200
FIRST = {"version": "0"}  # of an alert that nobody did anything about


class Listener:
    """Somebody who listens to the stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.iter_lines()
        self.marks: list[str] = []

    def next(self) -> dict[str, Any]:
        """The next picture."""
        return dict(json.loads(self.part()))

    def part(self) -> str:
        """The same as a page has it."""
        event: dict[str, str] = {}
        for line in self.lines:
            if not line and "data" in event:
                if event["event"] == "here":  # nothing is new, which is told now and then
                    event = {}
                    continue
                assert event["event"] == "changed"
                self.marks.append(event["id"])
                return event["data"]
            name, _, value = line.partition(": ")
            if name:
                event[name] = event[name] + value if name == "data" and name in event else value
        raise EOFError

    def ends(self) -> bool:
        """Whether the stream is ended by the hub, in time."""
        return all(True for _ in self.lines)


@contextlib.contextmanager
def listening(client: httpx.Client, **more: Any) -> Iterator[Listener]:
    with client.stream("GET", "/v1/alerts/stream", timeout=WAIT_S, **more) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)


@pytest.fixture
def organisation(side: Side) -> Iterator[httpx.Client]:
    """Programs of an organisation that nobody else's test shows alerts to."""
    name = "org-" + secrets.token_hex(4)
    with side.client(token=tokens.mint(side.hub.store, name)) as client:
        client.headers["x-name"] = name
        yield client


def name(client: httpx.Client) -> str:
    return str(client.headers["x-name"])


def test_an_alert_comes_and_goes_by_itself(side: Side, organisation: httpx.Client) -> None:
    with listening(organisation, params={"after": "0"}) as told:
        alert = side.alert("Rosa Maldonado", stakeholder=name(organisation))
        picture = told.next()
        assert picture["open"] == [alert]
        assert picture["alerts"][0]["event"]["data"]["subject"] == {"name": "Rosa Maldonado"}
        side.withdraw(alert)
        assert told.next() == {"open": [], "alerts": [], "more": 0}


def test_who_comes_back_gets_what_changed_meanwhile_and_nothing_twice(
    side: Side,
    organisation: httpx.Client,
) -> None:
    first = side.alert("Rosa Maldonado", stakeholder=name(organisation))
    with listening(organisation) as told:
        assert told.next()["open"] == [first]
    mark = told.marks[-1]
    with listening(organisation, headers={"last-event-id": mark}) as told:
        second = side.alert("James Whitcomb", stakeholder=name(organisation))
        assert told.next()["open"] == [first, second], "what was known is not told again by itself"
    side.withdraw(first)
    with listening(organisation, headers={"last-event-id": told.marks[-1]}) as told:
        assert told.next()["open"] == [second]


def test_a_page_is_brought_each_card_once_and_then_told_that_it_stands(side: Side) -> None:
    page = {"as": "page", "after": "0"}
    first = side.alert("Rosa Maldonado", stakeholder=NORTH)
    with (
        side.person("case-manager-2") as somebody,
        side.person("case-manager-2") as other,
        listening(somebody, params=page) as told,
    ):
        had = told.part()
        assert "Rosa Maldonado" in had
        assert first in side.owners.asked[-1]

        second = side.alert("James Whitcomb", stakeholder=NORTH)
        part = told.part()
        assert f'<li id="alert-{first}" data-same></li>' in part
        assert "Rosa Maldonado" not in part, "what it says leaves once"
        assert "James Whitcomb" in part
        assert side.owners.asked[-1] == {second}, "nobody is asked about what does not leave"

        assert other.post(f"/cases/alerts/{first}/acknowledgements", data=FIRST).status_code == 200
        part = told.part()
        assert "Rosa Maldonado" in part, "it looks different, and is brought again"
        assert f'<li id="alert-{second}" data-same></li>' in part

        side.withdraw(first)
        assert first not in told.part(), "what is not named does not stand"
        with listening(somebody, params=page) as anew:
            assert "James Whitcomb" in anew.part(), "another stream has brought nothing yet"
        side.withdraw(second)
        assert second not in told.part()


def test_an_alert_goes_from_every_screen_when_somebody_has_it(side: Side) -> None:
    alert = side.alert("Nia Abara", stakeholder=NORTH)
    with (
        side.person("case-manager-2") as one,
        side.person("case-manager-2") as other,
        listening(one) as first,
        listening(other) as second,
    ):
        assert alert in first.next()["open"]
        assert alert in second.next()["open"]
        with side.person("case-manager-2") as third:
            assert third.post(f"/cases/alerts/{alert}/acknowledgements", data=FIRST).status_code == 200
        assert alert not in first.next()["open"]
        assert alert not in second.next()["open"]


def test_nobody_hears_of_another_organisations_alerts(side: Side, organisation: httpx.Client) -> None:
    foreign = side.alert("Somebody Else", stakeholder=REACH)
    with listening(organisation, params={"after": "0"}) as told:
        own = side.alert("Rosa Maldonado", stakeholder=name(organisation))
        assert told.next()["open"] == [own]
    with side.person("case-manager-2") as stranger:
        answer = stranger.post(
            f"/cases/alerts/{foreign}/acknowledgements", data=FIRST, headers={"hx-request": "1"}
        )
        assert answer.status_code == 409, "it is not here"
    with side.person("case-manager") as manager:
        assert f"acknowledgements-{foreign}" in manager.get("/cases").text
    side.withdraw(foreign)


def test_the_stream_ends_with_the_session(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SIGNED_IN_MS", 100)
    with side.person("case-manager-2") as manager:
        cookie = manager.cookies["hub_session"]
        with side.client(cookies={"hub_session": cookie}) as other, listening(other) as told:
            manager.post("/signout")
            assert told.ends()


def test_the_stream_ends_with_the_token(
    side: Side,
    organisation: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SIGNED_IN_MS", 100)
    with listening(organisation) as told:
        tokens.revoke(side.hub.store, name(organisation))
        assert told.ends()


def test_too_many_pages_are_turned_away(
    side: Side,
    organisation: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "STREAMS_PER_ORGANISATION_MAX", 2)
    with listening(organisation) as one, listening(organisation) as other:
        assert next(one.lines)
        assert next(other.lines)
        answer = organisation.get("/v1/alerts/stream")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with organisation.stream("GET", "/v1/alerts/stream") as answer:
            if answer.status_code == 200:
                return
    raise AssertionError("the places of those who left were not freed")


async def test_many_pages_all_hear_of_every_alert_and_none_is_dropped(
    side: Side, organisation: httpx.Client
) -> None:
    """Two hundred here; two thousand in `python -m benchmarks streams`."""
    token, at = organisation.headers["authorization"], httpx.URL(side.address)
    lines = (
        "GET /v1/alerts/stream?after=0 HTTP/1.1",
        f"host: {at.netloc.decode()}",
        f"authorization: {token}",
    )
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    async def all_of(reader: asyncio.StreamReader, wanted: set[str]) -> None:
        while wanted:
            line = await reader.readline()
            assert line, "it was dropped"
            wanted -= {one for one in wanted if one.encode() in line}

    pages = [await asyncio.open_connection(at.host, at.port, limit=1 << 20) for _ in range(PAGES)]
    try:
        async with asyncio.timeout(2 * WAIT_S):
            for _, writer in pages:
                writer.write(head)
            await asyncio.gather(*(all_of(reader, {": connected"}) for reader, _ in pages))
            alerts = set()
            for number in range(3):
                alert = await asyncio.to_thread(side.alert, f"Many {number}", stakeholder=name(organisation))
                alerts.add(alert)
                await asyncio.sleep(0.2)  # so that they are not one picture
            await asyncio.gather(*(all_of(reader, set(alerts)) for reader, _ in pages))
    finally:
        for _, writer in pages:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in pages), return_exceptions=True)


async def _everybody(keys: frozenset[str]) -> frozenset[str]:
    return keys


class Page:
    """One page of an organisation's, without anything behind it."""

    def __init__(self, streams: Streams, seen: str = "0", key: str = "s:1") -> None:
        self.marks, self.asked, self.away = "1", 0, False
        self.frames = streams.follow("o", key, seen, self.mark, self.picture)

    async def mark(self) -> str:
        self.asked += 1
        return self.marks

    @contextlib.asynccontextmanager
    async def picture(self, seen: str) -> AsyncIterator[tuple[str, str] | None]:
        if self.away:
            raise Unavailable("the broker is away")
        yield f"{self.marks}.x", "<p>\nall of it</p>"

    async def next(self) -> str:
        return await asyncio.wait_for(anext(self.frames), 10)


async def test_every_stream_ends_when_the_hub_stops() -> None:
    streams = Streams(_everybody)
    page = Page(streams)
    assert (await page.next()).startswith("retry: ")
    assert await page.next() == "event: changed\nid: 1.x\ndata: <p>\ndata: all of it</p>\n\n"
    waiting = asyncio.ensure_future(page.next())
    await asyncio.sleep(0)
    streams.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert not streams.room("o")


async def test_a_quiet_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PING_MS", 1)
    page = Page(Streams(_everybody), seen="1.x")
    await page.next()
    assert await page.next() == "event: here\ndata: \n\n"
    await page.frames.aclose()  # type: ignore[attr-defined]


async def test_who_looks_at_the_same_time_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_MS", 60_000)
    streams = Streams(_everybody)
    pages = [Page(streams, seen="1.x") for _ in range(20)]
    for page in pages:
        await page.next()
    waiting = [asyncio.ensure_future(page.next()) for page in pages]
    await asyncio.sleep(0.01)
    assert sum(page.asked for page in pages) == 1
    streams.close()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_while_the_broker_is_away_a_page_says_so_and_is_told_everything_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "LOOK_MS", 1)
    monkeypatch.setattr(live, "BEHIND_MS_MAX", 8)
    page = Page(Streams(_everybody))
    page.away = True
    await page.next()
    for _ in range(20):  # of a long absence: it goes on saying so, and ends nothing
        assert await page.next() == "event: behind\ndata: \n\n"
    page.away = False
    assert (await page.next()).startswith("event: changed\nid: 1.x\n")
    await page.frames.aclose()  # type: ignore[attr-defined]


async def test_an_unreadable_mark_is_told_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_MS", 1)
    page = Page(Streams(_everybody), seen="1.x")

    async def broken() -> str:
        raise OSError

    good = page.mark
    page.frames = Streams(_everybody).follow(
        "o", "s:1", "1.x", lambda: broken() if page.away else good(), page.picture
    )
    page.away = True
    await page.next()
    assert (await page.next()).startswith("event: behind")
    page.away = False
    told = await page.next()
    while told.startswith("event: behind"):
        told = await page.next()
    assert told.startswith("event: checked"), "nothing had changed"
    await page.frames.aclose()  # type: ignore[attr-defined]


async def test_who_is_not_signed_in_any_more_is_told_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SIGNED_IN_MS", 1)
    good = {"s:1", "s:2"}

    async def signed_in(keys: frozenset[str]) -> frozenset[str]:
        return keys & good

    streams = Streams(signed_in)
    one, other = Page(streams, "1.x", "s:1"), Page(streams, "1.x", "s:2")
    await one.next()
    await other.next()
    good.discard("s:1")
    assert await one.next() == "event: ended\ndata: \n\n"
    with pytest.raises(StopAsyncIteration):
        await one.next()
    monkeypatch.setattr(live, "PING_MS", 1)
    streams._watches["o"].tell()
    assert await other.next() == "event: here\ndata: \n\n"
    await other.frames.aclose()  # type: ignore[attr-defined]
    assert streams._watches == {}
    assert streams._keeper is None


async def test_what_was_shown_or_taken_back_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_MS", 60_000)
    streams = Streams(_everybody)
    page = Page(streams, seen="1.x")
    await page.next()
    waiting = asyncio.ensure_future(page.next())
    await asyncio.sleep(0.01)
    for record in (
        {"receipt": {"adapter": "alerts", "stakeholder": "o"}, "acknowledgement": None},
        {"receipt": None, "acknowledgement": {"stakeholders": ["other", "o"]}},
    ):
        asked = page.asked
        streams.heard(record)
        for _ in range(20):
            await asyncio.sleep(0)
        assert page.asked == asked + 1, "it waited for the next look"
    streams.heard({"receipt": {"adapter": "page", "stakeholder": "o"}, "acknowledgement": None})
    page.marks = "2"
    streams.wake("o")
    assert (await waiting).startswith("event: changed\nid: 2.x")
    await page.frames.aclose()  # type: ignore[attr-defined]


async def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_MS_MAX", 10)
    left: list[bool] = []

    async def frames() -> AsyncIterator[str]:
        done = False
        try:
            yield "data: all of it"
            done = True
        finally:
            left.append(done)

    async def full(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await Stream(frames()).stream_response(full)
    assert left == [False], "whatever it let out is known not to have left whole"
