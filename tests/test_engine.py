"""The delivery engine: as a step, round by round, against a log in memory; then as processes on a broker."""

import json
import queue
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import deliveries, projection
from connectors.adapter import Outcome, Read
from connectors.alert_rules import default
from connectors.engine import Engine, EngineSettings
from connectors.pending import WHOLE
from connectors.recovery import clock_skew_ms_max
from connectors.schedule import Schedule
from connectors.sender import Attempt, Result
from connectors.standing import Watch
from connectors.views import Views
from consent import Governance, default_policy
from schemas import codec
from schemas.errors import BrokenRecord, UnknownSchema
from tests.delivery_scene import (
    STAKEHOLDERS,
    Keys,
    Scene,
    event,
    grant_of,
    granted,
    outbound,
    revoked,
    scene,
    share_of,
    until,
)

SEND_MS = 1_000
MARGIN_MS = 100


class Memory:
    """The log as a list for each topic, in one partition, with a clock. It stands in for the broker."""

    def __init__(self) -> None:
        self.now = 1_790_000_000_000
        self.topics: dict[str, list[Read]] = {}
        self.committed: dict[tuple[str, int], int] = {}
        self.first: dict[str, int] = {}
        self.asked: list[tuple[str, int]] = []

    def write(self, topic: str, key: bytes | None, value: bytes | None) -> int:
        log = self.topics.setdefault(topic, [])
        log.append(Read(topic, 0, len(log), key, value, self.now))
        return len(log) - 1

    # History and Log
    def read(self, topic: str, partition: int, since_ms: int | None = None) -> Sequence[Read]:
        return [one for one in self.topics.get(topic, []) if since_ms is None or one.timestamp >= since_ms]

    def fetch(self, topic: str, partition: int, offsets: Sequence[int]) -> Mapping[int, Read]:
        log = self.topics.get(topic, [])
        return {at: log[at] for at in offsets if at < len(log) and log[at].value != b"expired"}

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        self.write(topic, key, value)

    def flush(self) -> None:
        return

    def end(self, topic: str, partition: int) -> int:
        return len(self.topics.get(topic, []))

    def trim(self, topic: str, partition: int, offset: int) -> None:
        """Asked for now; a frozen worker's asking may arrive at any time after."""
        self.asked.append((topic, offset))

    def delete(self) -> None:
        """What was asked for arrives."""
        for topic, offset in self.asked:
            self.first[topic] = max(offset, self.first.get(topic, 0))
        self.asked.clear()

    # what tests look at
    def told(self, kind: str) -> list[dict[str, Any]]:
        found = [deliveries.decode(one.value)[kind] for one in self.topics.get("deliveries", []) if one.value]
        return [one for one in found if one is not None]


class Sends:
    """A sender that sends when the test says so."""

    def __init__(self, memory: Memory) -> None:
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.begun: list[Attempt] = []
        self._memory = memory
        self._schedule = Schedule((1_000, 2_000), jitter=0)

    def submit(self, attempts: Sequence[Attempt]) -> None:
        self.begun += attempts

    def flying(self) -> set[tuple[str, int]]:
        return {one.ref for one in self.begun}

    def drop(self, stakeholder: str, partition: int) -> None:
        for one in self.begun:
            if one.stakeholder == stakeholder:
                one.dropped = True

    def end(self, outcome: Outcome, which: int = 0) -> Attempt:
        """One attempt ends so: its receipt is written, and the engine will hear of it."""
        attempt = self.begun.pop(which)
        at = self._memory.now
        next_at = None
        if outcome.state == "failed":
            next_at = self._schedule.next_at(attempt.number, at, random.Random(1), outcome.retry_after_ms)
            if next_at is None:
                outcome = Outcome("abandoned", outcome.code)
        envelope = attempt.outbound["envelope"]
        parcel = deliveries.Parcel(
            attempt.key, attempt.stakeholder, attempt.adapter, envelope["id"], envelope["participant"]
        )
        self._memory.write(
            "deliveries", b"", deliveries.receipt(parcel, attempt.number, outcome, at, next_at)
        )
        self.results.put(Result(attempt.ref, outcome, at, next_at))
        return attempt


class Round:
    """One transaction: nothing of it is in the log before `commit`."""

    def __init__(self, memory: Memory, positions: Mapping[tuple[str, int], int]) -> None:
        self.positions = positions
        self.offsets: dict[tuple[str, int], int] = {}
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self._memory = memory

    def produce(self, topic: str, key: bytes | None, value: bytes | None, partition: int) -> None:
        assert partition == 0
        self.records.append((topic, key, value))

    def offset(self, topic: str, partition: int, offset: int) -> None:
        self.offsets[topic, partition] = offset

    def applied(self, topic: str, partition: int) -> int:
        return len(self._memory.topics.get(topic, [])) - 1

    def commit(self) -> None:
        for record in self.records:
            self._memory.write(*record)


