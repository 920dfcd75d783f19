"""The decision point: the worked cases, the model, every edge by name, and whatever anybody may hand in."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent import Event, Policy, Stakeholders, States, decide, decide_all, default_policy, fold
from consent.decision import INDETERMINATE
from consent.plan import Plan, Plans
from schemas import instant
from tests import model
from tests.agree import Asks, agree, packed
from tests.cases import POLICY, STAKEHOLDERS
from tests.small import (
    AT,
    POLICIES,
    REGISTERED,
    ask,
    consent,
    emergency,
    event,
    grant,
    granted,
    order,
    reason,
    restriction,
    revoked,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "decisions.json").read_text("utf-8"))
VECTOR_STAKEHOLDERS = Stakeholders.of(VECTORS["stakeholders"])
REASONS = {
    "indeterminate", "no-agreement", "role", "court-order", "proceedings", "counselling-notes", "emergency",
    "no-emergency", "restriction", "consent", "revoked", "expired", "not-started", "no-consent",
    "nothing-shareable",
}  # fmt: skip


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_worked_case(case: dict[str, Any]) -> None:
    asked = case["request"]
    policy = Policy.of(default_policy())
    for state in (fold(case["directives"]), packed(case["directives"])):
        decision = decide(
            case["event"],
            asked["recipient"],
            asked["purpose"],
            asked["at"],
            state,
            policy,
            VECTOR_STAKEHOLDERS,
        )
        assert decision.as_json() == case["expect"]
        wanted = (Asks(asked["recipient"], asked["purpose"]),)
        about = Event.of(case["event"])
        assert about is None or decide_all(
            about, wanted, asked["at"], state, policy, VECTOR_STAKEHOLDERS
        ) == [decision]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_model_agrees_with_worked_case(case: dict[str, Any]) -> None:
    state = model.fold(case["directives"])
    answer = model.decide(case["event"], case["request"], state, POLICY, VECTORS["stakeholders"])
    assert answer == case["expect"]


def test_agrees_with_the_model_on_random_cases() -> None:
    reasons = agree(30_000, seed=1_000_000)
    assert set(reasons) == REASONS
    assert min(reasons.values()) >= 5


def test_default_policy_is_the_one_of_the_worked_cases() -> None:
    assert Counter(case["expect"]["reason"] for case in VECTORS["cases"]).keys() == REASONS
    assert default_policy() == POLICY
    assert Policy.of(default_policy()).lookback_days_max == 90
    assert Policy.of(default_policy()).version == "2026-11"


class Hostile:
    """Raises whatever is done with it."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")

    def __hash__(self) -> int:
        raise ValueError("no")

    def __getattribute__(self, name: str) -> Any:
        raise ValueError("no")


def cyclic() -> list[Any]:
    listed: list[Any] = ["reach"]
    listed.append(listed)
    return listed


def deep() -> Any:
    nested: Any = "reach"
    for _ in range(10_000):
        nested = [nested]
    return nested


JUNK: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "zero": lambda: 0,
    "one": lambda: 1,
    "true": lambda: True,
    "fraction": lambda: 1.5,
    "not a number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "huge": lambda: 10**400,
    "bytes": lambda: b"reach",
    "empty list": list,
    "empty object": dict,
    "empty tuple": tuple,
    "empty text": str,
    "surrogate": lambda: "\ud800",
    "list": lambda: ["reach"],
    "object": lambda: {"id": "reach"},
    "bare": object,
    "hostile": Hostile,
    "cyclic": cyclic,
    "deep": deep,
    "iterator": lambda: iter("reach"),
    "function": lambda: deep,
    "long": lambda: "x" * 1_000_000,
}


JSON_JUNK = [kind for kind in JUNK if kind != "hostile"]


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("kind", JUNK)
def test_junk_for_an_argument_is_indeterminate(place: int, kind: str) -> None:
    junk = JUNK[kind]()
    arguments: list[Any] = [
        event(), "harbor-house", "care-coordination", AT, fold([granted()]), POLICIES, REGISTERED
    ]  # fmt: skip
    assert decide(*arguments).reason == "consent"
    arguments[place] = junk
    integer_time = place == 3 and type(junk) is int
    assert decide(*arguments) == INDETERMINATE or integer_time
    if place != 1 and place != 2:
        about, _, _, at, state, policy, stakeholders = arguments
        about = junk if place == 0 else Event.of(event())
        wanted = (Asks("harbor-house", "care-coordination"), Asks("attorney", "treatment"))
        decisions = decide_all(about, wanted, at, state, policy, stakeholders)
        assert decisions == [INDETERMINATE] * 2 or integer_time


@pytest.mark.parametrize("key", [*event(), "extra"])
@pytest.mark.parametrize("kind", JUNK)
def test_junk_in_an_event_never_raises(key: str, kind: str) -> None:
    junk = JUNK[kind]()
    answer = ask(granted(), event=event() | {key: junk})
    if kind == "hostile":
        assert answer.reason == ("consent" if key == "extra" else "indeterminate")
        return
    empty = isinstance(junk, list | tuple) and not junk
    harmless = (
        key == "extra"
        or (junk is None and key in ("id", "type", "labels"))
        or (isinstance(junk, str) and key in ("id", "type"))
        or (isinstance(junk, str) and junk != "" and key == "participant")
        or (empty and key == "labels")
    )
    if key == "compartments" and (empty or junk is None):
        assert answer.reason == "nothing-shareable"
    else:
        assert answer.reason == ("consent" if harmless else "indeterminate")


