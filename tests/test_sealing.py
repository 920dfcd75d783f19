"""What a seal is bound to: any change to what an envelope says opens nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import sealing

ENVELOPE: dict[str, Any] = {
    "id": "e-1", "source": "urn:agency:reach", "type": "contact", "occurred_at": 1, "admitted_at": 2,
    "participant": "p-1", "category": "contact.outreach", "labels": ["hiv", "part2"], "discloser": "reach",
    "compartments": ["subject", "clinical"], "consent_at_least": None,
}  # fmt: skip


def test_the_digest_is_this_one_for_ever() -> None:
    """What was sealed in the first year must open in the tenth."""
    assert (
        sealing.digest(ENVELOPE).hex() == "e5484a9c9cf632dbc8768c3f17079995d3c3346ed9cce6d9f5acd3cf1c234cb4"
    )
    assert sealing.aad(ENVELOPE, "clinical") == sealing.digest(ENVELOPE) + b"\0clinical"
    names = ["subject", "clinical"]
    assert sealing.aads(ENVELOPE, names) == [sealing.aad(ENVELOPE, name) for name in names]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "e-2"}, {"source": "urn:agency:reach2"}, {"type": "referral"}, {"occurred_at": 2},
        {"participant": "p-2"}, {"category": "contact.crisis"}, {"labels": ["hiv"]}, {"labels": []},
        {"discloser": "x"}, {"compartments": ["subject"]}, {"occurred_at": "1"},
    ],
)  # fmt: skip
def test_any_change_to_what_it_says_changes_the_seal(change: dict[str, Any]) -> None:
    assert sealing.aad({**ENVELOPE, **change}, "clinical") != sealing.aad(ENVELOPE, "clinical")


def test_handling_and_order_do_not() -> None:
    handled = {**ENVELOPE, "admitted_at": 99, "consent_at_least": 5}
    reordered = {**handled, "labels": ["part2", "hiv"], "compartments": ["clinical", "subject"]}
    assert sealing.aad(reordered, "subject") == sealing.aad(ENVELOPE, "subject")
    assert sealing.aad(ENVELOPE, "subject") != sealing.aad(ENVELOPE, "clinical")


@given(st.text(), st.text())
def test_texts_do_not_run_into_each_other(one: str, other: str) -> None:
    moved = {**ENVELOPE, "participant": one + other, "category": ""}
    kept = {**ENVELOPE, "participant": one, "category": other}
    if other:
        assert sealing.digest(moved) != sealing.digest(kept)
