"""Everything that was decided can be decided again; whatever was rewritten is named."""

import copy
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from confluent_kafka.admin import NewTopic
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import Governance
from hub import again
from hub.again import Difference, Replay
from hub.replay import everything, replayed
from schemas import codec, glance, instant, raw
from schemas.errors import BrokenRecord
from streams import decider
from streams.enforce import Enforce
from streams.step import Record
from tests.streams_kit import Cluster
from tests.streams_scene import (
    PARTITIONS,
    STAKEHOLDERS,
    Sink,
    directive,
    event,
    governance,
    grant,
    now_ms,
    record,
)
from tests.test_enforce import bodies

PEOPLE = tuple(f"p-{number:026d}" for number in range(3))
Written = tuple[int, bytes, bytes]  # offset, key, value


def rules() -> Governance:
    found = Governance()
    for offset, change in enumerate(governance()):
        found.apply(offset, change)
    return found


def history(told: list[tuple[int, dict[str, Any]]], rounds: int = 3) -> tuple[list[Record], list[Written]]:
    """What enforce decides about three people while these directives come in. Out: directives, decisions."""
    enforce = Enforce(now_ms, PARTITIONS)
    enforce.assigned([("contact", 0)])
    for offset, change in enumerate(governance()):
        enforce.apply(record("governance", codec.encode("Governance", change), offset=offset))
    sink, said, number = Sink(), [], 0
    pieces = [told[at::rounds] for at in range(rounds)]
    for piece in [*pieces, [], [], []]:
        batch = []
        for person in PEOPLE:
            number += 1
            batch.append(
                record("contact", codec.encode("Event", event(person, number)), person.encode(), number)
            )
        enforce.step(batch, sink)
        for who, body in piece:
            change = codec.encode("Directive", directive(PEOPLE[who], body, f"d-{len(said)}"))
            said.append(record("consent", change, PEOPLE[who].encode(), len(said)))
            enforce.apply(said[-1])
            sink.known["consent", 0] = len(said) - 1
    decisions = [
        (offset, key or b"", value or b"")
        for offset, (_, key, value, _) in enumerate(one for one in sink.written if one[0] == "decisions")
    ]
    return said, decisions


def differences(said: list[Record], decisions: list[Written], partition: int = 0) -> list[Difference]:
    replay = Replay(rules(), partition)
    for one in said:
        replay.directive(one.offset, one.key, one.value)
    return [found for one in decisions if (found := replay.decision(*one)) is not None]


SIGNED = [(0, grant("c-1")), (1, grant("c-2")), (2, grant("c-3"))]


def test_what_was_decided_is_decided_again() -> None:
    said, decisions = history(SIGNED)
    assert len(decisions) == 18
    assert differences(said, decisions) == []


def test_what_is_usual_is_seen_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    said, decisions = history(SIGNED)
    monkeypatch.setattr(raw, "recorded", pytest.fail)
    assert differences(said, decisions) == []


def test_under_another_key_or_with_an_id_of_no_letters_it_is_named() -> None:
    said, decisions = KNOWN
    offset, key, value = decisions[-1]
    (found,) = differences(said, [*decisions[:-1], (offset, PEOPLE[0].encode(), value)])
    assert "under another key" in found.what
    ident = raw.recorded(value).cut.id[2:].encode()
    odd = value.replace(ident, b"\xff" * 26)
    (found,) = differences(said, [*decisions[:-1], (offset, key, odd)])
    assert "cannot be read" in found.what


def test_of_what_cannot_be_decided_nothing_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    said, decisions = history(SIGNED)

    def unreadable(match: object) -> None:
        raise BrokenRecord("no envelope")

    monkeypatch.setattr(glance, "envelope", unreadable)
    assert differences(said, decisions) == []
    offset, key, value = decisions[-1]
    bare = value[: -len(raw.recorded(value).outcomes)]
    (found,) = differences(said, [*decisions[:-1], (offset, key, bare)])
    assert "cannot be decided again" in found.what


def test_what_is_known_is_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "ANSWERS_MAX", 2)
    assert differences(*history(SIGNED)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), bodies), max_size=9))
def test_whatever_participants_say_it_comes_out_again(told: list[tuple[int, dict[str, Any]]]) -> None:
    said, decisions = history([*SIGNED, *told])
    assert differences(said, decisions) == []


