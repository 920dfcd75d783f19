"""What directives fold to: the effect of each, in the order of the log; and states kept for many people."""

import json
from types import MappingProxyType
from typing import Any

import pytest

from consent import DIRECTIVES, EMPTY, Record, Stakeholders, State, States, direction, fold
from consent.block import shared_max
from consent.known import Known, asked_an_entry, entries_max, entries_min
from consent.packed import chunks
from consent.record import Placed
from consent.states import compiled_max
from consent.untyped import ALWAYS_MS, NEVER_MS
from schemas.errors import BrokenRecord
from tests.cases import STAKEHOLDERS, stakeholder
from tests.small import ask, consent, emergency, grant, granted, order, reason, restriction, revoked

LIFTED = {"type": "restriction-lifted", "restriction_id": "r1"}
VACATED = {"type": "order-vacated", "order_id": "o1"}
PROCEEDINGS: dict[str, Any] = {"recipient": "attorney", "purpose": "proceedings"}
EMERGENCY: dict[str, Any] = {"recipient": "clinic", "purpose": "emergency", "category": "service.medical"}


def exited(at: Any) -> dict[str, Any]:
    return {"type": "program-exited", "at": at}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": 5},
        {"signed_at": None},
        {"signed_at": "2026-01-01"},
        {"starts_at": None},
        {"starts_at": 0},
        {"signature": None},
        {"signature": "x"},
        {"signature": {"method": "paper"}},
        {"signature": {"reference": "scan-1"}},
        {"signature": {"method": 1, "reference": "scan-1"}},
        {"signature": {"method": "paper", "reference": []}},
        {"statements": None},
        {"statements": ["right-to-revoke", "redisclosure"]},
        {"statements": ["right-to-revoke", "refusal", "redisclosed"]},
        {"statements": "right-to-revoke redisclosure refusal"},
        {"grants": None},
        {"grants": []},
        {"grants": [5, None, "g1"]},
        {"grants": {"0": grant()}},
        {"expires_at": None},
        {"expires_at": "never"},
        {"expires_at": None, "expires_on": "none"},
        {"expires_on": "death"},
        {"expires_on": ""},
        {"expires_on": "*"},
    ],
)
def test_an_invalid_consent_is_as_if_it_were_not_there(changes: dict[str, Any]) -> None:
    invalid = {"type": "consent-granted", "consent": consent() | changes}
    assert reason(invalid) == "no-consent"
    assert reason(invalid, revoked()) == "no-consent"
    assert reason(invalid, granted()) == "consent"  # its id is unused


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"statements": ["refusal", "and more", "redisclosure", 5, "right-to-revoke", "refusal"]},
        {"grants": [None, grant(), {}, grant(id="g2", recipients=None)]},
        {"expires_on": None},
        {"expires_on": 5},
        {"expires_on": "none"},
        {"expires_on": "program-exit"},
        {"expires_on": "program-exit", "expires_at": None},
        {"expires_on": "program-exit", "expires_at": "whenever"},
        {"id": ""},
        {"signature": {"method": "", "reference": "", "witness": None}},
        {"starts_at": "2026-01-01T00:00:00-23:59"},
    ],
)
def test_a_valid_consent(changes: dict[str, Any]) -> None:
    assert reason({"type": "consent-granted", "consent": consent() | changes}) == "consent"


@pytest.mark.parametrize("value", [None, 5, [], "c1", [consent()]])
def test_a_directive_without_what_it_needs_changes_nothing(value: Any) -> None:
    for kind, key in (
        ("consent-granted", "consent"),
        ("consent-revoked", "consent_id"),
        ("restriction-placed", "restriction"),
        ("restriction-lifted", "restriction_id"),
        ("order-filed", "order"),
        ("order-vacated", "order_id"),
        ("emergency-declared", "emergency"),
        ("program-exited", "at"),
    ):
        if not (kind == "consent-revoked" and value == "c1"):
            assert reason(granted(expires_on="program-exit"), {"type": kind, key: value}) == "consent"
            assert reason(granted(expires_on="program-exit"), {"type": kind}) == "consent"


