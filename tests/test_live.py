"""The live stream: what is new comes by itself, what was taken back goes, nothing is missed in between."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from hub import live, tokens
from hub.live import Streams
from tests.webside import NORTH, REACH, Side

pytestmark = pytest.mark.broker
WAIT_S = 15


class Listener:
    """Somebody who listens to the stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.iter_lines()
        self.marks: list[str] = []

    def next(self) -> dict[str, Any]:
        """The next picture."""
        event: dict[str, str] = {}
        for line in self.lines:
            if not line and "data" in event:
                assert event["event"] == "changed"
                self.marks.append(event["id"])
                return dict(json.loads(event["data"]))
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
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
        assert told.next() == {"open": [], "alerts": []}


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
            assert third.post(f"/cases/alerts/{alert}/acknowledgements").status_code == 200
        assert alert not in first.next()["open"]
        assert alert not in second.next()["open"]


def test_nobody_hears_of_another_organisations_alerts(side: Side, organisation: httpx.Client) -> None:
    foreign = side.alert("Somebody Else", stakeholder=REACH)
    with listening(organisation, params={"after": "0"}) as told:
        own = side.alert("Rosa Maldonado", stakeholder=name(organisation))
        assert told.next()["open"] == [own]
    with side.person("case-manager-2") as stranger:
        stranger.post(f"/cases/alerts/{foreign}/acknowledgements")
    with side.person("case-manager") as manager:
        assert f"have-{foreign}" in manager.get("/cases").text
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
    for _ in range(100):
        with organisation.stream("GET", "/v1/alerts/stream") as answer:
            if answer.status_code == 200:
                return
    raise AssertionError("the places of those who left were not freed")


async def _always(value: Any) -> Any:
    return value


def _follow(streams: Streams, seen: str = "0") -> AsyncIterator[str]:
    return streams.follow(
        "o", seen, lambda: _always("1"), lambda: contextlib.nullcontext(("1", "{}")), lambda: _always(True)
    )


async def test_every_stream_ends_when_the_hub_stops() -> None:
    streams = Streams()
    stream = _follow(streams)
    assert (await anext(stream)).startswith("retry: ")
    assert await anext(stream) == "event: changed\nid: 1\ndata: {}\n\n"
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    streams.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 2)
    assert not streams.room("o")


async def test_a_quiet_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PING_MS", 0)
    monkeypatch.setattr(live, "LOOK_MS", 1)
    stream = _follow(Streams(), seen="1")
    await anext(stream)
    assert await asyncio.wait_for(anext(stream), 2) == ": still here\n\n"


async def test_who_looks_at_the_same_time_looks_once() -> None:
    asked = 0

    async def mark() -> str:
        nonlocal asked
        asked += 1
        return "1"

    streams = Streams()
    pages = [
        streams.follow("o", "1", mark, lambda: contextlib.nullcontext(("1", "")), lambda: _always(True))
        for _ in range(20)
    ]
    for page in pages:
        await anext(page)
    waiting = [asyncio.ensure_future(anext(page)) for page in pages]
    await asyncio.sleep(0.01)
    assert asked == 1
    streams.close()
    await asyncio.gather(*waiting, return_exceptions=True)