BASE = 1_750_000_000_000
EDGES = (-60_001, -60_000, -20_000, -19_999)  # around the data period of a grant


def clinic(until: int | None) -> dict[str, Any]:
    """A change of governance: until when the clinic takes part."""
    agreement = {"from": "2020-01-01T00:00:00Z", "until": None if until is None else instant.format(until)}
    body = json.dumps({**STAKEHOLDERS["clinic"], "agreement": agreement}).encode()
    return {"kind": "stakeholder", "id": "clinic", "at": 0, "by": "test", "body": body}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.just("event"), st.integers(0, 1), st.sampled_from(EDGES))
        | st.tuples(st.just("wait"), st.just(0), st.sampled_from((1, 25_000, 50_001)))
        | st.tuples(st.just("govern"), st.just(0), st.sampled_from((25_000, 60_000))),
        min_size=8,
        max_size=24,
    )
)
def test_what_is_remembered_ends_with_what_it_rested_on(told: list[tuple[str, int, int]]) -> None:
    """Consents that expire, periods of data, agreements that end and policies that change, in between."""
    with mock.patch.object(decider, "often_min", 1):
        remembered(told)


def remembered(told: list[tuple[str, int, int]]) -> None:
    now, sink, known, offset = [BASE], Sink(), governance(), 0
    enforce, changed = Enforce(lambda: now[0], PARTITIONS), Governance()
    enforce.assigned([("contact", 0)])
    said = []
    for number, person in enumerate(PEOPLE):
        body = grant("c-1")
        body["consent"]["expires_at"] = instant.format(BASE + 50_000)
        period = {"data_from": instant.format(BASE - 60_000), "data_until": instant.format(BASE - 20_000)}
        body["consent"]["grants"][0] |= period
        change = codec.encode("Directive", directive(person, body, f"d-{number}"))
        said.append(record("consent", change, person.encode(), number))
        enforce.apply(said[-1])
    sink.known["consent", 0] = len(said) - 1
    for place, one in enumerate(known):
        enforce.apply(record("governance", codec.encode("Governance", one), offset=place))
    for kind, who, value in told:
        if kind == "wait":
            now[0] += value
        elif kind == "govern":
            known.append(clinic(BASE + value))
            enforce.apply(record("governance", codec.encode("Governance", known[-1]), offset=len(known) - 1))
        else:
            offset += 1
            happened = event(PEOPLE[who], offset, occurred_at=BASE + value)
            enforce.step(
                [record("contact", codec.encode("Event", happened), PEOPLE[who].encode(), offset)], sink
            )
    for place, one in enumerate(known):
        changed.apply(place, one)
    replay = Replay(changed, 0)
    for one in said:
        replay.directive(one.offset, one.key, one.value)
    decisions = [(key, value or b"") for topic, key, value, _ in sink.written if topic == "decisions"]
    assert len(decisions) == offset
    before: dict[bytes | None, set[bytes]] = {}
    for place, (key, value) in enumerate(decisions):
        outcomes = raw.recorded(value).outcomes
        for other in before.setdefault(key, set()) - {outcomes}:  # what was right about them once
            assert replay.decision(place, key, value[: -len(outcomes)] + other) is not None
        assert replay.decision(place, key, value) is None
        before[key].add(outcomes)


def test_a_decision_out_of_turn_is_decided_by_what_was_known_to_it() -> None:
    said, decisions = history(SIGNED)
    assert differences(said, list(reversed(decisions))) == []


def test_one_decided_again_for_some_is_compared_for_those_alone() -> None:
    said, decisions = history(SIGNED)
    offset, key, value = decisions[-1]
    whole = codec.decode_as("Decision", value)
    (left,) = {one["stakeholder"] for one in whole["outcomes"]} - {"attorney", "clinic"}
    some = [one for one in whole["outcomes"] if one["stakeholder"] != left]
    again = dict(whole) | {"cause": "reconsider", "id": whole["id"] + "-0-7", "outcomes": some}
    assert differences(said, [(offset, key, codec.encode("Decision", again))]) == []
    half = dict(again) | {
        "outcomes": [one for one in whole["outcomes"] if one["subscription"] != "s-harbor-law"]
    }
    (found,) = differences(said, [(offset, key, codec.encode("Decision", half))])
    assert "does not decide about s-harbor-law" in found.what