def test_an_id_is_used_once() -> None:
    broader = granted(grant(categories=["service", "contact"]))
    assert reason(granted(), broader, category="contact.crisis") == "no-consent"
    assert reason(granted(), revoked(), granted()) == "revoked"


def test_revoking_the_whole_consent() -> None:
    assert reason(granted(), revoked()) == "revoked"
    assert reason(granted(), revoked(recipients=[], grants=[])) == "revoked"
    assert reason(granted(), revoked(recipients=None, grants=[])) == "revoked"
    assert reason(granted(), revoked(recipients=[5], grants="g9")) == "revoked"
    assert reason(granted(), revoked("c2")) == "consent"
    assert reason(granted(), revoked(None)) == "consent"
    assert reason(granted(id=""), revoked(None)) == "consent"
    assert reason(granted(id=""), revoked("")) == "revoked"
    assert reason(revoked(), granted()) == "consent"


def test_what_is_in_force_is_found_anew_at_each_change() -> None:
    """One state, asked at all the instants around which something changes, forth and back."""
    directives = [
        granted(signed_at="2026-03-01T00:00:00Z", expires_at="2026-06-01T00:00:00Z"),
        granted(id="c2", starts_at="2026-04-01T00:00:00Z", expires_at="2026-06-01T00:00:00.001Z"),
        granted(id="c3", signed_at="2026-07-01T00:00:00Z"),
        granted(id="c4"),
        revoked("c4"),
    ]
    state = fold(directives)
    (block,) = state.blocks
    held = list(state.record().consents.values())
    instants = {
        edge + near
        for one in held
        for edge in (one.consent.signed_at, one.consent.starts_at, one.expires_at)
        for near in (-1, 0, 1)
    }
    instants |= {0, NEVER_MS, NEVER_MS + 1, ALWAYS_MS, ALWAYS_MS - 1}
    for at in [
        *sorted(instants),
        *sorted(instants, reverse=True),
        *sorted(instants, key=lambda at: at % 7919),
    ]:
        expected = 0
        for place, one in enumerate(held):
            if (
                one.consent.signed_at <= at
                and one.consent.starts_at <= at <= one.expires_at
                and not one.revoked
            ):
                expected |= 1 << place
        assert block.alive(at) == block.alive(at) == expected


def test_revoking_several_consents_whole() -> None:
    both = [granted(), granted(id="c2"), granted(grant(recipients=["clinic"]), id="c3")]
    assert reason(*both, revoked(), revoked("c2"), revoked("c3")) == "revoked"
    assert reason(*both, revoked("c3"), revoked("c2"), revoked()) == "revoked"
    assert ask(*both, revoked(), revoked("c3")).grants == ("c2/g1",)


def test_revoking_recipients() -> None:
    both = granted(grant(recipients=["harbor-house", "clinic"]), grant(id="g2"))
    taken = revoked(recipients=["harbor-house"])
    assert reason(both, taken) == "revoked"
    assert reason(both, taken, recipient="clinic") == "consent"
    assert reason(both, revoked(recipients=["nobody", "clinic"])) == "consent"
    assert reason(both, revoked(recipients=["*"])) == "consent"
    again = revoked(recipients=["clinic"])
    assert reason(both, taken, again) == reason(both, taken, again, recipient="clinic") == "revoked"
    another = granted(id="c2")
    assert ask(both, another, taken).grants == ("c2/g1",)


def test_revoking_grants() -> None:
    two = granted(grant(), grant(id="g2", compartments=["activity"]))
    assert ask(two, revoked(grants=["g1"])).grants == ("c1/g2",)
    assert ask(two, revoked(grants=["g2", "g9"])).grants == ("c1/g1",)
    assert ask(two, revoked(grants=["g9"])).grants == ("c1/g1", "c1/g2")
    assert reason(two, revoked(grants=["g1"]), revoked(grants=["g2"])) == "revoked"