@pytest.mark.parametrize(
    "key", ["recipients", "purposes", "categories", "disclosers", "labels", "id", "compartments"]
)
@pytest.mark.parametrize("kind", JSON_JUNK)
def test_junk_in_a_grant_never_raises(key: str, kind: str) -> None:
    junk = JUNK[kind]()
    assert ask(granted(grant(**{key: junk}))).reason in REASONS - {"indeterminate"}


@pytest.mark.parametrize("kind", JSON_JUNK)
def test_junk_for_a_directive_changes_nothing(kind: str) -> None:
    junk = JUNK[kind]()
    assert reason(granted(), junk) == "consent"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"participant": None}, "indeterminate"),
        ({"participant": ""}, "indeterminate"),
        ({"discloser": "nobody"}, "indeterminate"),
        ({"category": "service"}, "indeterminate"),
        ({"category": "service.hous"}, "indeterminate"),
        ({"labels": ["secret"]}, "indeterminate"),
        ({"labels": "hiv"}, "indeterminate"),
        ({"labels": ["*"]}, "indeterminate"),
        ({"compartments": ["gossip"]}, "indeterminate"),
        ({"compartments": "subject"}, "indeterminate"),
        ({"occurred_at": None}, "indeterminate"),
        ({"occurred_at": "2026-05-01T00:00:00"}, "indeterminate"),
        ({"occurred_at": 1_770_000_000_000}, "indeterminate"),
        ({"occurred_at": "2026-05-01"}, "indeterminate"),
        ({"at": "2026-06-01T00:00:00"}, "indeterminate"),
        ({"at": "yesterday"}, "indeterminate"),
        ({"recipient": "nobody"}, "indeterminate"),
        ({"recipient": "class:treating-provider"}, "indeterminate"),
        ({"recipient": "*"}, "indeterminate"),
        ({"purpose": "marketing"}, "indeterminate"),
        ({"purpose": "*"}, "indeterminate"),
        ({"id": None, "type": None}, "consent"),
        ({"type": "unheard-of"}, "consent"),
        ({"labels": None}, "consent"),
        ({"occurred_at": "2026-05-01t00:00:00.000999999+05:30"}, "consent"),
        ({"recipient": "former"}, "no-agreement"),
        ({"recipient": "unsigned"}, "no-agreement"),
        ({"recipient": "unsigned", "purpose": "proceedings"}, "no-agreement"),
        ({"recipient": "shops"}, "role"),
        ({"purpose": "program-evaluation"}, "role"),
        ({"compartments": None}, "nothing-shareable"),
        ({"compartments": ["occurrence"]}, "nothing-shareable"),
        ({"compartments": ["clinical"]}, "nothing-shareable"),
        ({"discloser": "clinic"}, "no-consent"),
        ({"recipient": "reach"}, "no-consent"),
        ({"purpose": "treatment"}, "no-consent"),
        ({"labels": ["hiv"]}, "no-consent"),
        ({"category": "contact.crisis"}, "no-consent"),
    ],
)
def test_question(changes: dict[str, Any], expected: str) -> None:
    assert reason(granted(), **changes) == expected


ADMITTED = {"id": "harbor-house", "role": "service-provider", "agreement": {"from": "2025-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "consent"),
        ({"role": None}, "role"),
        ({"role": 5}, "indeterminate"),
        ({"role": ["service-provider"]}, "indeterminate"),
        ({"treating": "yes"}, "indeterminate"),
        ({"treating": 1}, "indeterminate"),
        ({"medical": 0}, "indeterminate"),
        ({"agreement": None}, "no-agreement"),
        ({"agreement": {}}, "no-agreement"),
        ({"agreement": {"until": "2027-01-01T00:00:00Z"}}, "no-agreement"),
        ({"agreement": "signed"}, "indeterminate"),
        ({"agreement": {"from": "2025"}}, "indeterminate"),
        ({"agreement": {"from": "2025-01-01T00:00:00Z", "until": "2027"}}, "indeterminate"),
        ({"agreement": {"from": AT, "until": AT}}, "consent"),
        ({"agreement": {"from": "2026-06-01T12:00:00.001Z"}}, "no-agreement"),
        (
            {"agreement": {"from": "2025-01-01T00:00:00Z", "until": "2026-06-01T11:59:59.999Z"}},
            "no-agreement",
        ),
    ],
)
def test_stakeholder(changes: dict[str, Any], expected: str) -> None:
    others = [one for one in STAKEHOLDERS if one["id"] != "harbor-house"]
    as_recipient = Stakeholders.of([*others, ADMITTED | changes])
    assert reason(granted(), stakeholders=as_recipient) == expected
    as_discloser = Stakeholders.of([*others, ADMITTED | changes])
    by_name = granted(grant(disclosers=["harbor-house"], recipients=["reach"]))
    asked = {"discloser": "harbor-house", "recipient": "reach"}
    spoilt = expected == "indeterminate"
    assert reason(by_name, stakeholders=as_discloser, **asked) == ("indeterminate" if spoilt else "consent")
    by_star = granted(grant(disclosers=["*"], recipients=["reach"]))
    lapsed = {"no-agreement": "no-consent", "role": "consent"}.get(expected, expected)
    assert reason(by_star, stakeholders=as_discloser, **asked) == lapsed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "consent"),
        ({"purposes": None}, "indeterminate"),
        ({"purposes": "care-coordination"}, "indeterminate"),
        ({"categories": ["service"]}, "indeterminate"),
        ({"compartments": None}, "indeterminate"),
        ({"labels": 5}, "indeterminate"),
        ({"labels": [5]}, "indeterminate"),
        ({"labels": None}, "consent"),
        ({"roles": {}}, "indeterminate"),
        ({"matrix": None}, "role"),
        ({"matrix": []}, "role"),
        ({"matrix": {}}, "indeterminate"),
        ({"matrix": [None]}, "indeterminate"),
        ({"matrix": [{"role": 5}]}, "indeterminate"),
        ({"matrix": [{"category": 5}]}, "indeterminate"),
        ({"matrix": [{"role": "service-provider", "category": ["service"]}]}, "indeterminate"),
        ({"matrix": [{}]}, "role"),
        ({"matrix": [{"role": "service-provider", "category": "service", "purposes": ["*"]}]}, "role"),
        (
            {"matrix": [{"role": "service-provider", "category": "*", "purposes": ["care-coordination"]}]},
            "role",
        ),
        (
            {"matrix": [{"role": "service-provider", "category": "serv", "purposes": ["care-coordination"]}]},
            "role",
        ),
        (
            {
                "matrix": [
                    {"role": "service-provider", "category": "service", "purposes": ["care-coordination"]}
                ]
            },
            "nothing-shareable",
        ),
    ],
)
def test_policy(changes: dict[str, Any], expected: str) -> None:
    assert reason(granted(), policy=Policy.of(POLICY | changes)) == expected


