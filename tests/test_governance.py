"""Governance: what is in force is the fold of its records, at the end and at every offset before."""

import json
from typing import Any

import pytest

from consent import Governance, Policy, Stakeholder, Stakeholders, Subscription
from schemas.errors import BrokenRecord, Invalid
from tests.cases import POLICY, STAKEHOLDERS


def record(kind: str, name: Any, body: Any) -> dict[str, Any]:
    return {"kind": kind, "id": name, "at": 1, "by": "officer-1", "body": json.dumps(body).encode()}


def subscription(stakeholder: str = "harbor-house", **changes: Any) -> dict[str, Any]:
    usual = {
        "stakeholder": stakeholder,
        "purpose": "care-coordination",
        "categories": ["service"],
        "adapter": "webhook",
    }
    return usual | changes


def governance(*records: dict[str, Any]) -> Governance:
    one = Governance()
    for offset, written in enumerate(records):
        one.apply(offset, written)
    return one


HOUSE = record("stakeholder", "harbor-house", STAKEHOLDERS[1])


def test_nothing_is_in_force_before_the_first_record() -> None:
    one = Governance()
    assert (one.offset, one.policy, len(one.stakeholders), one.subscriptions) == (-1, None, 0, {})
    assert one.wanting("service.housing", "reach") == ()


def test_each_record_replaces_what_it_names() -> None:
    one = governance(
        record("policy", "policy", POLICY),
        HOUSE,
        record("subscription", "s1", subscription()),
        record("stakeholder", "harbor-house", STAKEHOLDERS[1] | {"medical": True, "id": "another"}),
        record("policy", "policy", POLICY | {"version": "2026-12"}),
        record(
            "subscription", "s1", subscription(purpose="treatment", settings={"url": "https://example.org"})
        ),
    )
    assert one.offset == 5
    assert one.policy is not None
    assert one.policy.version == "2026-12"
    house = one.stakeholders.get("harbor-house")
    assert house is not None
    assert house.medical
    assert len(one.stakeholders) == 1
    assert one.subscriptions["s1"] == Subscription(
        "s1", "harbor-house", "treatment", ("service",), "webhook", {"url": "https://example.org"}
    )


def test_earlier_states_come_back_for_replay() -> None:
    one = governance(HOUSE, record("policy", "policy", POLICY), record("subscription", "s1", subscription()))
    one.apply(10, record("retired", "s1", {"kind": "subscription"}))
    one.apply(12, record("policy", "policy", POLICY | {"version": "later"}))
    seen = [(-1, None, []), (0, None, []), (1, "2026-11", []), (2, "2026-11", ["s1"]), (9, "2026-11", ["s1"])]
    seen += [(10, "2026-11", []), (11, "2026-11", []), (12, "later", []), (99, "later", [])]
    for _ in range(2):
        for offset, version, subscriptions in seen:
            then = one.at(offset)
            assert (then.policy.version if then.policy else None) == version
            assert list(then.subscriptions) == subscriptions
            assert then.offset <= offset
    assert one.at(2) is one.at(2)
    assert one.at(12) is one
    assert one.offset == 12


def test_many_earlier_states_are_not_all_kept() -> None:
    one = governance(*[record("stakeholder", f"s{number}", {}) for number in range(40)])
    assert [len(one.at(offset).stakeholders) for offset in range(40)] == list(range(1, 41))
    assert len(one._earlier) <= 8


def test_a_record_applied_again_changes_nothing() -> None:
    one = governance(HOUSE, record("retired", "harbor-house", {}))
    one.apply(0, HOUSE)
    one.apply(1, HOUSE)
    assert (one.offset, len(one.stakeholders)) == (1, 0)


def test_retiring() -> None:
    both = [HOUSE, record("stakeholder", "clinic", STAKEHOLDERS[2])]
    wanted = [
        record("subscription", "s1", subscription()),
        record("subscription", "s2", subscription("clinic")),
    ]
    one = governance(*both, *wanted, record("retired", "s1", {"kind": "subscription"}))
    assert (len(one.stakeholders), list(one.subscriptions)) == (2, ["s2"])
    one = governance(*both, *wanted, record("retired", "clinic", {"kind": "stakeholder"}))
    assert ([some.id for some in one.stakeholders], list(one.subscriptions)) == (["harbor-house"], ["s1"])
    one = governance(*both, *wanted, record("retired", "s2", {}), record("retired", "harbor-house", {}))
    assert ([some.id for some in one.stakeholders], one.subscriptions) == (["clinic"], {})
    one = governance(
        *both, *wanted, record("retired", "s1", {"kind": "stakeholder"}), record("retired", "x", {})
    )
    assert (len(one.stakeholders), list(one.subscriptions)) == (2, ["s1", "s2"])
    one = governance(*both, *wanted, record("retired", "clinic", {"kind": "subscription"}))
    assert len(one.stakeholders) == 2


