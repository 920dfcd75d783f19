"""The nearest miss: each thing that can be missing, to the millisecond, and which of several is told."""

from typing import Any

import pytest

from consent import Policy, Stakeholders, fold
from consent.asked import Asked
from consent.nearest import DIMENSIONS, Miss, emergencies, grants, nearest, orders, restrictions
from consent.record import Record
from schemas import instant
from tests.cases import STAKEHOLDERS, stakeholder
from tests.small import (
    AT,
    POLICIES,
    REGISTERED,
    Json,
    emergency,
    event,
    grant,
    granted,
    order,
    restriction,
    revoked,
)

NOW = instant.parse(AT)
HAPPENED = instant.parse("2026-05-01T00:00:00Z")


def at(ms: int) -> str:
    return instant.format(ms)


def asked(
    recipient: str = "harbor-house",
    purpose: str = "care-coordination",
    policy: Policy = POLICIES,
    **changes: Any,
) -> Asked:
    found = Asked.of(event(**changes), recipient, purpose, AT, policy, REGISTERED)
    assert isinstance(found, Asked)
    return found


def record(*directives: Json) -> Record:
    return fold(directives).record()


def missed(directives: list[Json], **question: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.id, one.dimensions) for one in grants(asked(**question), record(*directives))]


def test_a_grant_that_covers_misses_nothing() -> None:
    (only,) = grants(asked(), record(granted(grant())))
    assert (only.kind, only.id, only.dimensions, only.only) == ("grant", "c1/g1", (), None)
    assert only.held is not None
    assert only.grant is not None
    assert (only.held.consent.id, only.grant.id) == ("c1", "g1")


@pytest.mark.parametrize(
    ("changes", "dimension"),
    [
        ({"disclosers": ["clinic"]}, "discloser"),
        ({"disclosers": []}, "discloser"),
        ({"disclosers": ["*"]}, None),
        ({"recipients": ["clinic"]}, "recipient"),
        ({"recipients": ["class:treating-provider"]}, None),
        ({"recipients": ["*"]}, "recipient"),
        ({"purposes": ["treatment"]}, "purpose"),
        ({"purposes": ["*"]}, "purpose"),
        ({"categories": ["contact", "service.medical"]}, "category"),
        ({"categories": ["service.housing"]}, None),
        ({"categories": ["serv"]}, "category"),
        ({"data_from": at(HAPPENED)}, None),
        ({"data_from": at(HAPPENED + 1)}, "data-period"),
        ({"data_until": at(HAPPENED)}, None),
        ({"data_until": at(HAPPENED - 1)}, "data-period"),
    ],
)
def test_what_a_grant_does_not_cover(changes: Json, dimension: str | None) -> None:
    expected = () if dimension is None else (dimension,)
    assert missed([granted(grant(**changes))]) == [("c1/g1", expected)]


@pytest.mark.parametrize(
    ("changes", "dimension"),
    [
        ({"signed_at": at(NOW)}, None),
        ({"signed_at": at(NOW + 1)}, "signed"),
        ({"starts_at": at(NOW)}, None),
        ({"starts_at": at(NOW + 1)}, "not-started"),
        ({"expires_at": at(NOW)}, None),
        ({"expires_at": at(NOW - 1)}, "expired"),
    ],
)
def test_when_a_consent_holds_to_the_millisecond(changes: Json, dimension: str | None) -> None:
    expected = () if dimension is None else (dimension,)
    assert missed([granted(grant(), **changes)]) == [("c1/g1", expected)]
    both = missed([granted(grant(purposes=["treatment"]), **changes)])
    assert both == [("c1/g1", ("purpose", *expected))]


def test_any_discloser_is_one_whose_agreement_is_in_force() -> None:
    anybody = [granted(grant(disclosers=["*"]))]
    assert missed(anybody, discloser="clinic") == [("c1/g1", ())]
    assert missed(anybody, discloser="former") == [("c1/g1", ("discloser",))]
    assert missed(anybody, discloser="unsigned") == [("c1/g1", ("discloser",))]
    named = [granted(grant(disclosers=["former"]))]
    assert missed(named, discloser="former") == [("c1/g1", ())], "who is named is meant, agreement or not"


