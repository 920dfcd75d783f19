"""Enforce: one record of every decision, copies of what is permitted, and nothing of anything else."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import Event, Governance, decide, fold
from schemas import codec, instant
from schemas.topics import partition_of
from streams import decider, topology
from streams import enforce as enforce_stage
from streams.enforce import Enforce
from streams.errors import Corrupt, Stalled
from tests.streams_kit import Cluster, Worker, until, working
from tests.streams_scene import (
    PARTITIONS,
    SUBSCRIPTIONS,
    Sink,
    directive,
    event,
    governance,
    grant,
    now_ms,
    record,
)

PERSON = "p-one"
KEY = PERSON.encode()


def step(directives: Iterable[dict[str, Any]] = (), partition: int = 0) -> Enforce:
    """An enforce step that knows this world's governance and these directives."""
    enforce = Enforce(now_ms, PARTITIONS)
    enforce.assigned([("contact", partition)])
    for offset, change in enumerate(governance()):
        enforce.apply(record("governance", codec.encode("Governance", change), offset=offset))
    for offset, one in enumerate(directives):
        key = one["participant"].encode()
        enforce.apply(record("consent", codec.encode("Directive", one), key, offset, partition))
    return enforce


def decide_one(enforce: Enforce, value: dict[str, Any], sink: Sink | None = None, **more: Any) -> Sink:
    sink = sink or Sink(known={("consent", 0): 0})
    key = value["envelope"]["participant"].encode()
    enforce.step([record("contact", codec.encode("Event", value), key, **more)], sink)
    return sink


def test_every_subscription_is_answered_and_only_the_permitted_parts_are_copied() -> None:
    value = event(PERSON)
    sink = decide_one(step([directive(PERSON, grant("c-1"))]), value, offset=7)
    (decision,) = sink.of("decisions")
    assert [(one["subscription"], one["effect"], one["reason"]) for one in decision["outcomes"]] == [
        ("s-attorney", "deny", "proceedings"),
        ("s-clinic", "permit", "consent"),
        ("s-harbor-care", "permit", "consent"),
        ("s-harbor-law", "permit", "consent"),
    ]
    assert decision["cause"] == "first"
    assert decision["event"] == value["envelope"]
    assert decision["position"] == {"topic": "contact", "partition": 0, "offset": 7}
    assert (decision["consent_offset"], decision["governance_offset"]) == (0, len(governance()) - 1)
    (clinic,) = sink.of("outbox.clinic")
    assert clinic["sealed"] == {name: value["sealed"][name] for name in ("occurrence", "subject")}
    assert clinic["envelope"] == value["envelope"]
    assert "outbox.attorney" not in sink.topics()


def test_two_subscriptions_of_one_stakeholder_lead_to_one_copy_that_names_both() -> None:
    sink = decide_one(step([directive(PERSON, grant("c-1"))]), event(PERSON))
    (harbor,) = sink.of("outbox.harbor")
    assert [share["subscription"] for share in harbor["shares"]] == ["s-harbor-care", "s-harbor-law"]


def test_without_consent_nothing_is_copied_and_the_decision_says_so() -> None:
    sink = decide_one(step(), event(PERSON), Sink())
    assert sink.topics() == ["decisions"]
    assert {one["effect"] for one in sink.of("decisions")[0]["outcomes"]} == {"deny"}


def test_a_discloser_never_gets_its_own_event_back() -> None:
    value = event(PERSON, discloser="harbor", source="urn:agency:harbor")
    sink = decide_one(step([directive(PERSON, grant("c-1"))]), value)
    assert "outbox.harbor" not in sink.topics()
    assert {one["stakeholder"] for one in sink.of("decisions")[0]["outcomes"]} == {"attorney", "clinic"}


def test_a_directive_for_somebody_without_events_changes_nothing_for_others() -> None:
    enforce = step([directive("p-nobody", grant("c-1"))])
    assert decide_one(enforce, event(PERSON)).topics() == ["decisions"]


