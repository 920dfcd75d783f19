"""The county's own reading of the rule: right on the worked cases, and one with the hub's on the county."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consent import Event, Policy, Stakeholders, decide, fold
from examples.county.expected import Reckoner
from examples.county.plan import plan
from examples.county.reading import answer
from examples.county.record import instant, valid
from examples.county.wishes import SCENES

ROOT = Path(__file__).parent.parent
POLICY = json.loads((ROOT / "consent" / "policy.json").read_text("utf-8"))
WORKED = json.loads((ROOT / "tests" / "data" / "decisions.json").read_text("utf-8"))
ANCHOR = 1_795_000_000_000


@pytest.mark.parametrize("case", WORKED["cases"], ids=lambda case: str(case["id"]))
def test_reads_every_worked_case_as_it_was_worked(case: dict[str, Any]) -> None:
    stakeholders = case.get("stakeholders", WORKED["stakeholders"])
    policy = case.get("policy", POLICY)
    got = asdict(answer(case["event"], case["request"], case["directives"], policy, stakeholders))
    assert json.loads(json.dumps(got)) == case["expect"]


def test_agrees_with_the_hub_on_what_the_county_asks() -> None:
    """Two readings that share no line: where they differ, one of them misread the page."""
    reckoner = Reckoner(plan(7, ANCHOR, 54), POLICY, dict.fromkeys(SCENES, ANCHOR))
    policy, stakeholders = Policy.of(POLICY), Stakeholders.of(reckoner.stakeholders)
    dice, reasons = Random(11), set()
    events = list(reckoner.plan.events())
    for _ in range(4000):
        scene, event = dice.choice(events)
        recipient, purpose = dice.choice(reckoner.stakeholders)["id"], dice.choice(POLICY["purposes"])
        said = [body for when, body in reckoner.spoken.get(event.person, []) if when <= SCENES.index(scene)]
        mine = reckoner.ask(event, recipient, purpose, SCENES.index(scene), narrowed=True)
        theirs = decide(
            Event.of(reckoner.looked_at(event)), recipient, purpose, ANCHOR, fold(said), policy, stakeholders
        )
        got = {key: getattr(theirs, key) for key in asdict(mine)}
        assert json.loads(json.dumps(got)) == json.loads(json.dumps(asdict(mine))), (
            event.id,
            recipient,
            purpose,
        )
        reasons.add(mine.reason)
    assert {
        "consent",
        "role",
        "no-agreement",
        "proceedings",
        "no-emergency",
        "no-consent",
        "expired",
    } <= reasons
    assert {"not-started", "revoked", "restriction", "counselling-notes"} <= reasons


def test_cuts_instants_to_milliseconds_and_heeds_offsets() -> None:
    assert instant("1970-01-01T00:00:01.0019999Z") == 1001
    assert instant("1970-01-01T01:00:00+01:00") == 0
    assert instant("1969-12-31T23:59:59.999Z") == -1
    for unreadable in ("1970-01-01T00:00:00", "1970-01-01", "1970-13-01T00:00:00Z", 0, None, "now"):
        assert instant(unreadable) is None


@pytest.mark.parametrize(
    "change",
    [
        {"statements": ["right-to-revoke", "refusal"]},
        {"expires_at": None},
        {"expires_at": None, "expires_on": "none"},
        {"expires_on": "someday"},
        {"signature": {"method": "paper"}},
        {"grants": []},
        {"starts_at": "soon"},
    ],
)
def test_a_consent_that_lacks_something_is_none(change: dict[str, Any]) -> None:
    person = plan(1, ANCHOR, 1).scenes[0].directives[0]
    consent = person.body["consent"]
    assert valid(consent)
    assert not valid({**consent, **change})


ODD: list[Any] = [
    None, 5, True, "", "x", "*", [], ["*"], [5], {}, "none", "program-exit", "\ud800",
    ["class:treating-provider"], "2026-06-01T00:00:00", "2026-13-01T00:00:00Z", "2026-05-31T24:00:00Z",
    "2026-05-31T17:00:00.0009-07:00",
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value where something stands: what holds it, and the key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [found for key in keys for found in ((value, key), *places(value[key]))]


def test_agrees_with_the_hub_where_something_else_stands_than_should() -> None:
    """What is of the wrong type in a directive is missing, for both; in an event, nothing can be decided."""
    policy, dice = Policy.of(POLICY), Random(5)
    for _ in range(800):
        case = deepcopy(dice.choice(WORKED["cases"]))
        for _ in range(dice.randint(1, 3)):
            holder, key = dice.choice(places([case["directives"] * 4, case["event"], case["request"]])[1:])
            if key != "type":
                holder[key] = dice.choice(ODD)
        event, request, said = case["event"], case["request"], case["directives"]
        known = case.get("stakeholders", WORKED["stakeholders"])
        asked = [request[key] for key in ("recipient", "purpose", "at")]
        if not isinstance(asked[2], int):  # `decide` takes milliseconds too
            theirs = decide(event, *asked, fold(said), policy, Stakeholders.of(known))
            assert asdict(answer(event, request, said, POLICY, known)) == theirs._asdict(), case


@pytest.mark.parametrize("unreadable", [5, "", "soon", "2026-06-01", "2026-06-01T00:00:00", None])
def test_a_data_period_that_cannot_be_read_is_a_missing_one(unreadable: Any) -> None:
    """The page: what is of the wrong type in a directive is missing, and a missing bound bounds nothing.

    The hub's entrance lets no such consent in, so this is for files of cases alone.
    """
    case = deepcopy(next(one for one in WORKED["cases"] if one["expect"]["reason"] == "consent"))
    for one in case["directives"]:
        for grant in one.get("consent", {}).get("grants", ()):
            grant |= {"data_from": unreadable, "data_until": unreadable}
    mine = answer(case["event"], case["request"], case["directives"], POLICY, WORKED["stakeholders"])
    theirs = decide(
        case["event"], *(case["request"][key] for key in ("recipient", "purpose", "at")),
        fold(case["directives"]), Policy.of(POLICY), Stakeholders.of(WORKED["stakeholders"]),
    )  # fmt: skip
    assert mine.permitted
    assert asdict(mine) == theirs._asdict()
