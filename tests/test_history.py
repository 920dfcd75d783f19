"""States of the past, of what was read as little as may be: they are those that reading everything gives."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.blanks import Blanks
from consent.block import Block
from consent.history import History
from consent.record import Placed
from consent.state import State
from consent.terms import Consent
from schemas.errors import BrokenRecord
from tests.small import consent, grant
from tests.test_laws import LAWS, logs

Json = dict[str, Any]
HELD = [one for one in Block.__slots__ if one not in {"index", "lately"}]
INDEXED = ("ids", "owners", "recipients", "categories", "purposes", "labels", "disclosers", "compartments")
NAMES = st.sampled_from(["c-1", "g1", "", "x" * 40, "\xe9", 'a"b', "\x01", "consent", "2026-06-02T00:00:00Z"])
WHENS = st.sampled_from(
    ["2026-06-02T00:00:00Z", "2026-06-01T10:00:00.123Z", "2026-06-01T10:00:00+02:00", "never", "", None, 7]
)
FORMS = st.sampled_from(
    [
        [grant(id="g1")],
        [grant(id="g1", purposes=["treatment"]), grant(id="c-1")],
        [grant(id="g1", labels=["counselling-notes"], data_from="2026-05-10T00:00:00Z")],
        [grant(id=None)],
        [],
    ]
)
ENDS = st.sampled_from([{}, {"expires_on": "program-exit"}, {"expires_on": "none"}, {"starts_at": None}])


def plain(state: State) -> Any:
    """All that decisions are made from."""
    blocks = [[getattr(one, name) for name in HELD] for one in state.blocks]
    indexes = [[getattr(one.index, name) for name in INDEXED] for one in state.blocks]
    bounds = [(one.index.since, one.index.until, one.index.changes) for one in state.blocks]
    others = state.offset, state.restrictions, state.orders, state.emergencies
    return blocks, indexes, bounds, others, sorted(state.record().consents)


def as_bytes(style: int, body: object) -> bytes:
    """JSON as the log has it, and as others write it."""
    if style == 0:
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return json.dumps(body, indent=2 if style == 2 else None).encode()


@LAWS
@given(st.lists(st.tuples(NAMES, WHENS, WHENS, WHENS, FORMS, ENDS, st.integers(0, 2)), max_size=6))
def test_a_form_filled_in_again_is_the_consent_that_reading_it_gives(filled: list[Any]) -> None:
    blanks, history = Blanks(), History(4)
    for place, (name, signed, starts, expires, form, end, style) in enumerate(filled * 4):
        dates = {"signed_at": signed, "starts_at": starts, "expires_at": expires}
        one = consent(*form, id=name) | dates | end
        body = as_bytes(style, {"type": "consent-granted", "consent": one})
        whole = json.loads(body)
        found = blanks.consent(body)
        assert found is None or found == Consent.of(whole["consent"])
        history.add(f"p-{place}", place, f"d-{place}", body)
        rightly = State([Placed(place, f"d-{place}", whole)])
        assert plain(history.state(f"p-{place}", place)) == plain(rightly)


@settings(LAWS, max_examples=25)
@given(st.lists(logs(), min_size=1, max_size=2), st.integers(0, 2))
def test_the_state_at_any_time_is_that_of_what_had_been_said(said: list[list[Json]], style: int) -> None:
    history, told = (
        History(2),
        [
            (f"p-{who}", offset * 3 + who, f"d-{who}-{offset % 5}", body)
            for who, log in enumerate(said)
            for offset, body in enumerate(log)
        ],
    )
    for who, offset, name, body in told:
        history.add(who, offset, name, as_bytes(style, body))
    ends = [-1, *sorted(offset for _, offset, _, _ in told)]
    for end in [*ends, *reversed(ends)]:
        for who in sorted({one[0] for one in told}):
            before = [Placed(*one[1:]) for one in told if one[0] == who and one[1] <= end]
            assert plain(history.state(who, end)) == plain(State(before))


def test_most_of_one_form_are_not_read_and_what_only_looks_like_it_is() -> None:
    blanks = Blanks()
    given = {"type": "consent-granted", "consent": consent(grant(id="g1"), id="c-0")}
    body = as_bytes(0, given)
    assert blanks.consent(body) is None, "the first is read"
    again = blanks.consent(body.replace(b"c-0", b"c-77"))
    assert again is not None
    assert again.id == "c-77"
    for odd in (
        body.replace(b'"c-0"', b'"c\\u002d0"'),
        body.replace(b'"c-0"', b'"c-0","id":"c-1"'),
        body.replace(b'"c-0"', b"7"),
        body.replace(b"consent-granted", b"consent-revoked"),
        body + b" ",
        body[:-1],
    ):
        assert blanks.consent(odd) is None


def test_many_forms_cost_a_bounded_number_of_looks() -> None:
    blanks = Blanks()
    bodies = [
        as_bytes(0, {"type": "consent-granted", "consent": consent(grant(id=f"g{number}"), id="c-1")})
        for number in range(64)
    ]
    found = [blanks.consent(one) for one in (*bodies, *bodies)]
    assert sum(one is not None for one in found) == 16, "of the first ones; the others are read whole"


def test_what_is_no_object_is_named_by_its_place() -> None:
    history = History(4)
    for offset, body in enumerate((b"{}", b"[]", b"{")):
        history.add("p-1", offset, f"d-{offset}", body)
    assert history.state("p-1", 0).blocks == ()
    for offset, what in ((1, "is not an object"), (2, "is not an object")):
        with pytest.raises(BrokenRecord, match=f"offset 1 {what}"):
            history.state("p-1", offset)
