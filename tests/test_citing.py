"""What an explanation rests on, and the rarer sentences: both follow the decision that was made."""

from typing import Any

import pytest

from consent import Decision, Policy, Stakeholders, decide, fold
from consent.explain import Explanation, explain
from consent.state import State
from consent.words import words_in
from tests.cases import POLICY, STAKEHOLDERS, stakeholder
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

TREATMENT = {"purposes": ["treatment"]}


def why(
    *directives: Json,
    recipient: str = "harbor-house",
    purpose: str = "care-coordination",
    reason: str | None = None,
    known: Stakeholders = REGISTERED,
    **changes: Any,
) -> Explanation:
    """The explanation, to the participant, of what these directives come to about the usual event."""
    inputs = (event(**changes), recipient, purpose, AT, fold(directives), POLICIES, known)
    decision = decide(*inputs)
    assert reason is None or decision.reason == reason
    return explain(decision, *inputs, to="participant")


def alleged(
    decision: Decision, *directives: Json, recipient: str = "harbor-house", purpose: str = "care-coordination"
) -> Explanation:
    """The explanation of a decision that these directives alone would not have come to."""
    state: State = fold(directives)
    return explain(decision, event(), recipient, purpose, AT, state, POLICIES, REGISTERED, to="participant")


def cited(found: Explanation) -> list[tuple[str, str, tuple[int, ...]]]:
    return [tuple(one) for one in found.cited]  # type: ignore[misc]


RULES = {
    1: "What cannot be read, or is not in the policy, is not shared.",
    2: "Nothing is shared without a data-sharing agreement in force.",
    3: "Each kind of organization gets only what the policy opens to it, for the purposes it lists.",
    4: "A court order with a subpoena opens what it names to whom it names.",
    5: "Use in court needs an order with a subpoena, or a consent that is for court use alone.",
    6: "Counselling notes need a consent that is for such notes alone.",
    7: "In a declared medical emergency, the medical responders who declared it may know.",
    8: "What a participant says must never be shared is not shared, whatever else they agreed to.",
    9: "What a participant agreed to is shared, as far as they agreed.",
    10: "What was taken back is not shared.",
    11: "What has ended is not shared.",
    12: "What has not begun is not shared.",
    13: "What nobody agreed to is not shared.",
}
COURT = {"recipient": "attorney", "purpose": "proceedings"}
OVERDOSE = {"recipient": "clinic", "purpose": "emergency", "category": "contact.overdose"}
LEGAL = {"compartments": ["legal"]}
NOTES = {"labels": ["counselling-notes"]}
CITES: list[tuple[str, list[Json], Json, int, list[Any]]] = [
    ("consent", [granted(grant())], {}, 9, [("consent", "c1", (0,))]),
    ("consent", [granted(grant()), granted(grant(), id="c0"), granted(grant(**TREATMENT), id="c2")], {}, 9,
     [("consent", "c0", (1,)), ("consent", "c1", (0,))]),
    ("consent", [granted(grant(), grant(id="g2"))], {}, 9, [("consent", "c1", (0,))]),
    ("court-order", [order(), order(id="o2"), order(id="o3", subpoena=False)], COURT, 4,
     [("order", "o1", (0,)), ("order", "o2", (1,))]),
    ("emergency", [emergency(), emergency(id="e0", recipient="ems")], OVERDOSE, 7,
     [("emergency", "e1", (0,))]),
    ("indeterminate", [granted(grant())], {"category": "weather"}, 1, []),
    ("no-agreement", [granted(grant())], {"recipient": "unsigned"}, 2, []),
    ("role", [granted(grant())], {"recipient": "police"}, 3, []),
    ("proceedings", [], COURT, 5, []),
    ("proceedings", [granted(grant()), order(subpoena=False)], COURT, 5, [("order", "o1", (1,))]),
    ("proceedings", [order(recipient="court")], COURT, 5, [("order", "o1", (0,))]),
    ("counselling-notes", [granted(grant())], NOTES, 6, [("consent", "c1", (0,))]),
    ("no-emergency", [emergency()], OVERDOSE | {"recipient": "reach"}, 7, []),
    ("no-emergency", [emergency(recipient="ems")], OVERDOSE, 7, [("emergency", "e1", (0,))]),
    ("restriction",
     [granted(grant()), restriction(id="r2"), restriction(), restriction(id="r3", **TREATMENT)], {}, 8,
     [("restriction", "r1", (2,)), ("restriction", "r2", (1,))]),
    ("revoked", [granted(grant()), revoked(grants=["g1"]), revoked()], {}, 10,
     [("consent", "c1", (0, 1, 2))]),
    ("expired", [granted(grant(), expires_at="2026-02-01T00:00:00Z")], {}, 11, [("consent", "c1", (0,))]),
    ("not-started", [granted(grant(), starts_at="2026-07-01T00:00:00Z")], {}, 12, [("consent", "c1", (0,))]),
    ("no-consent", [], {}, 13, []),
    ("no-consent", [granted(grant(**TREATMENT), id="c9"), granted(grant(recipients=["reach"]))], {}, 13,
     [("consent", "c9", (0,))]),
    ("nothing-shareable", [granted(grant(compartments=["clinical"]))], {}, 9, [("consent", "c1", (0,))]),
    ("nothing-shareable", [granted(grant(compartments=["clinical"])), granted(grant(**TREATMENT), id="c2")],
     {}, 9, [("consent", "c1", (0,))]),
    ("nothing-shareable", [order(), order(id="o2", recipient="court")], COURT | LEGAL, 4,
     [("order", "o1", (0,))]),
    ("nothing-shareable", [emergency(), emergency(id="e2", recipient="ems")], OVERDOSE | LEGAL,
     7, [("emergency", "e1", (0,))]),
    ("nothing-shareable", [granted(grant(recipients=["attorney"], purposes=["proceedings"]))],
     COURT | LEGAL, 9, [("consent", "c1", (0,))]),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "directives", "changes", "rule", "rests"), CITES)
