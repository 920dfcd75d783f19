"""What a question lacks: each thing by its name, and what is told first where several are missing."""

from typing import Any

import pytest

from consent import Policy, Stakeholders, decide, fold
from consent.asked import Asked
from consent.explain import explain
from tests.cases import POLICY, STAKEHOLDERS
from tests.small import AT, POLICIES, REGISTERED, Json, event

BROKEN = Policy.of(POLICY | {"matrix": 5})
STRANGE = Stakeholders.of([*STAKEHOLDERS, {"id": "strange", "role": 5}])
SAID = {
    "policy": "the policy",
    "recipient": "who asks",
    "discloser": "who told it",
    "participant": "whom it is about",
    "category": "what it was about",
    "label": "how sensitive it is",
    "compartment": "one of its parts",
    "purpose": "what it is wanted for",
    "at": "the time to decide for",
    "time": "the time at which it happened",
    "event": "the event",
}


def inputs(**changes: Any) -> tuple[Any, ...]:
    about = changes.pop("about", None) or event(**changes.pop("event", {}))
    usual: Json = {
        "recipient": "harbor-house",
        "purpose": "care-coordination",
        "at": AT,
        "policy": POLICIES,
        "stakeholders": STRANGE,
    } | changes
    return (about, *usual.values())


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"policy": BROKEN}, "policy"),
        ({"recipient": "nobody"}, "recipient"),
        ({"recipient": "strange"}, "recipient"),
        ({"recipient": None}, "recipient"),
        ({"event": {"discloser": "nobody"}}, "discloser"),
        ({"event": {"discloser": "strange"}}, "discloser"),
        ({"event": {"participant": ""}}, "participant"),
        ({"event": {"participant": 5}}, "participant"),
        ({"event": {"category": "weather"}}, "category"),
        ({"event": {"category": "service"}}, "category"),
        ({"event": {"category": ["service.housing"]}}, "category"),
        ({"event": {"labels": ["hiv", "shoe-size"]}}, "label"),
        ({"event": {"labels": "hiv"}}, "label"),
        ({"event": {"labels": {}}}, "label"),
        ({"event": {"labels": [["hiv"]]}}, "label"),
        ({"event": {"compartments": ["subject", "gossip"]}}, "compartment"),
        ({"event": {"compartments": 5}}, "compartment"),
        ({"purpose": "marketing"}, "purpose"),
        ({"purpose": ["treatment"]}, "purpose"),
        ({"at": None}, "at"),
        ({"at": "2026-06-01"}, "at"),
        ({"at": True}, "at"),
        ({"at": 1.5}, "at"),
        ({"event": {"id": 5}}, "event"),
        ({"event": {"type": []}}, "event"),
        ({"about": 5}, "event"),
        ({"about": ["service.housing"]}, "event"),
        ({"event": {"occurred_at": "yesterday"}}, "time"),
    ],
)
def test_what_is_missing_is_told_by_name(changes: Json, lacking: str) -> None:
    about, recipient, purpose, at, policy, known = given = inputs(**changes)
    assert Asked.of(*given) == lacking
    decision = decide(about, recipient, purpose, at, fold([]), policy, known)
    assert decision.reason == "indeterminate"
    why = explain(decision, about, recipient, purpose, at, fold([]), policy, known)
    assert f"could not decide, because {SAID[lacking]} is missing or not known to it." in why.sentence
    assert why.rule == 1
    assert (why.cited, why.nearest) == ((), None)


def test_of_several_that_are_missing_the_first_is_told() -> None:
    """Who is asking comes before what it is about, and the policy before all."""
    mending: list[tuple[str, Json, Json]] = [
        ("policy", {"policy": POLICIES}, {}),
        ("recipient", {"recipient": "reach"}, {}),
        ("discloser", {}, {"discloser": "reach"}),
        ("participant", {}, {"participant": "p-1"}),
        ("category", {}, {"category": "service.housing"}),
        ("label", {}, {"labels": ["hiv"]}),
        ("compartment", {}, {"compartments": ["subject"]}),
        ("purpose", {"purpose": "treatment"}, {}),
        ("at", {"at": AT}, {}),
        ("event", {}, {"id": "e-1"}),
    ]
    changes: Json = {"policy": BROKEN, "recipient": "nobody", "purpose": "marketing", "at": None}
    about = event(id=5, participant="", category="weather", labels=["x"], discloser="x", compartments=["x"])
    for name, mended, within in mending:
        assert Asked.of(*inputs(about=about, **changes)) == name
        changes |= mended
        about |= within
    assert isinstance(Asked.of(*inputs(about=about, **changes)), Asked)


def test_a_question_that_can_be_decided_is_complete() -> None:
    asked = Asked.of(event(), "reach", "treatment", AT, POLICIES, REGISTERED)
    assert isinstance(asked, Asked)
    assert (asked.recipient.id, asked.discloser.id, asked.purpose) == ("reach", "reach", "treatment")
    assert asked.at == 1_780_315_200_000
    assert Asked.of(event(), "reach", "treatment", 1_780_315_200_000, POLICIES, REGISTERED) == asked
    assert isinstance(Asked.of(event(labels=None, compartments=()), *inputs()[1:]), Asked)