def test_rows_of_the_matrix_add_up() -> None:
    row = {"role": "service-provider", "purposes": ["care-coordination"]}
    rows = [
        row | {"category": "service", "compartments": ["subject"]},
        row | {"category": "service.housing", "compartments": ["clinical"]},
        row | {"category": "service.housing", "compartments": ["narrative", "unheard-of"]},
        row | {"category": None, "compartments": ["legal"]},
        row | {"role": None, "category": "service", "compartments": ["legal"]},
        row | {"category": "service.hous", "compartments": ["legal"]},
        row | {"category": "service.medical", "compartments": ["legal"]},
        row | {"category": "service", "purposes": ["treatment"], "compartments": ["legal"]},
        row | {"role": "police", "category": "service", "compartments": ["legal"]},
    ]
    everything = granted(grant(compartments=["*"]))
    added = Policy.of(
        POLICY | {"matrix": [*rows, row | {"category": "service", "compartments": ["occurrence"]}]}
    )
    answer = ask(everything, policy=added, compartments=list(POLICY["compartments"]))
    assert answer.compartments == ("clinical", "narrative", "occurrence", "subject")


def test_permit_by_consent() -> None:
    assert ask(granted()).as_json() == {
        "effect": "permit",
        "reason": "consent",
        "basis": "consent",
        "grants": ["c1/g1"],
        "compartments": ["activity", "subject"],
        "obligations": ["attach-consent-scope", "no-redisclosure", "record-disclosure"],
    }
    assert ask(granted()).permitted
    assert not ask().permitted


def test_every_grant_that_counts_is_named_and_compartments_add_up() -> None:
    narrow = grant(id="g2", compartments=[], categories=["service.housing"])
    more = grant(id="g3", compartments=["occurrence"])
    answer = ask(granted(grant(), narrow, id="c2"), granted(more, grant(id="g1", purposes=["treatment"])))
    assert answer.grants == ("c1/g3", "c2/g1", "c2/g2")
    assert answer.compartments == ("activity", "occurrence", "subject")


def test_two_grants_of_one_name_are_named_once() -> None:
    assert ask(granted(grant(), grant(compartments=["occurrence"]))).grants == ("c1/g1",)


def test_equity_is_in_no_row_of_the_matrix() -> None:
    answer = ask(granted(grant(compartments=["*"])), compartments=["equity", "subject"])
    assert answer.compartments == ("subject",)


def test_instants_are_compared_in_milliseconds() -> None:
    ends = "2026-06-01T12:00:00.000999Z"
    assert reason(granted(expires_at=ends), at="2026-06-01T05:00:00.0009-07:00") == "consent"
    assert reason(granted(expires_at=ends), at="2026-06-01T12:00:00.001Z") == "expired"


@pytest.mark.parametrize(
    ("changes", "last", "after"),
    [
        ({"expires_at": "2026-06-01T12:00:00.000Z"}, "consent", "expired"),
        ({"starts_at": "2026-06-01T12:00:00.001Z"}, "not-started", "consent"),
        ({"signed_at": "2026-06-01T12:00:00.001Z"}, "no-consent", "consent"),
    ],
)
def test_periods_include_both_ends(changes: dict[str, Any], last: str, after: str) -> None:
    assert reason(granted(**changes), at="2026-06-01T12:00:00.000Z") == last
    assert reason(granted(**changes), at="2026-06-01T12:00:00.001Z") == after