def test_it_cites_what_it_rests_on(
    reason: str, directives: list[Json], changes: Json, rule: int, rests: list[Any]
) -> None:
    found = why(*directives, reason=reason, **changes)
    assert cited(found) == rests
    assert (found.rule, found.statement) == (rule, RULES[rule])


def test_every_rule_is_among_them() -> None:
    assert {row[3] for row in CITES} == set(RULES)


NOT = "Not shared with a service provider: "


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ({"from": "2026-06-02T00:00:00Z"}, "the data-sharing agreement with them begins on Jun 2, 2026."),
        ({"from": "2025-01-01T00:00:00Z", "until": "2026-05-31T12:00:00Z"},
         "the data-sharing agreement with them ended on May 31, 2026."),
        (None, "no data-sharing agreement with them was in force."),
    ],
)  # fmt: skip
def test_when_an_agreement_begins_or_ended_is_told(agreement: Json | None, said: str) -> None:
    newcomer = stakeholder("new", "service-provider") | {"agreement": agreement}
    found = why(recipient="new", known=Stakeholders.of([*STAKEHOLDERS, newcomer]), reason="no-agreement")
    assert found.sentence == NOT + said
    assert (found.rule, found.nearest) == (2, None)


def test_an_organization_of_no_kind_is_called_so() -> None:
    odd = stakeholder("odd", "service-provider") | {"role": None}
    found = why(recipient="odd", known=Stakeholders.of([*STAKEHOLDERS, odd]), reason="role")
    assert found.sentence == (
        "Not shared with somebody the hub does not know: such organizations are never given news about"
        " housing services for care coordination."
    )


