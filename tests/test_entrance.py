"""Who may send which directive, and what a written consent has to say: asked before anything is written."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import elements
from consent.elements import missing
from consent.entrance import Sender, check, read
from consent.stakeholder import Stakeholder
from consent.terms import Order, Restriction
from schemas.directives import TYPES
from schemas.errors import Invalid, Refused
from tests.desk import FIRST, SECOND, desk

Json = dict[str, Any]
ORGANISATIONS = {
    "reach": {"role": "case-management"},
    "harbor-house": {"role": "service-provider", "treating": True},
    "clinic": {"role": "service-provider", "treating": True, "medical": True},
    "ems": {"role": "public-health", "medical": True},
    "defense": {"role": "public-defender"},
    "police": {"role": "police"},
    "attorney": {"role": "prosecutor"},
    "court": {"role": "court"},
    "shops": {"role": "business"},
}
CONSENT: Json = {
    "signed_at": "2026-03-01T09:00:00-08:00",
    "signature": {"method": "paper", "reference": "form 1, locker 3"},
    "starts_at": "2026-03-01T09:00:00-08:00",
    "expires_at": "2027-03-01T09:00:00-08:00",
    "statements": ["right-to-revoke", "redisclosure", "refusal"],
    "grants": [
        {
            "id": "g1",
            "disclosers": ["*"],
            "recipients": ["attorney"],
            "purposes": ["treatment"],
            "categories": ["service"],
            "labels": [],
            "compartments": ["subject"],
        }
    ],
}
EMERGENCY = {
    "id": "m1",
    "declared_by": "medic 7",
    "nature": "overdose",
    "declared_at": "2026-03-01T09:00:00Z",
    "expires_at": "2026-03-01T12:00:00Z",
}
ORDER = {
    "id": "o1",
    "recipient": "attorney",
    "categories": ["court"],
    "starts_at": "2026-03-01T09:00:00Z",
    "expires_at": "2026-04-01T09:00:00Z",
}
WITNESSES = {"reach", "harbor-house", "clinic", "defense"}
EVERYBODY = set(ORGANISATIONS)
ALLOWED = {  # by type: organisations, and whether the participant or an officer may
    "consent-granted": WITNESSES | {"self"},
    "consent-revoked": EVERYBODY | {"self"},
    "restriction-placed": EVERYBODY | {"self"},
    "restriction-lifted": WITNESSES | {"self"},
    "order-filed": {"officer"},
    "order-vacated": {"officer"},
    "emergency-declared": {"clinic", "ems"},
    "program-exited": {"reach"},
}


def body(type_: str, sender: str = "reach") -> Json:
    about: Json = {
        "consent-granted": {"consent": deepcopy(CONSENT)},
        "consent-revoked": {"consent_id": "c1"},
        "restriction-placed": {"restriction": {"id": "r1", "recipients": ["*"]}},
        "restriction-lifted": {"restriction_id": "r1"},
        "order-filed": {"order": ORDER},
        "order-vacated": {"order_id": "o1"},
        "emergency-declared": {"emergency": EMERGENCY | {"recipient": sender}},
        "program-exited": {"at": "2026-03-01T09:00:00Z"},
    }[type_]
    found: Json = {"id": "d1", "participant": "p1", "type": type_, **about}
    if type_ in ("consent-granted", "restriction-lifted") and sender in ORGANISATIONS:
        found["witness"] = {"name": "T. Reyes", "organisation": sender}
    return found


def organisation(name: str) -> Stakeholder | None:
    return Stakeholder.of({"id": name, **ORGANISATIONS[name]}) if name in ORGANISATIONS else None


def as_sender(name: str) -> Sender:
    special = {
        "self": Sender("participant:p1", participant="p1"),
        "another": Sender("participant:p2", participant="p2"),
        "officer": Sender("person:o", officer=True),
        "visitor": Sender("person:v"),
    }
    return special.get(name) or Sender(f"stakeholder:{name}", organisation=name)


def sends(name: str, directive: Json, standing: Restriction | Order | None = None) -> str:
    """`passes`, or the code of the refusal."""
    try:
        check(read(directive), as_sender(name), organisation(name), standing)
    except Refused as refusal:
        return refusal.code
    return "passes"


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("name", [*ORGANISATIONS, "unregistered", "self", "another", "officer", "visitor"])
def test_the_table_of_senders(type_: str, name: str) -> None:
    assert (sends(name, body(type_, name)) == "passes") == (name in ALLOWED[type_])


def test_the_table_knows_every_directive() -> None:
    assert ALLOWED.keys() == set(TYPES)


@pytest.mark.parametrize("type_", ["consent-granted", "restriction-lifted"])
def test_a_witness_is_named_and_is_the_senders_own(type_: str) -> None:
    directive = body(type_)
    assert sends("reach", directive) == "passes"
    assert sends("reach", directive | {"witness": None}) == "witness"
    assert sends("reach", directive | {"witness": {"name": "T.", "organisation": "clinic"}}) == "witness"
    assert sends("police", directive | {"witness": {"name": "T.", "organisation": "police"}}) == "sender"


@pytest.mark.parametrize(
    ("recipient", "where"), [("clinic", "by name"), ("class:treating-provider", "in class")]
)
@pytest.mark.parametrize("reference", ["none", " N/A ", "pending", "--", "unknown"])
def test_a_recipient_that_witnesses_points_to_the_signed_form(
    recipient: str, where: str, reference: str
) -> None:
    directive = body("consent-granted", "clinic")
    directive["consent"]["signature"]["reference"] = reference
    assert sends("clinic", directive) == "passes", "nothing for itself: as any witness"
    directive["consent"]["grants"][0]["recipients"] = ["attorney", recipient]
    assert sends("clinic", directive) == "signed-form", where
    directive["consent"]["signature"]["reference"] = "scan 12"
    assert sends("clinic", directive) == "passes"


def test_who_is_not_in_the_class_is_not_a_recipient_by_it() -> None:
    directive = body("consent-granted", "reach")
    directive["consent"]["signature"]["reference"] = "none"
    directive["consent"]["grants"][0]["recipients"] = ["class:treating-provider"]
    assert sends("reach", directive) == "passes"


def test_a_recipient_does_not_lift_what_keeps_it_out() -> None:
    kept_out = Restriction("r1", ("reach", "police"), ("*",), ("*",), ("*",))
    assert sends("reach", body("restriction-lifted"), kept_out) == "recipient"
    assert sends("clinic", body("restriction-lifted", "clinic"), kept_out) == "passes"
    assert sends("self", body("restriction-lifted", "self"), kept_out) == "passes"
    by_class = Restriction("r1", ("class:treating-provider",), ("*",), ("*",), ("*",))
    assert sends("clinic", body("restriction-lifted", "clinic"), by_class) == "recipient"
    assert sends("reach", body("restriction-lifted"), by_class) == "passes"
    assert sends("reach", body("restriction-placed"), kept_out) == "passes", "placing is made easy"


def test_an_officer_of_the_recipients_neither_files_nor_vacates() -> None:
    of_attorney = Sender("person:a", organisation="attorney", officer=True)
    standing = Order("o1", "attorney", ("court",), 0, 1, subpoena=True)
    for type_, found in (("order-filed", None), ("order-vacated", standing)):
        with pytest.raises(Refused) as caught:
            check(read(body(type_)), of_attorney, organisation("attorney"), found)
        assert caught.value.code == "recipient"
        of_court = Sender("person:c", organisation="court", officer=True)
        check(read(body(type_)), of_court, organisation("court"), found)


def test_an_emergency_is_declared_by_its_recipient_alone() -> None:
    assert sends("ems", body("emergency-declared", "clinic")) == "sender"


def test_the_organisation_is_the_senders() -> None:
    with pytest.raises(Refused):
        check(read(body("program-exited")), as_sender("police"), organisation("reach"))


REFUSALS: list[tuple[str, str, dict[str, Any], Restriction | Order | None, tuple[str, ...]]] = [
    ("exited", "police", {}, None,
     ("sender", "/type", "this sender may not send this directive", "")),
    ("granted", "reach", {"witness": None}, None,
     ("witness", "/witness", "the organization that saw it signed names its witness", "")),
    ("granted", "reach", {"witness": {"name": "T.", "organisation": "clinic"}}, None,
     ("witness", "/witness/organisation", "the witness is of another organization", "")),
    ("granted", "clinic", {"reference": "none"}, None,
     ("signed-form", "/consent/signature/reference",
      "the organization that saw it signed is a recipient; the reference has to say where the form is",
      "42 CFR 2.31(a)(8)")),
    ("lifted", "reach", {}, Restriction("r1", ("reach",), (), (), ()),
     ("recipient", "/witness/organisation",
      "whom a restriction keeps out does not witness that it is lifted; "
      "the participant says so, or somebody else witnesses it", "")),
    ("filed", "attorney", {}, None,
     ("recipient", "", "a recipient neither files nor vacates an order for itself", "")),
]  # fmt: skip


@pytest.mark.parametrize(("what", "name", "change", "standing", "told"), REFUSALS)
def test_a_refusal_says_what_where_and_by_which_law(
    what: str, name: str, change: dict[str, Any], standing: Any, told: tuple[str, ...]
) -> None:
    directive = body(next(one for one in TYPES if one.endswith(what)), name)
    if "reference" in change:
        directive["consent"]["signature"] |= change
        directive["consent"]["grants"][0]["recipients"] = [name]
    else:
        directive |= change
    with pytest.raises(Refused) as caught:
        check(read(directive), as_sender(name), organisation(name), standing)
    refusal = caught.value
    assert (refusal.code, refusal.path, refusal.detail, refusal.citation) == told


def test_an_organisation_that_is_not_the_senders_is_refused_as_such() -> None:
    with pytest.raises(Refused) as caught:
        check(read(body("program-exited")), as_sender("police"), organisation("reach"))
    assert (caught.value.code, caught.value.path) == ("sender", "")
    assert caught.value.detail == "the organization is not the sender's"


# --- required elements ---

GONE = [
    ("participant", "/participant", "(a)(1)", "(3)(e)"),
    ("consent.grants.0.disclosers", "/consent/grants/0/disclosers", "(a)(2)", "(3)(d)"),
    ("consent.grants.0.categories", "/consent/grants/0/categories", "(a)(3)", "(3)(b)"),
    ("consent.grants.0.compartments", "/consent/grants/0/compartments", "(a)(3)", "(3)(b)"),
    ("consent.grants.0.recipients", "/consent/grants/0/recipients", "(a)(4)(i)", "(3)(c)"),
    ("consent.grants.0.purposes", "/consent/grants/0/purposes", "(a)(5)", ""),
    ("consent.expires_at", "/consent/expires_at", "(a)(7)", "(3)(f)"),
    ("consent.signature", "/consent/signature", "(a)(8)", "(3)(a)"),
    ("consent.signature.method", "/consent/signature/method", "(a)(8)", "(3)(a)"),
    ("consent.signature.reference", "/consent/signature/reference", "(a)(8)", "(3)(a)"),
    ("consent.signed_at", "/consent/signed_at", "(a)(9)", "(3)(a)"),
]  # fmt: skip


def without(path: str, value: Any = None) -> Json:
    """A consent-granted with one thing replaced, or left out where `value` is `...`."""
    directive = body("consent-granted")
    node: Any = directive
    *parents, last = path.split(".")
    for name in parents:
        node = node[int(name)] if name.isdigit() else node[name]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return directive


def problems(directive: Any) -> list[tuple[str, str, str]]:
    try:
        read(directive)
    except Invalid as invalid:
        return [tuple(one) for one in invalid.problems]  # type: ignore[misc]
    return []


def test_a_complete_consent_lacks_nothing() -> None:
    assert problems(body("consent-granted")) == []
    for end in (
        {"expires_at": None, "expires_on": "program-exit"},
        {"expires_at": None, "expires_on": "none"},
    ):
        assert problems(body("consent-granted") | {"consent": CONSENT | end}) == []


@pytest.mark.parametrize(("path", "place", "federal", "state"), GONE)
@pytest.mark.parametrize("how", [..., None, "", "  ", [], {}])
def test_each_missing_element_is_named_once_with_its_paragraph(
    path: str, place: str, federal: str, state: str, how: Any
) -> None:
    told = [one for one in problems(without(path, how)) if one[0].startswith(place)]
    cited = [one for one in told if one[1] == elements.MISSING]
    assert cited, told
    (found,) = cited
    assert found[0] == place
    assert f"42 CFR 2.31{federal}" in found[2]
    assert (f"; RCW 70.02.030{state})" in found[2]) == bool(state)
    assert sum(one[0] == place for one in told) == 1, "not said twice"


@pytest.mark.parametrize(
    ("statement", "paragraph"),
    [("right-to-revoke", "(a)(6)"), ("redisclosure", "(a)(10)(i)"), ("refusal", "(a)(10)(ii)")],
)
def test_each_statement_is_asked_for(statement: str, paragraph: str) -> None:
    rest = [one for one in CONSENT["statements"] if one != statement]
    (found,) = problems(without("consent.statements", rest))
    assert found[:2] == ("/consent/statements", elements.MISSING)
    assert f"42 CFR 2.31{paragraph})" in found[2]


def test_each_missing_element_is_told_in_words() -> None:
    """Whole, so that nobody changes by accident what is cited."""
    empty = {"id": "d", "participant": "p", "type": "consent-granted", "consent": {"grants": [{}]}}
    empty["consent"] |= {"signature": {"method": "oral", "reference": ""}}  # type: ignore[operator,dict-item]
    found = missing(empty | {"participant": " "})
    assert {(one.path, one.code) for one in found} == {(one[0], elements.MISSING) for one in TOLD}
    assert [(one.path, one.detail) for one in found] == TOLD
    without_grants = body("consent-granted")
    del without_grants["consent"]["grants"]
    assert [one.path for one in missing(without_grants)] == ["/consent/grants"] * 4
    assert missing({"type": "consent-granted", "consent": 5}) == []


TOLD = [
    ("/participant", "it does not say whose consent it is (42 CFR 2.31(a)(1); RCW 70.02.030(3)(e))"),
    ("/consent/signed_at", "it does not say when it was signed (42 CFR 2.31(a)(9); RCW 70.02.030(3)(a))"),
    ("/consent/signature/reference", "it is not signed (42 CFR 2.31(a)(8); RCW 70.02.030(3)(a))"),
    ("/consent/signature/method", "it is not in writing (42 CFR 2.31(a); RCW 70.02.030(3)(a))"),
    ("/consent/statements", "the right to take it back, and how, is not stated (42 CFR 2.31(a)(6))"),
    ("/consent/statements", "that it may be passed on is not stated (42 CFR 2.31(a)(10)(i))"),
    ("/consent/statements", "what follows from not signing is not stated (42 CFR 2.31(a)(10)(ii))"),
    (
        "/consent/expires_at",
        "it has no end; only for treatment alone it may have none (42 CFR 2.31(a)(7); RCW 70.02.030(3)(f))",
    ),
    (
        "/consent/grants/0/disclosers",
        "it does not say who may share (42 CFR 2.31(a)(2); RCW 70.02.030(3)(d))",
    ),
    (
        "/consent/grants/0/categories",
        "it does not say what may be shared (42 CFR 2.31(a)(3); RCW 70.02.030(3)(b))",
    ),
    (
        "/consent/grants/0/compartments",
        "it does not say what may be shared (42 CFR 2.31(a)(3); RCW 70.02.030(3)(b))",
    ),
    (
        "/consent/grants/0/recipients",
        "it does not say who may receive (42 CFR 2.31(a)(4)(i); RCW 70.02.030(3)(c))",
    ),
    ("/consent/grants/0/purposes", "it does not say what for (42 CFR 2.31(a)(5))"),
]


def test_everything_missing_is_told_at_once() -> None:
    empty = {"id": "d", "participant": "", "type": "consent-granted", "consent": {"grants": []}}
    found = problems(empty)
    cited = " ".join(detail for _, code, detail in found if code == elements.MISSING)
    numbers = ["(1)", "(2)", "(3)", "(4)(i)", "(5)", "(6)", "(7)", "(8)", "(9)", "(10)(i)", "(10)(ii)"]
    for paragraph in [f"(a){one}" for one in numbers]:
        assert f"2.31{paragraph}" in cited, paragraph


def test_no_end_is_enough_for_treatment_alone() -> None:
    consent = deepcopy(CONSENT) | {"expires_at": None, "expires_on": "none"}
    assert problems(body("consent-granted") | {"consent": consent}) == []
    consent["grants"][0]["purposes"] = ["treatment", "care-coordination"]
    (found,) = problems(body("consent-granted") | {"consent": consent})
    assert found[0] == "/consent/expires_on"
    assert "42 CFR 2.31(a)(7)" in found[2]


@pytest.mark.parametrize("method", ["verbal", " Oral", "telephone"])
def test_a_consent_is_written(method: str) -> None:
    (found,) = problems(without("consent.signature.method", method))
    assert found[0] == "/consent/signature/method"
    assert "RCW 70.02.030(3)(a)" in found[2]


def test_an_end_of_no_known_kind_is_none() -> None:
    assert ("/consent/expires_on", elements.MISSING) in [
        one[:2] for one in problems(without("consent.expires_on", "yearly"))
    ]


def test_what_is_there_and_of_no_use_is_not_called_missing() -> None:
    (found,) = problems(without("consent.expires_at", "next year"))
    assert found[:2] == ("/consent/expires_at", "bad-time")
    (found,) = problems(without("consent.signed_at", "2026-03-01T09:00:00"))
    assert found[1] == "bad-time"


def test_only_a_consent_needs_them() -> None:
    for type_ in TYPES:
        assert missing(body(type_)) == []
    assert missing({"type": "consent-revoked", "consent": {}}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "consent", "grants", "signature", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([one[0] for one in GONE] + ["consent", "consent.statements", "consent.grants", "type"]),
    JSON,
)
@settings(max_examples=300, deadline=None)
def test_whatever_stands_there_is_taken_or_told(path: str, junk: Any) -> None:
    """Nothing but `Invalid` comes out, and never what was sent."""
    assert all(one[0].startswith("/") or one[0] == "" for one in problems(without(path, junk)))


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_taken_or_told(junk: Any) -> None:
    with pytest.raises(Invalid):
        read(junk)
    assert isinstance(missing(junk), list)


# --- at the hub's entrance ---


def test_the_hub_asks_with_what_stands(tmp_path: Path) -> None:
    at = desk(tmp_path)
    reach, clinic = Sender("stakeholder:reach", "reach"), Sender("stakeholder:clinic", "clinic")
    person = at.participants.create("reach", "R-1", "test").participant
    placed = {"id": "p", "participant": person, "type": "restriction-placed"}
    restriction = {
        "id": "r",
        "recipients": ["clinic"],
        "purposes": ["*"],
        "categories": ["*"],
        "labels": ["*"],
    }
    sent = at.directives.send(reach, placed | {"restriction": restriction})
    lift = {
        "id": "l",
        "participant": person,
        "type": "restriction-lifted",
        "restriction_id": sent.concerns,
        "witness": {"name": "I", "organisation": "clinic"},
    }
    for projected in (False, True):
        if projected:  # only the log knows of it
            at.project()
            with at.store.write() as connection:
                connection.exec_driver_sql("DELETE FROM requests")
        with pytest.raises(Refused) as caught:
            at.directives.send(clinic, lift)
        assert caught.value.code == "recipient"
    refused = [one for one in at.log.values("access") if one["kind"] == "directive-refused"]
    assert [one["principal"] for one in refused] == ["stakeholder:clinic"] * 2
    witness = {"witness": {"name": "I", "organisation": "reach"}}
    assert at.directives.send(reach, lift | witness).state == "written"


def test_an_order_is_not_vacated_by_the_recipients_officer(tmp_path: Path) -> None:
    at = desk(tmp_path)
    person = at.participants.create("reach", "R-1", "test").participant
    order = ORDER | {"recipient": "court"}
    asked = at.directives.send(
        FIRST, {"id": "o", "participant": person, "type": "order-filed", "order": order}
    )
    at.directives.approve(asked.directive, SECOND)
    vacate = {"id": "v", "participant": person, "type": "order-vacated", "order_id": asked.concerns}
    with pytest.raises(Refused) as caught:
        at.directives.send(Sender("person:clerk", "court", officer=True), vacate)
    assert caught.value.code == "recipient"
    assert at.directives.send(FIRST, vacate).state == "waiting"


def test_who_may_not_send_it_does_not_learn_who_takes_part(tmp_path: Path) -> None:
    at = desk(tmp_path)
    person = at.participants.create("reach", "R-1", "test").participant
    codes = set()
    for name in (person, "p-nobody"):
        exited = {"id": "x", "participant": name, "type": "program-exited", "at": "2026-03-01T09:00:00Z"}
        with pytest.raises(Refused) as caught:
            at.directives.send(Sender("stakeholder:harbor-pd", "harbor-pd"), exited)
        codes.add(caught.value.code)
    assert codes == {"sender"}
    recorded = [one["participant"] for one in at.log.values("access")]
    assert recorded == [person, None], "the attempt is recorded, with a name only where there is somebody"


def test_one_participants_directives_are_bounded_but_never_what_takes_back(tmp_path: Path) -> None:
    at = desk(tmp_path)
    at.directives._directives_max = 3
    reach = Sender("stakeholder:reach", "reach")
    person = at.participants.create("reach", "R-1", "test").participant

    def send(type_: str, name: str, **more: Any) -> Any:
        told = body(type_) | {"id": name, "participant": person} | more
        if type_ == "consent-granted":
            told["consent"]["grants"][0]["recipients"] = ["clinic"]
        return at.directives.send(reach, told)

    first = send("consent-granted", "c-1")
    restriction = {"id": "r1", "recipients": ["*"], "purposes": ["*"], "categories": ["*"], "labels": ["*"]}
    placed = send("restriction-placed", "r-1", restriction=restriction)
    send("program-exited", "x-1")
    for projected in (False, True):
        if projected:  # only the log knows of it
            at.project()
            with at.store.write() as connection:
                connection.exec_driver_sql("DELETE FROM requests WHERE id IN ('r-1', 'x-1')")
        for type_, more in (
            ("consent-granted", {"consent": deepcopy(CONSENT) | {"id": "c2"}}),
            ("restriction-lifted", {"restriction_id": placed.concerns}),
        ):
            with pytest.raises(Refused) as caught:
                send(type_, f"new-{type_}", **more)
            assert (caught.value.code, caught.value.path) == ("too-many-directives", "/participant")
            assert "`participant_directives_max`" in caught.value.detail
    refused = [one["principal"] for one in at.log.values("access") if one["kind"] == "directive-refused"]
    assert refused == ["stakeholder:reach"] * 4
    assert send("consent-granted", "c-1").directive == first.directive, "a repeat gets its answer"
    for number in range(3):
        assert send("consent-revoked", f"v-{number}", consent_id=first.concerns).narrows
        assert send(
            "restriction-placed", f"r-{number + 2}", restriction=restriction | {"id": f"r{number + 2}"}
        ).narrows
        assert send("program-exited", f"x-{number + 2}").narrows
    other = at.participants.create("reach", "R-2", "test").participant
    assert send("consent-granted", "c-3", participant=other).state == "written"


def test_a_submission_is_bounded_before_any_of_it_is_written(tmp_path: Path) -> None:
    at = desk(tmp_path)
    at.directives._directives_max = 2
    reach = Sender("stakeholder:reach", "reach")
    person = at.participants.create("reach", "R-1", "test").participant
    one = body("consent-granted") | {"participant": person}
    one["consent"]["grants"][0]["recipients"] = ["clinic"]
    at.directives.checked(reach, one, before=1)
    with pytest.raises(Refused) as caught:
        at.directives.checked(reach, one, before=2)
    assert caught.value.code == "too-many-directives"