def test_revoking_recipients_and_grants_is_the_union() -> None:
    two = granted(
        grant(recipients=["harbor-house", "clinic"]), grant(id="g2", recipients=["clinic", "reach"])
    )
    union = revoked(recipients=["harbor-house"], grants=["g2"])
    assert reason(two, union) == "revoked"
    assert ask(two, union, recipient="clinic").grants == ("c1/g1",)
    assert reason(two, union, recipient="reach") == "revoked"
    everything = revoked()
    assert reason(two, union, everything, recipient="clinic") == "revoked"


def test_restrictions_are_replaced_and_lifted() -> None:
    assert reason(granted(), restriction(), LIFTED) == "consent"
    assert reason(granted(), LIFTED, restriction()) == "restriction"
    assert reason(granted(), restriction(), restriction(recipients=["reach"])) == "consent"
    assert reason(granted(), restriction(), restriction(recipients=None)) == "consent"
    assert reason(granted(), restriction(id="r2"), restriction(), LIFTED) == "restriction"
    assert reason(granted(), restriction(), LIFTED, LIFTED, restriction()) == "restriction"
    assert (
        reason(granted(), restriction(), {"type": "restriction-lifted", "restriction_id": 1}) == "restriction"
    )


def test_orders_are_replaced_and_vacated() -> None:
    assert reason(order(), VACATED, **PROCEEDINGS) == "proceedings"
    assert reason(order(), order(recipient="court"), **PROCEEDINGS) == "proceedings"
    assert reason(order(), order(starts_at=None), **PROCEEDINGS) == "proceedings"
    assert reason(order(), order(id="o2"), VACATED, **PROCEEDINGS) == "court-order"


def test_emergencies_are_replaced_by_good_ones_alone() -> None:
    past = {"declared_at": "2026-05-01T00:00:00Z", "expires_at": "2026-05-01T01:00:00Z"}
    assert reason(emergency(), emergency(**past), **EMERGENCY) == "no-emergency"
    assert reason(emergency(), emergency(nature=None, **past), **EMERGENCY) == "emergency"
    assert reason(emergency(), emergency(expires_at="2026-06-03T00:00:00Z"), **EMERGENCY) == "emergency"
    ends_before = emergency(declared_at="2026-06-02T00:00:00Z", expires_at="2026-06-01T00:00:00Z")
    assert reason(emergency(), ends_before, **EMERGENCY) == "no-emergency"


ON_EXIT: dict[str, Any] = {"expires_on": "program-exit", "expires_at": None}


@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ([granted(**ON_EXIT)], "consent"),
        ([granted(**ON_EXIT), exited("2026-06-01T12:00:00.000Z")], "consent"),
        ([granted(**ON_EXIT), exited("2026-06-01T11:59:59.999Z")], "expired"),
        ([granted(**ON_EXIT), exited("2026-05-01T00:00:00Z"), exited("2026-07-01T00:00:00Z")], "expired"),
        ([granted(**ON_EXIT), exited("2026-07-01T00:00:00Z"), exited("2026-05-01T00:00:00Z")], "expired"),
        ([granted(**ON_EXIT), exited("2026-07-01T00:00:00Z"), exited("2026-08-01T00:00:00Z")], "consent"),
        ([exited("2026-05-01T00:00:00Z"), granted(**ON_EXIT)], "consent"),
        ([exited("2026-05-01T00:00:00Z"), granted(**ON_EXIT), exited("2026-06-30T00:00:00Z")], "consent"),
        ([granted(), exited("2026-05-01T00:00:00Z")], "consent"),
        ([granted(expires_on="none"), exited("2026-05-01T00:00:00Z")], "consent"),
        ([granted(**ON_EXIT), exited("the first of May")], "consent"),
        ([granted(expires_on="program-exit"), exited("2026-05-01T00:00:00Z")], "expired"),
        (
            [
                granted(expires_on="program-exit", expires_at="2026-05-01T00:00:00Z"),
                exited("2026-07-01T00:00:00Z"),
            ],
            "expired",
        ),
        ([granted(**ON_EXIT), revoked(), exited("2026-05-01T00:00:00Z")], "no-consent"),
    ],
)
def test_leaving_the_program(directives: list[Any], expected: str) -> None:
    assert reason(*directives) == expected