def test_data_period_includes_both_ends() -> None:
    only_then = granted(grant(data_from="2026-05-01T00:00:00Z", data_until="2026-05-01T00:00:00Z"))
    assert reason(only_then) == "consent"
    assert reason(only_then, occurred_at="2026-04-30T23:59:59.999Z") == "no-consent"
    assert reason(only_then, occurred_at="2026-05-01T00:00:00.001Z") == "no-consent"
    unbounded = granted(grant(), grant(id="g2", data_from="2026-05-02T00:00:00Z"))
    assert ask(unbounded).grants == ("c1/g1",)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"starts_at": "2026-07-01T00:00:00Z", "signed_at": "2026-06-02T00:00:00Z"}, "no-consent"),
        ({"expires_at": "2026-05-01T00:00:00Z", "signed_at": "2026-06-02T00:00:00Z"}, "no-consent"),
        ({"starts_at": "2026-07-01T00:00:00Z", "expires_at": "2026-05-01T00:00:00Z"}, "no-consent"),
    ],
)
def test_only_one_thing_is_overlooked(changes: dict[str, Any], expected: str) -> None:
    assert reason(granted(**changes)) == expected
    assert reason(granted(**changes), revoked()) == "no-consent"
    for one in ({"starts_at": "2026-07-01T00:00:00Z"}, {"expires_at": "2026-05-01T00:00:00Z"}):
        assert reason(granted(**one), revoked()) == "no-consent"


@pytest.mark.parametrize("edge", ["signed_at", "starts_at", "expires_at"])
def test_what_was_revoked_is_told_up_to_the_very_ends_of_its_period(edge: str) -> None:
    assert reason(granted(**{edge: AT}), revoked()) == "revoked"


def test_the_first_near_miss_in_order_is_told() -> None:
    early = granted(id="c2", starts_at="2026-07-01T00:00:00Z")
    late = granted(id="c3", expires_at="2026-05-01T00:00:00Z")
    taken = [granted(), revoked()]
    assert reason(early) == "not-started"
    assert reason(early, late) == "expired"
    assert reason(early, late, *taken) == "revoked"
    assert reason(early, late, *taken, granted(id="c4")) == "consent"


TREATING = "class:treating-provider"


@pytest.mark.parametrize(
    ("recipient", "treats"),
    [("harbor-house", True), ("clinic", True), ("reach", True), ("ems", True), ("defense", False),
     ("police", False), ("court", False), ("jail-health", False), ("attorney", False), ("shops", False)],
)  # fmt: skip
def test_who_is_in_the_class_of_treating_providers(recipient: str, treats: bool) -> None:
    row = {"category": "service", "purposes": ["care-coordination"], "compartments": ["subject"]}
    roles = Policy.of(POLICY | {"matrix": [row | {"role": role} for role in POLICY["roles"]]})
    asked: dict[str, Any] = {"recipient": recipient, "policy": roles}
    assert reason(granted(grant(recipients=[TREATING])), **asked) == ("consent" if treats else "no-consent")
    by_name = granted(grant(recipients=[recipient]))
    assert reason(by_name, **asked) == "consent"
    assert reason(by_name, revoked(recipients=[TREATING]), **asked) == ("revoked" if treats else "consent")
    never = restriction(recipients=[TREATING])
    assert reason(by_name, never, **asked) == ("restriction" if treats else "consent")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"disclosers": ["*"]}, "consent"),
        ({"compartments": ["*"]}, "consent"),
        ({"recipients": ["*"]}, "no-consent"),
        ({"purposes": ["*"]}, "no-consent"),
        ({"categories": ["*"]}, "no-consent"),
        ({"disclosers": [TREATING]}, "no-consent"),
        ({"categories": ["serv"]}, "no-consent"),
        ({"categories": ["service.housing.tent"]}, "no-consent"),
        ({"categories": ["service."]}, "no-consent"),
        ({"categories": ["court", "service.housing"]}, "consent"),
        ({"recipients": []}, "no-consent"),
        ({"recipients": None}, "no-consent"),
        ({"recipients": ["reach", 5, None, "harbor-house"]}, "consent"),
        ({"recipients": "harbor-house"}, "no-consent"),
        ({"compartments": []}, "nothing-shareable"),
        ({"compartments": ["gossip", ""]}, "nothing-shareable"),
        ({"id": None}, "no-consent"),
        ({"data_from": "2026-05-01T00:00:00.001Z"}, "no-consent"),
        ({"data_until": "2026-04-30T00:00:00Z"}, "no-consent"),
        ({"data_from": "2026-06-01T00:00:00Z", "data_until": "2026-04-01T00:00:00Z"}, "no-consent"),
        ({"data_until": 5}, "consent"),
        ({"data_from": "the beginning"}, "consent"),
    ],
)
def test_grant(changes: dict[str, Any], expected: str) -> None:
    assert reason(granted(grant(**changes))) == expected


def test_a_star_among_labels_names_none() -> None:
    assert reason(granted(grant(labels=["*"])), labels=["hiv"]) == "no-consent"


