"""What one recipient sees: its own names for everything, and no more than the compartments say."""

import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import projection
from connectors.adapter import Share
from consent import fold
from schemas.errors import Erased, Unsealable
from tests.delivery_scene import Keys, Nobody, event, granted, outbound, share_of

EVERYTHING = ("activity", "clinical", "engagement", "legal", "narrative", "occurrence", "subject")
MADE = event(
    1,
    category="contact.custody-booking",
    crisis_level="high",
    booking_number="B-77",
    narrative="said in confidence",
    race_ethnicity=["described"],
)


def share(
    *compartments: str, purpose: str = "care-coordination", grants: tuple[str, ...] = ("c1/g1",)
) -> Share:
    duties = ("attach-consent-scope", "no-redisclosure", "record-disclosure")
    return Share("s1", purpose, "consent", grants, compartments, duties)


def view(*compartments: str, who: str = "reach", known: Any = None, made: Any = MADE) -> dict[str, Any]:
    record = outbound(made, share_of("s1"))
    return projection.seen(record, who, [share(*compartments)], [], Keys(), Nobody(known)).view


@pytest.mark.parametrize("size", range(len(EVERYTHING) + 1))
def test_data_is_exactly_what_is_permitted(size: int) -> None:
    for allowed in combinations(EVERYTHING, size):
        assert set(view(*allowed)["data"]) == set(allowed) & set(MADE["sealed"])


@given(st.sets(st.sampled_from(EVERYTHING)))
def test_nothing_of_a_compartment_shows_without_it(allowed: set[str]) -> None:
    shown = json.dumps(view(*allowed))
    for compartment, word in {
        "subject": "Ana Invented",
        "occurrence": "North Hall",
        "activity": "M. Invented",
        "clinical": "high",
        "legal": "B-77",
        "narrative": "said in confidence",
    }.items():
        assert (word in shown) == (compartment in allowed), compartment
    assert "described" not in shown, "what people say of themselves is counted, never disclosed"
    assert ("custody" in shown) == bool(allowed & {"activity", "clinical", "legal"})
    assert ("urn:agency:outreach" in shown) == bool(allowed & {"activity", "clinical", "legal"})
    assert ("2026-06-01" in shown) == ("occurrence" in allowed)


def test_the_senders_own_id_never_shows() -> None:
    shown = json.dumps(view(*EVERYTHING))
    assert "sender-17" not in shown
    assert "local_id" not in shown


def test_ids_are_made_for_one_recipient() -> None:
    one, other = view("subject"), view("subject", who="shelter")
    assert one["id"] != other["id"]
    assert one["participant"] != other["participant"]
    assert "e-1" not in json.dumps(one)
    assert '"p1"' not in json.dumps(one)
    assert view("subject") == one, "the same to the same one, always"


def test_the_recipients_own_id_shows_where_it_may_know_who() -> None:
    known = {("reach", "p1"): "R-5", ("shelter", "p1"): "S-9"}
    assert view("subject", known=known)["local_id"] == "R-5"
    assert view("subject", who="shelter", known=known)["local_id"] == "S-9"
    assert "local_id" not in view("activity", known=known)


def test_scope_says_what_was_agreed_under_the_recipients_own_names() -> None:
    state = fold([granted("c1", ["reach"]), granted("c2", ["reach"])])
    scope = projection.scope_of([share("subject")], state)
    assert [line["grant"] for line in scope] == ["c1/g1"]
    record = outbound(MADE, share_of("s1"))
    [line] = projection.seen(record, "reach", [share("subject")], scope, Keys(), Nobody()).view[
        "consent_scope"
    ]
    assert line["until"] == "2030-01-01T00:00:00.000Z"
    assert line["compartments"] == ["subject"]
    assert line["grant"] == projection.name(Keys(), "reach", "grant", "c1/g1"), "no id to compare notes by"


def test_no_scope_where_none_is_owed() -> None:
    plain = Share("s1", "emergency", "emergency", ("em-1",), ("subject",), ("record-disclosure",))
    assert projection.scope_of([plain], fold([granted()])) == []


def test_an_erased_participant_cannot_be_shown() -> None:
    keys = Keys()
    keys.erased.add("p1")
    with pytest.raises(Erased):
        projection.seen(outbound(MADE), "reach", [share("subject")], [], keys, Nobody())


def test_a_seal_from_elsewhere_does_not_open() -> None:
    record = outbound(MADE)
    moved = {**record, "sealed": {**record["sealed"], "subject": record["sealed"]["occurrence"]}}
    with pytest.raises(Unsealable):
        projection.seen(moved, "reach", [share("subject")], [], Keys(), Nobody())
    relabelled = {**record, "envelope": {**record["envelope"], "category": "contact.outreach"}}
    with pytest.raises(Unsealable):
        projection.seen(relabelled, "reach", [share("subject")], [], Keys(), Nobody())


def test_keys_are_one_for_each_event_recipient_and_adapter() -> None:
    made = {
        projection.idempotency_key(Keys(), who, adapter, f"e-{number}")
        for who in ("reach", "shelter")
        for adapter in ("webhook", "alerts")
        for number in range(3)
    }
    assert len(made) == 12
    assert all(key.startswith("d-") and key.isascii() for key in made)