def test_several_exits_end_what_was_on_record_before_each() -> None:
    directives = [
        granted(id="c1", **ON_EXIT),
        exited("2026-08-01T00:00:00Z"),
        granted(id="c2", **ON_EXIT),
        exited("2026-03-01T00:00:00Z"),
        exited("2026-09-01T00:00:00Z"),
        granted(id="c3", **ON_EXIT),
        exited("2026-07-01T00:00:00Z"),
        granted(id="c4", **ON_EXIT),
    ]
    assert ask(*directives).grants == ("c3/g1", "c4/g1")
    assert ask(*directives, at="2026-02-01T00:00:00Z").grants == ("c1/g1", "c2/g1", "c3/g1", "c4/g1")
    assert ask(*directives, at="2026-07-02T00:00:00Z").grants == ("c4/g1",)


def test_a_directive_counts_once_by_its_id() -> None:
    lifted = LIFTED | {"id": "d1"}
    assert reason(granted(), restriction(), lifted, restriction(), lifted) == "restriction"
    assert reason(granted(), restriction(), lifted, restriction(), lifted | {"id": "d2"}) == "consent"
    assert reason(granted(), restriction(), lifted, restriction(), LIFTED, LIFTED | {"id": None}) == "consent"
    assert (
        reason(granted(), restriction(), lifted | {"id": 5}, restriction(), lifted | {"id": 5}) == "consent"
    )
    assert reason({"type": "unheard-of", "id": "d1"}, granted(), restriction(), lifted) == "restriction"


def test_an_empty_log_is_the_empty_state() -> None:
    assert Record().offset == State().offset == -1
    assert fold([]) is EMPTY
    assert EMPTY.blocks == EMPTY.restrictions == EMPTY.orders == EMPTY.emergencies == ()
    assert EMPTY.offset == -1
    assert reason() == "no-consent"


def test_the_record_tells_it_in_plain_terms() -> None:
    directives = [
        granted(expires_on="program-exit"),
        restriction(),
        order(),
        emergency(),
        restriction(id="r2"),
        revoked(grants=["g9"], recipients=["reach"]),
        order(expires_at=None),
        {"type": "restriction-lifted", "restriction_id": "r2"},
        exited("2026-09-01T00:00:00Z"),
        exited("2026-08-01T00:00:00Z"),
        exited("2026-08-01T00:00:00Z"),
    ]
    state = fold(directives)
    record = state.record()
    held = record.consents["c1"]
    assert state.offset == record.offset == 10
    assert (held.revoked, held.parties, held.grants) == (False, {"reach"}, {"g9"})
    assert held.offsets == [0, 5, 9]
    assert held.expires_at == held.exited_at == 1_785_542_400_000
    assert held.consent.grants[0].categories == ("service",)
    assert record.standing == {
        ("restriction", "r1"): 1, ("order", "o1"): 6, ("emergency", "e1"): 3,
    }  # fmt: skip
    assert list(record.restrictions) == ["r1"]
    assert record.orders["o1"].expires_at < record.orders["o1"].starts_at
    emergency_ = record.emergencies["e1"]
    assert (emergency_.declared_by, emergency_.nature) == ("dr-1", "overdose")


def test_an_exit_is_part_of_what_made_only_the_consents_that_it_ends() -> None:
    directives = [
        granted(**ON_EXIT),
        granted(id="c2"),
        exited("2026-08-01T00:00:00Z"),
        granted(id="c3", **ON_EXIT),
    ]
    record = fold(directives).record()
    assert [held.offsets for held in record.consents.values()] == [[0, 2], [1], [3]]