def test_every_label_must_be_agreed_to_by_name() -> None:
    assert reason(granted(grant(labels=["hiv"])), labels=["hiv", "part2"]) == "no-consent"
    assert reason(granted(grant(labels=["hiv", "part2"])), labels=["part2", "hiv", "hiv"]) == "consent"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "restriction"),
        ({"recipients": ["harbor-house"]}, "restriction"),
        ({"recipients": ["reach"]}, "consent"),
        ({"recipients": []}, "consent"),
        ({"purposes": ["care-coordination"]}, "restriction"),
        ({"purposes": ["treatment"]}, "consent"),
        ({"purposes": None}, "consent"),
        ({"categories": ["service"]}, "restriction"),
        ({"categories": ["service.housing"]}, "restriction"),
        ({"categories": ["serv"]}, "consent"),
        ({"categories": None}, "consent"),
        ({"labels": ["hiv"]}, "restriction"),
        ({"labels": ["part2", "hiv"]}, "restriction"),
        ({"labels": ["part2"]}, "consent"),
        ({"labels": []}, "consent"),
        ({"id": None}, "consent"),
        ({"id": 5}, "consent"),
        ({"id": ""}, "restriction"),
    ],
)
def test_restriction(changes: dict[str, Any], expected: str) -> None:
    labelled = granted(grant(labels=["hiv"]))
    assert reason(labelled, restriction(**changes), labels=["hiv"]) == expected


def test_a_restriction_for_any_label_matches_what_has_none() -> None:
    assert reason(granted(), restriction(labels=["*"])) == "restriction"
    assert reason(granted(), restriction(labels=["hiv"])) == "consent"


PROCEEDINGS: dict[str, Any] = {"recipient": "attorney", "purpose": "proceedings"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "court-order"),
        ({"recipient": "court"}, "proceedings"),
        ({"recipient": None}, "proceedings"),
        ({"categories": ["service.housing"]}, "court-order"),
        ({"categories": ["*"]}, "proceedings"),
        ({"categories": ["court"]}, "proceedings"),
        ({"categories": None}, "proceedings"),
        ({"subpoena": False}, "proceedings"),
        ({"subpoena": None}, "proceedings"),
        ({"subpoena": 1}, "proceedings"),
        ({"subpoena": "true"}, "proceedings"),
        ({"starts_at": None}, "proceedings"),
        ({"expires_at": None}, "proceedings"),
        ({"starts_at": AT, "expires_at": AT}, "court-order"),
        ({"starts_at": "2026-06-01T12:00:00.001Z"}, "proceedings"),
        ({"expires_at": "2026-06-01T11:59:59.999Z"}, "proceedings"),
        ({"id": None}, "proceedings"),
    ],
)
def test_order(changes: dict[str, Any], expected: str) -> None:
    assert reason(order(**changes), **PROCEEDINGS) == expected


def test_an_order_opens_proceedings_alone_and_no_restriction_stops_it() -> None:
    answer = ask(order(id="o2"), restriction(), order(), order(id="o3", subpoena=False), **PROCEEDINGS)
    assert answer.as_json() == {
        "effect": "permit",
        "reason": "court-order",
        "basis": "court-order",
        "grants": ["o1", "o2"],
        "compartments": ["occurrence", "subject"],
        "obligations": ["record-disclosure"],
    }
    assert ask(order(), labels=["part2"], **PROCEEDINGS).obligations == (
        "attach-part2-notice",
        "record-disclosure",
    )
    assert ask(order(), labels=["counselling-notes"], **PROCEEDINGS).reason == "court-order"
    assert ask(order(recipient="harbor-house")).reason == "no-consent"
    assert ask(order(), compartments=["narrative"], **PROCEEDINGS).reason == "nothing-shareable"


def test_proceedings_need_a_consent_given_for_them_alone() -> None:
    here = grant(recipients=["attorney"], purposes=["proceedings"], compartments=["*"])
    other = grant(id="g2", recipients=["attorney"], purposes=["legal-coordination"])
    both = grant(recipients=["attorney"], purposes=["proceedings", "legal-coordination"])
    assert reason(granted(here), **PROCEEDINGS) == "consent"
    assert reason(granted(here, other), **PROCEEDINGS) == "proceedings"
    assert reason(granted(here, other), revoked(grants=["g2"]), **PROCEEDINGS) == "proceedings"
    assert reason(granted(here | {"purposes": ["proceedings", "proceedings"]}), **PROCEEDINGS) == "consent"
    assert reason(granted(both), **PROCEEDINGS) == "proceedings"
    assert reason(granted(here, expires_at="2026-05-01T00:00:00Z"), **PROCEEDINGS) == "proceedings"
    assert reason(granted(here), restriction(), **PROCEEDINGS) == "restriction"
    ordinary = granted(here | {"id": "g9"}, other, id="c2")
    assert ask(ordinary, granted(here), **PROCEEDINGS).grants == ("c1/g1",)
    unnamed = grant(id=None, purposes=["treatment"])
    assert reason(granted(here, unnamed), **PROCEEDINGS) == "proceedings"


NOTES: dict[str, Any] = {"labels": ["counselling-notes"]}


def test_counselling_notes_need_a_consent_given_for_them_alone() -> None:
    here = grant(labels=["counselling-notes", "hiv"])
    other = grant(id="g2", labels=["hiv"], purposes=["treatment"])
    assert reason(granted(here), **NOTES) == "consent"
    assert reason(granted(here, other), **NOTES) == "counselling-notes"
    assert reason(granted(here), revoked(), **NOTES) == "counselling-notes"
    assert reason(granted(here), restriction(), **NOTES) == "restriction"
    assert reason(restriction(), **NOTES) == "counselling-notes"
    ordinary = granted(here | {"id": "g9", "compartments": ["*"]}, other, id="c2")
    answer = ask(ordinary, granted(here), **NOTES)
    assert (answer.grants, answer.compartments) == (("c1/g1",), ("activity", "subject"))
    assert reason(ordinary, labels=["hiv"]) == "consent"


