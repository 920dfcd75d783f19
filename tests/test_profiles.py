"""Which fields can ever reach whom: the page is as policy and schemas have it, the descriptions fit them."""

import copy
import tomllib
from pathlib import Path

import pytest

from consent import default_policy
from examples.profiles.__main__ import PAGE
from examples.profiles.reach import LETTERS, ROLES, letters, page
from hub.registration import described

TOML = Path(__file__).parent.parent / "examples" / "profiles" / "stakeholders.toml"
POLICY = default_policy()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(POLICY), "run `python -m examples.profiles`"


def test_every_row_of_the_matrix_has_its_column_and_letter() -> None:
    assert {row["role"] for row in POLICY["matrix"]} == set(ROLES)
    assert {purpose for row in POLICY["matrix"] for purpose in row["purposes"]} == set(LETTERS)


@pytest.mark.parametrize(
    ("role", "kind", "compartment", "expected"),
    [
        ("prosecutor", "service-engagement", "engagement", "L"),
        ("prosecutor", "service-engagement", "occurrence", "P"),
        ("prosecutor", "service-engagement", "clinical", ""),
        ("prosecutor", "contact", "narrative", ""),
        ("police", "contact", "occurrence", "(H)"),
        ("court", "contact", "subject", ""),
        ("case-management", "contact", "clinical", "C T (E) L"),
    ],
)
def test_the_letters_say_what_the_matrix_opens(role: str, kind: str, compartment: str, expected: str) -> None:
    assert letters(POLICY, role, kind, compartment) == expected


def test_a_changed_policy_changes_the_page() -> None:
    changed = copy.deepcopy(POLICY)
    changed["matrix"] = [row for row in changed["matrix"] if row["role"] != "police"]
    assert page(changed) != page(POLICY)


def covers(wide: str, category: str) -> bool:
    return category == wide or category.startswith(wide + ".")


def test_the_ready_descriptions_ask_for_nothing_that_the_policy_closes() -> None:
    listed = [described(one) for one in tomllib.loads(TOML.read_text("utf-8"))["stakeholder"]]
    assert [one.role for one in listed] == list(ROLES)
    for one in listed:
        for body in one.wanted().values():
            for category in body["categories"]:
                rows = [
                    row
                    for row in POLICY["matrix"]
                    if row["role"] == one.role and body["purpose"] in row["purposes"]
                    if covers(row["category"], category) or covers(category, row["category"])
                ]
                assert rows, f"{one.id}: {category} for {body['purpose']} is closed"