def test_directions() -> None:
    assert {kind: direction(kind) for kind in DIRECTIVES} == {
        "consent-granted": {"widens"},
        "consent-revoked": {"narrows"},
        "restriction-placed": {"narrows", "widens"},
        "restriction-lifted": {"widens"},
        "order-filed": {"narrows", "widens"},
        "order-vacated": {"narrows"},
        "emergency-declared": {"narrows", "widens"},
        "program-exited": {"narrows"},
    }
    assert direction("unheard-of") == set()


def body(directive: Any) -> bytes:
    return json.dumps(directive).encode()


def plain(record: Record) -> Any:
    """A record without its offsets, to hold two of them together."""
    held = [
        (one.consent, one.revoked, one.parties, one.grants, one.exited_at) for one in record.consents.values()
    ]
    return held, record.restrictions, record.orders, record.emergencies


def test_states_fold_as_the_log_says() -> None:
    directives = [
        granted(),
        restriction(),
        granted(grant(recipients=["reach"]), id="c2"),
        LIFTED,
        revoked("c2"),
    ]
    states = States()
    for place, one in enumerate(directives):
        states.apply("p-1", 100 + place * 1_000_000, body(one), f"d{place}")
        states.apply("p-2", 101 + place * 1_000_000, body(one))
    for participant, first in (("p-1", 100), ("p-2", 101)):
        assert plain(states.get(participant).record()) == plain(fold(directives).record())
        assert states.offsets(participant) == tuple(first + place * 1_000_000 for place in range(5))
        assert states.get(participant).offset == first + 4_000_000
        assert states.get(participant).record().consents["c2"].offsets == [
            first + 2_000_000,
            first + 4_000_000,
        ]
    assert [one.body for one in states.directives("p-1")] == directives
    assert [one.id for one in states.directives("p-1")] == ["d0", "d1", "d2", "d3", "d4"]
    assert [one.id for one in states.directives("p-2")] == [None] * 5
    assert len(states) == 2
    assert list(states) == ["p-1", "p-2"]
    assert "p-1" in states
    assert "p-3" not in states


def test_states_of_somebody_unknown() -> None:
    states = States()
    assert states.get("p-1") is EMPTY
    assert states.offsets("p-1") == ()
    assert list(states.directives("p-1")) == []


def test_states_count_a_directive_once() -> None:
    states = States()
    for place, (one, name) in enumerate(
        [(granted(), None), (restriction(), "d1"), (LIFTED, "d2"), (restriction(), "d1")]
    ):
        states.apply("p-1", place, body(one), name)
    assert states.get("p-1").restrictions == ()
    states.apply("p-1", 9, body(restriction() | {"id": "d3"}))
    assert [one.id for one in states.get("p-1").restrictions] == ["r1"]
    states.apply("p-1", 10, body(LIFTED | {"id": "d3"}))
    assert [one.id for one in states.get("p-1").restrictions] == ["r1"]
    states.apply("p-1", 11, body(LIFTED | {"id": "d3"}), "d4")
    assert states.get("p-1").restrictions == ()


@pytest.mark.parametrize("name", ["", "\n", "\0", "d" * 300, "\ud800", "{}"])
def test_a_directive_id_of_any_sort(name: str) -> None:
    states = States()
    states.apply("p-1", 0, body(granted()), name)
    states.apply("p-1", 1, body(revoked()), name)
    assert [one.id for one in states.directives("p-1")] == [name, name]
    assert [one.body for one in states.directives("p-1")] == [granted(), revoked()]
    assert not states.get("p-1").record().consents["c1"].revoked


@pytest.mark.parametrize(
    "broken", [b"", b"{", b"[]", b"5", b"null", b"\xff", b"[" * 100_000, b'{"type": NaN']
)
def test_a_broken_body_in_our_own_log_is_loud_and_names_its_offset(broken: bytes) -> None:
    states = States()
    states.apply("p-1", 0, body(granted()))
    states.apply("p-1", 77, broken)
    with pytest.raises(BrokenRecord, match="offset 77"):
        states.get("p-1")