def test_notes_in_proceedings_need_both() -> None:
    legal = {"recipients": ["attorney"], "purposes": ["proceedings"], "labels": ["counselling-notes"]}
    asked = NOTES | PROCEEDINGS
    share = grant(**legal, compartments=["*"])
    bare = grant(**(legal | {"labels": []}), id="g2")
    assert reason(granted(share), **asked) == "consent"
    assert reason(granted(share, bare), **asked) == "counselling-notes"
    assert reason(
        granted(share, bare | {"purposes": ["treatment"], "labels": ["counselling-notes"]}), **asked
    ) == ("proceedings")


EMERGENCY: dict[str, Any] = {"recipient": "clinic", "purpose": "emergency", "category": "service.medical"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "emergency"),
        ({"recipient": "ems"}, "no-emergency"),
        ({"recipient": None}, "no-emergency"),
        ({"declared_by": None}, "no-emergency"),
        ({"declared_by": 5}, "no-emergency"),
        ({"nature": None}, "no-emergency"),
        ({"id": None}, "no-emergency"),
        ({"declared_at": None}, "no-emergency"),
        ({"expires_at": None}, "no-emergency"),
        ({"expires_at": "2026-06-02T00:00:00.0009Z"}, "emergency"),
        ({"expires_at": "2026-06-02T00:00:00.001Z"}, "no-emergency"),
        ({"declared_at": AT, "expires_at": AT}, "emergency"),
        ({"declared_at": "2026-06-01T12:00:00.001Z"}, "no-emergency"),
        ({"expires_at": "2026-06-01T11:59:59.999Z"}, "no-emergency"),
    ],
)
def test_emergency(changes: dict[str, Any], expected: str) -> None:
    assert reason(emergency(**changes), **EMERGENCY) == expected


def test_an_emergency_shares_little_and_no_restriction_stops_it() -> None:
    consented = granted(grant(recipients=["clinic"], purposes=["emergency"], compartments=["*"]))
    answer = ask(consented, emergency(id="e2"), restriction(), emergency(), labels=["part2"], **EMERGENCY)
    assert answer.as_json() == {
        "effect": "permit",
        "reason": "emergency",
        "basis": "emergency",
        "grants": ["e1", "e2"],
        "compartments": ["clinical", "occurrence", "subject"],
        "obligations": [
            "attach-part2-notice",
            "not-for-proceedings",
            "record-disclosure",
            "review-emergency",
        ],
    }
    assert ask(consented, **EMERGENCY).reason == "no-emergency"
    assert ask(emergency(), compartments=["activity"], **EMERGENCY).reason == "nothing-shareable"


def test_an_emergency_shares_nothing_else_where_the_policy_has_fewer_compartments() -> None:
    fewer = Policy.of(POLICY | {"compartments": ["activity", "occurrence", "subject"]})
    asked: dict[str, Any] = EMERGENCY | {"policy": fewer, "compartments": ["activity", "subject"]}
    assert ask(emergency(), **asked).compartments == ("subject",)


def test_only_medical_personnel_declare_emergencies() -> None:
    declared = emergency(recipient="harbor-house")
    assert reason(declared, **(EMERGENCY | {"recipient": "harbor-house"})) == "no-emergency"


def test_notes_in_an_emergency_need_their_consent_too() -> None:
    asked = NOTES | EMERGENCY
    dedicated = grant(recipients=["clinic"], purposes=["emergency"], labels=["counselling-notes"])
    assert reason(emergency(), **asked) == "counselling-notes"
    answer = ask(emergency(), granted(dedicated), **asked)
    assert (answer.reason, answer.grants) == ("emergency", ("e1",))


@pytest.mark.parametrize(
    ("labels", "purpose", "recipient", "more"),
    [
        (["part2"], "care-coordination", "harbor-house", ["attach-part2-notice", "not-for-proceedings"]),
        (["part2"], "proceedings", "attorney", ["attach-part2-notice"]),
        (["hiv"], "care-coordination", "harbor-house", []),
    ],
)
def test_obligations(labels: list[str], purpose: str, recipient: str, more: list[str]) -> None:
    given = granted(grant(labels=labels, purposes=[purpose], recipients=[recipient], compartments=["*"]))
    usual = ["attach-consent-scope", "no-redisclosure", "record-disclosure"]
    answer = ask(given, labels=labels, purpose=purpose, recipient=recipient)
    assert list(answer.obligations) == sorted(usual + more)


WANTED = tuple(
    Asks(name, purpose)
    for name in ("harbor-house", "former", "nobody", "attorney", "clinic", "shops")
    for purpose in ("care-coordination", "proceedings", "emergency", "marketing", "treatment")
)


def no_fall_back(*_: Any) -> None:
    raise AssertionError("decided one by one")