KNOWN = history(SIGNED)


def _first(value: dict[str, Any], **more: Any) -> None:
    value["outcomes"][0] |= more


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "s-attorney: effect is permit, the rule says deny": lambda one: _first(one, effect="permit"),
    "s-attorney: reason is consent": lambda one: _first(one, reason="consent"),
    "s-attorney: basis is emergency": lambda one: _first(one, basis="emergency"),
    "s-attorney: grants is c-9/g1, the rule says nothing": lambda one: _first(one, grants=["c-9/g1"]),
    "s-attorney: compartments is legal": lambda one: _first(one, compartments=["legal"]),
    "s-attorney: obligations is x": lambda one: _first(one, obligations=["x"]),
    "s-attorney: purpose is treatment": lambda one: _first(one, purpose="treatment"),
    "s-attorney: stakeholder is clinic": lambda one: _first(one, stakeholder="clinic"),
    "decides about s-other, which did not want it": lambda one: one["outcomes"].append(
        one["outcomes"][0] | {"subscription": "s-other"}
    ),
    "decides about a subscription twice": lambda one: one["outcomes"].append(one["outcomes"][0]),
    "does not decide about s-attorney": lambda one: one["outcomes"].pop(0),
    "stand in another order": lambda one: one["outcomes"].reverse(),
    "under another key": lambda one: one["event"].update(participant="p-9"),
    "governance at 99, which is not in the log": lambda one: one.update(governance_offset=99),
    "consent at 99, which is not in the log": lambda one: one.update(consent_offset=99),
    "its id is not that of its event": lambda one: one.update(id="d-other"),
    "another partition": lambda one: one["position"].update(partition=3),
    "s-clinic: effect is permit": lambda one: one.update(consent_offset=-1),
    "s-clinic: compartments is occurrence, subject, the rule says subject": lambda one: one["event"].update(
        compartments=["subject"]
    ),
}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_byte_can_be_changed_of_what_was_decided(data: st.DataObject) -> None:
    """But for what the rule does not look at, which `hub audit verify` holds against the log's leaves."""
    said, decisions = KNOWN
    which = data.draw(st.integers(0, len(decisions) - 1))
    offset, key, value = decisions[which]
    outcomes = len(raw.recorded(value).outcomes)
    at = data.draw(st.integers(len(value) - outcomes, len(value) - 1))
    changed = value[:at] + bytes([value[at] ^ 1 << data.draw(st.integers(0, 7))]) + value[at + 1 :]
    (found,) = differences(said, [*decisions[:which], (offset, key, changed), *decisions[which + 1 :]])
    assert found.place == f"decisions/0@{offset}"
    for other in (value + b"\0", value[:at], value[:-outcomes]):
        (found,) = differences(said, [*decisions[:which], (offset, key, other), *decisions[which + 1 :]])
        assert found.place == f"decisions/0@{offset}"


@pytest.mark.parametrize("says", TAMPERED)
def test_each_thing_that_is_rewritten_is_named(says: str) -> None:
    said, decisions = history(SIGNED)
    offset, key, value = decisions[-1]
    changed = copy.deepcopy(dict(codec.decode_as("Decision", value)))
    TAMPERED[says](changed)
    decisions[-1] = offset, key, codec.encode("Decision", changed)
    (found,) = differences(said, decisions)
    assert says in found.what
    assert found.place == f"decisions/0@{offset}"


def test_a_directive_that_is_gone_or_rewritten_shows_in_what_rested_on_it() -> None:
    said, decisions = history(SIGNED)
    without = [one for one in said if one.offset != 0]
    assert [one.what.partition(":")[0] for one in differences(without, decisions)] == ["s-clinic"] * 5


def test_what_cannot_be_read_is_a_difference_and_not_the_end() -> None:
    said, decisions = history(SIGNED)
    decisions[0] = (0, b"p-0", b"\0\0\0\0\1nonsense")
    decisions[1] = (1, b"p-1", b"")
    decisions[2] = (2, b"p-2", decisions[2][2][:40])
    found = differences(said, decisions)
    assert [one.place for one in found] == ["decisions/0@0", "decisions/0@1", "decisions/0@2"]
    assert all("cannot be read" in one.what for one in found)