def test_an_earlier_state_does_not_change_with_the_log() -> None:
    states = States()
    states.apply("p-1", 0, body(granted()))
    for place in range(1, 400):  # past the length from which the packed directives grow in place
        states.apply("p-1", place, body(restriction(id=f"r{place}", purposes=[f"{place * 7919:x}" * 20])))
        if place == 300:
            before = states.get("p-1")
    assert before.offset == 300
    assert len(before.record().restrictions) == 300
    assert len(states.get("p-1").record().restrictions) == 399
    assert states.offsets("p-1") == tuple(range(400))


def test_few_compiled_states_are_kept_those_used_last() -> None:
    states = States(compiled_max=2)
    for name in ("p-1", "p-2", "p-3"):
        states.apply(name, 0, body(granted()))
    first, second = states.get("p-1"), states.get("p-2")
    assert states.get("p-1") is first
    states.get("p-3")
    assert states.get("p-1") is first
    assert states.get("p-2") is not second
    assert compiled_max >= 1024


def test_states_are_compiled_ahead_while_there_is_room() -> None:
    states = States(compiled_max=3)
    body = json.dumps(granted()).encode()
    for number in range(5):
        states.apply(f"p-{number}", number, body)
    asked = states.get("p-0")
    compiled = [states.warm() for _ in range(4)]
    assert compiled == [True, True, False, False]
    ahead = states.get("p-2"), states.get("p-1")
    assert states.get("p-0") is asked
    assert (states.get("p-2"), states.get("p-1")) == ahead  # neither is compiled again
    assert len({id(one) for one in (asked, *ahead)}) == 3


def test_a_state_compiled_ahead_is_compiled_anew_once_something_changed() -> None:
    states = States()
    states.apply("p-1", 0, json.dumps(granted()).encode())
    states.apply("p-1", 1, json.dumps(granted(id="c2")).encode())
    assert [states.warm(), states.warm()] == [True, False]
    states.apply("p-1", 2, json.dumps(revoked()).encode())
    assert [states.warm(), states.warm()] == [True, False]
    assert states.get("p-1").offset == 2
    states.apply("p-2", 3, json.dumps(granted()).encode())
    states.drop()
    assert not states.warm()


def test_what_cannot_be_read_ahead_is_told_to_whoever_asks() -> None:
    states = States()
    states.apply("p-1", 0, json.dumps(granted()).encode())
    states.apply("p-2", 1, b"{")
    assert [states.warm(), states.warm()] == [True, False]
    with pytest.raises(BrokenRecord, match="offset 1"):
        states.get("p-2")


def test_what_is_dropped_is_gone() -> None:
    states = States()
    states.apply("p-1", 0, body(granted()))
    states.get("p-1")
    states.drop()
    assert states.get("p-1") is EMPTY
    assert len(states) == 0
    states.apply("p-1", 5, body(granted()))
    assert states.offsets("p-1") == (5,)


def test_packed_directives_are_small() -> None:
    """Three consents of four grants lie in about a kilobyte."""
    states = States()
    grants = [grant(id=f"g{place}", categories=["service", "contact"], labels=["hiv"]) for place in range(4)]
    for place in range(3):
        states.apply("p-1", place, body(granted(*grants, id=f"c{place}")), f"{place:032x}")
    packed = states._packed["p-1"]
    assert len(packed) < 700
    assert sum(len(squeezed) for _, squeezed in chunks(packed, len(packed))) < len(packed)


def test_a_name_that_only_the_thirteenth_grant_lists() -> None:
    grants = [grant(id=f"g{place}", recipients=["reach"]) for place in range(12)]
    assert ask(granted(*grants, grant(id="g12"))).grants == ("c1/g12",)


def test_each_of_many_grants_may_be_for_somebody_else() -> None:
    """Sets of up to twelve grants are kept; past them every place has to be found as well."""
    agencies = [f"agency-{place}" for place in range(16)]
    parts = [grant(id=f"g{place}", disclosers=[one]) for place, one in enumerate(agencies)]
    known = Stakeholders.of([*STAKEHOLDERS, *(stakeholder(one, "case-management") for one in agencies)])
    signed = granted(*parts)
    for place, one in enumerate(agencies):
        assert ask(signed, discloser=one, stakeholders=known).grants == (f"c1/g{place}",)