class World:
    """An engine and what the runner would do for it."""

    def __init__(
        self,
        memory: Memory | None = None,
        watch: Watch | None = None,
        views: Views | None = None,
        torn: int | None = None,
        **bounds: Any,
    ) -> None:
        """In: `torn`, after how many records of `pending` something is deleted while they are read."""
        self.memory = memory or Memory()
        self.sends = Sends(self.memory)
        self.owned = [(f"outbox.{one['id']}", 0) for one in STAKEHOLDERS]
        self.owned += [("views", 0)] if views else []
        keys = Keys()
        self.engine = Engine(
            EngineSettings("w", 1, SEND_MS, MARGIN_MS, **{"ahead_max": 0, **bounds}),
            self.sends,  # type: ignore[arg-type]
            self.memory,
            self.memory,
            partial(projection.idempotency_key, keys),
            Governance(),
            watch,
            lambda: self.memory.now,
            views,
            default().urgent,
        )
        self._seen: dict[str, int] = {}
        if memory is None:
            self.govern("policy", "policy", default_policy())
            for one in STAKEHOLDERS:
                self.govern("stakeholder", one["id"], one)
                self.subscribe(one["id"])
        self._apply("governance")
        self.own(torn)

    def own(self, torn: int | None = None) -> None:
        self.engine.assigned(self.owned)
        self._seen["consent"] = 0
        self._apply("consent")
        self._seen["pending"] = 0
        if torn is not None:
            self._apply("pending", torn)
            self.memory.delete()
        self._apply("pending")

    def _apply(self, topic: str, count: int | None = None) -> None:
        log = self.memory.topics.get(topic, [])
        start = max(self._seen.get(topic, 0), self.memory.first.get(topic, 0))
        end = len(log) if count is None else start + count
        for record in log[start:end]:
            self.engine.apply(record)
        self._seen[topic] = max(start, min(end, len(log)))

    def govern(self, kind: str, name: str, body: Mapping[str, Any]) -> int:
        value = {
            "kind": kind,
            "id": name,
            "at": self.memory.now,
            "by": "t",
            "body": json.dumps(body).encode(),
        }
        return self.memory.write("governance", b"", codec.encode("Governance", value))

    def subscribe(self, who: str, adapter: str = "webhook", **more: Any) -> int:
        body = {
            "stakeholder": who,
            "purpose": "care-coordination",
            "categories": ["contact"],
            "adapter": adapter,
            "settings": {},
            **more,
        }
        return self.govern("subscription", f"{who}-webhook", body)

    def direct(self, body: Mapping[str, Any], participant: str = "p1") -> int:
        value = {
            "id": f"d{len(self.memory.topics.get('consent', []))}",
            "participant": participant,
            "sender": "t",
            "recorded_at": self.memory.now,
            "type": body["type"],
            "body": json.dumps(body).encode(),
            "sealed": None,
        }
        return self.memory.write("consent", participant.encode(), codec.encode("Directive", value))

    def offer(
        self,
        number: int,
        participant: str = "p1",
        who: str = "reach",
        category: str = "contact.outreach",
        **share: Any,
    ) -> None:
        record = outbound(event(number, participant, category), share_of(f"{who}-webhook", **share))
        self.memory.write(f"outbox.{who}", participant.encode(), codec.encode("Outbound", record))

    def everybody(self, numbers: Iterable[int]) -> None:
        """So many people agree, and something about each is offered."""
        for number in numbers:
            self.direct(granted(), f"p{number}")
            self.offer(number, f"p{number}")

    def fails(self, times: int) -> None:
        """So often all that is tried fails, five seconds apart."""
        for _ in range(times):
            self.rounds(2)
            while self.sends.begun:
                self.sends.end(BAD)
            self.wait(5_000)

    def round(self, commit: bool = True) -> Round:
        """What the runner does in one turn."""
        self._apply("governance")
        self._apply("consent")
        held = self.engine.held()
        batch: list[Read] = []
        positions = {}
        for place in self.owned:
            log, start = self.memory.topics.get(place[0], []), self.memory.committed.get(place, 0)
            if place not in held:
                batch += log[start:]
                positions[place] = len(log)
            else:
                positions[place] = start
        out = Round(self.memory, positions)
        self.engine.step(batch, out)
        if commit:
            assert not out.records or batch or out.offsets, (
                "records in a transaction that no broker could refuse"
            )
            for place in {one[:2] for one in batch}:
                self.memory.committed[place] = positions[place]
            for place, at in out.offsets.items():
                assert at == positions[place], "an offset that was not real"
            out.commit()
            self.engine.committed()
        return out

    def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            self.round()

    def wait(self, ms: int) -> None:
        self.memory.now += ms

    def begun(self) -> list[str]:
        return [one.outbound["envelope"]["id"] for one in self.sends.begun]

    def left(self) -> dict[bytes | None, bytes | None]:
        """What `pending` comes to, for who can still read all of it."""
        kept = self.memory.topics.get("pending", [])[self.memory.first.get("pending", 0) :]
        last = {one.key: one.value for one in kept}
        return {key: value for key, value in last.items() if value is not None}


OK = Outcome("delivered", "http-200")
BAD = Outcome("failed", "http-500")


@pytest.fixture
def world() -> World:
    return World()


