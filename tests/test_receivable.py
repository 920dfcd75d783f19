"""Who could have received what at a moment: held against the plain reading of the rules, over time."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka.admin import NewTopic
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import default_policy
from hub import asof
from hub.errors import OperatorError
from hub.receivable import AsOf, Count, Found, Supposed, Unknown, everything, governed, supposing
from schemas import codec, instant
from tests import model
from tests.streams_kit import Cluster
from tests.streams_scene import STAKEHOLDERS, SUBSCRIPTIONS, directive, event, governance, grant
from tests.test_enforce import bodies

PEOPLE = tuple(f"p-{number}" for number in range(3))
START = 1_790_000_000_000
RULES = list(enumerate(governance()))
AGREED = [
    {"id": name, **body, "agreement": {"from": "2020-01-01T00:00:00Z"}} for name, body in STAKEHOLDERS.items()
]


def decided(who: str, number: int, at: int, **more: Any) -> dict[str, Any]:
    """A record of `decisions`; what it says was decided is of no use here."""
    occurred = {"occurred_at": at - 1_000, "admitted_at": at}
    envelope = event(who, number, **{**occurred, **more.pop("envelope", {})})["envelope"]
    position = {"topic": "contact", "partition": 0, "offset": number}
    offsets = {"consent_offset": -1, "governance_offset": -1}
    first = {"id": "d" + envelope["id"][1:], "cause": "first", "event": envelope, "position": position}
    return {**first, "at": at, **offsets, "outcomes": [], **more}


def told(who: str, number: int, at: int, body: dict[str, Any]) -> dict[str, Any]:
    return directive(who, body, f"d-{number}") | {"recorded_at": at}


def asked(
    at: int,
    said: list[dict[str, Any]],
    decisions: list[dict[str, Any]],
    *,
    policy: dict[str, Any] | None = None,
    without: str | None = None,
    participant: str | None = None,
) -> Found:
    other = None
    if policy is not None or without is not None:
        other = supposing(RULES, at, policy) if policy is not None else governed(RULES, at)
    found = AsOf(at, governed(RULES, at), other, without, participant)
    for offset, one in enumerate(said):
        found.directive(offset, one["participant"].encode(), codec.encode("Directive", one))
    for one in decisions:
        found.decision(codec.encode("Decision", one))
    return found.found()


def expected(
    at: int, said: list[dict[str, Any]], decisions: list[dict[str, Any]], policy: Any = None
) -> Counter[tuple[str, str, str, str, str]]:
    """Which person and event each could have received for what, by the plain reading."""
    found: Counter[tuple[str, str, str, str, str]] = Counter()
    for one in decisions:
        if one["at"] > at:
            continue
        about = one["event"]
        mine = [
            {**json.loads(each["body"]), "id": each["id"]}
            for each in said
            if each["participant"] == about["participant"] and each["recorded_at"] <= at
        ]
        plain = about | {"occurred_at": instant.format(about["occurred_at"])}
        for wish in SUBSCRIPTIONS.values():
            if not any(model.covers(some, about["category"]) for some in wish["categories"]):
                continue
            request = {"recipient": wish["stakeholder"], "purpose": wish["purpose"], "at": instant.format(at)}
            answer = model.decide(plain, request, model.fold(mine), policy or default_policy(), AGREED)
            if answer["effect"] == "permit":
                key = wish["stakeholder"], wish["purpose"], about["category"]
                found[(*key, about["participant"], about["id"])] += 1
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), bodies), max_size=9), st.integers(0, 12))
def test_at_every_moment_it_is_what_the_plain_reading_says(
    wishes: list[tuple[int, dict[str, Any]]], until: int
) -> None:
    wishes = [(0, grant("c-1")), (1, grant("c-2")), *wishes]
    said = [told(PEOPLE[who], n, START + n * 10, body) for n, (who, body) in enumerate(wishes)]
    decisions = [decided(PEOPLE[n % 3], n, START + n * 7) for n in range(12)]
    at = START + until * 10
    plain = expected(at, said, decisions)
    counts = {}
    for stakeholder, purpose, category in {key[:3] for key in plain}:
        mine = [key for key in plain if key[:3] == (stakeholder, purpose, category)]
        people, events = len({key[3] for key in mine}), len(mine)
        counts[stakeholder, purpose, category] = Count(people, events, people, events)
    assert asked(at, said, decisions).counts == counts
    without = asked(at, said, decisions, without="c-1")
    left = expected(at, [one for one in said if _consent(one) != "c-1"], decisions)
    for key, count in without.counts.items():
        now, then = ({one for one in some if one[:3] == key} for some in (plain, left))
        assert count == Count(
            len({one[3] for one in now}),
            len(now),
            len({one[3] for one in then}),
            len(then),
            len(then - now),
            len(now - then),
        )
    assert {key[:3] for key in plain | left} == set(without.counts)


def _consent(one: dict[str, Any]) -> str | None:
    found: str | None = json.loads(one["body"]).get("consent", {}).get("id")
    return found


def test_another_policy_is_put_in_place_of_the_one_that_was() -> None:
    said = [told("p-0", 0, START, grant("c-1"))]
    decisions = [decided("p-0", n, START + n) for n in range(3)]
    stricter = default_policy()
    stricter = {
        **stricter,
        "matrix": [row for row in stricter["matrix"] if row["role"] != "service-provider"],
    }
    found = asked(START + 9, said, decisions, policy=stricter)
    assert found.counts["clinic", "care-coordination", "contact.custody-booking"] == Count(1, 3, 0, 0, 0, 3)
    assert found.counts["harbor", "care-coordination", "contact.custody-booking"] == Count(1, 3, 1, 3, 0, 0)
    assert expected(START + 9, said, decisions, stricter).keys() < expected(START + 9, said, decisions).keys()


def test_of_one_participant_every_line_is_told_with_its_reason() -> None:
    said = [told("p-0", 0, START, grant("c-1")), told("p-1", 1, START, grant("c-2"))]
    decisions = [decided("p-0", 1, START + 1), decided("p-1", 2, START + 2), decided("p-0", 3, START + 99)]
    found = asked(START + 9, said, decisions, without="c-1", participant="p-0")
    assert {(one.event, one.stakeholder, one.reason, one.other_reason) for one in found.lines} == {
        (f"e-{1:026d}", "attorney", "proceedings", "proceedings"),
        (f"e-{1:026d}", "clinic", "consent", "no-consent"),
        (f"e-{1:026d}", "harbor", "consent", "no-consent"),
    }
    assert {one.grants for one in found.lines if one.effect == "permit"} == {("c-1/g-1",)}
    again = [one | {"cause": "reconsider", "id": one["id"] + "-0-1"} for one in decisions]
    assert (
        asked(START + 9, said, [*decisions, *again], participant="p-0").lines
        == asked(START + 9, said, decisions, participant="p-0").lines
    )


@pytest.mark.broker
def test_a_whole_log_is_asked_as_of_a_moment(empty_kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(empty_kafka)
    made = [NewTopic("governance", 1, 1), NewTopic("consent", 2, 1), NewTopic("decisions", 2, 1)]
    for one in cluster.admin.create_topics(made).values():
        one.result()
    said = [told(who, n, START + n, grant(f"c-{n}")) for n, who in enumerate(PEOPLE)]
    said.append(told("p-0", 9, START + 50, {"type": "consent-revoked", "consent_id": "c-0"}))
    decisions = [decided(PEOPLE[n % 3], n, START + n) for n in range(12)]
    cluster.write("governance", [(None, codec.encode("Governance", one)) for one in governance()])
    cluster.write("consent", [(one["participant"].encode(), codec.encode("Directive", one)) for one in said])
    cluster.write(
        "decisions",
        [(one["event"]["participant"].encode(), codec.encode("Decision", one)) for one in decisions],
    )
    client, key = (
        {"bootstrap.servers": empty_kafka},
        ("clinic", "care-coordination", "contact.custody-booking"),
    )
    far: list[tuple[int, int]] = []
    before = everything(client, 2, START + 49, told=lambda done, total: far.append((done, total)))
    assert before.counts[key] == Count(3, 12, 3, 12)
    assert far[-1] == (12, 12)
    assert everything(client, 2, START + 50).counts[key] == Count(2, 8, 2, 8)
    assert everything(client, 2, START - 1).counts == {}
    supposed = Supposed(without="c-1")
    changed = everything(client, 2, START + 50, supposed)
    assert changed.counts[key] == Count(2, 8, 1, 4, 0, 4)
    (alone,) = {one.other_reason for one in everything(client, 2, START + 50, supposed, "p-1").lines} - {
        "proceedings"
    }
    assert alone == "no-consent"
    with pytest.raises(Unknown):
        everything(client, 2, START + 50, Supposed(without="c-9"))
    shown = asof.as_json_value(changed, START + 50, supposed, None)
    assert {"lost", "other_people"} <= shown["could_receive"][0].keys()
    assert "lost" not in asof.as_json_value(before, START, Supposed(), None)["could_receive"][0]
    asof._print_counts(changed.counts, supposed)
    asof._print_lines(everything(client, 2, START + 50, supposed, "p-1").lines, supposed)
    assert "clinic" in capsys.readouterr().out


def test_what_is_no_policy_is_a_wrong_call(tmp_path: Path) -> None:
    for text in (
        "",
        "[]",
        '{"categories": 5}',
        "{",
        '{"categories": [], "purposes": ["x"], "compartments": ["x"], "matrix": [{}]}',
    ):
        (tmp_path / "policy.json").write_text(text)
        with pytest.raises(typer.BadParameter):
            asof._policy(tmp_path / "policy.json")
    (tmp_path / "policy.json").write_text(json.dumps(default_policy()))
    assert asof._policy(tmp_path / "policy.json") == default_policy()


def test_of_one_participant_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.receivable.LINES_MAX", 3)
    with pytest.raises(OperatorError):
        asked(START + 9, [], [decided("p-0", n, START) for n in range(3)], participant="p-0")