@pytest.mark.parametrize("wanted", [WANTED, list(WANTED), WANTED[:1], ()])
@pytest.mark.parametrize("at", [AT, "2024-01-01T00:00:00Z", "2026-05-28T20:26:40.000Z"])
@pytest.mark.parametrize("labels", [(), ("counselling-notes",)])
def test_all_at_once_is_the_same_as_one_by_one(
    wanted: Any, at: str, labels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["consent.decide"], "decide", no_fall_back)
    about = Event.of(event(labels=list(labels), category="service.medical"))
    assert about is not None
    directives = [
        granted(grant(recipients=["clinic", "harbor-house"], labels=list(labels))),
        order(),
        emergency(),
    ]
    for some in (directives, [*directives, restriction(recipients=["clinic"])], []):
        state = fold(some)
        nothing: Any = decide_all(None, wanted, at, state, POLICIES, REGISTERED)  # type: ignore[arg-type]
        assert nothing == [INDETERMINATE] * len(wanted)
        together = decide_all(about, wanted, at, state, POLICIES, REGISTERED)  # type: ignore[arg-type]
        alone = [
            decide(about, one.stakeholder, one.purpose, at, state, POLICIES, REGISTERED) for one in wanted
        ]
        assert together == alone


def test_one_spoilt_subscription_does_not_spoil_the_others() -> None:
    about = Event.of(event())
    assert about is not None
    wanted: Any = (Asks("harbor-house", "care-coordination"), Asks(Hostile(), "treatment"), Asks("reach", []))  # type: ignore[arg-type]
    decisions = decide_all(about, wanted, 1_780_315_200_000, fold([granted()]), POLICIES, REGISTERED)
    assert [one.reason for one in decisions] == ["consent", "indeterminate", "indeterminate"]


def test_a_plan_made_for_other_stakeholders_or_another_policy_is_not_used() -> None:
    about = Event.of(event())
    assert about is not None
    wanted = (Asks("harbor-house", "care-coordination"),)
    state = fold([granted()])

    def reasons(policy: Policy, stakeholders: Stakeholders) -> list[str]:
        return [
            one.reason for one in decide_all(about, wanted, 1_780_315_200_000, state, policy, stakeholders)
        ]

    assert reasons(POLICIES, REGISTERED) == ["consent"]
    for _ in range(50):  # objects that come and go, so that their addresses are used again
        assert reasons(Policy.of(POLICY | {"matrix": []}), REGISTERED) == ["role"]
        assert reasons(POLICIES, Stakeholders.of([one for one in STAKEHOLDERS if one["id"] == "reach"])) == [
            "indeterminate"
        ]


def test_the_same_state_under_another_policy_shares_what_that_policy_allows() -> None:
    state = fold([granted(grant(compartments=["activity", "subject"]))])
    fewer = Policy.of(POLICY | {"compartments": ["activity", "zeal", "clinical"]})
    about = event(compartments=["activity"])
    more = Policy.of(POLICY | {"compartments": [*POLICY["compartments"], "dreams", "aims", "zeal"]})
    for policy in (POLICIES, fewer, more, POLICIES):
        answer = decide(about, "harbor-house", "care-coordination", AT, state, policy, REGISTERED)
        assert answer.compartments == ("activity",)


def test_more_grants_than_a_block_holds() -> None:
    """Hundreds of grants, in consents of all sizes, decide as the model does."""
    directives = []
    for number, size in enumerate([1, 59, 60, 61, 130, 3, 200]):
        grants = [
            grant(
                id=f"g{place}",
                recipients=["harbor-house"] if place % 7 == number else ["reach"],
                compartments=["subject"] if place % 2 else ["activity"],
                data_from="2026-05-01T00:00:00Z" if place % 3 else "2026-05-02T00:00:00Z",
            )
            for place in range(size)
        ]
        directives.append(granted(*grants, id=f"c{number}"))
    directives += [revoked("c3", grants=["g3", "g10"]), revoked("c4", recipients=["reach"]), revoked("c5")]
    request = {"recipient": "", "purpose": "care-coordination", "at": AT}
    for recipient in ("harbor-house", "reach"):
        expected = model.decide(
            event(), request | {"recipient": recipient}, model.fold(directives), POLICY, STAKEHOLDERS
        )
        assert ask(*directives, recipient=recipient).as_json() == expected
        assert len(expected["grants"]) > 20


def test_two_blocks_of_grants_add_up() -> None:
    first = [grant(id=f"g{place}") for place in range(60)]
    answer = ask(granted(*first, grant(id="h", compartments=["occurrence"])))
    assert len(answer.grants) == 61
    assert answer.compartments == ("activity", "occurrence", "subject")