def test_permitted_then_and_now(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.rounds()
    [intent] = world.memory.told("intent")
    assert (intent["event"], intent["attempt"], intent["consent_offset"]) == ("e-1", 1, 0)
    assert intent["shares"][0]["grants"] == ["c1/g1"]
    assert world.begun() == ["e-1"]
    world.sends.end(OK)
    world.rounds()
    assert world.left() == {}
    assert not world.engine.due(world.memory.now)


def test_nothing_begins_before_its_intent_is_committed(world: World) -> None:
    world.direct(granted())
    world.round()
    world.offer(1)
    world.round(commit=False)
    assert world.begun() == []
    assert world.memory.told("intent") == []


def test_what_is_no_longer_permitted_is_withheld(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.direct(revoked())
    world.rounds()
    [withheld] = world.memory.told("withheld")
    assert withheld["reasons"] == [{"subscription": "reach-webhook", "reason": "revoked"}]
    assert withheld["consent_offset"] == 1
    assert world.memory.told("intent") == []
    assert world.left() == {}


def test_nor_is_more_permitted_than_then(world: World) -> None:
    for participant in ("p1", "p2"):
        world.direct(granted(), participant)
    world.offer(1, compartments=["subject"])
    world.offer(2, "p2", compartments=["clinical"])
    world.rounds()
    [intent] = world.memory.told("intent")
    assert intent["shares"][0]["compartments"] == ["subject"]
    [withheld] = world.memory.told("withheld")
    assert withheld["reasons"][0]["reason"] == "nothing-shareable"


def test_nor_more_than_now(world: World) -> None:
    world.direct(granted(compartments=["subject"]))
    world.offer(1)
    world.rounds()
    assert world.memory.told("intent")[0]["shares"][0]["compartments"] == ["subject"]


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.govern("retired", "reach-webhook", {"kind": "subscription"}),
        lambda world: world.subscribe("reach", purpose="treatment"),
        lambda world: (
            world.subscribe("shelter", stakeholder="shelter") and world.subscribe("reach", categories=[])
        ),
        lambda world: world.govern("retired", "reach", {"kind": "stakeholder"}),
    ],
)
def test_a_subscription_that_is_gone_takes_its_share_along(world: World, change: Any) -> None:
    world.direct(granted())
    world.offer(1)
    change(world)
    world.rounds()
    assert world.memory.told("intent") == []
    assert len(world.memory.told("withheld")) == 1
    assert world.left() == {}