def test_an_event_that_came_with_a_consent_waits_for_it() -> None:
    enforce = step()

    def arrive(offset: int) -> bool:
        enforce.apply(
            record("consent", codec.encode("Directive", directive(PERSON, grant("c-1"))), KEY, offset)
        )
        sink.known["consent", 0] = offset
        return True

    sink = Sink(known={("consent", 0): 3}, arrives=arrive)
    decide_one(enforce, event(PERSON, consent_at_least=4), sink)
    assert sink.of("decisions")[0]["consent_offset"] == 4
    assert "outbox.harbor" in sink.topics()


def test_an_event_that_waits_for_what_was_never_written_is_refused_and_the_next_goes_on() -> None:
    enforce = step([directive(PERSON, grant("c-1"))])
    batch = [
        record("contact", codec.encode("Event", event(PERSON, 1, consent_at_least=10**12)), KEY, 0),
        record("contact", codec.encode("Event", event(PERSON, 2)), KEY, 1),
    ]
    sink = Sink()
    enforce.step(batch, sink)
    (refused,) = sink.of("quarantine")
    assert (refused["stage"], refused["reason"]) == ("enforce", "no-directives")
    assert [one["event"]["id"] for one in sink.of("decisions")] == [event(PERSON, 2)["envelope"]["id"]]


def test_when_a_directive_cannot_be_read_in_time_nothing_is_decided() -> None:
    def never(offset: int) -> bool:
        raise Stalled("not in time")

    with pytest.raises(Stalled):
        decide_one(step(), event(PERSON, consent_at_least=4), Sink(arrives=never))


GOOD = codec.encode("Event", event(PERSON))


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (None, KEY, "empty-value"),
        (b"", KEY, "empty-value"),
        (b"\0\0\0\xff\xff future", KEY, "unknown-schema"),
        (b"not avro at all", KEY, "broken-record"),
        (GOOD[:-3], KEY, "broken-record"),
        (GOOD + b"x", KEY, "broken-record"),
        (GOOD, b"p-somebody-else", "wrong-key"),
        (GOOD, None, "wrong-key"),
        (
            codec.encode("Seen", {"event": "e", "fingerprint": b"", "at": 0, "offset": 0}),
            KEY,
            "broken-record",
        ),
    ],
)
def test_a_poison_record_is_refused_with_its_place_and_the_next_goes_on(
    value: bytes | None, key: bytes | None, reason: str
) -> None:
    enforce = step([directive(PERSON, grant("c-1"))])
    sink = Sink()
    enforce.step([record("contact", value, key, 5), record("contact", GOOD, KEY, 6)], sink)
    (refused,) = sink.of("quarantine")
    assert refused["reason"] == reason
    assert refused["position"] == {"topic": "contact", "partition": 0, "offset": 5}
    assert refused["size"] == len(value or b"")
    assert len(sink.of("decisions")) == 1


@pytest.mark.parametrize(
    "bad",
    [
        record("consent", None, KEY),
        record("consent", b"\0\0\0\xff\xff future", KEY),
        record("consent", codec.encode("Directive", directive(PERSON, grant("c-1"))), b"p-2"),
        record("governance", b"\0garbage"),
    ],
)
def test_a_directive_that_cannot_be_read_stops_the_stage(bad: Any) -> None:
    with pytest.raises(Corrupt):
        step().apply(bad)


def test_a_directive_whose_body_cannot_be_read_stops_the_stage_when_it_matters() -> None:
    broken = {**directive(PERSON, grant("c-1")), "body": b"{"}
    with pytest.raises(Corrupt):
        decide_one(step([broken]), event(PERSON))


def test_what_was_put_before_it_again_names_its_first_place_and_passes_over_who_has_had_it() -> None:
    enforce = step([directive(PERSON, grant("c-1"))])
    again = {
        "event": event(PERSON),
        "position": {"topic": "contact", "partition": 0, "offset": 7},
        "cause": "directive",
        "already": ["clinic"],
    }
    sink = Sink()
    enforce.step([record("reconsider", codec.encode("Reconsider", again), KEY, 3)], sink)
    (decision,) = sink.of("decisions")
    assert (decision["cause"], decision["position"]["offset"]) == ("reconsider", 7)
    assert decision["id"].endswith("-0-3")
    assert "clinic" not in {one["stakeholder"] for one in decision["outcomes"]}
    assert [topic for topic in sink.topics() if topic.startswith("outbox.")] == ["outbox.harbor"]


