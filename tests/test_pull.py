"""Pull: what waits is fetched in pages, confirmed by a cursor, and taken back while it was not fetched."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import Response

from connectors import deliveries, projection, pull
from connectors.adapter import Outcome, Outgoing, Waiting
from connectors.recheck import PAUSED
from connectors.sender import Attempt
from connectors.standing import Together, Watch
from connectors.viewer import Viewer
from connectors.views import Views
from hub import pulls
from hub.answers import answer_errors
from hub.pulls import Pulls
from hub.routes import outbox
from hub.store import Store
from hub.tables import pulls as kept
from hub.tokens import SCOPES, Machine
from tests import stores
from tests.delivery_scene import Keys, Nobody, granted, revoked
from tests.test_alerts import Sink
from tests.test_engine import World


def waiting(number: int, stakeholder: str = "reach", participant: str = "p1") -> Waiting:
    return Waiting(f"d-{stakeholder}-{number}", stakeholder, participant, f"e-{number}", number, b"sealed")


def leave(store: Store, *keys: str) -> None:
    """As if these had left."""
    with store.write() as connection:
        connection.execute(kept.update().where(kept.c.key.in_(keys)).values(fetched_at=1))


def test_a_page_is_the_same_until_it_is_confirmed(store: Store) -> None:
    made = Pulls(store)
    for number in (1, 2, 3):
        assert made.insert(waiting(number))
        assert made.insert(waiting(number)), "once more changes nothing"
    made.insert(waiting(1, "shelter"))
    assert [row.key for row in made.page("reach")] == ["d-reach-1", "d-reach-2", "d-reach-3"]
    leave(store, "d-reach-1", "d-reach-2")
    assert len(made.page("reach")) == 3
    made.confirm("reach", "d-reach-2")
    assert [row.key for row in made.page("reach")] == ["d-reach-3"]
    made.confirm("reach", "d-reach-2")  # the answer was lost on its way, so it is asked again
    assert [row.key for row in made.page("reach")] == ["d-reach-3"]
    assert [row.key for row in made.page("shelter")] == ["d-shelter-1"]


@pytest.mark.parametrize("cursor", ["d-reach-3", "d-shelter-1", "d-reach-1", "", "1 OR 1=1"])
def test_a_cursor_names_what_was_fetched_and_nothing_else(store: Store, cursor: str) -> None:
    made = Pulls(store)
    for number in (1, 2, 3):
        made.insert(waiting(number))
    made.insert(waiting(1, "shelter"))
    leave(store, "d-reach-1", "d-reach-2", "d-shelter-1")
    made.confirm("reach", "d-reach-2")
    with pytest.raises(pulls.Invalid) as refused:
        made.confirm("reach", cursor)
    assert refused.value.code == "unknown-cursor"
    assert [row.key for row in made.page("reach")] == ["d-reach-3"]


def test_what_is_confirmed_is_forgotten(store: Store) -> None:
    made = Pulls(store)
    for number in (1, 2):
        made.insert(waiting(number))
    leave(store, "d-reach-1", "d-reach-2")
    made.confirm("reach", "d-reach-2")
    with store.read() as connection:
        [row] = connection.execute(sa.select(kept)).all()
    assert (row.key, row.sealed) == (pulls.DONE + "d-reach-2", None)


def test_what_is_sent_once_more_is_fetched_once_more_and_no_cursor_is_lost(store: Store) -> None:
    made = Pulls(store)
    for _ in range(3):
        made.insert(waiting(1))
        made.insert(waiting(1))
        assert [row.key for row in made.page("reach")] == ["d-reach-1"]
        leave(store, "d-reach-1")
        made.confirm("reach", "d-reach-1")
        assert made.page("reach") == []
        made.insert(waiting(1))
        made.confirm("reach", "d-reach-1")
        assert [row.key for row in made.page("reach")] == ["d-reach-1"], "an old cursor confirms nothing new"
    with store.read() as connection:
        assert len(connection.execute(sa.select(kept)).all()) == 2


def test_what_was_skipped_is_not_confirmed_with_the_rest(store: Store) -> None:
    made = Pulls(store)
    for number in (1, 2):
        made.insert(waiting(number))
    leave(store, "d-reach-2")
    made.confirm("reach", "d-reach-2")
    assert [row.key for row in made.page("reach")] == ["d-reach-1"]


def test_what_is_taken_back_is_gone_and_may_come_again(store: Store) -> None:
    made = Pulls(store)
    for number in (1, 2):
        made.insert(waiting(number))
    leave(store, "d-reach-2")
    assert [(one.id, one.had, one.event) for one in made.shown(["p1"])] == [
        ("d-reach-1", False, "e-1"),
        ("d-reach-2", True, "e-2"),
    ]
    made.withdraw(["d-reach-1", "d-reach-2"])
    assert made.page("reach") == []
    assert made.shown() == []
    made.insert(waiting(1))
    made.insert(waiting(2))
    assert [row.key for row in made.page("reach")] == ["d-reach-1", "d-reach-2"]
    made.confirm("reach", "d-reach-2")
    assert [row.key for row in made.page("reach")] == ["d-reach-1", "d-reach-2"], "that one was the first"


def test_what_waits_and_what_a_page_holds_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "WAITING_MAX", 3)
    monkeypatch.setattr(pulls, "PAGE_EVENTS_MAX", 2)
    made = Pulls(store)
    assert [made.insert(waiting(number)) for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert made.insert(waiting(1, "shelter")), "one recipient's backlog is not another's"
    assert len(made.page("reach")) == 2
    monkeypatch.setattr(pulls, "PAGE_BYTES_MAX", 1)
    assert len(made.page("reach")) == 1, "one at least"


class Here:
    """An engine in memory with what waits in a real store, and its web side, behind an ASGI client."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.store, self.keys = store, Keys()
        self.pulls = Pulls(store)
        standing = Together(Sink(), self.pulls)
        self.world = World(watch=Watch(standing, self.keys), views=Views(standing, self.keys))
        self.world.subscribe("reach", "pull")
        self.adapter = pull.Pull(self.pulls, self.keys, lambda: self.world.memory.now)
        self.register = SimpleNamespace(subscriptions={})
        self.heard: list[Callable[[int, Mapping[str, Any]], None]] = []
        self._told = 0
        self.send_ms_max = 60_000
        self.app = self._app()

    def _app(self) -> FastAPI:
        app = FastAPI()
        viewer = Viewer(self, self, 1, self.send_ms_max, lambda: self.world.memory.now)  # type: ignore[arg-type]
        app.state.parts = SimpleNamespace(
            pulls=self.pulls, viewer=viewer, vault=self.keys, register=lambda: self.register
        )
        app.state.asking = Counter()
        app.state.streams = SimpleNamespace(closing=False)

        @app.middleware("http")
        async def known(request: Request, go_on: Callable[[Request], Any]) -> Response:
            request.state.principal = Machine(request.headers["x-who"], SCOPES)
            answer: Response = await go_on(request)
            return answer

        app.include_router(outbox.routes)
        answer_errors(app)
        return app

    # the log, as the web sees it
    def listen(self, listener: Callable[[int, Mapping[str, Any]], None]) -> None:
        self.heard.append(listener)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> None:
        self.world.memory.write(topic, key, value)
        self.turn()

    def turn(self) -> None:
        """The owner goes round; whoever follows `deliveries` hears of it."""
        self.world.rounds(2)
        log = self.world.memory.topics.get("deliveries", [])
        for record in log[self._told :]:
            for listener in self.heard:
                listener(0, deliveries.decode(record.value or b""))
        self._told = len(log)

    async def deliver(self) -> list[Outcome]:
        """What was committed is handed over, as the sender does it."""
        self.turn()
        found = []
        while self.world.sends.begun:
            outcome = await self.adapter.deliver(self._outgoing(self.world.sends.begun[0]))
            self.world.sends.end(outcome)
            found.append(outcome)
        self.turn()
        return found

    def _outgoing(self, attempt: Attempt) -> Outgoing:
        seen = projection.seen(
            attempt.outbound, attempt.stakeholder, attempt.shares, attempt.scope, self.keys, Nobody()
        )
        return Outgoing(
            attempt.key,
            attempt.stakeholder,
            attempt.adapter,
            attempt.number,
            attempt.settings,
            seen.view,
            attempt.outbound["envelope"],
            attempt.shares,
        )

    async def ask(self, who: str = "reach", **query: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.get("/v1/outbox", params=query, headers={"x-who": who})

    def told(self, kind: str, adapter: str = "pull") -> list[dict[str, Any]]:
        """What the log says about what was fetched."""
        found = self.world.memory.told(kind)
        return [one for one in found if one["key"].startswith("v-") and one["adapter"] == adapter]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        yield Here(tmp_path, store)


@pytest.fixture
async def served(here: Here) -> Here:
    """Two events that the participant lets this recipient have, waiting to be fetched."""
    here.world.direct(granted())
    here.world.offer(1)
    here.world.offer(2)
    while await here.deliver():  # one after the other: they are of one participant and type
        pass
    return here


async def test_fetched_in_order_with_an_intent_before_and_a_receipt_after(served: Here) -> None:
    answer = await served.ask()
    assert answer.status_code == 200
    events = answer.json()["events"]
    assert [one["event"]["data"]["subject"]["name"] for one in events] == ["Ana Invented"] * 2
    assert answer.json()["cursor"] == events[-1]["id"]
    assert [one["event"] for one in served.told("intent")] == ["e-1", "e-2"]
    assert {(one["outcome"], one["code"]) for one in served.told("receipt")} == {("delivered", "shown")}
    assert json.dumps(events).count("sender-17") == 0, "never the sender's own id"


async def test_at_least_once_until_the_cursor_moves_on(served: Here) -> None:
    first = (await served.ask()).json()
    assert (await served.ask()).json() == first
    after = (await served.ask(cursor=first["events"][0]["id"])).json()
    assert after["events"] == first["events"][1:]
    done = (await served.ask(cursor=first["cursor"])).json()
    assert done == {"events": [], "cursor": first["cursor"]}


async def test_consent_taken_back_takes_back_what_was_not_fetched(served: Here) -> None:
    served.world.direct(revoked())
    served.turn()
    assert (await served.ask()).json()["events"] == []
    withheld = served.world.memory.told("withheld")
    assert sorted(one["event"] for one in withheld) == ["e-1", "e-2"], "so that it can be permitted again"
    assert {one["consent_offset"] for one in withheld} == {1}


async def test_what_was_fetched_is_not_called_withheld(served: Here) -> None:
    await served.ask()
    served.world.direct(revoked())
    served.turn()
    assert served.world.memory.told("withheld") == []
    assert (await served.ask()).json()["events"] == [], "nor handed over once more"


async def test_the_owner_decides_and_not_the_table(served: Here) -> None:
    """A row that was left standing, as by a worker that was replaced and thaws too late."""
    [first, _] = served.pulls.shown()
    served.world.direct(revoked())
    served.turn()
    late = Waiting("d-late", "reach", "p1", "e-1", 0, b"")
    sealer = served.keys.sealer("p1")
    sealed = sealer.seal(pulls.aad("d-late"), sealer.open(pulls.aad(first.id), first.sealed))
    served.pulls.insert(Waiting(**{**_fields(late), "sealed": sealed}))
    assert (await served.ask()).json()["events"] == []
    assert [one["key"].rpartition("/")[2] for one in served.told("withheld")] == ["d-late"]


def _fields(waiting: Waiting) -> dict[str, Any]:
    return {name: getattr(waiting, name) for name in waiting.__slots__}


async def test_an_erased_participants_events_are_not_fetched(served: Here) -> None:
    served.keys.erased.add("p1")
    assert (await served.ask()).json()["events"] == []


async def test_nothing_is_handed_over_when_the_permission_has_run_out(
    served: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "send_ms_max", 0)
    served.app = served._app()
    answer = await served.ask()
    assert answer.status_code == 503
    assert b"Ana" not in answer.content
    assert {one["code"] for one in served.told("receipt")} == {"not-begun"}


async def test_waits_for_what_comes(here: Here) -> None:
    asking = asyncio.create_task(here.ask(wait=20))
    await asyncio.sleep(0.05)
    here.world.direct(granted())
    here.world.offer(1)
    await here.deliver()
    assert len((await asking).json()["events"]) == 1


async def test_nobody_waits_for_long_or_with_many(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await here.ask(wait=outbox.WAIT_S_MAX + 1)).status_code == 422
    assert (await here.ask()).json() == {"events": [], "cursor": None}
    here.app.state.asking["reach"] = outbox.ASKING_MAX
    answer = await here.ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert (await here.ask("shelter")).status_code == 200
    here.app.state.asking.clear()
    here.app.state.streams.closing = True
    assert (await here.ask(wait=30)).status_code == 200, "the hub stops, and nobody has to wait for that"
    assert here.app.state.asking == {}


async def test_while_paused_what_waits_goes_on_waiting(served: Here) -> None:
    way = {"stakeholder": "reach", "adapter": "pull", "settings": {PAUSED: "moving house"}}
    served.register.subscriptions["s"] = way
    assert (await served.ask()).json() == {"events": [], "cursor": None}
    assert served.told("intent") == []
    served.register.subscriptions["s"] = way | {"stakeholder": "shelter"}
    assert len((await served.ask()).json()["events"]) == 2


async def test_a_cursor_of_somebody_else_is_refused(served: Here) -> None:
    cursor = (await served.ask()).json()["cursor"]
    answer = await served.ask("shelter", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-cursor")


async def test_when_too_much_waits_the_engine_waits(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "WAITING_MAX", 0)
    here.world.direct(granted())
    here.world.offer(1)
    assert await here.deliver() == [pull.FULL]
    assert here.world.left(), "it is tried again"