@pytest.mark.parametrize(
    ("since", "until", "missing"),
    [(NOW, NOW, False), (NOW + 1, NOW + 2, True), (NOW - 2, NOW - 1, True), (NOW - 1, NOW + 1, False)],
)
def test_an_agreement_is_in_force_to_the_millisecond(since: int, until: int, missing: bool) -> None:
    told_by = stakeholder("new", "case-management") | {"agreement": {"from": at(since), "until": at(until)}}
    known = Stakeholders.of([*STAKEHOLDERS, told_by])
    found = Asked.of(event(discloser="new"), "harbor-house", "care-coordination", AT, POLICIES, known)
    assert isinstance(found, Asked)
    (only,) = grants(found, record(granted(grant(disclosers=["*"]))))
    assert only.dimensions == (("discloser",) if missing else ())


@pytest.mark.parametrize(
    ("back", "missing"),
    [
        (revoked(), True),
        (revoked(grants=["g1"]), True),
        (revoked(grants=["g2"]), False),
        (revoked(recipients=["harbor-house"]), True),
        (revoked(recipients=["clinic"]), False),
        (revoked(recipients=["class:treating-provider"]), True),
        (revoked("c2"), False),
    ],
)
def test_what_was_taken_back(back: Json, missing: bool) -> None:
    assert missed([granted(grant()), back]) == [("c1/g1", ("revoked",) if missing else ())]


def test_a_class_is_not_those_who_have_to_be_named() -> None:
    treating = [granted(grant(recipients=["class:treating-provider"], purposes=["legal-coordination"]))]
    question = {"recipient": "defense", "purpose": "legal-coordination"}
    assert missed(treating, **question) == [("c1/g1", ("recipient",))]


@pytest.mark.parametrize(
    ("labels", "carried", "missing"),
    [([], [], False), (["hiv"], [], False), (["hiv"], ["hiv"], False), ([], ["hiv"], True),
     (["hiv"], ["hiv", "part2"], True), (["hiv", "part2"], ["part2", "hiv"], False)],
)  # fmt: skip
def test_every_label_has_to_be_covered(labels: list[str], carried: list[str], missing: bool) -> None:
    found = missed([granted(grant(labels=labels))], labels=carried)
    assert found == [("c1/g1", ("label",) if missing else ())]


def test_what_needs_a_consent_of_its_own() -> None:
    notes = {"labels": ["counselling-notes"]}
    alone = granted(grant(labels=["counselling-notes"]), grant(id="g2", labels=["counselling-notes"]))
    assert missed([alone], **notes) == [("c1/g1", ()), ("c1/g2", ())]
    mixed = granted(grant(labels=["counselling-notes"]), grant(id="g2"))
    assert missed([mixed], **notes) == [
        ("c1/g1", ("notes-dedicated",)),
        ("c1/g2", ("notes-dedicated", "label")),
    ]
    assert missed([mixed]) == [("c1/g1", ()), ("c1/g2", ())], "what is no note needs none"
    court = {"recipient": "attorney", "purpose": "proceedings"}
    whole = granted(grant(recipients=["attorney"], purposes=["proceedings"]))
    assert missed([whole], **court) == [("c1/g1", ())]
    shared = granted(grant(recipients=["attorney"], purposes=["proceedings", "treatment"]))
    assert missed([shared], **court) == [("c1/g1", ("dedicated",))]
    assert missed([shared], recipient="attorney", purpose="legal-coordination") == [("c1/g1", ("purpose",))]


def test_everything_at_once_is_told_in_one_order() -> None:
    nothing = grant(
        disclosers=["clinic"],
        recipients=["reach"],
        purposes=["treatment"],
        categories=["court"],
        data_until=at(HAPPENED - 1),
    )
    period = {"signed_at": at(NOW + 1), "starts_at": at(NOW + 1), "expires_at": at(NOW + 2)}
    found = missed(
        [granted(nothing, **period), revoked()],
        recipient="attorney",
        purpose="proceedings",
        labels=["counselling-notes"],
    )
    assert found == [
        ("c1/g1", ("dedicated", "notes-dedicated", "category", "purpose", "recipient", "discloser", "label",
                   "data-period", "signed", "not-started", "revoked"))
    ]  # fmt: skip


