"""`hub explain`: a sentence, the rule, and every place in the log that the decision stands on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consent.words import words_in
from hub import cli
from hub.explain import explanations
from hub.projections import Read, project
from hub.registration import described
from tests.desk import Desk, consent, desk

NOW = 1_780_000_000_000


def decision(name: str, at: int, reason: str, **more: Any) -> dict[str, Any]:
    effect = "permit" if reason in ("consent", "court-order", "emergency") else "deny"
    outcome = {
        "stakeholder": "clinic",
        "subscription": "clinic-care",
        "purpose": "care-coordination",
        "effect": effect,
        "reason": reason,
        "basis": reason if effect == "permit" else None,
        "grants": ["c-5/g1"] if effect == "permit" else [],
        "compartments": ["subject"] if effect == "permit" else [],
        "obligations": ["record-disclosure"] if effect == "permit" else [],
    }
    event = {
        "id": "e-1",
        "source": "urn:agency:reach",
        "type": "service-engagement",
        "occurred_at": NOW,
        "admitted_at": 2,
        "participant": "p-1",
        "category": "service.housing",
        "labels": [],
        "discloser": "reach",
        "compartments": ["subject"],
        "consent_at_least": None,
    }
    return {
        "id": name,
        "cause": "first",
        "event": event,
        "position": {"topic": "service-engagement", "partition": 1, "offset": 42},
        "at": at,
        "consent_offset": 5,
        "governance_offset": 9,
        "outcomes": [outcome, outcome | {"stakeholder": "court", "purpose": "proceedings"}],
    } | more


def directive(offset: int, participant: str = "p-1") -> Read:
    value = {"id": f"d-{offset}", "participant": participant, "sender": "s", "recorded_at": offset}
    rule = {"type": "consent-granted", "consent": consent(id=f"c-{offset}")}
    body = json.dumps(rule).encode()
    return Read("consent", 1, offset, "Directive", value | {"type": "consent-granted", "body": body})


def receipt(offset: int, adapter: str, outcome: str) -> Read:
    body = {"key": "k", "stakeholder": "clinic", "adapter": adapter, "event": "e-1", "participant": "p-1"}
    body |= {"attempt": 1, "outcome": outcome, "code": "http-200", "at": offset, "next_at": None}
    value = {"intent": None, "receipt": body, "withheld": None, "acknowledgement": None}
    return Read("deliveries", 1, offset, "Delivery", value)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    """Denied first, permitted when a consent had come."""
    made = desk(tmp_path)
    clinic = {
        "id": "clinic",
        "name": "Tideline Clinic",
        "role": "service-provider",
        "agreement": {"from": "2025-01-01T00:00:00Z"},
        "webhook": "https://example.org",
        "subscriptions": [{"id": "clinic-care", "purpose": "care-coordination", "categories": ["service"]}],
    }
    made.registration.register([described(clinic)], "test")
    with made.store.write() as connection:
        project(
            connection,
            [
                Read("decisions", 1, 7, "Decision", decision("a", NOW, "no-consent", consent_offset=2)),
                Read("decisions", 1, 8, "Decision", decision("b", NOW + 1, "consent", cause="reconsider")),
                *(directive(offset) for offset in (3, 5, 6)),
                directive(4, "p-2"),
                receipt(1, "webhook", "delivered"),
                receipt(2, "alerts", "failed"),
            ],
        )
    yield made
    made.store.close()


def told(at: Desk, stakeholder: str = "clinic", purpose: str | None = None, language: str = "en") -> Any:
    return explanations(at.store, at.register(), "e-1", stakeholder, purpose, words_in(language))


def test_the_newest_decision_comes_first_with_all_that_led_to_it(at: Desk) -> None:
    newest, oldest = told(at)
    assert newest["sentence"].startswith("Shared with Tideline Clinic")
    assert (newest["rule"], newest["reason"], newest["cause"]) == (9, "consent", "reconsider")
    assert newest["grants"] == ["c-5/g1"]
    assert newest["places"] == {
        "event": "service-engagement/1@42",
        "decision": "decisions/1@8",
        "consent": "consent/1@5",
        "governance": "governance/0@9",
    }
    assert [one["place"] for one in newest["directives"]] == ["consent/1@3", "consent/1@5"]
    assert [one["outcome"] for one in newest["deliveries"]] == ["delivered"]
    assert oldest["sentence"].startswith("Not shared with Tideline Clinic")
    assert (oldest["rule"], oldest["effect"], oldest["directives"]) == (13, "deny", [])


def test_it_is_told_in_the_readers_language(at: Desk) -> None:
    assert told(at)[0]["sentence"] != told(at, language="es")[0]["sentence"]
    assert "Tideline Clinic" in told(at, language="es")[0]["sentence"]


def test_a_purpose_narrows_it_down(at: Desk) -> None:
    assert told(at, purpose="proceedings") == []
    assert {one["purpose"] for one in told(at, "court")} == {"proceedings"}


def test_what_was_never_decided_has_no_explanation(at: Desk) -> None:
    assert told(at, "nobody") == []
    assert explanations(at.store, at.register(), "e-2", "clinic") == []


def test_it_is_json_as_it_is_and_the_same_each_time(at: Desk) -> None:
    assert json.loads(json.dumps(told(at))) == told(at)


def test_the_example_in_its_help_says_what_it_would_say() -> None:
    words = words_in("en")
    about = {
        "recipient": "the city attorney",
        "agreed": words.term("category", "service.housing"),
        "purpose": words.term("purpose", "legal-coordination"),
    }
    shown = cli.COMMANDS["explain"].example.replace("\n", " ").replace("  ", " ")
    assert words.told("no-consent.purpose", "officer", about) in shown
