"""What would be decided is what `decide` says of a history in which the participant had said so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent import State, decide, fold
from consent.record import Placed
from consent.supposing import NotOnRecord, Supposed, supposing
from tests.test_course import EVENT, EVERYBODY, HOUR, POLICY, START, bodies, granted

AT = START + 5 * HOUR
CARE = "care-coordination"
FULL: dict[str, Any] = granted(1, [["clinic", "reach"]], 0, 100, leaves=False)


someone = st.sampled_from(["clinic", "reach"])


def placed(*told: dict[str, Any]) -> list[Placed]:
    return [Placed(place, f"d-{place}", body) for place, body in enumerate(told)]


def outcome(directives: list[Placed], recipient: str = "clinic") -> str:
    return decide(EVENT, recipient, CARE, AT, State(directives), POLICY, EVERYBODY).reason


def supposed(told: list[Placed], what: Supposed, every: list[Placed] | None = None) -> list[Placed]:
    return supposing(told, told if every is None else every, what, EVENT, CARE, AT)


def test_each_hypothesis_does_what_it_says() -> None:
    told = placed(FULL)
    assert outcome(told) == "consent"
    assert outcome(supposed(told, Supposed("revoked", "c-1", "clinic"))) == "revoked"
    assert outcome(supposed(told, Supposed("revoked", "c-1", "clinic")), "reach") == "consent"
    assert outcome(supposed(told, Supposed("revoked", "c-1")), "reach") == "revoked"
    assert outcome(supposed(told, Supposed("restricted", recipient="clinic"))) == "restriction"
    gone = placed(FULL, {"type": "consent-revoked", "consent_id": "c-1"})
    assert outcome(supposed(gone, Supposed("stood", "c-1"))) == "consent"
    assert outcome(supposed([], Supposed("granted", recipient="clinic"))) == "consent"
    assert outcome(supposed([], Supposed("granted", recipient="clinic")), "reach") == "no-consent"


def test_a_consent_that_was_signed_later_can_be_supposed_to_have_stood_but_not_to_be_taken_back() -> None:
    later = placed(FULL)
    assert outcome(supposed([], Supposed("stood", "c-1"), later)) == "consent"
    with pytest.raises(NotOnRecord):
        supposed([], Supposed("revoked", "c-1"), later)
    with pytest.raises(NotOnRecord):
        supposed(later, Supposed("stood", "c-2"))


def test_what_is_supposed_is_nowhere_but_in_the_answer() -> None:
    told = placed(FULL)
    supposed(told, Supposed("revoked", "c-1"))
    assert told == placed(FULL)


@given(
    st.lists(bodies, max_size=6), st.sampled_from(["clinic", "reach"]), st.sampled_from(["clinic", "reach"])
)
def test_supposing_a_revocation_or_a_never_shares_no_more_and_a_grant_no_less(
    told: list[dict[str, Any]], recipient: str, other: str
) -> None:
    before = placed(*told)
    permits = decide(EVENT, recipient, CARE, AT, State(before), POLICY, EVERYBODY).effect == "permit"
    for name in {one["consent"]["id"] for one in told if one["type"] == "consent-granted"}:
        less = supposed(before, Supposed("revoked", name, other))
        assert outcome(less, recipient) != "consent" or permits
        same = fold([*told, {"type": "consent-revoked", "consent_id": name, "recipients": [other]}])
        assert outcome(less, recipient) == decide(EVENT, recipient, CARE, AT, same, POLICY, EVERYBODY).reason
    assert outcome(supposed(before, Supposed("restricted", recipient=recipient)), recipient) == "restriction"
    assert outcome(supposed(before, Supposed("granted", recipient=recipient)), recipient) == "consent"