@pytest.mark.parametrize(
    ("directives", "changes", "sentence", "missed"),
    [
        ([order(recipient="court")], COURT,
         "Not shared with a prosecutor: use in court needs a court order with a subpoena, or a consent that"
         " is for court use alone.", ("recipient",)),
        ([order(subpoena=False, recipient="court")], COURT,
         "Not shared with a prosecutor: use in court needs a court order with a subpoena, or a consent that"
         " is for court use alone.", ("subpoena", "recipient")),
        ([emergency(recipient="ems")], OVERDOSE,
         f"{NOT}no medical emergency that they declared was in force.", ("recipient",)),
        ([emergency(expires_at="2026-06-01T11:00:00Z")], OVERDOSE,
         f"{NOT}no medical emergency that they declared was in force.", ("emergency-period",)),
        ([granted(grant(labels=["counselling-notes"], recipients=["reach"]))], NOTES,
         f"{NOT}counselling notes need a consent that is for such notes alone, and none covers this.",
         ("recipient",)),
        ([granted(grant(categories=["weather"]))], {},
         f"{NOT}you agreed to share nothing for care coordination, and this was about housing services.",
         ("category",)),
        ([granted(grant(labels=["part2"]))], {"labels": ["mental-health", "part2", "hiv"]},
         f"{NOT}you agreed to share services for care coordination, but not what concerns HIV and"
         " mental health records.", ("label",)),
        ([granted(grant(compartments=["clinical"]))], {},
         f"{NOT}you agreed to share other parts of such news, but not what was done, when and where, and"
         " who.", None),
        ([order()], COURT | LEGAL,
         "Not shared with a prosecutor: no part of it may go to prosecutors for court proceedings.", None),
        ([emergency()], OVERDOSE | LEGAL,
         f"{NOT}no part of it may go to service providers for a medical emergency.", None),
        ([granted(grant())], {"compartments": []},
         f"{NOT}no part of it may go to service providers for care coordination.", None),
        ([granted(grant(data_from="2026-05-01T00:00:00Z", data_until="2026-04-01T00:00:00Z"))], {},
         f"{NOT}you agreed to share services for care coordination, but only what happened until"
         " Apr 1, 2026.",
         ("data-period",)),
        ([granted(grant(categories=["service.housing", "contact", "weather"], **TREATMENT))], {},
         f"{NOT}you agreed to share contacts and housing services with them, but not for care coordination.",
         ("purpose",)),
    ],
)  # fmt: skip
def test_rarer_sentences(directives: list[Json], changes: Json, sentence: str, missed: Any) -> None:
    found = why(*directives, **changes)
    assert found.sentence == sentence
    assert (None if found.nearest is None else found.nearest.dimensions) == missed


def test_what_was_agreed_to_is_told_by_the_broadest_that_covers() -> None:
    both = why(
        granted(grant(categories=["service.housing"]), grant(id="g2", categories=["service", "contact"]))
    )
    assert both.sentence == (
        "Shared with a service provider: you agreed to share services for care coordination."
    )
    one = why(granted(grant(categories=["service.housing", "contact"])))
    assert one.sentence == (
        "Shared with a service provider: you agreed to share housing services for care coordination."
    )
    other = why(
        granted(grant(categories=["service.housing"])), granted(grant(purposes=["treatment"]), id="c2")
    )
    assert "share housing services for" in other.sentence, "a grant that does not count says nothing"


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("revoked", "you took back what you had agreed to."),
        ("expired", "what you agreed to has ended."),
        ("not-started", "what you agreed to has not begun."),
        ("no-consent", "you have not agreed to share anything."),
    ],
)
def test_a_decision_whose_ground_is_gone_is_explained_as_it_was_made(reason: str, sentence: str) -> None:
    found = alleged(Decision("deny", reason))
    assert (found.sentence, cited(found), found.nearest) == (NOT + sentence, [], None)
    if reason != "no-consent":
        other = alleged(Decision("deny", reason), granted(grant(**TREATMENT)))
        assert (other.sentence, other.nearest) == (NOT + sentence, None), (
            "what misses another thing is no ground"
        )