def test_only_those_whom_the_quick_way_cannot_serve_go_the_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all others, what the plan has settled or the only block says is the answer."""
    decider = sys.modules["consent.decide"]
    wanted = tuple(
        Asks(name, purpose)
        for purpose in ("care-coordination", "treatment", "emergency")
        for name in ("reach", "harbor-house", "clinic", "attorney")
    )
    answer, taken = decider._answer, set()

    def counted(question: Any, asker: Any) -> Any:
        taken.add((asker.id, asker.purpose))
        return answer(question, asker)

    monkeypatch.setattr(decider, "_answer", counted)

    def asked(*directives: Any, at: str = AT, **changes: Any) -> set[tuple[str, str]]:
        about, state, instant_ms = Event.of(event(**changes)), fold(directives), instant.parse(at)
        assert about is not None
        taken.clear()
        decided = decide_all(about, wanted, instant_ms, state, POLICIES, REGISTERED)
        long_way = set(taken)
        assert decided == [
            decide(about, one.stakeholder, one.purpose, instant_ms, state, POLICIES, REGISTERED)
            for one in wanted
        ]
        return long_way

    emergencies = {("clinic", "emergency"), ("harbor-house", "emergency")}
    ordinary = {
        (name, what)
        for name in ("clinic", "harbor-house", "reach")
        for what in ("care-coordination", "treatment")
    }
    assert asked() == emergencies
    assert asked(granted()) == emergencies
    by_class = granted(grant(recipients=[TREATING], purposes=["treatment", "care-coordination"]))
    revoked = {"type": "consent-revoked", "consent_id": "c1", "recipients": [TREATING]}
    assert asked(by_class) == asked(by_class, revoked) == emergencies
    assert asked(granted(), category="contact.crisis") == emergencies | {("reach", "emergency")}
    assert asked(granted(), restriction()) == emergencies | ordinary  # the reason may be another
    assert asked(granted(), labels=["counselling-notes"]) == emergencies | ordinary
    assert asked(granted(*[grant(id=f"g{place}") for place in range(61)])) == emergencies | ordinary
    everybody = {(one.stakeholder, one.purpose) for one in wanted}
    assert asked(granted(), at="2024-12-31T00:00:00Z") == everybody  # agreements not yet in force


def test_a_row_of_the_matrix_without_compartments_shares_nothing() -> None:
    empty = Policy.of(POLICY | {"matrix": [row | {"compartments": []} for row in POLICY["matrix"]]})
    about = Event.of(event())
    assert about is not None
    wanted = (Asks("harbor-house", "care-coordination"),)
    for policy, told in ((POLICIES, "consent"), (empty, "nothing-shareable")):
        (answer,) = decide_all(about, wanted, instant.parse(AT), fold([granted()]), policy, REGISTERED)
        assert answer.reason == told


def test_plans_are_made_once_for_the_same_tuple(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = Plans()
    wanted = (Asks("reach", "treatment"),)

    def get(some: Any, category: str = "service.housing") -> Plan:
        return plans.get(category, some, POLICIES, REGISTERED)

    assert get(wanted) is get(wanted)
    assert get(wanted) is not get(wanted, "service.medical")
    assert get(list(wanted)) is not get(list(wanted))
    changing = list(wanted)
    first = get(changing)
    changing.append(Asks("clinic", "treatment"))
    assert (len(first.settled), len(get(changing).settled)) == (1, 2)
    monkeypatch.setattr(sys.modules["consent.plan"], "plans_max", 2)
    kept = get(wanted)
    get(wanted, "contact.crisis")
    assert get(wanted) is not kept
    assert len(plans._made) <= 2


def test_a_hundred_thousand_directives_of_one_person() -> None:
    directives: list[Any] = []
    for number in range(25_000):
        recipients = ["harbor-house"] if number == 20_000 else ["reach"]
        ending = {"expires_on": "program-exit", "expires_at": None}
        directives.append(granted(grant(recipients=recipients), id=f"c{number}", **ending))
        directives.append(revoked(f"c{number - 5}", recipients=[f"nobody-{number}"]))
        directives.append({"type": "program-exited", "at": f"2026-{6 + number % 6:02}-01T12:00:00Z"})
        directives.append(restriction(id=f"r{number}", recipients=["nobody"], purposes=[f"purpose-{number}"]))
    start = time.process_time()
    state = fold(directives)
    answer = decide(event(), "harbor-house", "care-coordination", AT, state, POLICIES, REGISTERED)
    assert (answer.reason, answer.grants) == ("consent", ("c20000/g1",))
    later = decide(
        event(), "harbor-house", "care-coordination", "2026-06-01T12:00:00.001Z", state, POLICIES, REGISTERED
    )
    assert later.reason == "expired"
    assert time.process_time() - start < 30  # it takes about three seconds


def test_deciding_reads_no_directive_twice() -> None:
    """The compiled state of somebody is kept; what is applied afterwards is seen at once."""
    states = States()
    body = json.dumps(granted()).encode()
    states.apply("p-1", 1, body)
    first = states.get("p-1")
    assert states.get("p-1") is first
    states.apply("p-1", 2, json.dumps(revoked()).encode())
    about = event()
    answers = [
        decide(about, "harbor-house", "care-coordination", AT, state, POLICIES, REGISTERED).reason
        for state in (first, states.get("p-1"))
    ]
    assert answers == ["consent", "revoked"]


def test_event_of_json() -> None:
    about = Event.of(event(labels=None))
    assert about == Event(
        "evt-1", "p-1", "service-engagement", "service.housing", (), "reach", 1_777_593_600_000,
        ["subject", "occurrence", "activity", "clinical", "narrative"],
    )  # fmt: skip
    assert Event.of(None) is None
    assert Event.of(event(occurred_at=5)) is None


def test_a_consent_that_never_ends_is_for_treatment_alone() -> None:
    treating: dict[str, Any] = {"expires_at": None, "expires_on": "none"}
    asked: dict[str, Any] = {"purpose": "treatment"}
    only = grant(purposes=["treatment"])
    assert reason(granted(only, **treating), **asked, at="9999-12-31T23:59:59.999Z") == "consent"
    assert reason(granted(only, grant(id="g2", purposes=[]), **treating), **asked) == "no-consent"
    assert reason(granted(only, grant(id="g2"), **treating), **asked) == "no-consent"
    assert (
        reason(granted(only | {"purposes": ["treatment", "emergency"]}, **treating), **asked) == "no-consent"
    )
    assert consent(only)["expires_at"] is not None