def test_a_decision_taken_apart_is_what_the_codec_says() -> None:
    _, decisions = history(SIGNED)
    for _, _, value in decisions:
        found, whole = raw.recorded(value), codec.decode_as("Decision", value)
        assert (found.id, found.cause, found.at) == (whole["id"], whole["cause"], whole["at"])
        assert found.cut.id == whole["event"]["id"]
        assert {"topic": found.topic, "partition": found.partition, "offset": found.offset} == whole[
            "position"
        ]
        assert found.consent_offset == whole["consent_offset"]
        assert found.governance_offset == whole["governance_offset"]


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("source", "type", "category", "discloser"), st.text(max_size=12)),
            "labels": st.lists(st.text("8e-p", max_size=40), max_size=3),
            "compartments": st.lists(st.text(max_size=5), max_size=3),
            "id": st.sampled_from(("e-" + "7" * 26, "e-" + "8e-8e-" * 4 + "8e", "e-8")),
            "participant": st.sampled_from(("p-" + "2" * 26, "p-" + "\xe9" * 13, "p-1", "8e-" * 9 + "8")),
            "occurred_at": st.integers(-(1 << 50), 1 << 50),
            "admitted_at": st.integers(0, 1 << 50),
            "consent_at_least": st.none() | st.integers(0, 1 << 40),
        }
    ),
    st.integers(0, 1 << 50),
    st.integers(-1, 1 << 40),
    st.sampled_from(("contact", "referral", "other")),
    st.sampled_from(("first", "reconsider")),
)
def test_a_glance_tells_what_a_decision_says_or_nothing(
    envelope: dict[str, Any], at: int, offset: int, topic: str, cause: str
) -> None:
    whole = {"id": "d" + envelope["id"][1:], "cause": cause, "event": envelope, "at": at, "outcomes": []}
    place = {"topic": topic, "partition": 0, "offset": 70 + offset}
    value = codec.encode(
        "Decision", whole | {"position": place, "consent_offset": offset, "governance_offset": 3}
    )
    match = glance.pattern(("contact", "referral"), 0).match(value)
    if match is None:
        odd = topic == "other" or cause == "reconsider" or envelope["participant"] != "p-" + "2" * 26
        assert odd or envelope["id"] != "e-" + "7" * 26 or value.count(b"8e-") > 1
        return
    found, cut = raw.recorded(value), glance.envelope(match)
    if cut is not None:
        assert cut == found.cut._replace(sealed=b"")
        assert glance.when(match["when"]) == (found.at, found.consent_offset, found.governance_offset)
        assert glance.instant(match["occurred"]) == found.cut.occurred_at
        assert match["participant"].decode() == found.cut.participant
        assert match["outcomes"] == found.outcomes


@pytest.mark.broker
def test_a_whole_log_is_replayed_by_several_processes_and_the_odd_one_named(empty_kafka: str) -> None:
    cluster = Cluster(empty_kafka)
    said, decisions = history(SIGNED)
    topics = [NewTopic("governance", 1, 1), NewTopic("consent", 2, 1), NewTopic("decisions", 2, 1)]
    for made in cluster.admin.create_topics(topics).values():
        made.result()
    cluster.write("governance", [(None, codec.encode("Governance", one)) for one in governance()])
    cluster.write("consent", [(one.key, one.value) for one in said])
    forged = copy.deepcopy(dict(codec.decode_as("Decision", decisions[0][2])))
    _first(forged, effect="permit")
    values = [*decisions, (0, decisions[0][1], codec.encode("Decision", forged))]
    cluster.write("decisions", [(key, value) for _, key, value in values])
    client = {"bootstrap.servers": empty_kafka}
    told: list[tuple[int, int]] = []
    first, second = everything(client, 2, lambda compared, total: told.append((compared, total)))
    assert (first.compared, first.differing, second.compared) == (19, 1, 0)
    assert first.differences[0].place == "decisions/0@18"
    assert told[-1] == (19, 19)
    assert json.loads(json.dumps(first.differences[0]._asdict()))["decision"]
    (alone,) = replayed(client, [(at, one) for at, one in enumerate(governance())], 1)
    assert alone.compared == 0
