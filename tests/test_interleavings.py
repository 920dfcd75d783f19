"""The interleavings that break a fence built with less care, each with real processes on a real broker.

After each of them the same must hold: nothing that was taken back began to leave after `closed` was said.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.adapter import Alert, Made
from connectors.fence import Narrowing
from connectors.standing import aad
from hub.shown import ShownAlerts
from hub.store import Store
from tests.delivery_scene import (
    Keys,
    Receiver,
    Scene,
    Worker,
    event,
    granted,
    revoked,
    scene,
    share_of,
    until,
)

pytestmark = pytest.mark.broker


@pytest.fixture
def town(empty_kafka: str) -> Iterator[Scene]:
    with scene(empty_kafka) as made:
        yield made


def ready(town: Scene, worker: Worker) -> None:
    """Wait until a worker has acknowledged what there is."""
    seen = len(town.told("acknowledgement"))
    until(lambda: len(town.told("acknowledgement")) > seen or seen, why="for an acknowledgement")
    assert worker.code() is None


def owns(town: Scene, name: str) -> bool:
    return set(town.owners().values()) == {name}


def take_back(town: Scene, participant: str = "p1") -> Narrowing:
    partition, offset = town.direct(participant, revoked())
    return Narrowing.of_directive(partition, offset, participant, revoked())


def never_after(town: Scene, receiver: Receiver, narrowing: Narrowing, settle_s: float = 1.0) -> None:
    """Wait for `closed`; then nothing more may come."""
    until(lambda: town.answer(narrowing).state == "closed", why="for the fence to close")
    count = len(receiver.got)
    time.sleep(settle_s)
    assert len(receiver.got) == count, "a delivery began after the fence had closed"
    town.check_order()


def test_1_commits_after_it_was_replaced(town: Scene) -> None:
    """Frozen between the acceptance of its offsets and its commit, replaced, thawed: the commit succeeds."""
    town.send_ms_max = 30_000  # so that it does deliver, late as it is
    receiver = town.receiver()
    town.subscribe("reach", url=receiver.url)
    town.direct("p1", granted())
    first = town.worker("first", then="deliver.offsets-sent:freeze")
    ready(town, first)
    first.arm()
    town.offer("reach", event(1))
    until(first.frozen)
    narrowing = take_back(town)
    town.worker("second")
    until(lambda: owns(town, "second"), why="for the other worker to be given everything")
    time.sleep(1.0)
    assert town.answer(narrowing).state == "closing", "said too much while the first one could still commit"
    assert receiver.got == []
    first.thaw()
    until(lambda: town.told("intent"), why="for the replaced worker's commit")
    [intent] = town.told("intent")
    assert intent["consent_offset"] < narrowing.consent_offset
    never_after(town, receiver, narrowing)
    [receipt] = town.told("receipt")
    assert len(receiver.got) == (receipt["outcome"] == "delivered")


def test_2_a_retry_commits_after_it_was_replaced(town: Scene) -> None:
    """A retry's transaction consumes nothing, but sends a real offset all the same, so it is refused."""
    receiver = town.receiver()
    receiver.status = lambda count: 500
    town.subscribe("reach", url=receiver.url)
    town.direct("p1", granted())
    first = town.worker("first", then="deliver.produced:freeze", pauses_ms=(1_500, 60_000))
    ready(town, first)
    town.offer("reach", event(1))
    until(lambda: town.told("receipt"), why="for the first attempt to fail")
    time.sleep(0.5)
    first.arm()
    until(first.frozen, why="for the retry")
    narrowing = take_back(town)
    town.worker("second")
    until(lambda: owns(town, "second"), why="for the other worker to be given everything")
    first.thaw()
    until(lambda: first.code() is not None or town.answer(narrowing).state == "closed")
    never_after(town, receiver, narrowing)
    assert [intent["attempt"] for intent in town.told("intent")] == [1], (
        "the replaced worker's retry was committed"
    )
    assert len(receiver.got) == 1


def test_3_loses_one_partition_and_stays(empty_kafka: str, tmp_path: Path) -> None:
    """Its thread sits in the middle of a transaction while the group goes on without it."""
    with scene(empty_kafka) as town:
        receiver = town.receiver()
        town.subscribe("reach", url=receiver.url)
        town.direct("p1", granted())
        gate = tmp_path / "gate"
        gate.touch()
        first = town.worker(
            "first",
            then="deliver.produced:stall",
            gate=str(gate),
            poll_ms=3_000,
        )
        ready(town, first)
        first.arm()
        town.offer("reach", event(1))
        narrowing = take_back(town)
        town.worker("second")
        until(lambda: owns(town, "second"), why="for the other worker to be given everything")
        gate.unlink()
        never_after(town, receiver, narrowing)
        assert town.told("intent") == [], "it committed for a partition that was another's"
        assert receiver.got == []


