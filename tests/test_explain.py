"""Explanations: the right sentence for every reason, nothing of code in it, a nearest miss that is true."""

import json
import re
from collections.abc import Iterable
from copy import deepcopy
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po

from consent import Decision, Policy, Stakeholders, decide, default_policy, fold
from consent.decision import COUNSELLING_NOTES, PROCEEDINGS
from consent.explain import RULE_OF, Explanation, explain
from consent.nearest import DIMENSIONS, Miss
from consent.untyped import moment
from consent.words import LANGUAGES, words_in
from hub import grounds
from hub.language import Tongue
from schemas import instant
from tests.cases import STAKEHOLDERS, Maker
from tests.desk import REACH, desk, granted

Json = dict[str, Any]
POLICY = Policy.of(default_policy())
KNOWN = Stakeholders.of(STAKEHOLDERS)
NAMES = {
    "reach": "Reach",
    "harbor-house": "Harbor House",
    "clinic": "the clinic",
    "ems": "the ambulance service",
    "attorney": "the city attorney",
    "police": "Harbor Police",
    "court": "the municipal court",
    "former": "the old partner",
    "unsigned": "the newcomer",
}
AT = "2026-05-28T12:00:00Z"
FAR = "9999-12-01T00:00:00Z"
LONG_AGO = "1999-01-01T00:00:00Z"


def grant(**more: Any) -> Json:
    return {
        "id": "g1",
        "disclosers": ["*"],
        "recipients": ["attorney"],
        "purposes": ["legal-coordination"],
        "categories": ["court"],
        "labels": [],
        "compartments": ["*"],
        **more,
    }


def signed(*grants: Json, **more: Any) -> Json:
    consent = {
        "id": "c1",
        "signed_at": "2026-01-01T00:00:00Z",
        "signature": {"method": "paper", "reference": "form 1"},
        "starts_at": "2026-01-01T00:00:00Z",
        "expires_at": "2027-01-01T00:00:00Z",
        "statements": ["right-to-revoke", "redisclosure", "refusal"],
        "grants": list(grants),
    }
    return {"type": "consent-granted", "consent": consent | more}


def order(**more: Any) -> Json:
    body = {
        "id": "o1",
        "recipient": "attorney",
        "categories": ["court"],
        "starts_at": "2026-01-01T00:00:00Z",
        "expires_at": "2027-01-01T00:00:00Z",
        "subpoena": True,
    }
    return {"type": "order-filed", "order": body | more}


def emergency(**more: Any) -> Json:
    body = {
        "id": "m1",
        "recipient": "ems",
        "declared_by": "x",
        "nature": "y",
        "declared_at": "2026-05-28T06:00:00Z",
        "expires_at": "2026-05-29T06:00:00Z",
    }
    return {"type": "emergency-declared", "emergency": body | more}


def happened(**more: Any) -> Json:
    return {
        "id": "e1",
        "participant": "p1",
        "type": "court-status",
        "category": "court.hearing",
        "labels": [],
        "discloser": "court",
        "occurred_at": "2026-05-20T00:00:00Z",
        "compartments": ["subject", "occurrence", "legal"],
        **more,
    }


def told(
    directives: list[Json],
    event: Json,
    recipient: str = "attorney",
    purpose: str = "legal-coordination",
    language: str = "en",
    to: Any = "participant",
) -> tuple[Decision, Explanation]:
    inputs = (event, recipient, purpose, AT, fold(directives), POLICY, KNOWN)
    decision = decide(*inputs)
    return decision, explain(decision, *inputs, words=words_in(language), names=NAMES, to=to)