def test_what_compiled_states_have_in_common_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[Any, Any] = {}
    monkeypatch.setattr("consent.block._shared", shared)
    bounded = {"data_from": "2026-01-01T00:00:00Z", "compartments": ["subject", "legal"]}
    ours, same, theirs = (
        fold([granted(grant(**bounded, recipients=[recipient]), id=name)])
        for name, recipient in (("c-ours", "reach"), ("c-same", "reach"), ("c-theirs", "harbor"))
    )
    one, other = ours.blocks[0].index, theirs.blocks[0].index
    assert one is same.blocks[0].index
    assert one is not other
    assert one.until is other.until is None
    assert fold([granted()]).blocks[0].index.since is None
    for mine, his in ((one.since, other.since), (one.ids, other.ids), (one.owners, other.owners)):
        assert mine is his
        assert mine
    assert one.compartments[0] is other.compartments[0]
    assert one.compartments[0] == ("legal", "subject")
    for place in range(2 * shared_max):
        fold([granted(grant(id=f"g{place}"))])
        assert len(shared) <= shared_max


def test_what_many_signed_is_read_once() -> None:
    """Whoever signed it, and whatever it is called; what says something else is another."""
    form = [grant(id="shared-form", labels=["part2"]), grant(id="g2")]
    ours, theirs, others = (
        fold([granted(*grants, id=name)]).record().consents[name].consent.grants
        for name, grants in (("c-1", form), ("c-2", form), ("c-3", form[:1]))
    )
    assert ours is theirs
    assert [one.id for one in ours] == ["shared-form", "g2"]
    assert [one.id for one in others] == ["shared-form"]


def test_what_is_known_again_is_bounded_and_grows_with_what_is_asked() -> None:
    known: Known[int, str] = Known()
    for number in range(200):
        known.get(-1)
        assert known.put(number, str(number)) == known.get(number) == str(number)
        assert len(known) <= entries_min + 2 * (number + 1) // asked_an_entry
    known._asked = entries_max * asked_an_entry  # as if so many had come
    for number in range(3 * entries_max):
        known.put(number, str(number))
        assert len(known) <= entries_max
    assert len(known) == entries_max


def test_however_many_forms_there_are_each_is_read_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were known once and are read again."""
    monkeypatch.setattr("consent.terms._forms", Known())
    monkeypatch.setattr("consent.block._indexes", Known())
    for place in [*range(3 * entries_min), *range(3 * entries_min)]:
        assert ask(granted(grant(id=f"g{place}"))).grants == (f"c1/g{place}",)


def test_consents_of_one_form_that_fill_several_blocks() -> None:
    """A part of a form is not the form: each block has the grants of its own part."""
    many = [grant(id=f"g{place}", recipients=["reach"]) for place in range(70)]
    for wanted in (0, 59, 60, 69):
        form = [*many]
        form[wanted] = grant(id=f"g{wanted}")
        for name in ("c1", "c2"):
            assert ask(granted(*form, id=name)).grants == (f"{name}/g{wanted}",)


def test_what_only_looks_like_a_known_form_is_another() -> None:
    """Equal by Python, not by JSON: a list of grants in which a true stands for a one says something else."""
    for odd in (1, True, 1.0, "1"):
        with_it = fold([granted(grant(recipients=["reach", odd]))])
        listed = with_it.record().consents["c1"].consent.grants[0].recipients
        assert listed == (("reach", "1") if odd == "1" else ("reach",))


def test_grants_that_no_form_can_be_made_of_are_read_as_they_are() -> None:
    odd = MappingProxyType(grant())  # a mapping, but not one that has bytes of its own
    assert ask(granted(odd)).permitted


def test_a_record_of_placed_directives() -> None:
    record = Record([Placed(7, "d1", granted()), Placed(9, "d1", revoked()), Placed(12, None, None)])
    assert not record.consents["c1"].revoked
    assert record.offset == 12