def test_a_revoked_partition_is_forgotten() -> None:
    enforce = step([directive(PERSON, grant("c-1"))])
    enforce.revoked([("contact", 0)])
    enforce.assigned([("contact", 0)])
    assert decide_one(enforce, event(PERSON)).topics() == ["decisions"]


names = st.sampled_from(["harbor", "clinic", "attorney", "class:treating-provider", "*"])
parts = st.lists(st.sampled_from(["subject", "occurrence", "legal", "*"]), unique=True)
bodies = st.one_of(
    st.builds(grant, st.sampled_from(["c-1", "c-2"]), st.lists(names, max_size=3), parts),
    st.just({"type": "consent-revoked", "consent_id": "c-1"}),
    st.just({"type": "consent-revoked", "consent_id": "c-2", "recipients": ["harbor"]}),
    st.just(
        {
            "type": "restriction-placed",
            "restriction": {
                "id": "r-1",
                "recipients": ["clinic"],
                "purposes": ["*"],
                "categories": ["*"],
                "labels": ["*"],
            },
        }
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, max_size=5))
def test_each_record_can_be_decided_again_from_what_it_says(said: list[dict[str, Any]]) -> None:
    directives = [directive(PERSON, body, f"d-{n}") for n, body in enumerate(said)]
    value = event(PERSON)
    sink = decide_one(step(directives), value, Sink(known={("consent", 0): len(said) - 1}))
    (decision,) = sink.of("decisions")
    rules = Governance()
    for offset, change in enumerate(governance()[: decision["governance_offset"] + 1]):
        rules.apply(offset, change)
    state = fold(said[: decision["consent_offset"] + 1])
    asked = Event(*(value["envelope"][name] for name in Event._fields))
    copied = {topic.removeprefix("outbox.") for topic in sink.topics() if topic.startswith("outbox.")}
    permitted = set()
    assert rules.policy is not None
    for outcome in decision["outcomes"]:
        again = decide(
            asked,
            outcome["stakeholder"],
            outcome["purpose"],
            decision["at"],
            state,
            rules.policy,
            rules.stakeholders,
        )
        assert again.as_json() == {name: outcome[name] for name in again.as_json()}
        if again.permitted:
            permitted.add(outcome["stakeholder"])
    assert copied == permitted


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), bodies), max_size=6), st.lists(st.integers(0, 2), max_size=4))
def test_people_who_signed_the_same_each_get_what_the_rule_says_about_them(
    said: list[tuple[int, dict[str, Any]]], turns: list[int]
) -> None:
    """Three people of much the same forms, asked about again and again while their directives come in."""
    people = [f"p-{number}" for number in range(3)]
    enforce = step()
    told: dict[str, list[dict[str, Any]]] = {person: [] for person in people}
    rules = Governance()
    for offset, change in enumerate(governance()):
        rules.apply(offset, change)
    assert rules.policy is not None
    changes = iter(enumerate([(0, grant("c-1")), (1, grant("c-2")), (2, grant("c-1")), *said]))
    for turn in [3, *turns, 3]:
        for offset, (who, body) in itertools.islice(changes, turn):
            told[people[who]].append(body)
            one = codec.encode("Directive", directive(people[who], body, f"d-{offset}"))
            enforce.apply(record("consent", one, people[who].encode(), offset))
        values = [event(person, number) for number, person in enumerate(people * 3)]
        sink = Sink()
        enforce.step(
            [
                record("contact", codec.encode("Event", value), value["envelope"]["participant"].encode())
                for value in values
            ],
            sink,
        )
        copies = Counter(
            (one["envelope"]["id"], one["shares"][0]["grants"][0]) for one in sink.of("outbox.harbor")
        )
        for value, decision in zip(values, sink.of("decisions"), strict=True):
            asked = Event(*(value["envelope"][name] for name in Event._fields))
            state = fold(told[asked.participant])
            for outcome in decision["outcomes"]:
                parties = (outcome["stakeholder"], outcome["purpose"])
                again = decide(asked, *parties, decision["at"], state, rules.policy, rules.stakeholders)
                assert again.as_json() == {name: outcome[name] for name in again.as_json()}
                if again.permitted and outcome["subscription"] == "s-harbor-care":
                    assert copies[asked.id, again.grants[0]] == 1