def test_what_is_no_longer_on_record_is_cited_without_an_offset() -> None:
    ordered = Decision("permit", "court-order", "court-order", ("o7", "o8"), ("subject",))
    found = alleged(ordered, order(id="o8"), recipient="attorney", purpose="proceedings")
    assert cited(found) == [("order", "o7", ()), ("order", "o8", (0,))]
    declared = Decision("permit", "emergency", "emergency", ("e1",), ("subject",))
    assert cited(alleged(declared, recipient="clinic", purpose="emergency")) == [("emergency", "e1", ())]
    agreed = Decision("permit", "consent", "consent", ("c7/g1",), ("subject",))
    gone = alleged(agreed, granted(grant()))
    assert cited(gone) == []
    assert gone.sentence == (
        "Shared with a service provider: you agreed to share housing services for care coordination."
    )


def test_what_could_not_be_decided_then_and_could_now_is_told_plainly() -> None:
    found = alleged(Decision("deny", "indeterminate"), granted(grant(**TREATMENT)))
    assert (found.rule, cited(found), found.nearest) == (1, [], None)
    assert (
        found.sentence == f"{NOT}the hub could not decide, because the event is missing or not known to it."
    )


def test_it_speaks_english_of_the_participant_where_nothing_else_is_asked_for() -> None:
    inputs = (
        event(),
        "harbor-house",
        "care-coordination",
        AT,
        fold([granted(grant())]),
        POLICIES,
        REGISTERED,
    )
    plain = explain(decide(*inputs), *inputs)
    assert plain.sentence == (
        "Shared with a service provider: the participant agreed to share services for care coordination."
    )
    assert explain(decide(*inputs), *inputs, words=words_in("en"), names={}, to="officer") == plain
    named = explain(decide(*inputs), *inputs, names={"harbor-house": "Harbor House", "reach": ""})
    assert named.sentence.startswith("Shared with Harbor House:")
    unknown = (event(), "nobody", *inputs[2:])
    assert explain(decide(*unknown), *unknown, names={"nobody": "Mx. Nobody"}).sentence == (
        "Not shared with somebody the hub does not know: the hub could not decide, because who asks is"
        " missing or not known to it."
    )


def test_the_whole_of_it_as_json() -> None:
    shared = why(granted(grant()))
    assert shared.as_json() == {
        "sentence": "Shared with a service provider: you agreed to share services for care coordination.",
        "rule": 9,
        "statement": RULES[9],
        "cited": [{"kind": "consent", "id": "c1", "offsets": [0]}],
        "nearest": None,
    }
    denied = why(order(subpoena=False, expires_at="2026-05-31T00:00:00Z"), **COURT)  # type: ignore[arg-type]
    assert denied.as_json()["nearest"] == {
        "kind": "order",
        "id": "o1",
        "dimensions": ["subpoena", "order-period"],
        "missing": ["a subpoena with the order", "when the order is in force"],
    }


def test_a_part_that_neither_the_policy_nor_the_grant_opens_is_not_called_left_out() -> None:
    found = why(granted(grant(compartments=["clinical"])), compartments=["subject", "narrative", "clinical"])
    assert found.sentence == f"{NOT}you agreed to share other parts of such news, but not who."
    none = why(
        granted(grant(compartments=["clinical"])), compartments=["narrative"], reason="nothing-shareable"
    )
    assert none.sentence == f"{NOT}no part of it may go to service providers for care coordination."


def test_where_the_policy_opens_no_part_nothing_was_left_out() -> None:
    row = {"role": "service-provider", "category": "service", "purposes": ["care-coordination"]}
    closed = Policy.of(POLICY | {"matrix": [row | {"compartments": []}]})
    inputs = (event(), "harbor-house", "care-coordination", AT, fold([granted(grant())]), closed, REGISTERED)
    found = explain(decide(*inputs), *inputs)
    assert found.sentence == f"{NOT}no part of it may go to service providers for care coordination."