def test_a_grant_without_a_name_cannot_be_told() -> None:
    assert missed([granted(grant(id=None), grant(id="g2"))]) == [("c1/g2", ())]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, ()),
        ({"recipient": "court"}, ("recipient",)),
        ({"categories": ["court", "contact"]}, ("category",)),
        ({"categories": ["court", "service.housing"]}, ()),
        ({"starts_at": at(NOW)}, ()),
        ({"starts_at": at(NOW + 1)}, ("order-period",)),
        ({"expires_at": at(NOW)}, ()),
        ({"expires_at": at(NOW - 1)}, ("order-period",)),
        ({"subpoena": False}, ("subpoena",)),
        ({"recipient": "court", "categories": [], "subpoena": None}, ("subpoena", "category", "recipient")),
    ],
)
def test_what_an_order_lacks(changes: Json, missing: tuple[str, ...]) -> None:
    question = asked("attorney", "proceedings")
    (found,) = orders(question, record(order(**changes)))
    assert found == Miss("order", "o1", missing)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, ()),
        ({"recipient": "ems"}, ("recipient",)),
        ({"declared_at": at(NOW)}, ()),
        ({"declared_at": at(NOW + 1)}, ("emergency-period",)),
        ({"expires_at": at(NOW)}, ()),
        ({"expires_at": at(NOW - 1)}, ("emergency-period",)),
        ({"recipient": "ems", "expires_at": at(NOW - 1)}, ("emergency-period", "recipient")),
    ],
)
def test_what_an_emergency_lacks(changes: Json, missing: tuple[str, ...]) -> None:
    question = asked("clinic", "emergency", category="contact.overdose")
    (found,) = emergencies(question, record(emergency(**{"expires_at": at(NOW + 1000), **changes})))
    assert found == Miss("emergency", "e1", missing)


@pytest.mark.parametrize(
    ("changes", "matches"),
    [
        ({}, True),
        ({"recipients": ["harbor-house"]}, True),
        ({"recipients": ["class:treating-provider"]}, True),
        ({"recipients": ["clinic"]}, False),
        ({"recipients": []}, False),
        ({"purposes": ["treatment", "care-coordination"]}, True),
        ({"purposes": ["treatment"]}, False),
        ({"categories": ["contact", "service"]}, True),
        ({"categories": ["service.housing"]}, True),
        ({"categories": ["service.medical"]}, False),
        ({"labels": ["part2", "hiv"]}, True),
        ({"labels": ["part2"]}, False),
        ({"labels": []}, False),
    ],
)
def test_which_restrictions_match(changes: Json, matches: bool) -> None:
    found = restrictions(asked(labels=["hiv", "mental-health"]), record(restriction(**changes)))
    assert [one.id for one in found] == (["r1"] if matches else [])


def test_restrictions_stand_by_id() -> None:
    placed = [restriction(id=name) for name in ("r3", "r1", "r2")]
    assert [one.id for one in restrictions(asked(), record(*placed))] == ["r1", "r2", "r3"]


def miss(name: str, *dimensions: str, kind: str = "grant") -> Miss:
    return Miss(kind, name, dimensions)


def test_of_several_misses_the_least_is_told() -> None:
    one, two = miss("b", "revoked"), miss("a", "category", "purpose")
    assert nearest([two, one]) == nearest([one, two]) == one, "fewer before more"
    first, last = miss("b", "category"), miss("a", "expired")
    assert nearest([last, first]) == nearest([first, last]) == first, "what is told first before the rest"
    near, far = miss("b", "category", "purpose"), miss("a", "category", "label")
    assert nearest([far, near]) == near, "what comes second counts where the first is alike"
    grant, order = miss("z", "recipient"), miss("a", "recipient", kind="order")
    assert nearest([order, grant]) == grant, "a consent before an order"
    assert nearest([miss("b", "label"), miss("a", "label")]) == miss("a", "label"), "then the smallest id"
    assert nearest([]) is None


def test_only_what_misses_one_thing_alone_can_be_asked_for() -> None:
    some = [
        miss("a", "category"),
        miss("b", "category", "expired"),
        miss("d", "expired"),
        miss("c", "expired"),
    ]
    assert nearest(some, "expired") == miss("c", "expired")
    assert nearest(some, "revoked") is None
    assert nearest(some) == miss("a", "category")


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_one_thing_alone_is_told_as_such(dimension: str) -> None:
    assert miss("a", dimension).only == dimension
    assert miss("a", dimension, "other").only is None