def test_governance_that_changes_is_what_the_next_event_is_decided_by() -> None:
    enforce = step([directive(PERSON, grant("c-1"))])
    for _ in range(decider.often_min + 2):  # by now it is known what is said about such events
        assert "outbox.clinic" in decide_one(enforce, event(PERSON)).topics()
    gone = {"kind": "retired", "id": "s-clinic", "at": 0, "by": "test", "body": b"{}"}
    enforce.apply(record("governance", codec.encode("Governance", gone), offset=len(governance())))
    assert "outbox.clinic" not in decide_one(enforce, event(PERSON)).topics()


def test_an_agreement_that_ends_ends_what_is_said_about_everybody() -> None:
    clock = [now_ms()]
    enforce = Enforce(lambda: clock[0], PARTITIONS)
    enforce.assigned([("contact", 0)])
    until_ms = clock[0] + 1_000
    changes = governance()
    (clinic,) = [one for one in changes if (one["kind"], one["id"]) == ("stakeholder", "clinic")]
    body = json.loads(clinic["body"])
    body["agreement"]["until"] = instant.format(until_ms)
    clinic["body"] = json.dumps(body).encode()
    for offset, change in enumerate(changes):
        enforce.apply(record("governance", codec.encode("Governance", change), offset=offset))
    enforce.apply(record("consent", codec.encode("Directive", directive(PERSON, grant("c-1"))), KEY))
    for _ in range(decider.often_min + 2):
        assert "outbox.clinic" in decide_one(enforce, event(PERSON)).topics()
    clock[0] = until_ms
    assert "outbox.clinic" in decide_one(enforce, event(PERSON)).topics()
    clock[0] += 1
    for _ in range(decider.often_min + 2):
        assert "outbox.clinic" not in decide_one(enforce, event(PERSON)).topics()


def test_consent_is_read_ahead_while_nothing_comes_some_of_it_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(enforce_stage, "idle_states_max", 4)
    people = [f"p-{number}" for number in range(9)]
    enforce = step([directive(person, grant("c-1")) for person in people])
    assert [enforce.idle() for _ in range(4)] == [True, True, False, False]
    compiled = [enforce._states[0].get(person) for person in people]
    for person in people:
        assert "outbox.harbor" in decide_one(enforce, event(person)).topics()
    assert all(enforce._states[0].get(one) is state for one, state in zip(people, compiled, strict=True))


@pytest.mark.parametrize("kinds_max", [2, 100])
def test_what_is_known_of_kinds_and_standings_is_bounded(
    kinds_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider, "kinds_max", kinds_max)
    monkeypatch.setattr(decider, "alike_max", 3)
    monkeypatch.setattr(decider, "seen_max", 3)
    monkeypatch.setattr(decider, "often_min", 2)
    enforce = step([directive(PERSON, grant("c-1"))])
    for number in [*range(10), *sorted([*range(5), *range(5)])]:  # each once, and some twice in a row
        sink = decide_one(enforce, event(PERSON, type=f"type-{number}"))
        assert len(sink.of("decisions")[0]["outcomes"]) == len(SUBSCRIPTIONS)
        assert len(enforce._decider._kinds) <= kinds_max
        assert len(enforce._decider._alike) <= 3
        assert len(enforce._decider._seen) <= 3


# -- on a real broker ------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(emptying: Callable[[], str]) -> Cluster:
    """The hub's topics and this world's governance. Shared: each test has people of its own."""
    made = Cluster(emptying())
    topology.ensure(made.admin, PARTITIONS, 1, ["harbor", "clinic", "attorney", "jail"])
    made.write("governance", [(b"k", codec.encode("Governance", change)) for change in governance()])
    return made


