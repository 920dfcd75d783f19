"""Reconsider: what becomes allowed later is asked again, once, where somebody would get something."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import default_policy, fold
from schemas import codec, instant
from schemas.topics import DAY_MS, partition_of
from streams import reconsider, topology
from streams.enforce import Enforce
from streams.errors import Corrupt, Stalled
from streams.lookup import Lookup
from streams.past import Past, Traits, starts
from streams.reconsider import Place, Reconsider
from tests.streams_kit import Cluster, until, working
from tests.streams_scene import PARTITIONS, Sink, directive, event, governance, grant, now_ms, record

PERSON = "p-1"
TRAITS = Traits("contact", "contact.custody-booking", (), "jail", ("subject",))


# -- the derivation, pure ----------------------------------------------------------------


def past(consent: int = 5, rules: int = 5, at: int = 1_000, occurred_at: int = 0) -> Past:
    made = Past(TRAITS, "contact", 0, occurred_at)
    made.decided(
        {
            "id": "d-x",
            "cause": "first",
            "at": at,
            "consent_offset": consent,
            "governance_offset": rules,
            "outcomes": [],
        }
    )
    return made


@pytest.mark.parametrize(
    ("widened", "rules", "begins", "cause"),
    [
        (5, 5, [], None),
        (6, 5, [], "directive"),
        (5, 6, [], "governance"),
        (5, 5, [1_000], None),  # in force when it was decided
        (5, 5, [1_001], "clock"),
        (5, 5, [2_000], "clock"),  # both ends of a period belong to it
        (5, 5, [2_001], None),
    ],
)
def test_it_is_asked_again_only_after_something_that_came_later(
    widened: int, rules: int, begins: list[int], cause: str | None
) -> None:
    assert past().cause(widened, rules, begins, 2_000, 1) == cause


def test_it_is_not_asked_again_beyond_the_policys_reach() -> None:
    assert past().cause(6, 5, [], DAY_MS, 1) == "directive"
    assert past().cause(6, 5, [], DAY_MS + 1, 1) is None
    assert past().cause(6, 5, [], 2_000, 0) is None


def test_one_question_at_a_time() -> None:
    one = past()
    one.waiting = True
    assert one.cause(6, 5, [], 2_000, 1) is None
    answer = {
        "id": "d-x-0-17",
        "cause": "reconsider",
        "at": 2_000,
        "consent_offset": 6,
        "governance_offset": 5,
    }
    one.decided({**answer, "outcomes": []})
    assert one.cause(6, 5, [], 2_000, 1) is None
    assert one.cause(7, 5, [], 2_000, 1) == "directive"
    one.asked = 18  # as a predecessor left it
    assert one.cause(7, 5, [], 2_000, 1) is None
    one.decided({**answer, "id": "d-x-0-18", "outcomes": []})
    assert one.cause(7, 5, [], 2_000, 1) == "directive"


def permit(stakeholder: str) -> dict[str, str]:
    return {"stakeholder": stakeholder, "effect": "permit"}


@pytest.mark.parametrize(
    ("withheld_at", "had"),
    [
        ((5, 5), {"clinic"}),
        ((7, 5), {"clinic"}),
        ((4, 5), {"clinic", "harbor"}),
        ((5, 4), {"clinic", "harbor"}),
    ],
)
def test_what_was_withheld_was_not_had_unless_it_was_permitted_after_that(
    withheld_at: tuple[int, int], had: set[str]
) -> None:
    one = past()
    one.decided(
        {
            "id": "d-x",
            "cause": "first",
            "at": 0,
            "consent_offset": 5,
            "governance_offset": 5,
            "outcomes": [permit("harbor"), permit("clinic")],
        }
    )
    one.withheld("harbor", *withheld_at)
    assert set(one.had) == had


def test_what_starts_is_read_off_the_state() -> None:
    body = grant("c-1", starts_at=5_000)
    order = {"id": "o-1", "recipient": "da", "categories": ["court"], "starts_at": instant.format(7_000)}
    order |= {"expires_at": instant.format(9_000), "subpoena": True}
    assert starts(fold([body, {"type": "order-filed", "order": order}])) >= {5_000, 7_000}


# -- the step ----------------------------------------------------------------


class Log:
    """The log in memory: reconsider and enforce take turns on it until neither has anything to do."""

    def __init__(self) -> None:
        self.events: dict[Place, bytes] = {}
        self.topics: dict[str, list[tuple[bytes | None, bytes]]] = {}
        self.written: dict[str, list[int]] = {}
        self.rules = list(governance())
        self.answered = 0
        self.copied: list[tuple[str, int]] = []
        self.now = now_ms()
        self.enforce = Enforce(lambda: self.now, PARTITIONS)
        self.enforce.assigned([("contact", 0)])
        for offset, change in enumerate(self.rules):
            self.enforce.apply(record("governance", codec.encode("Governance", change), offset=offset))
        self.stage = self.fresh()

    def read(self, places: Iterable[Place]) -> Mapping[Place, bytes]:
        return {place: self.events[place] for place in places}

    def fresh(self, *, whole: bool = False) -> Reconsider:
        """The stage as a new owner has it, in one of many orders: what is recent enough to matter, and all
        that is not `recent`. With `whole`, everything from its beginning.
        """
        stage = Reconsider(self, lambda: self.now)
        stage.assigned([("clock", 0)])
        for offset, change in enumerate(self.rules):
            stage.apply(record("governance", codec.encode("Governance", change), offset=offset))
        since = stage.since()
        recent = () if whole else topology.STAGES["reconsider"].recent
        for topic in ("deliveries", "reconsider", "decisions", "consent"):
            for offset, (key, value) in enumerate(self.topics.get(topic, [])):
                if topic not in recent or self.written[topic][offset] >= since:
                    stage.apply(record(topic, value, key, offset))
        return stage

    def append(self, topic: str, name: str, value: dict[str, Any], participant: str = PERSON) -> int:
        entries = self.topics.setdefault(topic, [])
        entries.append((participant.encode(), codec.encode(name, value)))
        self.written.setdefault(topic, []).append(self.now)
        offset = len(entries) - 1
        entry = record(topic, entries[-1][1], entries[-1][0], offset)
        if topic in ("consent", "decisions", "deliveries"):
            self.stage.apply(entry)
        if topic == "consent":
            self.enforce.apply(entry)
        return offset

    def say(self, body: dict[str, Any], participant: str = PERSON) -> None:
        name = f"d-{len(self.topics.get('consent', []))}"
        self.append("consent", "Directive", directive(participant, body, name), participant)

    def govern(self, kind: str, name: str, body: dict[str, Any]) -> None:
        change = {"kind": kind, "id": name, "at": 0, "by": "test", "body": json.dumps(body).encode()}
        self.rules.append(change)
        entry = record("governance", codec.encode("Governance", change), offset=len(self.rules) - 1)
        self.enforce.apply(entry)
        self.stage.apply(entry)

    def decide(self, topic: str, value: bytes, key: bytes, offset: int) -> list[str]:
        """Lets enforce decide; out: to whom it was copied."""
        sink = Sink(known={("consent", 0): len(self.topics.get("consent", [])) - 1})
        self.enforce.step([record(topic, value, key, offset)], sink)
        for decision in sink.of("decisions"):
            self.append("decisions", "Decision", decision, decision["event"]["participant"])
        return [name.removeprefix("outbox.") for name in sink.topics() if name.startswith("outbox.")]

    def publish(self, number: int, **more: Any) -> list[str]:
        more = {"occurred_at": self.now - 60_000, "admitted_at": self.now, **more}
        value = codec.encode("Event", event(more.pop("participant", PERSON), number, **more))
        self.events["contact", 0, number] = value
        return self.decide("contact", value, PERSON.encode(), number)

    def ask(self, rung: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """One step of the stage; out: what it asked."""
        sink = Sink()
        self.stage.step([record("clock", codec.encode("Clock", one)) for one in rung or []], sink)
        asked = sink.of("reconsider")
        for one in asked:
            self.append("reconsider", "Reconsider", one)
        return asked

    def answer(self) -> list[str]:
        """Lets enforce answer what is open; out: to whom something was copied."""
        entries = self.topics.get("reconsider", [])
        first, self.answered = self.answered, len(entries)
        copied = []
        for offset, (key, value) in enumerate(entries[first:], first):
            names = self.decide("reconsider", value, key or b"", offset)
            number = codec.decode_as("Reconsider", value)["position"]["offset"]
            self.copied += [(name, number) for name in names]
            copied += names
        return copied

    def settle(self) -> list[str]:
        """Until there is nothing more to ask; out: to whom something was copied on the way."""
        copied: list[str] = []
        for _ in range(20):
            if not self.stage.due(self.now):
                return copied
            self.ask()
            copied += self.answer()
        raise AssertionError("it never comes to an end")


def test_a_grant_brings_earlier_events_once_to_whom_it_names() -> None:
    log = Log()
    assert log.publish(1) == []
    log.settle()
    log.say(grant("c-1", ["harbor"]))
    asked = log.ask()
    assert [(one["cause"], one["already"]) for one in asked] == [("directive", [])]
    assert asked[0]["event"] == event(PERSON, 1) | {
        "envelope": event(PERSON, 1)["envelope"]
        | {name: asked[0]["event"]["envelope"][name] for name in ("occurred_at", "admitted_at")}
    }
    assert asked[0]["position"] == {"topic": "contact", "partition": 0, "offset": 1}
    assert log.ask() == []  # it waits for the answer
    assert log.answer() == ["harbor"]
    assert log.settle() == []
    log.say(grant("c-2", ["harbor", "clinic"]))
    assert log.settle() == ["clinic"]
    log.stage = log.fresh()
    assert log.settle() == []


def test_a_grant_that_would_bring_nobody_anything_asks_nothing() -> None:
    log = Log()
    log.publish(1)
    log.say(grant("c-1", ["harbor"], compartments=["clinical"]))
    assert log.ask() == []
    log.say(grant("c-2", ["somebody-unknown"]))
    assert log.ask() == []


def test_a_question_that_a_dead_worker_asked_is_not_asked_again() -> None:
    log = Log()
    log.publish(1)
    log.say(grant("c-1", ["harbor"]))
    asked = log.ask()
    assert len(asked) == 1
    log.stage = log.fresh()
    assert log.ask() == []
    assert log.answer() == ["harbor"]
    log.stage = log.fresh()
    assert log.settle() == []


def test_a_lifted_restriction_widens() -> None:
    log = Log()
    log.say(grant("c-1", ["harbor"]))
    never = {"id": "r-1", "recipients": ["harbor"], "purposes": ["*"], "categories": ["*"], "labels": ["*"]}
    log.say({"type": "restriction-placed", "restriction": never})
    assert log.publish(1) == []
    assert log.settle() == []
    log.say({"type": "restriction-lifted", "restriction_id": "r-1"})
    assert log.settle() == ["harbor"]


def test_a_consent_that_starts_later_is_remembered_by_the_clock() -> None:
    log = Log()
    begins = log.now + 60_000
    log.say(grant("c-1", ["harbor"], starts_at=begins))
    log.publish(1)
    assert log.settle() == []
    log.now = begins
    asked = log.ask([{"participant": PERSON, "kind": "consent-starts", "ref": "c-1", "due_at": begins}])
    assert [one["cause"] for one in asked] == ["clock"]
    assert log.answer() == ["harbor"]
    again = log.ask([{"participant": PERSON, "kind": "consent-starts", "ref": "c-1", "due_at": begins}])
    assert again == []  # told twice, asked once


def test_a_start_that_nobody_told_is_found_by_a_new_owner() -> None:
    log = Log()
    begins = log.now + 60_000
    log.say(grant("c-1", ["harbor"], starts_at=begins))
    log.publish(1)
    log.settle()
    log.now = begins + 1
    log.stage = log.fresh()
    assert log.settle() == ["harbor"]


def test_a_new_subscription_and_an_agreement_that_starts_bring_earlier_events() -> None:
    log = Log()
    log.say(grant("c-1", ["harbor", "shelter"]))
    assert log.publish(1) == ["harbor"]
    begins = log.now + 60_000
    agreement = {"from": instant.format(begins), "until": None}
    log.govern("stakeholder", "shelter", {"role": "service-provider", "agreement": agreement})
    wanted = {"stakeholder": "shelter", "purpose": "care-coordination", "categories": ["contact"]}
    log.govern("subscription", "s-shelter", {**wanted, "adapter": "webhook"})
    assert log.settle() == []
    log.now = begins
    assert log.settle() == ["shelter"]


def test_what_was_withheld_before_it_left_comes_when_it_is_allowed_again() -> None:
    log = Log()
    log.say(grant("c-1", ["harbor"]))
    assert log.publish(1) == ["harbor"]
    log.say({"type": "consent-revoked", "consent_id": "c-1"})
    withheld = {
        "key": "k",
        "stakeholder": "harbor",
        "adapter": "webhook",
        "event": event(PERSON, 1)["envelope"]["id"],
        "participant": PERSON,
        "at": log.now,
        "consent_offset": 1,
        "governance_offset": len(log.rules) - 1,
        "reasons": [],
    }
    log.append("deliveries", "Delivery", {"withheld": withheld})
    assert log.settle() == []
    log.say(grant("c-2", ["harbor"]))
    assert log.settle() == ["harbor"]
    log.stage = log.fresh()
    assert log.settle() == []


def test_events_out_of_reach_are_left_alone() -> None:
    log = Log()
    log.publish(1, occurred_at=log.now - 91 * DAY_MS)
    log.publish(2, occurred_at=log.now - 89 * DAY_MS)
    log.say(grant("c-1", ["harbor"]))
    assert [one["position"]["offset"] for one in log.ask()] == [2]


def test_one_step_asks_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconsider, "asked_per_step_max", 3)
    log = Log()
    for number in range(8):
        log.publish(number)
    log.say(grant("c-1", ["harbor"]))
    asked = [len(log.ask()) for _ in range(4)]
    assert asked == [3, 3, 2, 0]


@pytest.mark.parametrize("topic", ["decisions", "consent", "deliveries", "reconsider", "governance"])
def test_what_only_the_hub_writes_has_to_make_sense(topic: str) -> None:
    with pytest.raises(Corrupt):
        Log().stage.apply(record(topic, b"\0\0\0\xff\xff"))


def test_a_directive_under_another_key_is_nobodys_to_pass_over() -> None:
    """Its participant would be left without what it allows, and nobody would know."""
    said = codec.encode("Directive", directive(PERSON, grant("c-1", ["harbor"])))
    with pytest.raises(Corrupt):
        Log().stage.apply(record("consent", said, b"p-2"))


moves = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 5)),
        st.tuples(st.just("grant"), st.sampled_from([["harbor"], ["clinic"], ["harbor", "clinic"]])),
        st.tuples(st.just("revoke"), st.integers(0, 5)),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("ask"), st.none()),
        st.tuples(st.just("answer"), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=50, deadline=None)
@given(moves)
def test_whatever_happens_nobody_gets_one_twice_and_in_the_end_everybody_has_what_is_allowed(
    said: list[tuple[str, Any]],
) -> None:
    log = Log()
    grants: list[list[str]] = []
    revoked: set[int] = set()
    published: set[int] = set()
    for move, what in [*said, ("restart", None)]:
        if move == "publish" and what not in published:
            published.add(what)
            log.copied += [(name, what) for name in log.publish(what)]
        elif move == "grant":
            log.say(grant(f"c-{len(grants)}", what))
            grants.append(what)
        elif move == "revoke":
            log.say({"type": "consent-revoked", "consent_id": f"c-{what}"})
            if what < len(grants):
                revoked.add(what)
        elif move == "restart":
            log.stage = log.fresh()
        elif move == "ask":
            log.ask()
        elif move == "answer":
            log.answer()
    log.answer()
    log.settle()
    allowed = {name for n, names in enumerate(grants) if n not in revoked for name in names}
    assert len(log.copied) == len(set(log.copied)), "somebody got one twice"
    assert {(name, number) for name in allowed for number in published} <= set(log.copied)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.sampled_from([-100, -80, -1, 0, 40, 400])),  # days ahead of now
            st.tuples(st.just("grant"), st.sampled_from([["harbor"], ["clinic"]])),
            st.tuples(st.just("revoke"), st.integers(0, 3)),
            st.tuples(st.just("later"), st.sampled_from([1, 30, 88])),
            st.tuples(st.just("settle"), st.none()),
            st.tuples(st.just("restart"), st.none()),
        ),
        min_size=2,
        max_size=10,
    ),
    st.sampled_from([0, 30, 60, 88, 89, 91]),
)
def test_a_start_that_reads_as_far_back_as_the_policy_reaches_asks_what_a_whole_one_asks(
    said: list[tuple[str, Any]], days: int
) -> None:
    log = Log()
    for step, (move, what) in enumerate([*said, ("later", days), ("grant", ["harbor", "clinic"])]):
        if move == "publish":
            occurred_at = log.now + what * DAY_MS
            log.copied += [(name, step) for name in log.publish(step, occurred_at=occurred_at)]
        elif move == "grant":
            log.say(grant(f"c-{step}", what))
        elif move == "revoke":
            log.say({"type": "consent-revoked", "consent_id": f"c-{what}"})
        elif move == "later":
            log.now += what * DAY_MS
        elif move == "settle":
            log.settle()
        else:
            log.stage = log.fresh()
    whole, bounded = Sink(), Sink()
    log.fresh(whole=True).step([], whole)
    log.fresh().step([], bounded)
    assert bounded.of("reconsider") == whole.of("reconsider")
    assert len(log.copied) == len(set(log.copied)), "somebody got one twice"


def test_what_is_dated_ahead_is_in_reach_from_its_admission_on() -> None:
    log = Log()
    log.publish(1, occurred_at=log.now + 400 * DAY_MS)
    log.now += 89 * DAY_MS
    log.say(grant("c-1", ["harbor"]))
    assert log.settle() == ["harbor"]
    log.now += 2 * DAY_MS
    log.say(grant("c-2", ["clinic"]))
    assert log.settle() == []


def test_a_policy_that_reaches_further_back_has_more_read_before_anything_is_asked() -> None:
    log = Log()
    log.publish(1)
    log.now += 100 * DAY_MS
    log.stage = log.fresh()
    log.say(grant("c-1", ["harbor"]))
    assert log.settle() == []
    log.govern("policy", "policy", {**default_policy(), "lookback_days_max": 200})
    assert log.stage.due(log.now)
    with pytest.raises(Stalled):
        log.ask()
    log.stage = log.fresh()
    assert log.settle() == ["harbor"]


# -- on a real broker ------------------------------------------------------------------------------------


@pytest.mark.broker
def test_events_are_read_again_by_their_places(kafka: str) -> None:
    cluster = Cluster(kafka)
    topic = cluster.topic("many", 2)
    for partition in (0, 1):
        cluster.write(topic, [(b"k", b"%d-%d" % (partition, n)) for n in range(1_000)], partition)
    lookup = Lookup(cluster.client, "test")
    wanted = [(topic, p, n) for p in (0, 1) for n in (0, 1, 5, 400, 998, 999)]
    assert lookup.read(wanted) == {place: b"%d-%d" % place[1:] for place in wanted}
    assert lookup.read([(topic, 0, 5_000)]) == {}
    assert lookup.read([]) == {}
    lookup.close()


@pytest.mark.broker
def test_earlier_events_reach_a_recipient_when_the_consent_comes_after_them(
    emptying: Callable[[], str],
) -> None:
    cluster = Cluster(emptying())
    topology.ensure(cluster.admin, PARTITIONS, 1, ["harbor", "clinic", "attorney", "jail"])
    cluster.write("governance", [(b"k", codec.encode("Governance", change)) for change in governance()])
    bounds = {"session_timeout_ms": 3_000, "transaction_timeout_ms": 6_000}
    partition, key = partition_of(PERSON, PARTITIONS), PERSON.encode()
    lookup = Lookup(cluster.client, "test")
    enforcing = topology.runner("enforce", "e-0", PARTITIONS, **bounds)
    asking = topology.runner("reconsider", "r-0", PARTITIONS, **bounds)
    with (
        working(enforcing, Enforce(now_ms, PARTITIONS), cluster.client),
        working(asking, Reconsider(lookup, now_ms), cluster.client),
    ):
        values = [codec.encode("Event", event(PERSON, number)) for number in range(5)]
        cluster.write("contact", [(key, value) for value in values], partition)
        until(lambda: len(cluster.read("decisions", PARTITIONS)) == 5, "the first decisions")
        assert cluster.read("outbox.harbor", PARTITIONS) == []
        said = codec.encode("Directive", directive(PERSON, grant("c-1", ["harbor"])))
        cluster.write("consent", [(key, said)], partition)
        until(lambda: len(cluster.read("decisions", PARTITIONS)) == 10, "the second decisions")
    copies = [one.value or b"" for one in cluster.read("outbox.harbor", PARTITIONS)]
    found = [codec.decode_as("Outbound", value)["envelope"]["id"] for value in copies]
    assert found == [f"e-{n:026d}" for n in range(5)]
    with working(asking, Reconsider(lookup, now_ms), cluster.client) as successor:
        until(successor.ready, "a successor to be ready")
        cluster.write("clock", [(key, codec.encode("Clock", RUNG))], partition)
        until(lambda: cluster.committed_offsets("reconsider", "clock", PARTITIONS)[partition] == 1, "a step")
    assert len(cluster.read("reconsider", PARTITIONS)) == 5
    lookup.close()


RUNG = {"participant": PERSON, "kind": "consent-starts", "ref": "c-1", "due_at": 0}