RESTRICTED = {"recipients": ["attorney"], "purposes": ["*"], "categories": ["court"], "labels": ["*"]}
NEVER = {"type": "restriction-placed", "restriction": {"id": "r1", **RESTRICTED}}
HOUSING = grant(categories=["service.housing"])
REVOKED = {"type": "consent-revoked", "consent_id": "c1"}
WHY: list[tuple[str, list[Json], Json, str, str, str, tuple[str, ...] | None]] = [
    ("consent", [signed(grant())], {}, "attorney", "legal-coordination",
     "Shared with the city attorney: you agreed to share court cases for legal coordination.", None),
    ("court-order", [order()], {}, "attorney", "proceedings",
     "Shared with the city attorney: a court ordered it, and a subpoena came with the order.", None),
    ("emergency", [emergency()], {"category": "contact.overdose", "compartments": ["clinical"]},
     "ems", "emergency", "Shared with the ambulance service: they declared a medical emergency.", None),
    ("indeterminate", [], {"category": "weather"}, "attorney", "legal-coordination",
     "Not shared with the city attorney: the hub could not decide, because what it was about is missing"
     " or not"
     " known to it.", None),
    ("indeterminate", [], {"occurred_at": "yesterday"}, "attorney", "legal-coordination",
     "Not shared with the city attorney: the hub could not decide, because the time at which it happened is"
     " missing or not known to it.", None),
    ("no-agreement", [], {}, "unsigned", "legal-coordination",
     "Not shared with the newcomer: no data-sharing agreement with them was in force.", None),
    ("role", [], {}, "police", "legal-coordination",
     "Not shared with Harbor Police: police departments are never given news about a court hearing for legal"
     " coordination.", None),
    ("proceedings", [], {}, "attorney", "proceedings",
     "Not shared with the city attorney: use in court needs a court order with a subpoena, or a consent"
     " that is"
     " for court use alone.", None),
    ("proceedings", [order(subpoena=False)], {}, "attorney", "proceedings",
     "Not shared with the city attorney: a court order is on record, but no subpoena came with it.",
     ("subpoena",)),
    ("proceedings", [order(expires_at="2026-02-01T00:00:00Z")], {}, "attorney", "proceedings",
     "Not shared with the city attorney: a court order is on record, but it was not in force.",
     ("order-period",)),
    ("proceedings", [signed(grant(purposes=["legal-coordination", "proceedings"]))], {}, "attorney",
     "proceedings", "Not shared with the city attorney: you agreed to share court cases, but not in a consent"
     " that is for court use alone.", ("dedicated",)),
    ("counselling-notes", [], {"labels": ["counselling-notes"]}, "attorney", "legal-coordination",
     "Not shared with the city attorney: counselling notes need a consent that is for such notes alone,"
     " and none"
     " covers this.", None),
    ("counselling-notes", [signed(grant(labels=["counselling-notes"]), grant(id="g2"))],
     {"labels": ["counselling-notes"]}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, but not in a"
     " consent that is for counselling notes alone.", ("notes-dedicated",)),
    ("no-emergency", [], {"category": "contact.overdose"}, "ems", "emergency",
     "Not shared with the ambulance service: no medical emergency that they declared was in force.", None),
    ("no-emergency", [], {"category": "contact.overdose"}, "reach", "emergency",
     "Not shared with Reach: only medical responders are told because of an emergency.", None),
    ("restriction", [signed(grant()), NEVER],
     {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you asked that such news never go to them for legal coordination.",
     None),
    ("revoked", [signed(grant()), REVOKED], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, and took it"
     " back.", ("revoked",)),
    ("expired", [signed(grant(), expires_at="2026-05-01T00:00:00Z")], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, and that"
     " ended"
     " on May 1, 2026.", ("expired",)),
    ("not-started", [signed(grant(), starts_at="2026-06-01T00:00:00Z")], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, and that"
     " begins"
     " on Jun 1, 2026.", ("not-started",)),
    ("no-consent", [], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you have not agreed to share anything.", None),
    ("no-consent", [signed(HOUSING)], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share housing services for legal coordination, and"
     " this"
     " was about a court hearing.", ("category",)),
    ("no-consent", [signed(grant(disclosers=["reach"]))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, but not what"
     " the municipal court tells.", ("discloser",)),
    ("no-consent", [signed(grant(recipients=["reach"]))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, but not with"
     " them.", ("recipient",)),
    ("no-consent", [signed(grant(purposes=["treatment"]))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases with them, but not for legal"
     " coordination.", ("purpose",)),
    ("no-consent", [signed(grant(labels=["part2"]))], {"labels": ["part2", "hiv"]}, "attorney",
     "legal-coordination", "Not shared with the city attorney: you agreed to share court cases for legal"
     " coordination, but not what concerns HIV.", ("label",)),
    ("no-consent", [signed(grant(data_from="2026-05-21T00:00:00Z"))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, but only"
     " what"
     " happened from May 21, 2026 on.", ("data-period",)),
    ("no-consent", [signed(grant(data_until="2026-05-19T00:00:00Z"))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share court cases for legal coordination, but only"
     " what"
     " happened until May 19, 2026.", ("data-period",)),
    ("no-consent", [signed(grant(), signed_at="2026-06-05T00:00:00Z")], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you signed for it only on Jun 5, 2026.", ("signed",)),
    ("no-consent", [signed(grant(recipients=["reach"], purposes=["treatment"]))], {}, "attorney",
     "legal-coordination", "Not shared with the city attorney: nothing you agreed to covers news about a"
     " court"
     " hearing for legal coordination.", ("purpose", "recipient")),
    ("nothing-shareable", [signed(grant(compartments=["activity"]))], {}, "attorney", "legal-coordination",
     "Not shared with the city attorney: you agreed to share other parts of such news, but not legal"
     " facts, when"
     " and where, and who.", None),
    ("nothing-shareable", [signed(grant())], {"compartments": ["clinical"]}, "attorney", "legal-coordination",
     "Not shared with the city attorney: no part of it may go to prosecutors for legal coordination.", None),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "directives", "event", "recipient", "purpose", "sentence", "missed"), WHY)
def test_every_reason_has_its_sentence(
    reason: str,
    directives: list[Json],
    event: Json,
    recipient: str,
    purpose: str,
    sentence: str,
    missed: tuple[str, ...] | None,
) -> None:
    decision, why = told(directives, happened(**event), recipient, purpose)
    assert decision.reason == reason
    assert why.sentence == sentence
    assert (None if why.nearest is None else why.nearest.dimensions) == missed
    assert why.rule == RULE_OF.get(reason, 9)
    about = told(directives, happened(**event), recipient, purpose, to="officer")[1]
    assert not re.search(r"\byou\b", about.sentence), "an officer reads about the participant"
    spanish = told(directives, happened(**event), recipient, purpose, "es")[1]
    assert spanish.sentence.startswith(("Compartido con", "No compartido con"))
    assert "participant" not in spanish.sentence, "the participant is spoken to"


def test_every_reason_is_among_them() -> None:
    assert {row[0] for row in WHY} == RULE_OF.keys() | {"nothing-shareable"}


def test_spanish_says_the_same() -> None:
    assert told([signed(HOUSING)], happened(), language="es")[1].sentence == (
        "No compartido con the city attorney: usted aceptó compartir servicios de vivienda para"
        " coordinación legal, "
        "y esto era sobre una audiencia judicial."
    )
    assert told([signed(HOUSING)], happened(), language="es", to="officer")[1].sentence.startswith(
        "No compartido con the city attorney: el participante aceptó"
    )


def test_a_long_list_is_cut_short_and_counted() -> None:
    many = [one for one in POLICY.lineages if not one.startswith("court")]
    _, why = told([signed(grant(categories=many))], happened())
    assert f"and {len(many) - 4} others for" in why.sentence


def test_a_category_under_another_that_was_agreed_to_is_not_named() -> None:
    _, why = told([signed(grant(categories=["service", "service.housing", "serv", "*"]))], happened())
    assert "agreed to share services for" in why.sentence


def test_a_stakeholder_without_a_name_is_called_by_its_role() -> None:
    inputs = (happened(), "police", "legal-coordination", AT, fold([]), POLICY, KNOWN)
    assert "Not shared with a police department:" in explain(decide(*inputs), *inputs).sentence
    strange = (happened(), "nobody", "legal-coordination", AT, fold([]), POLICY, KNOWN)
    assert "Not shared with somebody the hub does not know:" in explain(decide(*strange), *strange).sentence


def test_what_decided_is_cited_with_its_offsets() -> None:
    party = {"type": "consent-revoked", "consent_id": "c1", "recipients": ["reach"]}
    _, why = told([order(), signed(grant()), party], happened())
    assert [tuple(one) for one in why.cited] == [("consent", "c1", (1, 2))]
    _, why = told([signed(grant()), order(), order()], happened(), purpose="proceedings")
    assert [tuple(one) for one in why.cited] == [("order", "o1", (2,))]
    _, why = told(
        [emergency()], happened(category="contact.overdose", compartments=["clinical"]), "ems", "emergency"
    )
    assert [tuple(one) for one in why.cited] == [("emergency", "m1", (0,))]
    never = {"type": "restriction-placed", "restriction": {"id": "r1", **RESTRICTED}}
    other = {
        "type": "restriction-placed",
        "restriction": {"id": "r2", **RESTRICTED, "purposes": ["treatment"]},
    }
    _, why = told([signed(grant()), never, other], happened())
    assert [tuple(one) for one in why.cited] == [("restriction", "r1", (1,))]
    left = {"type": "program-exited", "at": "2026-02-01T00:00:00Z"}
    _, why = told([signed(grant(), expires_at=None, expires_on="program-exit"), left], happened())
    assert [tuple(one) for one in why.cited] == [("consent", "c1", (0, 1))]
    assert "ended on Feb 1, 2026" in why.sentence


def test_it_prints_as_json() -> None:
    _, why = told([signed(HOUSING)], happened())
    printed = json.loads(json.dumps(why.as_json()))
    assert printed["nearest"] == {
        "kind": "grant",
        "id": "c1/g1",
        "dimensions": ["category"],
        "missing": ["what it was about"],
    }
    assert printed["cited"] == [{"kind": "consent", "id": "c1", "offsets": [0]}]
    assert printed["rule"] == 13


# --- the nearest miss, on random cases ---


def random_cases(seeds: Iterable[int]) -> Iterable[tuple[list[Any], Any, Json, Policy, Stakeholders]]:
    for seed in seeds:
        maker = Maker(seed)
        directives = maker.directives()
        policy, stakeholders = maker.governance()
        for _ in range(2):
            event, request = maker.question()
            yield directives, event, request, Policy.of(policy), Stakeholders.of(stakeholders)


def mended(
    directives: list[Any], miss: Miss, dimensions: Iterable[str], event: Json, request: Json
) -> list[Any]:
    """The directives, changed in these dimensions of what came nearest and in nothing else."""
    changed = deepcopy(directives)
    at = moment(request["at"])
    assert at is not None
    if miss.kind != "grant":
        key = {"order": "order", "emergency": "emergency"}[miss.kind]
        body = next(one[key] for one in reversed(changed) if stands(one, key, miss.id))
        periods = {"order": ("starts_at", "expires_at"), "emergency": ("declared_at", "expires_at")}[
            miss.kind
        ]
        for one in dimensions:
            if one == "recipient":
                body["recipient"] = request["recipient"]
            elif one == "category":
                body["categories"] = [event["category"]]
            elif one == "subpoena":
                body["subpoena"] = True
            else:
                body |= {periods[0]: instant.format(at - 1000), periods[1]: instant.format(at + 1000)}
        return changed
    assert miss.held is not None
    assert miss.grant is not None
    consent = changed[miss.held.offsets[0]]["consent"]
    one_grant = next(
        one for one in consent["grants"] if isinstance(one, dict) and one.get("id") == miss.grant.id
    )
    if consent.get("expires_on") == "none" and not moment(consent.get("expires_at")):
        consent["expires_at"] = FAR  # else another purpose would make it invalid
    for one in dimensions:
        more = {
            "category": ("categories", [event["category"]]),
            "purpose": ("purposes", [request["purpose"]]),
            "recipient": ("recipients", [request["recipient"]]),
            "discloser": ("disclosers", [event["discloser"]]),
            "label": ("labels", event["labels"]),
        }.get(one)
        if more is not None:
            listed = one_grant.get(more[0])
            one_grant[more[0]] = [*(listed if isinstance(listed, list) else []), *more[1]]
        elif one == "data-period":
            one_grant |= {"data_from": None, "data_until": None}
        elif one == "signed":
            consent["signed_at"] = LONG_AGO
        elif one == "not-started":
            consent["starts_at"] = LONG_AGO
        elif one == "expired":
            consent |= {"expires_at": FAR, "expires_on": None}
        elif one == "dedicated":
            for each in consent["grants"]:
                if isinstance(each, dict):
                    each["purposes"] = [PROCEEDINGS]
        elif one == "notes-dedicated":
            for each in consent["grants"]:
                if isinstance(each, dict):
                    each["labels"] = [*(each.get("labels") or []), COUNSELLING_NOTES]
    if "revoked" in dimensions:
        name = miss.held.consent.id
        changed = [one for one in changed if not takes_back(one, name)]
    return changed


def takes_back(directive: Any, consent: str) -> bool:
    revokes = isinstance(directive, dict) and directive.get("type") == "consent-revoked"
    return revokes and directive.get("consent_id") == consent


def stands(directive: Any, key: str, name: str) -> bool:
    body = directive.get(key) if isinstance(directive, dict) else None
    types = {"order": "order-filed", "emergency": "emergency-declared"}
    return isinstance(body, dict) and body.get("id") == name and directive.get("type") == types[key]


def counts(decision: Decision, miss: Miss) -> bool:
    """Whether what came nearest now covers it: the permit rests on it, or only a later rule denies."""
    later = ("nothing-shareable", "restriction", "no-emergency", "emergency", "court-order")
    return miss.id in decision.grants or decision.reason in later


def test_the_nearest_miss_is_what_stood_in_the_way() -> None:
    seen: set[str] = set()
    for directives, event, request, policy, known in random_cases(range(1_200)):
        inputs = (request.get("recipient"), request.get("purpose"), request.get("at"))
        decision = decide(event, *inputs, fold(directives), policy, known)
        why = explain(decision, event, *inputs, fold(directives), policy, known)
        miss = why.nearest
        if miss is None:
            continue
        assert not decision.permitted
        assert miss.dimensions, "something was missing"
        if miss.kind == "grant" and unclear(directives, miss):
            continue
        fixed = mended(directives, miss, miss.dimensions, event, request)
        assert counts(decide(event, *inputs, fold(fixed), policy, known), miss), (
            miss,
            directives,
            event,
            request,
        )
        for one in miss.dimensions[:3]:
            rest = [other for other in miss.dimensions if other != one]
            if {one, *rest} & {"dedicated", "notes-dedicated"} and {"purpose", "label"} & {one, *rest}:
                continue  # making it dedicated lists the purpose, or the label, too
            partly = decide(
                event, *inputs, fold(mended(directives, miss, rest, event, request)), policy, known
            )
            assert miss.id not in partly.grants, (one, miss, directives, event, request)
            seen.add(one)
    assert seen == set(DIMENSIONS), "every dimension came up"


def unclear(directives: list[Any], miss: Miss) -> bool:
    """Whether a consent has several grants under the id, so that a name does not say which."""
    assert miss.held is not None
    assert miss.grant is not None
    ids = [one.id for one in miss.held.consent.grants]
    names = [str(one["id"]) for one in directives if isinstance(one, dict) and one.get("id") is not None]
    return ids.count(miss.grant.id) > 1 or len(set(names)) < len(names)


def test_a_single_miss_is_preferred_to_several() -> None:
    far = grant(id="g0", recipients=["reach"], purposes=["treatment"])
    near = grant(id="g9", recipients=["reach"])
    _, why = told([signed(far, near)], happened())
    assert why.nearest is not None
    assert (why.nearest.id, why.nearest.only) == ("c1/g9", "recipient")


# --- words ---


def test_explaining_never_raises_is_repeatable_and_shows_nothing_of_code() -> None:
    codes = [one for one in POLICY.lineages if "." in one] + ["care-coordination", "part2", "c1/", "/g", "%("]
    called = {one["id"]: "The Called" for one in STAKEHOLDERS}
    for directives, event, request, policy, known in random_cases(range(5_000, 5_600)):
        inputs = (request.get("recipient"), request.get("purpose"), request.get("at"))
        state = fold(directives)
        decision = decide(event, *inputs, state, policy, known)
        for language in LANGUAGES:
            words = words_in(language)
            why = explain(decision, event, *inputs, state, policy, known, words=words, names=called)
            again = explain(
                decision, event, *inputs, fold(directives), policy, known, words=words, names=called
            )
            assert why.as_json() == again.as_json()
            assert 1 <= why.rule <= 13
            assert decision.permitted == why.sentence.startswith(("Shared with", "Compartido con"))
            assert not any(code in why.sentence for code in codes), why.sentence
            assert why.sentence.endswith(".")


@pytest.mark.parametrize(
    "junk", [None, 5, [], "x", {}, {"occurred_at": 5}, {"labels": {}, "occurred_at": AT}]
)
def test_whatever_is_handed_in_is_explained(junk: Any) -> None:
    for inputs in (
        (junk, "attorney", "treatment", AT),
        (happened(), junk, junk, None),
        (happened(), "reach", [], 10**40),
    ):
        decision = decide(*inputs, fold([]), POLICY, KNOWN)
        assert "Not shared" in explain(decision, *inputs, fold([]), POLICY, KNOWN).sentence


def entries(language: str) -> dict[tuple[str, str], str]:
    source = files("consent").joinpath("locale", language, "LC_MESSAGES", "consent.po").read_bytes()
    return {
        (one.context or "", one.id): one.string for one in read_po(BytesIO(source), locale=language) if one.id
    }


def test_both_languages_have_every_word_and_say_the_same_things() -> None:
    english, spanish = entries("en"), entries("es")
    assert english.keys() == spanish.keys()
    for key, text in english.items():
        assert text, key
        assert spanish[key], key
        if key[0] != "needed" and len(text) > 30:
            assert spanish[key] != text, key
        assert sorted(re.findall(r"%\(\w+\)s", text)) == sorted(re.findall(r"%\(\w+\)s", spanish[key])), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_in_the_policy_has_words(language: str) -> None:
    policy, known = default_policy(), entries(language)
    categories = {*policy["categories"], *(one.split(".")[0] for one in policy["categories"]), "nothing"}
    wanted = {("category", one) for one in categories}
    for context, names in {
        "purpose": policy["purposes"],
        "label": policy["labels"],
        "compartment": policy["compartments"],
        "roles": [*policy["roles"], "unknown"],
        "somebody": [*policy["roles"], "unknown"],
        "dimension": DIMENSIONS,
        "rule": [str(one) for one in range(1, 14)],
        "reason": [*RULE_OF, "nothing-shareable"],
        "kind": ["consent", "restriction", "order", "emergency"],
    }.items():
        wanted |= {(context, one) for one in names}
    assert wanted <= known.keys()


def test_pages_speak_the_same_words() -> None:
    assert (
        Tongue("es").term("purpose", "treatment")
        == words_in("es").term("purpose", "treatment")
        == "tratamiento"
    )
    with pytest.raises(KeyError):
        words_in("tlh")


# --- what was decided before ---


def test_a_decision_is_explained_by_what_was_known_then(tmp_path: Path) -> None:
    at = desk(tmp_path)
    person = at.participants.create("reach", "R-1", "test").participant
    sent = at.directives.send(REACH, granted(person))
    back = {"id": "back", "participant": person, "type": "consent-revoked", "consent_id": sent.concerns}
    at.directives.send(REACH, back)
    at.project()
    row = {
        "participant": person,
        "stakeholder": "clinic",
        "purpose": "care-coordination",
        "at": instant.parse("2026-06-01T00:00:00Z"),
        "effect": "permit",
        "reason": "consent",
        "basis": "consent",
        "grants": [f"{sent.concerns}/g1"],
        "compartments": ["activity"],
        "obligations": [],
    }
    envelope = {
        "id": "e-1",
        "participant": person,
        "type": "service-engagement",
        "category": "service.housing",
        "labels": [],
        "discloser": "reach",
        "occurred_at": row["at"],
        "compartments": ["activity"],
    }
    register = at.register()
    register.apply(90, {"kind": "policy", "id": "policy", "body": json.dumps(default_policy()), "at": 0})
    decision = {"envelope": envelope, "consent_offset": sent.offset, "governance_offset": 90}
    with at.store.read() as connection:
        then = grounds.explained(connection, row, decision, register, words_in("en"))
        denied = row | {
            "effect": "deny",
            "reason": "revoked",
            "basis": None,
            "grants": [],
            "compartments": [],
        }
        later = decision | {"consent_offset": 1_000}
        now = grounds.explained(connection, denied, later, register, words_in("en"))
    assert then.sentence == (
        "Shared with Clinic: the participant agreed to share services for care coordination."
    )
    assert then.cited[0].offsets == (sent.offset,)
    assert now.sentence == (
        "Not shared with Clinic: the participant agreed to share services for care coordination, and took"
        " it back."
    )
    assert len(now.cited[0].offsets) == 2
