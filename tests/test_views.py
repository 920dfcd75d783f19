"""Pages leave between intent and receipt: the owner's side, the web's side, and both together."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from connectors import deliveries, viewer, views
from connectors.adapter import Alert, Made, Outcome, Read, Share
from connectors.deliveries import Applied, Parcel
from connectors.standing import aad
from connectors.viewer import Viewer
from connectors.views import Views, asking_ms_max
from consent import State
from schemas import codec
from schemas.errors import Unavailable
from tests.delivery_scene import Keys, event, granted, revoked, share_of
from tests.test_alerts import NOW, Desk, fold


class Owner:
    """The owner's side over alerts in memory; it owns `p1` and `p2`."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.views = Views(self.desk.sink, self.desk.keys)

    def show(self, name: str, participant: str = "p1", who: str = "reach") -> None:
        made = event(1, participant, "contact.custody-booking")
        body = {
            "view": {"data": {"subject": {"name": "Ana Invented"}}},
            "envelope": made["envelope"],
            "shares": [share_of("s1", compartments=["subject"])],
        }
        sealed = Keys().sealer(participant).seal(aad(name), json.dumps(body).encode())
        alert = Alert(name, who, participant, "e-1", "booked", "urgent", NOW, sealed)
        self.desk.sink.insert_all([Made((alert,))])

    def ask(self, *alerts: str, participant: str = "p1", who: str = "reach", at: int = NOW) -> Read:
        view = {"id": "v-1", "stakeholder": who, "participant": participant, "alerts": list(alerts), "at": at}
        return Read(views.TOPIC, 0, 7, participant.encode(), codec.encode("View", view), at)

    def answers(self, *records: Read, now: int = NOW) -> list[tuple[str, dict[str, Any]]]:
        def state_of(stakeholder: str, participant: str) -> State | None:
            return self.desk.states.get(participant)

        found = self.views.answers(records, now, state_of, self.desk.governance, lambda _: Applied(4, 5))
        values = [deliveries.decode(value) for _, _, _, value in found]
        return [next((kind, one[kind]) for kind in one if one[kind] is not None) for one in values]


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_what_may_be_shown_is_recorded_first(owner: Owner) -> None:
    owner.show("a1")
    [(kind, intent)] = owner.answers(owner.ask("a1"))
    assert kind == "intent"
    assert (intent["key"], intent["adapter"], intent["event"]) == ("v-1/a1", "page", "e-1")
    assert (intent["consent_offset"], intent["governance_offset"]) == (4, 5)
    assert intent["shares"][0]["grants"] == ["c1/g1"]


def test_what_was_taken_back_is_not_shown_whatever_the_table_says(owner: Owner) -> None:
    owner.show("a1")
    owner.desk.states["p1"] = fold([granted(), revoked()])
    assert [kind for kind, _ in owner.answers(owner.ask("a1"))] == ["withheld"]


def test_each_alert_gets_an_answer(owner: Owner) -> None:
    owner.show("a1")
    owner.show("theirs", who="shelter")
    owner.show("other", participant="p2")
    asked = owner.ask("a1", "theirs", "other", "unknown")
    assert [(kind, one["key"]) for kind, one in owner.answers(asked)] == [
        ("intent", "v-1/a1"),
        ("withheld", "v-1/theirs"),
        ("withheld", "v-1/other"),
        ("withheld", "v-1/unknown"),
    ]


def test_no_answer_where_it_is_not_this_workers_or_too_late(owner: Owner) -> None:
    owner.show("a1")
    assert owner.answers(owner.ask("a1", participant="p9")) == []
    assert owner.answers(owner.ask("a1"), now=NOW + asking_ms_max + 1) == []
    owner.desk.sink.broken = True
    assert owner.answers(owner.ask("a1")) == []