def test_who_wants_an_event() -> None:
    one = governance(
        HOUSE,
        record("subscription", "s3", subscription("clinic", categories=["contact", "service.housing"])),
        record("subscription", "s1", subscription()),
        record("subscription", "s2", subscription("reach", categories=["serv", "*", "service.housing.tent"])),
    )
    assert [some.id for some in one.wanting("service.housing", "reach")] == ["s1", "s3"]
    assert [some.id for some in one.wanting("service.medical", "reach")] == ["s1"]
    assert [some.id for some in one.wanting("contact.crisis", "reach")] == ["s3"]
    assert [some.id for some in one.wanting("service.housing", "clinic")] == ["s1"]  # not its own
    assert one.wanting("court.hearing", "reach") == ()
    assert one.wanting("service.housing", "reach") is one.wanting("service.housing", "reach")
    one.apply(9, record("subscription", "s0", subscription("ems")))
    assert [some.id for some in one.wanting("service.housing", "reach")] == ["s0", "s1", "s3"]


STRINGS = "a subscription needs `stakeholder`, `purpose` and `adapter`, strings"
LIST = "a subscription needs `categories`, a list of strings"
OBJECT = "the governance record at offset 1 has no JSON object for a body"


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (record("policy", None, POLICY), "the governance record at offset 1 has no id"),
        (record("unheard-of", "x", {}), "the governance record at offset 1 is of no known kind"),
        (record("policy", "policy", []), OBJECT),
        (record("policy", "policy", POLICY) | {"body": b"{"}, OBJECT),
        (record("policy", "policy", POLICY) | {"body": b"[" * 100_000}, OBJECT),
        (record("policy", "policy", POLICY) | {"body": None}, OBJECT),
        (record("subscription", "s1", subscription(stakeholder=5)), STRINGS),
        (record("subscription", "s1", subscription(purpose=None)), STRINGS),
        (record("subscription", "s1", subscription(adapter=[])), STRINGS),
        (record("subscription", "s1", subscription(categories="service")), LIST),
        (record("subscription", "s1", subscription(categories=[5])), LIST),
        (
            record("subscription", "s1", subscription(settings=[])),
            "a subscription's `settings` are an object",
        ),
    ],
)
def test_what_is_not_of_its_shape_is_loud(broken: dict[str, Any], detail: str) -> None:
    one = governance(HOUSE)
    with pytest.raises(BrokenRecord) as caught:
        one.apply(1, broken)
    assert caught.value.detail == detail
    assert (one.offset, one.policy, one.subscriptions, len(one.stakeholders)) == (0, None, {}, 1)


NEEDS_ID = ("no-id", "a stakeholder needs an `id`, a string")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (None, ("", "wrong-type", "expected a list of stakeholders")),
        ({}, ("", "wrong-type", "expected a list of stakeholders")),
        ("harbor-house", ("", "wrong-type", "expected a list of stakeholders")),
        ([5], ("/0/id", *NEEDS_ID)),
        ([{"id": "a"}, None], ("/1/id", *NEEDS_ID)),
        ([{}], ("/0/id", *NEEDS_ID)),
        ([{"id": 5}], ("/0/id", *NEEDS_ID)),
        ([{"id": None}], ("/0/id", *NEEDS_ID)),
        (
            [{"id": "a"}, {"id": "b"}, {"id": "a"}],
            ("/2/id", "duplicate-id", "another stakeholder has the same `id`"),
        ),
    ],
)
def test_stakeholders_are_objects_with_an_id_of_their_own(values: Any, problem: tuple[str, str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        Stakeholders.of(values)
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize("value", [{}, {"id": 5}])
def test_a_stakeholder_needs_an_id(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        Stakeholder.of(value)
    assert caught.value.problems == (("/id", *NEEDS_ID),)


@pytest.mark.parametrize("value", [None, [], "policy", 5])
def test_a_policy_is_an_object(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        Policy.of(value)
    assert caught.value.problems == (("", "wrong-type", "expected a policy, an object"),)


def test_a_policy_compiled() -> None:
    one = Policy.of(POLICY | {"version": 5, "lookback_days_max": True, "categories": ["a.b.c", ".d", "e."]})
    assert (one.version, one.lookback_days_max, one.sound) == ("", 0, True)
    assert one.lineages == {"a.b.c": ("a.b.c", "a.b", "a"), ".d": (".d", ""), "e.": ("e.", "e")}
    assert one.roles == set(POLICY["roles"])
    assert [Policy.of({"lookback_days_max": days}).lookback_days_max for days in (1, 0, -1, "9")] == [
        1,
        0,
        0,
        0,
    ]
    assert Policy.of({"categories": ["a" + ".b" * 31]}).sound
    assert Policy.of({"categories": ["a" + ".b" * 32]}).sound is False
    assert Policy.of({"matrix": 5}).sound is False
    assert Policy.of({"matrix": [5]}).sound is False
    assert one.source["version"] == 5


def test_a_stakeholder_compiled() -> None:
    one = Stakeholder.of(STAKEHOLDERS[2])
    assert (one.id, one.role, one.treating, one.medical, one.in_class, one.sound) == (
        "clinic", "service-provider", True, True, True, True,
    )  # fmt: skip
    assert one.agrees(1_780_000_000_000)
    assert not one.agrees(1_735_689_599_999)
    assert not Stakeholder.of({"id": "x"}).agrees(0)