def test_4_freezes_between_intent_and_sending(town: Scene) -> None:
    """Its intent stands and it may yet send: that is in doubt and listed, for as long as it lasts."""
    receiver = town.receiver()
    town.subscribe("reach", url=receiver.url)
    town.direct("p1", granted())
    first = town.worker("first", then="deliver.sending:freeze")
    ready(town, first)
    first.arm()
    town.offer("reach", event(1))
    until(first.frozen)
    narrowing = take_back(town)
    town.worker("second")
    answer = until(
        lambda: (found := town.answer(narrowing)).state != "closing" and found,
        why="for the fence to be in doubt",
    )
    assert answer.state == "closed-in-doubt"
    [doubt] = answer.in_doubt
    assert (doubt.event, doubt.stakeholder, doubt.attempt) == ("e-1", "reach", 1)
    until(lambda: town.told("withheld"), why="for the new owner not to send it again")
    assert town.answer(narrowing).state == "closed-in-doubt"
    first.thaw()
    never_after(town, receiver, narrowing)
    assert len(receiver.got) <= 1, "only what was listed may still have gone"
    assert [one["attempt"] for one in town.told("receipt")] == [1]


def test_5_a_web_process_freezes_with_a_permitted_page(town: Scene, tmp_path: Path) -> None:
    """The page had its intent, so it is in doubt until its receipt; the next page is denied."""
    store = f"sqlite:///{tmp_path / 'hub.db'}"
    Store(store).migrate()
    screen = town.receiver()
    town.subscribe("reach", "alerts")
    town.direct("p1", granted())
    ready(town, town.worker("first", store=store))
    town.offer("reach", event(1, category="contact.custody-booking"), share_of("reach-alerts"))
    sink = ShownAlerts(Store(store))
    until(sink.shown, why="for the alert")
    page = town.page(screen, store, crash="page.permitted:freeze")
    until(page.frozen, why="for the page to be permitted")
    assert [one["adapter"] for one in town.told("intent")] == ["alerts", "page"]
    narrowing = take_back(town)
    until(lambda: not sink.shown(), why="for the alert to be taken off the screens")
    answer = until(
        lambda: (found := town.answer(narrowing)).state != "closing" and found,
        why="for the fence to be in doubt",
    )
    assert answer.state == "closed-in-doubt"
    assert [one.adapter for one in answer.in_doubt] == ["page"]
    page.thaw()
    until(lambda: page.code() is not None, why="for the page")
    assert page.code() == 0
    never_after(town, screen, narrowing)
    assert len(screen.got) == 1, "only what was listed has still gone"


def test_5_a_page_after_the_fence_shows_nothing(town: Scene, tmp_path: Path) -> None:
    """Even where a row was left standing: the owner decides, not the table."""
    store = f"sqlite:///{tmp_path / 'hub.db'}"
    Store(store).migrate()
    screen = town.receiver()
    town.subscribe("reach", "alerts")
    town.direct("p1", granted())
    ready(town, town.worker("first", store=store))
    town.offer("reach", event(1, category="contact.custody-booking"), share_of("reach-alerts"))
    sink = ShownAlerts(Store(store))
    [row] = until(sink.shown, why="for the alert")
    narrowing = take_back(town)
    never_after(town, screen, narrowing)
    keys = Keys().sealer(row.participant)
    sealed = keys.seal(aad("late"), keys.open(aad(row.id), row.sealed))
    late = Alert("late", row.stakeholder, row.participant, "e-1", "r", "urgent", 0, sealed)
    sink.insert_all([Made((late,))])  # as a worker would that was replaced and thaws too late
    page = town.page(screen, store)
    until(lambda: page.code() is not None, why="for the page")
    assert page.code() == 0
    assert [body for _, _, body, _ in screen.got] == [{"alerts": []}]


def test_6_checks_and_acknowledges_in_one_loop(town: Scene) -> None:
    """Frozen with its decisions made and not committed, while consent is taken back."""
    receiver = town.receiver()
    town.subscribe("reach", url=receiver.url)
    town.direct("p1", granted())
    only = town.worker("only", then="deliver.produced:freeze", session_ms=6_000)
    ready(town, only)
    only.arm()
    receiver.gate.clear()
    town.offer("reach", event(1))
    until(only.frozen)
    narrowing = take_back(town)
    assert town.answer(narrowing).state == "closing"
    only.thaw()
    until(lambda: receiver.got, why="for what had been decided before")
    until(lambda: len(town.told("acknowledgement")) > 1, why="for the acknowledgement")
    assert town.answer(narrowing).state == "closing", "said closed while a delivery was under way"
    receiver.gate.set()
    never_after(town, receiver, narrowing)
    town.offer("reach", event(2))
    until(lambda: town.told("withheld"))
    assert len(receiver.got) == 1
