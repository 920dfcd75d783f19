"""Policy watch: every change of rules, agreements and parties is told in plain words, in both languages."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from consent import default_policy
from hub.governance import Register, canonical
from hub.language import Tongue
from hub.watch import CELLS_MAX, CHANGES_MAX, changes, sentence

HARBOR = {
    "id": "harbor",
    "name": "Harbor House",
    "role": "service-provider",
    "agreement": {"from": "2026-01-01T00:00:00Z", "until": None},
}


def told(register: Register, language: str = "en") -> list[str]:
    return [sentence(one, Tongue(language)) for one in register.changes]


def write(register: Register, kind: str, name: str, body: Mapping[str, Any]) -> None:
    record = {"kind": kind, "id": name, "at": 1_790_000_000_000, "by": "officer", "body": canonical(body)}
    register.apply(register.offset + 1, record)


@pytest.fixture
def register() -> Register:
    made = Register()
    write(made, "policy", "policy", default_policy())
    write(made, "stakeholder", "harbor", HARBOR)
    return made


def test_who_takes_part_since_when_and_no_longer(register: Register) -> None:
    ended = {**HARBOR, "agreement": {"from": "2026-01-01T00:00:00Z", "until": "2026-06-30T00:00:00Z"}}
    write(register, "stakeholder", "harbor", ended)
    write(register, "stakeholder", "harbor", {**ended, "role": "court"})
    write(register, "retired", "harbor", {"kind": "stakeholder"})
    assert told(register) == [
        f"The rules, version {default_policy()['version']}, are in force.",
        "Harbor House takes part as a service provider, under an agreement from Jan 1, 2026 on.",
        "The agreement with Harbor House holds from Jan 1, 2026 to Jun 30, 2026.",
        "Harbor House takes part as the court now.",
        "Harbor House takes part no longer.",
    ]


def test_what_somebody_asks_to_be_told_of_and_no_longer(register: Register) -> None:
    body = {"stakeholder": "harbor", "purpose": "treatment", "categories": ["service"], "adapter": "pull"}
    write(register, "subscription", "s-1", body)
    write(register, "subscription", "s-1", {**body, "categories": ["contact"]})
    write(register, "retired", "s-1", {"kind": "subscription"})
    assert told(register)[2:] == [
        "Harbor House asks to be told of this, where it is allowed: services, for treatment.",
        "Harbor House asks to be told of this, where it is allowed: contacts, for treatment.",
        "Harbor House no longer asks to be told of this: services, for treatment.",
        "Harbor House no longer asks to be told of this: contacts, for treatment.",
    ]


def test_a_role_that_may_learn_more_or_less_is_told_so(register: Register) -> None:
    policy = copy.deepcopy(default_policy())
    policy["version"] = "next"
    police = [row for row in policy["matrix"] if row["role"] == "police"]
    police[0]["compartments"] = [*police[0]["compartments"], "clinical"]
    write(register, "policy", "policy", policy)
    policy["matrix"] = [row for row in policy["matrix"] if row is not police[0]]
    write(register, "policy", "policy", policy)
    said = told(register)[2:]
    assert said[0] == "The rules have a new version, next."
    assert said[1].startswith("With consent, the police may now learn clinical facts: ")
    assert any(one.startswith("From now on the police may not learn clinical facts: ") for one in said)
    assert all("la policía" in one for one in told(register, "es")[3:])


def test_the_same_again_changes_nothing_and_much_is_counted(register: Register) -> None:
    before = len(register.changes)
    write(register, "stakeholder", "harbor", HARBOR)
    write(register, "policy", "policy", default_policy())
    assert len(register.changes) == before
    nothing = {**default_policy(), "matrix": []}
    found = changes(1, "policy", "policy", default_policy(), nothing, "")
    assert len(found) == CELLS_MAX + 1
    assert found[-1].case == "more"
    for number in range(CHANGES_MAX + 5):
        write(register, "stakeholder", "harbor", {**HARBOR, "role": ("court", "police")[number % 2]})
    assert len(register.changes) == CHANGES_MAX