class Log:
    """A producer that keeps what it is given, and owners that answer as told."""

    def __init__(self) -> None:
        self.answering: Callable[[str], bytes | None] = lambda key: None
        self.receipts: list[Mapping[str, Any]] = []
        self.heard: list[Callable[[int, Mapping[str, Any]], None]] = []
        self.asked: list[Mapping[str, Any]] = []

    def listen(self, listener: Callable[[int, Mapping[str, Any]], None]) -> None:
        self.heard.append(listener)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> None:
        if topic == deliveries.TOPIC:
            self.receipts.append(deliveries.decode(value)["receipt"])
            return
        view = codec.decode_as("View", value)
        self.asked.append(view)
        for alert in view["alerts"]:
            answer = self.answering(f"{view['id']}/{alert}")
            if answer is not None:
                self.say(answer)

    def say(self, value: bytes) -> None:
        for listener in self.heard:
            listener(0, deliveries.decode(value))


async def settled() -> None:
    """Whatever the loop has to do is done."""
    for _ in range(5):
        await asyncio.sleep(0)


def intent(key: str) -> bytes:
    share = Share("s1", "care-coordination", "consent", ("c1/g1",), ("subject",), ())
    return deliveries.intent(
        Parcel(key, "reach", "page", "e-1", "p1"), (0, 0), 1, NOW, Applied(1, 1), [share]
    )


def denied(key: str) -> bytes:
    return deliveries.withheld(
        Parcel(key, "reach", "page", "", "p1"), NOW, Applied(1, 1), [("", "withdrawn")]
    )


def made(log: Log, send_ms_max: int = 5_000) -> Viewer:
    return Viewer(log, log, 1, send_ms_max, lambda: NOW)  # type: ignore[arg-type]


async def test_shows_what_the_owner_permits_and_says_so_afterwards() -> None:
    log = Log()
    log.answering = lambda key: denied(key) if key.endswith("no") else intent(key)
    permission = await made(log).ask("reach", [("yes", "p1"), ("no", "p1"), ("also", "p2")])
    assert permission.alerts == {"yes", "also"}
    assert not permission.late
    assert log.receipts == [], "not before it has left"
    await permission.close(True)
    assert {one["key"].partition("/")[2] for one in log.receipts} == {"yes", "also"}
    assert {(one["outcome"], one["attempt"]) for one in log.receipts} == {("delivered", 1)}
    assert len(log.asked) == 2, "one asking for each participant"


async def test_what_did_not_leave_is_said_not_to_have() -> None:
    log = Log()
    log.answering = intent
    permission = await made(log).ask("reach", [("a", "p1")])
    await permission.close(False)
    assert [(one["outcome"], one["code"]) for one in log.receipts] == [("failed", "not-begun")]


async def test_nothing_is_shown_where_an_owner_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "answer_ms_max", 50)
    log = Log()
    silent: list[str] = []

    def answer(key: str) -> bytes | None:
        if key.endswith("b"):
            silent.append(key)
            return None
        return intent(key)

    log.answering = answer
    with pytest.raises(Unavailable):
        await made(log).ask("reach", [("a", "p1"), ("b", "p2")])
    await settled()
    assert [one["code"] for one in log.receipts] == ["not-begun"], "what was granted is closed"
    log.say(intent(silent[0]))
    await settled()
    assert [one["code"] for one in log.receipts] == ["not-begun"] * 2, "and so is what comes too late"


async def test_a_page_nobody_waits_for_any_more_is_closed() -> None:
    log = Log()
    log.answering = lambda key: intent(key) if key.endswith("a") else None
    asking = asyncio.ensure_future(made(log).ask("reach", [("a", "p1"), ("b", "p2")]))
    while len(log.asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert [one["outcome"] for one in log.receipts] == ["failed"]


async def test_a_permission_runs_out() -> None:
    log = Log()
    log.answering = intent
    permission = await made(log, send_ms_max=0).ask("reach", [("a", "p1")])
    assert permission.late


async def test_no_alerts_need_no_asking() -> None:
    log = Log()
    permission = await made(log).ask("reach", [])
    await permission.close(True)
    assert (permission.alerts, log.asked, log.receipts) == (frozenset(), [], [])


async def test_other_processes_pages_are_theirs() -> None:
    log = Log()
    made(log)
    log.say(intent("v-somebody/a"))
    log.say(deliveries.receipt(Parcel("k", "r", "page", "e", "p"), 1, Outcome("delivered", "x"), 0, None))
    await asyncio.sleep(0)
    assert log.receipts == []


async def test_askings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "askings_max", 0)
    with pytest.raises(Unavailable):
        await made(Log()).ask("reach", [("a", "p1")])
