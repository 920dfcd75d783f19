"""The form of consent: what it offers, what an answer comes to, that a preview says what is decided."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import Event, Policy, Stakeholders, decide, default_policy, fold
from consent.elements import missing
from consent.terms import Consent, Restriction
from hub import agreeing
from hub.agreeing import Party
from hub.entrance import Sender
from hub.governance import Register
from schemas.errors import Invalid
from tests.desk import Desk, desk
from tests.webside import STAKEHOLDERS

NOW = 1_795_000_000_000
POLICY = default_policy()
REGISTER = Register()
REGISTER.policy = POLICY
REGISTER.stakeholders = {
    str(one["id"]): {**one, "agreement": {"from": "2025-01-01T00:00:00Z"}} for one in STAKEHOLDERS
}
PARTIES = agreeing.offers(REGISTER, NOW)
WHO = Stakeholders.of([{**body, "id": name} for name, body in REGISTER.stakeholders.items()])
CHOICES = [f"{party.id}/{line.kind}" for party in PARTIES for line in party.lines]
LABELS = [f"{party.id}/{label}" for party in PARTIES for label in agreeing.LABELS]
FIELDS = {
    "form": ["f" * 32],
    "name": ["Rosa"],
    "share": [CHOICES[0]],
    "until": ["90"],
    "since": ["earlier"],
    "adult": ["yes"],
}

answers = st.fixed_dictionaries(
    {
        "form": st.just(["f" * 32]),
        "name": st.sampled_from([["Rosa"], ["Rosa María de la O"], [" 李 "]]),
        "share": st.lists(st.sampled_from(CHOICES), min_size=1, unique=True),
        "label": st.lists(st.sampled_from(LABELS), unique=True),
        "until": st.sampled_from([["90"], ["180"], ["365"], ["exit"]]),
        "since": st.sampled_from([["today"], ["earlier"]]),
        "adult": st.just(["yes"]),
    }
)
events = st.builds(
    Event,
    id=st.just("e-1"),
    participant=st.just("p-1"),
    type=st.just("t"),
    category=st.sampled_from(POLICY["categories"]),
    labels=st.lists(st.sampled_from(POLICY["labels"]), unique=True).map(tuple),
    discloser=st.sampled_from([party.id for party in PARTIES]),
    occurred_at=st.integers(NOW - 10 * agreeing.DAY_MS, NOW + 10 * agreeing.DAY_MS),
    compartments=st.just(tuple(POLICY["compartments"])),
)


def signed(fields: dict[str, list[str]]) -> dict[str, object]:
    return agreeing.consent(agreeing.answer(fields, PARTIES, NOW), PARTIES, "typed", "sha256:" + "0" * 64)


@given(answers)
def test_whatever_is_ticked_every_element_of_the_law_is_on_it(fields: dict[str, list[str]]) -> None:
    made = signed(fields)
    body = {"id": "d-1", "participant": "p-1", "type": "consent-granted", "consent": made}
    assert missing(body) == []
    assert Consent.of({**made, "id": "c-1"}) is not None


@settings(max_examples=40)
@given(answers, events)
def test_nothing_signed_here_is_evidence(fields: dict[str, list[str]], event: Event) -> None:
    state = fold([{"type": "consent-granted", "consent": {**signed(fields), "id": "c-1"}}])
    for party in PARTIES:
        for at in (NOW, event.occurred_at + 1):
            made = decide(event, party.id, "proceedings", at, state, Policy.of(POLICY), WHO)
            assert not made.permitted


@settings(max_examples=40)
@given(answers, events)
def test_only_who_was_ticked_learns_and_the_preview_says_the_same(
    fields: dict[str, list[str]], event: Event
) -> None:
    said = {"type": "consent-granted", "consent": {**signed(fields), "id": "c-1"}}
    state, policy = fold([said]), Policy.of(POLICY)
    at = max(NOW, event.occurred_at)
    (glimpse,) = agreeing.glimpses([event], state, PARTIES, at, policy, WHO)
    kind = event.category.partition(".")[0]
    assert set(glimpse.learn) <= {
        one.partition("/")[0] for one in fields["share"] if one.endswith("/" + kind)
    }
    for party in PARTIES:
        learned: set[str] = set()
        for purpose in set(POLICY["purposes"]) - agreeing.NEVER:
            learned |= set(decide(event, party.id, purpose, at, state, policy, WHO).compartments)
        assert set(glimpse.learn.get(party.id, ())) == learned
    if event.labels:
        agreed = {tuple(one.split("/")) for one in fields["label"]}
        assert all({(one, label) for label in event.labels} <= agreed for one in glimpse.learn)


@settings(max_examples=40)
@given(answers, events)
def test_from_now_on_means_nothing_of_before(fields: dict[str, list[str]], event: Event) -> None:
    fields = {**fields, "since": ["today"]}
    state = fold([{"type": "consent-granted", "consent": {**signed(fields), "id": "c-1"}}])
    if event.occurred_at < NOW:
        (glimpse,) = agreeing.glimpses([event], state, PARTIES, NOW, Policy.of(POLICY), WHO)
        assert glimpse.learn == {}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("share", [], "nothing-chosen"),
        ("share", ["nobody/service"], "changed"),
        ("share", ["county-jail/clinical"], "changed"),
        ("label", ["reach/counselling-notes"], "changed"),
        ("name", ["  "], "name"),
        ("name", ["x" * 201], "name"),
        ("name", ["a\u202eb"], "name"),
        ("until", [], "until"),
        ("until", ["9999"], "until"),
        ("since", [], "since"),
        ("adult", [], "adult"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_guessed(field: str, value: list[str], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        agreeing.answer({**FIELDS, field: value}, PARTIES, NOW)
    assert [one.code for one in caught.value.problems] == [code]


def test_everything_missing_is_said_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        agreeing.answer({}, PARTIES, NOW)
    assert {one.code for one in caught.value.problems} == {
        "nothing-chosen",
        "name",
        "until",
        "since",
        "adult",
    }


def test_one_name_is_enough() -> None:
    assert agreeing.answer({**FIELDS, "name": ["  Cher "]}, PARTIES, NOW).name == "Cher"


def test_nobody_without_an_agreement_stands_on_the_form() -> None:
    register = Register()
    register.policy = POLICY
    register.stakeholders = dict(REGISTER.stakeholders)
    register.stakeholders["reach"] = {**register.stakeholders["reach"], "agreement": {}}
    register.stakeholders["harbor-house"] = {
        **register.stakeholders["harbor-house"],
        "agreement": {"from": "2025-01-01T00:00:00Z", "until": "2025-06-01T00:00:00Z"},
    }
    offered = {one.id for one in agreeing.offers(register, NOW)}
    assert {"reach", "harbor-house"} & offered == set()
    assert "tideline-clinic" in offered
    assert agreeing.mark(agreeing.offers(register, NOW)) != agreeing.mark(PARTIES)


def test_a_never_is_told_by_how_much_it_shuts() -> None:
    def rule(**more: tuple[str, ...]) -> Restriction:
        everything = dict.fromkeys(("recipients", "purposes", "categories", "labels"), ("*",))
        return Restriction(id="r-1", **{**everything, **more})

    def shut(*rules: Restriction) -> dict[str, str]:
        return agreeing.kept_out(rules, PARTIES)

    assert shut(rule(recipients=("reach",))) == {"reach": "all"}
    assert shut(rule(recipients=("reach",), labels=("hiv",))) == {"reach": "some"}
    both = (rule(recipients=("reach",)), rule(recipients=("reach",), labels=("hiv",)))
    assert shut(*both) == shut(*both[::-1]) == {"reach": "all"}
    assert set(shut(rule())) == {party.id for party in PARTIES}
    assert shut() == {}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    made = desk(tmp_path)
    yield made
    made.store.close()


def test_the_hub_takes_what_the_form_makes_from_a_case_manager_who_is_a_recipient_too(at: Desk) -> None:
    person = at.participants.create("reach", "R-1", "by").participant
    offered: list[Party] = agreeing.offers(at.register(), NOW)
    fields = {**FIELDS, "share": [f"{one.id}/{line.kind}" for one in offered for line in one.lines]}
    said = agreeing.answer(fields, offered, NOW)
    directive = {
        "id": "consent-1",
        "participant": person,
        "type": "consent-granted",
        "witness": {"name": "Dana", "organisation": "reach"},
        "names": {"participant": said.name},
        "consent": agreeing.consent(said, offered, "typed", "sha256:" + "0" * 64),
    }
    sent = at.directives.send(Sender("person:dana", organisation="reach"), directive)
    assert sent.state == "written"