def enforcing(cluster: Cluster, slot: int = 0) -> tuple[Any, ...]:
    settings = topology.runner(
        "enforce", f"enforce-{slot}", PARTITIONS, session_timeout_ms=3_000, transaction_timeout_ms=6_000
    )
    return settings, Enforce(now_ms, PARTITIONS), cluster.client


def put(cluster: Cluster, topic: str, name: str, value: dict[str, Any], participant: str) -> int:
    """Writes under the participant's key; out: the offset."""
    partition = partition_of(participant, PARTITIONS)
    cluster.write(topic, [(participant.encode(), codec.encode(name, value))], partition)
    return cluster.ends(topic, PARTITIONS)[partition] - 1


def about(cluster: Cluster, topic: str, people: str) -> list[bytes]:
    """Values on a topic about people whose ids begin so."""
    return [
        one.value or b""
        for one in cluster.read(topic, PARTITIONS)
        if (one.key or b"").startswith(people.encode())
    ]


@pytest.mark.broker
def test_whoever_revokes_before_an_event_is_never_overlooked(cluster: Cluster) -> None:
    """Each event is published after a change of its participant's mind; the decision knows that change, and
    perhaps a later one.
    """
    people = [f"p-mind-{n}" for n in range(6)]
    minds: dict[str, list[tuple[int, str]]] = {person: [] for person in people}
    least: dict[str, int] = {}
    with working(*enforcing(cluster)) as worker:
        until(worker.ready, "enforce to be ready")
        for turn in range(4):
            for n, person in enumerate(people):
                allow = (turn + n) % 2 == 0
                body = grant(f"c-{turn}", ["harbor"])
                if not allow:
                    body = {"type": "consent-revoked", "consent_id": f"c-{turn - 1}"}
                said = directive(person, body, f"d-{person}-{turn}")
                offset = put(cluster, "consent", "Directive", said, person)
                minds[person].append((offset, "permit" if allow else "deny"))
                value = event(person, turn * 100 + n)
                put(cluster, "contact", "Event", value, person)
                least[value["envelope"]["id"]] = offset
        until(lambda: len(about(cluster, "decisions", "p-mind")) == len(least), "the decisions")
    decisions = [codec.decode_as("Decision", value) for value in about(cluster, "decisions", "p-mind")]
    assert {one["event"]["id"] for one in decisions} == set(least)
    permitted = 0
    for one in decisions:
        known = one["consent_offset"]
        assert known >= least[one["event"]["id"]], "decided on what stood before its own change of mind"
        minded = [mind for offset, mind in minds[one["event"]["participant"]] if offset <= known]
        effect = next(o["effect"] for o in one["outcomes"] if o["subscription"] == "s-harbor-care")
        assert effect == minded[-1]
        permitted += effect == "permit"
    copies = about(cluster, "outbox.harbor", "p-mind")
    assert len(copies) == permitted


@pytest.mark.broker
def test_a_restarted_worker_knows_all_consent_before_it_decides(cluster: Cluster) -> None:
    count = 300
    for partition in range(PARTITIONS):
        people = [p for n in range(count) if partition_of(p := f"p-many-{n}", PARTITIONS) == partition]
        said = [codec.encode("Directive", directive(person, grant("c-1", ["harbor"]))) for person in people]
        events = [codec.encode("Event", event(person, 1_000 + n)) for n, person in enumerate(people)]
        keys = [person.encode() for person in people]
        cluster.write("consent", list(zip(keys, said, strict=True)), partition)
        cluster.write("contact", list(zip(keys, events, strict=True)), partition)
    with working(*enforcing(cluster)):
        until(lambda: len(about(cluster, "decisions", "p-many")) == count, "the decisions")
    assert len(about(cluster, "outbox.harbor", "p-many")) == count


@pytest.mark.broker
def test_a_directive_that_cannot_be_read_keeps_every_event_undecided(cluster: Cluster) -> None:
    cluster.write("consent", [(KEY, b"\0\0\0\xff\xff from the future")], partition_of(PERSON, PARTITIONS))
    put(cluster, "contact", "Event", event(PERSON), PERSON)
    assert isinstance(Worker(*enforcing(cluster)).join(), Corrupt)
    assert about(cluster, "decisions", PERSON) == []