def test_an_agreement_that_ended_withholds(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    ended = {
        **STAKEHOLDERS[1],
        "agreement": {"from": "2020-01-01T00:00:00Z", "until": "2021-01-01T00:00:00Z"},
    }
    world.govern("stakeholder", "reach", ended)
    world.rounds()
    assert world.memory.told("withheld")[0]["reasons"][0]["reason"] == "no-agreement"


def test_a_new_owner_acknowledges_before_it_decides_anything(world: World) -> None:
    """Whoever took something back has waited since the last owner went."""
    world.direct(granted())
    for number in range(5):
        world.offer(number)
    world.rounds()
    world.direct(revoked())
    heir = World(world.memory)
    heir.wait(10 * SEND_MS)
    heir.offer(9, "p2")
    before = len(world.memory.topics["deliveries"])
    assert set(heir.owned) == heir.engine.held(), "nothing new is taken in either"
    heir.round()
    [told] = world.memory.topics["deliveries"][before:]
    assert told.value is not None
    assert deliveries.decode(told.value)["acknowledgement"]["consent_offset"] == 1
    assert not heir.engine.held()
    heir.round()
    assert len(world.memory.told("withheld")) == 6


def test_deciding_ends_in_time_for_the_acknowledgement() -> None:
    """However long it takes to decide, a step goes on to its commit, and the rest comes in the next one."""
    world = World(choosing_ms_max=50, in_flight_max=10, held_bytes_max=0)
    for number in range(100):
        world.offer(number, f"p{number}")
    fetch = world.memory.fetch

    def slow(topic: str, partition: int, offsets: Sequence[int]) -> Mapping[int, Read]:
        world.wait(100)
        return fetch(topic, partition, offsets)

    world.memory.fetch = slow  # type: ignore[method-assign]
    world.round()  # in which it begins
    for rounds in range(1, 11):
        world.round()
        assert len(world.memory.told("withheld")) == 10 * rounds
        assert world.engine.due(world.memory.now) == (rounds < 10)


def test_acknowledges_after_the_commit_and_only_what_was_applied(world: World) -> None:
    world.round(commit=False)
    assert world.memory.told("acknowledgement") == []
    world = World()
    world.round()
    [first] = world.memory.told("acknowledgement")
    assert (first["consent_offset"], first["stakeholders"]) == (-1, ["outreach", "reach", "shelter"])
    world.rounds()
    assert len(world.memory.told("acknowledgement")) == 1, "nothing new, nothing said"
    world.direct(granted())
    assert not world.engine.due(world.memory.now), "not applied yet"
    world.round()
    assert world.memory.told("acknowledgement")[-1]["consent_offset"] == 0
    world.govern("policy", "policy", default_policy())
    world.round()
    assert world.memory.told("acknowledgement")[-1]["governance_offset"] == 7


def test_an_acknowledgement_is_backed_by_an_offset_of_every_outbox(world: World) -> None:
    """So that the broker has had its say on whether this worker still owns them."""
    world.round()
    world.direct(granted())
    out = world.round()
    assert set(out.offsets) == set(world.owned)


def test_a_retry_sends_a_real_offset(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.rounds()
    world.sends.end(BAD)
    world.round()
    world.wait(1_000)
    out = world.round()
    assert [one["attempt"] for one in world.memory.told("intent")] == [1, 2]
    assert out.offsets == {("outbox.reach", 0): 1}


def test_retries_are_decided_anew(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.rounds()
    first = world.sends.end(BAD)
    world.rounds()
    assert world.begun() == []
    world.wait(999)
    world.rounds()
    assert world.begun() == []
    world.wait(1)
    world.rounds()
    second = world.sends.end(BAD)
    assert (second.key, second.number) == (first.key, 2)
    world.direct(revoked())
    world.wait(2_000)
    world.rounds()
    assert world.begun() == []
    assert world.memory.told("withheld")[0]["key"] == first.key
    assert world.left() == {}


def test_gives_up_after_the_last_attempt(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.offer(2)
    world.rounds()
    for pause in (1_000, 2_000):
        world.sends.end(BAD)
        world.rounds()
        world.wait(pause)
        world.rounds()
    world.sends.end(BAD)
    world.rounds()
    assert world.begun() == ["e-2"], "what was given up holds up nothing behind it"


def test_order_is_kept_while_one_waits_and_nothing_else_does(world: World) -> None:
    for participant in ("p1", "p2"):
        world.direct(granted(), participant)
    for number in (1, 2):
        world.offer(number, "p1")
    world.offer(3, "p2")
    world.offer(4, "p1", who="shelter")
    world.rounds()
    assert sorted(world.begun()) == ["e-1", "e-3", "e-4"]
    world.sends.end(BAD, world.begun().index("e-1"))
    for _ in range(2):
        world.sends.end(OK)
    world.rounds()
    assert world.begun() == [], "the second one of p1 to reach must not overtake"
    world.wait(1_000)
    world.rounds()
    assert world.begun() == ["e-1"]
    world.sends.end(OK)
    world.rounds()
    assert world.begun() == ["e-2"]


def test_the_operator_is_told_once_that_a_recipient_stands_still(world: World) -> None:
    with structlog.testing.capture_logs() as said:
        world.everybody(range(1, 9))
        world.rounds()
        while world.sends.begun:
            world.sends.end(BAD)
        world.rounds()
    told = {"stakeholder": "reach", "adapter": "webhook", "code": "http-500"}
    assert [one for one in said if one["event"] == "recipient stands still"] == [
        {"event": "recipient stands still", "log_level": "warning", **told}
    ]


def test_a_stuck_recipient_is_paused_and_delays_no_other() -> None:
    world = World(in_flight_max=2, waiting_records_max=5)
    world.everybody(range(12))
    world.rounds()
    assert world.engine.held() == {("outbox.reach", 0)}
    assert len(world.begun()) == 2
    world.offer(50, "p1", who="shelter")
    world.rounds()
    assert "e-50" in world.begun()


ALERTS = {"stakeholder": "reach", "purpose": "care-coordination", "categories": ["contact"]}
ALERTS |= {"adapter": "alerts"}


@pytest.mark.parametrize("heir", [False, True])
def test_a_webhook_that_is_down_for_long_keeps_no_alert_from_the_same_organisation(heir: bool) -> None:
    """However much waits for it, for the next owner too; up to a bound, for memory's sake."""
    bounds = {"in_flight_max": 4, "waiting_records_max": 10, "standing_records_max": 60}
    world = World(**bounds)
    world.sends._schedule = Schedule(jitter=0)
    world.govern("subscription", "reach-alerts", ALERTS)
    world.everybody(range(40))
    world.fails(12)
    assert len(world.left()) == 40, "all of them wait, though that is more than usual"
    if heir:
        world = World(world.memory, **bounds)
        world.round()
    alert = outbound(event(50, "p1"), share_of("reach-alerts"))
    world.memory.write("outbox.reach", b"p1", codec.encode("Outbound", alert))
    world.rounds()
    assert ("alerts", "e-50") in [(one.adapter, one.outbound["envelope"]["id"]) for one in world.sends.begun]
    for number in range(51, 90):
        world.offer(number, f"p{number % 40}")
    world.rounds()
    assert world.engine.held() == {("outbox.reach", 0)}
    world.offer(99, who="shelter")
    world.rounds()
    assert "e-99" in world.begun()


def test_who_works_again_is_caught_up_with_while_alerts_go_on(world: World) -> None:
    world = World(in_flight_max=4, waiting_records_max=10)
    world.sends._schedule = Schedule(jitter=0)
    world.govern("subscription", "reach-alerts", ALERTS)
    world.everybody(range(40))
    world.fails(8)
    world.wait(3_600_000)
    world.rounds()
    world.sends.end(OK)
    world.rounds()
    assert not world.engine.held(), "more than ten wait still"
    while world.left():
        world.wait(3_600_000)
        world.rounds()
        while world.sends.begun:
            world.sends.end(OK)
            world.round()
    for number in range(100, 140):
        world.offer(number, f"p{number - 100}")
    world.rounds()
    assert world.engine.held() == {("outbox.reach", 0)}, "the usual bound holds again"


def test_a_recipient_that_is_down_for_three_days_gets_everything_once_and_in_order(world: World) -> None:
    world.sends._schedule = Schedule(jitter=0)
    for participant in ("p1", "p2"):
        world.direct(granted(), participant)
    for number in (1, 2, 3):
        world.offer(number)
    world.offer(4, "p2")
    world.offer(5, who="shelter")
    world.rounds()
    world.sends.end(OK, world.begun().index("e-5"))
    up_at = world.memory.now + 3 * 24 * 3_600_000
    tries: list[Attempt] = []
    while world.memory.now < up_at:
        while world.sends.begun:
            tries.append(world.sends.end(BAD))
        world.wait(5 * 60_000)
        world.rounds(2)
    world.offer(6, who="shelter")
    world.rounds(2)
    assert world.begun()[-1] == "e-6", "nobody else waits for it"
    assert len(tries) >= 10
    assert {one.key for one in tries} == {tries[0].key, tries[1].key}, "what follows in order is not tried"
    assert len(tries) <= 2 * len(Schedule().pauses_ms), "more and more seldom"
    arrived: list[str] = []
    while world.left() and world.memory.now < up_at + 3 * 24 * 3_600_000:
        while world.sends.begun:
            attempt = world.sends.end(OK)
            arrived.append(attempt.outbound["envelope"]["id"])
            world.rounds(2)
        world.wait(5 * 60_000)
        world.rounds(2)
    mine = [one for one in arrived if one in ("e-1", "e-2", "e-3", "e-4")]
    assert sorted(mine) == ["e-1", "e-2", "e-3", "e-4"]
    assert [one for one in mine if one != "e-4"] == ["e-1", "e-2", "e-3"]
    assert {one["outcome"] for one in world.memory.told("receipt")} == {"failed", "delivered"}, (
        "none given up"
    )


def test_a_result_frees_room(world: World) -> None:
    world = World(in_flight_max=1)
    world.everybody(range(3))
    for number in range(3):
        world.rounds()
        assert world.begun() == [f"e-{number}"]
        assert world.engine.due(world.memory.now) is False
        world.sends.end(OK)
        assert world.engine.due(world.memory.now)
    world.rounds()
    assert world.left() == {}


def test_who_is_quick_has_as_many_more_committed_as_it_takes_in_a_round() -> None:
    """And no more, so that behind somebody slow nothing waits with its intent open."""
    world = World(in_flight_max=2, ahead_max=3)
    world.everybody(range(40))
    world.rounds()
    open_intents = []
    for ended in (0, 1, 2, 4, 5, 1, 0, 1, 1, 1):
        for _ in range(ended):
            world.sends.end(OK)
        world.rounds()
        open_intents.append(len(world.begun()))
    quick, slower = [2, 3, 4, 5, 5, 5, 5], [4, 3, 3]
    assert open_intents == quick + slower, "2, and what it takes, at most 3 of that"


def test_who_fails_has_nothing_more_committed() -> None:
    world = World(in_flight_max=2, ahead_max=3)
    world.everybody(range(8))
    world.rounds()
    for _ in range(2):
        world.sends.end(Outcome("failed", "http-500"))
        world.sends.end(Outcome("failed", "http-500"))
        world.rounds()
        assert len(world.begun()) == 2


def test_what_is_urgent_is_in_the_next_round_however_much_waits() -> None:
    """Behind a full stock, and with all other room taken; but never before its lane, nor without consent."""
    world = World(in_flight_max=4, waiting_records_max=10_000)
    world.everybody(range(300))
    world.rounds()
    assert len(world.begun()) == 4
    for number in (7, 250, 299):
        world.offer(1_000 + number, f"p{number}", category="contact.custody-booking")
    world.direct(revoked(), "p250")
    world.round()
    assert world.begun()[4:] == ["e-7", "e-299"], "what came before it about the same person goes first"
    for _ in range(2):
        world.sends.end(OK, 4)
    world.round()
    assert world.begun()[4:] == ["e-1007", "e-1299"]
    assert [one["key"] for one in world.memory.told("withheld")] != []
    assert len(world.begun()) == 6, "and of the others no more than before"


def test_what_leaves_in_files_has_room_for_one_of_them_and_no_more_however_urgent() -> None:
    world = World()
    world.subscribe("reach", "sftp")
    world.everybody(range(520))
    world.rounds()
    assert len(world.begun()) == 500
    world.offer(1_600, "p519", category="contact.custody-booking")
    world.rounds()
    assert len(world.begun()) == 500


def test_alerts_have_all_room_from_the_start_and_urgent_ones_more() -> None:
    """None waits for its turn with its intent open: what comes together is kept together."""
    world = World(in_flight_max=2, ahead_max=3, urgent_max=1)
    world.subscribe("reach", "alerts")
    world.everybody(range(10))
    world.rounds()
    assert len(world.begun()) == 5
    for number in (8, 9):
        world.offer(1_000 + number, f"p{number}", category="contact.custody-booking")
    world.rounds()
    assert len(world.begun()) == 6


def test_the_next_owner_knows_what_is_urgent_of_what_it_finds_waiting() -> None:
    world = World(in_flight_max=4, urgent_max=0)
    world.everybody(range(40))
    world.rounds()
    world.offer(1_039, "p39", category="contact.custody-booking")
    world.rounds()
    assert "e-39" not in world.begun(), "there was no room"
    heir = World(world.memory, in_flight_max=4)
    heir.rounds()
    assert heir.begun()[0] == "e-39", "what came before it about the same person goes first"
    heir.sends.end(OK, 0)
    heir.round()
    assert heir.begun()[-1] == "e-1039"


def test_gone_disables_the_recipient_also_for_the_next_owner(world: World) -> None:
    world.everybody(range(2))
    world.rounds()
    world.sends.end(Outcome("refused", "http-410", disable=True))
    world.rounds()
    world.sends.end(OK)
    world.offer(9, "p1")
    world.rounds()
    assert world.begun() == []
    heir = World(world.memory)
    heir.rounds()
    assert heir.begun() == []
    heir.wait(10)
    heir.subscribe("reach")
    heir.rounds()
    assert heir.begun() == ["e-9"], "its subscription was written anew"


def test_an_heir_waits_out_the_deadline_of_what_is_in_doubt(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.rounds()
    [attempt] = world.sends.begun
    heir = World(world.memory)
    heir.rounds()
    assert heir.begun() == [], "the old owner may still be sending"
    heir.wait(SEND_MS + MARGIN_MS)
    heir.rounds()
    [again] = heir.sends.begun
    assert (again.key, again.number) == (attempt.key, 2)


def test_an_heir_does_not_send_again_what_is_not_permitted_any_more(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.rounds()
    world.direct(revoked())
    heir = World(world.memory)
    heir.wait(SEND_MS + MARGIN_MS)
    heir.rounds()
    assert heir.begun() == []
    assert len(world.memory.told("withheld")) == 1
    assert world.left() == {}


def test_an_heir_believes_receipts(world: World) -> None:
    world.everybody(range(3))
    world.rounds()
    world.sends.end(OK)
    world.sends.end(BAD)
    heir = World(world.memory)
    heir.rounds()
    assert heir.begun() == []
    heir.wait(1_000)
    heir.rounds()
    assert heir.begun() == ["e-1"], "what failed is due as its receipt says"
    heir.wait(SEND_MS)
    heir.rounds()
    assert heir.begun() == ["e-1", "e-2"], "and of e-0 nothing is left but an entry to remove"
    heir.sends.end(OK)
    heir.sends.end(OK)
    heir.rounds()
    assert world.left() == {}


def test_a_take_over_reads_what_waits_and_not_what_was(world: World) -> None:
    world = World(pending_records_max=20)
    world.everybody(range(5))
    world.rounds()
    for number in range(5, 305):
        world.offer(number, f"p{number % 5}")
        world.rounds(2)
        world.sends.end(OK)
        world.rounds(1)
        world.memory.delete()
    kept = len(world.memory.topics["pending"]) - world.memory.first["pending"]
    assert len(world.memory.topics["pending"]) > 600
    assert kept < 50, "two for each that waits, and by what it may grow"
    before = world.left()
    heir = World(world.memory)
    heir.wait(10 * SEND_MS)
    heir.rounds()
    assert len(heir.begun()) == 5
    assert set(world.left()) == set(before)


def test_nothing_is_deleted_before_what_replaces_it_stands() -> None:
    world = World(pending_records_max=2)
    world.direct(granted())
    world.offer(1)
    world.rounds(2)
    world.sends.end(BAD)
    world.round()
    assert world.engine.due(world.memory.now), "what waits is to be written anew"
    world.round(commit=False)
    assert world.memory.asked == []
    world.engine.revoked(world.owned)
    world.own()
    assert not world.memory.asked
    world.rounds(2)
    [(topic, before)] = world.memory.asked
    assert topic == "pending"
    assert [one.key for one in world.memory.topics["pending"][before:]].count(WHOLE) == 1
    world.memory.delete()
    heir = World(world.memory)
    heir.wait(10 * SEND_MS)
    heir.rounds()
    assert heir.begun() == ["e-1"]


def test_who_has_not_all_outboxes_of_a_partition_deletes_nothing() -> None:
    """Somebody else's entries stand in the same partition, and only he knows which of them still count."""
    world = World(pending_records_max=2)
    world.govern("stakeholder", "late", {**STAKEHOLDERS[1], "id": "late"})
    world.direct(granted())
    for number in range(10):
        world.offer(number)
        world.rounds()
        while world.sends.begun:
            world.sends.end(OK)
    world.rounds()
    assert world.memory.asked == []
    assert WHOLE not in {one.key for one in world.memory.topics["pending"]}
    world.engine.revoked(world.owned)
    world.owned.append(("outbox.late", 0))
    world.own()
    world.rounds()
    assert world.memory.asked, "now all are its own"


def test_somebody_new_between_asking_for_the_end_and_writing_stops_it() -> None:
    world = World(pending_records_max=2)
    world.direct(granted())
    world.offer(1)
    world.rounds(2)
    world.sends.end(BAD)
    world.round()
    assert world.engine.due(world.memory.now), "it has asked for the end"
    world.govern("stakeholder", "late", {**STAKEHOLDERS[1], "id": "late"})
    world.rounds()
    assert world.memory.asked == []


def test_who_wants_nothing_more_is_written_anew_too() -> None:
    world = World(pending_records_max=2)
    for number in range(3):
        world.direct(granted(), f"p{number}")
    world.offer(0, "p0")
    world.rounds()
    world.sends.end(Outcome("refused", "http-410", disable=True))
    world.rounds()
    assert world.memory.asked
    world.memory.delete()
    heir = World(world.memory)
    heir.offer(1, "p1")
    heir.rounds()
    assert heir.begun() == []


def test_an_attempt_long_in_doubt_is_not_looked_for_by_every_heir(world: World) -> None:
    """Its receipt was looked for once, long after the deadline; later heirs need not read so far back."""
    world.direct(granted())
    world.offer(1)
    world.rounds()
    [attempt] = world.sends.begun
    world.subscribe("reach", settings={"paused": True})
    asked: list[int | None] = []
    read = world.memory.read

    def noted(topic: str, partition: int, since_ms: int | None = None) -> Sequence[Read]:
        asked.append(since_ms)
        return read(topic, partition, since_ms)

    world.memory.read = noted  # type: ignore[method-assign]
    since = world.memory.now - clock_skew_ms_max
    for wait_ms, looked in (
        (10, [since]),
        (10 * SEND_MS + clock_skew_ms_max, [since] * 2),
        (10, [since] * 2),
    ):
        world.wait(wait_ms)
        World(world.memory).rounds()
        assert asked == looked
    heir = World(world.memory)
    heir.subscribe("reach")
    heir.rounds()
    [again] = heir.sends.begun
    assert (again.key, again.number) == (attempt.key, 2)


def test_what_this_process_still_sends_is_not_begun_twice(world: World) -> None:
    """After an aborted transaction everything is assigned again, while a send goes on."""
    world.direct(granted())
    world.offer(1)
    world.offer(2)
    world.rounds()
    world.engine.revoked(world.owned)
    assert world.sends.begun[0].dropped
    world.own()
    world.wait(10 * SEND_MS)
    world.rounds()
    assert world.begun() == ["e-1"]
    world.sends.end(OK)
    world.rounds()
    assert world.begun() == ["e-2"]


def test_after_an_abort_nothing_is_lost_or_doubled(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.round(commit=False)
    world.engine.revoked(world.owned)
    world.own()
    world.rounds()
    assert world.begun() == ["e-1"]
    assert len(world.memory.told("intent")) == 1


def test_an_heir_fetches_what_waits_by_position(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.offer(2)
    world.rounds()
    world.sends.end(OK)
    heir = World(world.memory)
    heir.rounds()
    assert heir.begun() == ["e-2"]


def test_what_the_outbox_no_longer_has_is_given_up(world: World) -> None:
    world.direct(granted())
    world.offer(1)
    world.offer(2)
    world.rounds()
    world.sends.end(OK)
    log = world.memory.topics["outbox.reach"]
    log[1] = log[1]._replace(value=b"expired")
    heir = World(world.memory)
    heir.rounds()
    assert [(one["outcome"], one["code"]) for one in world.memory.told("receipt")][1:] == [
        ("abandoned", "outbox-expired")
    ]
    assert world.left() == {}


def test_memory_for_waiting_records_is_bounded() -> None:
    world = World(in_flight_max=1, held_bytes_max=0)
    world.everybody(range(4))
    for number in range(4):
        world.rounds()
        assert world.begun() == [f"e-{number}"], "fetched again, since it was not kept"
        world.sends.end(OK)


def test_two_subscriptions_are_one_delivery(world: World) -> None:
    extra = {
        "stakeholder": "reach",
        "purpose": "legal-coordination",
        "categories": ["contact"],
        "adapter": "webhook",
    }
    world.govern("subscription", "reach-legal", extra)
    both = ["care-coordination", "legal-coordination"]
    world.direct(granted(purposes=both))
    legal = share_of("reach-legal", purpose="legal-coordination", compartments=["occurrence"])
    care = share_of("reach-webhook", compartments=["subject"])
    record = outbound(event(1), care, legal)
    world.memory.write("outbox.reach", b"p1", codec.encode("Outbound", record))
    world.rounds()
    [attempt] = world.sends.begun
    assert [one.purpose for one in attempt.shares] == ["legal-coordination", "care-coordination"]
    assert projection.permitted(attempt.shares) == {"subject", "occurrence"}


def test_one_delivery_for_each_adapter(world: World) -> None:
    world.govern(
        "subscription",
        "reach-alerts",
        {
            "stakeholder": "reach",
            "purpose": "care-coordination",
            "categories": ["contact"],
            "adapter": "alerts",
        },
    )
    world.direct(granted())
    record = outbound(event(1), share_of("reach-webhook"), share_of("reach-alerts"))
    world.memory.write("outbox.reach", b"p1", codec.encode("Outbound", record))
    world.rounds()
    assert sorted(one.adapter for one in world.sends.begun) == ["alerts", "webhook"]
    assert len({one.key for one in world.sends.begun}) == 2


def test_a_record_under_anothers_key_stops_the_worker(world: World) -> None:
    record = outbound(event(1), share_of("reach-webhook"))
    world.round()
    world.memory.write("outbox.reach", b"p2", codec.encode("Outbound", record))
    with pytest.raises(BrokenRecord):
        world.round()


@pytest.mark.parametrize("value", [None, b"", b"not avro", b"\0\0\0\xff\xff future"])
@pytest.mark.parametrize("topic", ["outbox.reach", "consent", "governance"])
def test_what_only_the_hub_writes_and_cannot_be_read_stops_the_worker(
    world: World, topic: str, value: bytes | None
) -> None:
    """It may be a revocation, or hide what has to leave: nothing is decided past it."""
    world.direct(granted())
    world.round()
    world.memory.write(topic, b"p1", value)
    world.offer(1)
    with pytest.raises((BrokenRecord, UnknownSchema)):
        world.round()
    assert world.begun() == []


def test_a_directive_under_anothers_key_stops_the_worker(world: World) -> None:
    world.direct(granted())
    stray = world.memory.topics["consent"][0]
    world.memory.write("consent", b"p2", stray.value)
    with pytest.raises(BrokenRecord):
        world.round()


def test_a_narrower_grant_is_found_by_the_state_not_the_record(world: World) -> None:
    world.direct(granted(recipients=["shelter"]))
    world.offer(1)
    world.rounds()
    assert world.memory.told("withheld")[0]["reasons"][0]["reason"] == "no-consent"
    assert grant_of(["shelter"])["recipients"] == ["shelter"]


ACTS = st.sampled_from(
    ["offer", "grant", "revoke", "round", "abort", "ok", "fail", "wait", "heir", "torn", "deleted"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ACTS, st.integers(0, 2)), max_size=60))
def test_whatever_happens_nothing_is_lost_doubled_or_begun_behind_its_revocation(
    plan: list[tuple[str, int]],
) -> None:
    """The laws of the engine, on random histories with aborted rounds, failures and changes of owner."""
    world, offered, consents = World(pending_records_max=3), 0, [0, 0, 0]
    for what, who in plan:
        participant = f"p{who}"
        if what == "offer":
            offered += 1
            world.offer(offered, participant, grants=[f"c{consents[who]}/g1"])
        elif what == "grant":
            consents[who] += 1
            world.direct(granted(f"c{consents[who]}"), participant)
        elif what == "revoke":
            world.direct(revoked(f"c{consents[who]}"), participant)
        elif what == "round":
            world.round()
        elif what == "abort":
            world.round(commit=False)
            world.engine.revoked(world.owned)
            world.own()
        elif what in ("ok", "fail") and world.sends.begun:
            world.sends.end(OK if what == "ok" else BAD, who % len(world.sends.begun))
        elif what == "wait":
            world.wait(700)
        elif what == "heir":
            world = World(world.memory, pending_records_max=3)
        elif what == "torn":
            world = World(world.memory, torn=2 * who, pending_records_max=3)
        elif what == "deleted":
            world.memory.delete()
    for _ in range(6 * offered + 10):
        world.rounds(2)
        while world.sends.begun:
            world.sends.end(OK)
        world.wait(2_000)
    check_laws(world.memory, offered)
    assert world.left() == {}


def check_laws(memory: Memory, offered: int) -> None:
    known, delivered, withheld, order = -1, [], [], {}
    for record in memory.topics.get("deliveries", []):
        assert record.value is not None
        value = deliveries.decode(record.value)
        if value["acknowledgement"]:
            known = max(known, value["acknowledgement"]["consent_offset"])
        elif value["intent"]:
            assert value["intent"]["consent_offset"] >= known, "checked at less than was acknowledged"
        elif value["withheld"]:
            withheld.append(value["withheld"]["event"])
        elif value["receipt"]["outcome"] in ("delivered", "abandoned") or value["receipt"]["next_at"] is None:
            one = value["receipt"]
            delivered.append(one["event"])
            order.setdefault(one["participant"], []).append(int(one["event"][2:]))
    assert len(delivered) == len(set(delivered)), "delivered twice"
    assert len(withheld) == len(set(withheld))
    assert not set(delivered) & set(withheld)
    assert len(delivered) + len(withheld) == offered, "lost"
    assert all(numbers == sorted(numbers) for numbers in order.values()), "out of order"


@pytest.fixture
def town(empty_kafka: str) -> Iterator[Scene]:
    with scene(empty_kafka, partitions=2) as made:
        yield made


@pytest.mark.broker
def test_killed_in_the_middle_nothing_is_lost_and_repeats_carry_their_key(town: Scene) -> None:
    receiver = town.receiver()
    town.subscribe("reach", url=receiver.url)
    people = [f"p{number}" for number in range(12)]
    for person in people:
        town.direct(person, granted())
    for number in range(120):
        town.offer("reach", event(number, people[number % 12]))
    first = town.worker("w", crash="deliver.delivered:kill:40", in_flight_max=8, pending_records_max=20)
    until(lambda: first.code() is not None, why="for the worker to die")
    town.worker("w", in_flight_max=8, pending_records_max=20)
    until(lambda: len(receiver.counts()) == 120, why="for every delivery")
    until(lambda: sum(one["outcome"] == "delivered" for one in town.told("receipt")) == 120)
    assert max(receiver.counts().values()) <= 2
    assert len({body["id"] for _, _, body, _ in receiver.got}) == 120
    until(lambda: min(offset for _, offset, _ in town.read("pending")) > 0, why="for it to be cut off")
    assert len(town.read("pending")) < 120, "of more than 240 that were written"
    town.check_order()


@pytest.mark.broker
def test_a_recipient_that_hangs_pauses_its_own_outbox_and_no_other(empty_kafka: str) -> None:
    with scene(empty_kafka) as town:
        stuck, well = town.receiver(), town.receiver()
        town.subscribe("reach", url=stuck.url)
        town.subscribe("shelter", url=well.url)
        people = [f"p{number}" for number in range(8)]
        for person in people:
            town.direct(person, granted())
        stuck.gate.clear()
        town.send_ms_max = 500
        bounds = {"in_flight_max": 2, "waiting_records_max": 5, "standing_records_max": 20}
        town.worker("w", pauses_ms=(200,) * 200, **bounds)
        for number in range(20):
            town.offer("reach", event(number, people[number % 8]))
        until(lambda: stuck.got)
        until(lambda: len(town.read("pending")) >= 20, why="for all of them to wait")
        before = town.committed("reach")
        for number in range(20, 60):
            town.offer("reach", event(number, people[number % 8]))
            town.offer("shelter", event(number, people[number % 8]))
        until(lambda: len(well.counts()) == 40, why="for the others not to be held up")
        assert town.committed("reach") == before, "more was taken in than there is room for"
        stuck.gate.set()
        until(lambda: len(stuck.counts()) == 60, why="for the backlog")
        town.check_order()


@pytest.mark.broker
def test_revocations_under_load_close_and_stay_closed(town: Scene) -> None:
    """Whoever is told `closed` hears of no delivery that began later, while others' deliveries go on."""
    receiver = town.receiver()
    town.subscribe("reach", url=receiver.url)
    people = [f"p{number}" for number in range(30)]
    for person in people:
        town.direct(person, granted())
    town.worker("w", in_flight_max=4)
    for number in range(300):
        town.offer("reach", event(number, people[number % 30]))
    until(lambda: receiver.got)
    from connectors.fence import Narrowing  # noqa: PLC0415

    closed: dict[str, float] = {}
    names = {projection.name(Keys(), "reach", "participant", person): person for person in people}
    narrowings = {}
    for person in people[::3]:
        partition, offset = town.direct(person, revoked())
        narrowings[person] = Narrowing.of_directive(partition, offset, person, revoked())
    while len(closed) < len(narrowings):
        for person, narrowing in narrowings.items():
            if person not in closed and town.answer(narrowing).state == "closed":
                closed[person] = time.monotonic()
    until(lambda: len(town.told("receipt")) + len(town.told("withheld")) >= 300)
    for began, _, body, _ in receiver.got:
        person = names[body["participant"]]
        assert began < closed.get(person, float("inf")), "a delivery began after the fence had closed"
    kept = [person for person in people if person not in closed]
    got = {body["id"] for _, _, body, _ in receiver.got if names[body["participant"]] in kept}
    assert len(got) == 10 * len(kept), "what nobody took back was delivered, all of it"
    town.check_order()
