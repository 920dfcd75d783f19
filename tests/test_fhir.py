"""FHIR Consent in and out: exact where accepted, refused with its path where not, bounded always."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.consent import Consent as Resource
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import Event, Policy, Stakeholders, decide, default_policy, fhir, fhir_export, fold
from consent import fhir_codes as codes
from schemas.errors import Invalid

ROLES = {"reach": "case-management", "clinic": "service-provider", "jail": "police"}
AT = "2026-06-01T00:00:00.000Z"
PURPOSES = ("treatment", "care-coordination", "legal-coordination")
CATEGORIES = ("service", "service.housing", "service.medical", "contact", "contact.crisis")
LABELS = ("part2", "hiv", "mental-health")
PARTS = ("subject", "occurrence", "clinical")
SOURCE = default_policy()
POLICY = Policy.of(
    dict(SOURCE)
    | {
        "matrix": [
            {"role": role, "category": one, "purposes": list(PURPOSES), "compartments": list(PARTS)}
            for role in ROLES.values()
            for one in ("service", "contact")
        ]
    }
)
AGREED = {"from": "2020-01-01T00:00:00Z", "until": None}
STAKEHOLDERS = Stakeholders.of(
    [{"id": name, "role": role, "treating": False, "agreement": AGREED} for name, role in ROLES.items()]
)


def coding(system: str, code: str) -> dict[str, Any]:
    return {"system": system, "code": code}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [coding(system, code)]}


def actor(role: str, name: str) -> dict[str, Any]:
    return {
        "role": concept(codes.PARTICIPATION, role),
        "reference": {"identifier": {"system": codes.STAKEHOLDER, "value": name}},
    }


def permit(**more: Any) -> dict[str, Any]:
    return {
        "type": "permit",
        "actor": [actor("IRCP", "reach")],
        "purpose": [coding(codes.ACT_REASON, "COC")],
        "code": [concept(codes.CATEGORY, "service")],
    } | more


def resource(*provisions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "identifier": [{"value": "c-1"}],
        "status": "active",
        "scope": concept(codes.SCOPE, "patient-privacy"),
        "category": [concept(codes.LOINC, "59284-0")],
        "patient": {"reference": "Patient/1"},
        "dateTime": "2026-01-01T00:00:00Z",
        "sourceReference": {"reference": "DocumentReference/77"},
        "policy": [{"uri": codes.STATEMENT + one} for one in ("right-to-revoke", "redisclosure", "refusal")],
        "policyRule": concept(codes.ACT_CODE, "OPTOUT"),
        "provision": {
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
            "provision": list(provisions),
        },
    } | more


def read(value: dict[str, Any]) -> list[dict[str, Any]]:
    return fhir.parse(json.dumps(value).encode(), POLICY)


def refused(value: dict[str, Any] | bytes) -> tuple[str, str]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(Invalid) as caught:
        fhir.parse(body, POLICY)
    return caught.value.path, caught.value.code


def test_a_plain_permission_becomes_a_grant() -> None:
    (granted,) = read(resource(permit()))
    consent = granted["consent"]
    assert consent["signature"] == {"method": "document", "reference": "DocumentReference/77"}
    assert consent["grants"] == [
        {
            "id": "g1",
            "disclosers": ["*"],
            "recipients": ["reach"],
            "purposes": ["care-coordination"],
            "categories": ["service"],
            "labels": sorted(POLICY.labels),
            "compartments": ["*"],
        }
    ]


def test_a_denial_inside_is_taken_out_exactly() -> None:
    (granted,) = read(
        resource(permit(provision=[{"type": "deny", "code": [concept(codes.CATEGORY, "service.housing")]}]))
    )
    (grant,) = granted["consent"]["grants"]
    assert "service.housing" not in grant["categories"]
    assert "service.medical" in grant["categories"]


def test_denied_labels_are_the_ones_that_a_grant_leaves_out() -> None:
    denied = {"type": "deny", "securityLabel": [coding(codes.ACT_CODE, "HIV")]}
    (granted,) = read(resource(permit(provision=[denied])))
    assert granted["consent"]["grants"][0]["labels"] == sorted(POLICY.labels - {"hiv"})


def test_a_denial_at_the_top_is_a_restriction_and_comes_first() -> None:
    never = {
        "type": "deny",
        "actor": [actor("IRCP", "jail")],
        "securityLabel": [coding(codes.ACT_CODE, "SUD")],
    }
    placed, granted = read(resource(permit(), never))
    assert placed["restriction"] == {
        "id": "c-1.1",
        "recipients": ["jail"],
        "purposes": ["*"],
        "categories": ["*"],
        "labels": ["part2"],
    }
    assert granted["type"] == "consent-granted"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"status": "draft"}, "Consent.status"),
        ({"policyRule": concept(codes.ACT_CODE, "OPTIN")}, "Consent.policyRule"),
        ({"scope": concept(codes.SCOPE, "research")}, "Consent.scope"),
        ({"policy": [{"uri": codes.STATEMENT + "refusal"}]}, "Consent.policy"),
        ({"dateTime": "2026-01"}, "Consent.dateTime"),
        ({"dateTime": "2026-01-01"}, "Consent.dateTime"),
        ({"implicitRules": "http://example.org/rules"}, "Consent.implicitRules"),
        (
            {"modifierExtension": [{"url": "http://example.org/x", "valueBoolean": True}]},
            "Consent.modifierExtension",
        ),
        ({"sourceReference": None}, "Consent.source"),
        ({"resourceType": "Patient"}, "Consent.resourceType"),
        ({"identifier": [], "id": None}, "Consent.identifier"),
    ],
)
def test_what_a_resource_lacks_is_named(change: dict[str, Any], path: str) -> None:
    value = {key: one for key, one in (resource(permit()) | change).items() if one is not None}
    assert refused(value)[0] == path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"securityLabel": [coding(codes.ACT_CODE, "HIV")]}, ".securityLabel"),
        ({"period": {"start": "2026-02-01T00:00:00Z"}}, ".period"),
        ({"data": [{"meaning": "instance", "reference": {"reference": "Encounter/1"}}]}, ".data"),
        ({"action": [concept(codes.ACTION, "collect")]}, ".action"),
        ({"purpose": [coding(codes.ACT_REASON, "HMARKT")]}, ".purpose[0]"),
        ({"purpose": []}, ".purpose"),
        ({"actor": [actor("AUT", "reach")]}, ".actor[0].role"),
        (
            {
                "actor": [
                    {
                        "role": concept(codes.PARTICIPATION, "IRCP"),
                        "reference": {"reference": "Organization/1"},
                    }
                ]
            },
            ".actor[0].reference.identifier",
        ),
        ({"actor": [actor("CST", "clinic")]}, ".actor"),
        ({"code": [concept("http://loinc.org", "1")]}, ".code[0].coding[0]"),
        ({"code": [concept(codes.CATEGORY, "serv")]}, ".code[0].coding[0]"),
        ({"class": [coding("http://hl7.org/fhir/resource-types", "Encounter")]}, ".class[0]"),
        ({"dataPeriod": {"start": "2026-01-01"}}, ".dataPeriod.start"),
        ({"provision": [{"type": "permit"}]}, ".provision[0].type"),
        (
            {
                "provision": [
                    {
                        "type": "deny",
                        "securityLabel": [coding(codes.ACT_CODE, "HIV"), coding(codes.ACT_CODE, "MH")],
                    }
                ]
            },
            ".provision[0].securityLabel",
        ),
        ({"provision": [{"type": "deny", "actor": [actor("CST", "jail")]}]}, ".provision[0].actor"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    assert refused(resource(permit(**change)))[0] == "Consent.provision.provision[0]" + path


REFUSALS = json.loads((Path(__file__).parent / "data" / "fhir_refusals.json").read_text("utf-8"))


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: str(case["told"][0]))
def test_each_refusal_names_the_element_and_says_why(case: dict[str, Any]) -> None:
    change = case["change"]
    value = {
        "resource": lambda: resource(permit()) | change,
        "permission": lambda: resource(permit(**change)),
        "denial": lambda: resource(
            permit(), {key: one for key, one in ({"type": "deny"} | change).items() if one is not None}
        ),
    }[case["in"]]()
    body = json.dumps({key: one for key, one in value.items() if one is not None}).encode()
    with pytest.raises(Invalid) as caught:
        fhir.parse(body, POLICY)
    told = [f"{one.path}: {one.detail} ({one.code})" for one in caught.value.problems]
    assert told == case["told"]


def test_how_much_a_consent_may_come_to() -> None:
    """Four denied dimensions leave four scopes of each permission."""
    denied = {
        "type": "deny",
        "actor": [actor("IRCP", "clinic")],
        "purpose": [coding(codes.ACT_REASON, "COC")],
        "code": [concept(codes.CATEGORY, "service.housing")],
        "securityLabel": [coding(codes.ACT_CODE, "HIV")],
    }
    wide = permit(
        actor=[actor("IRCP", "reach"), actor("IRCP", "clinic")],
        purpose=[coding(codes.ACT_REASON, "COC"), coding(codes.ACT_REASON, "TREAT")],
        provision=[denied],
    )
    assert len(read(resource(*[wide] * 25))[0]["consent"]["grants"]) == 100
    with pytest.raises(Invalid) as caught:
        read(resource(*[wide] * 25, permit()))
    (told,) = caught.value.problems
    assert tuple(told) == (
        "Consent.provision.provision[25]", "too-many", "a consent comes to at most 100 grants"
    )  # fmt: skip


def test_what_is_denied_but_for_something_gives_that_back() -> None:
    housing = {
        "type": "deny",
        "code": [concept(codes.CATEGORY, "service.housing")],
        "provision": [permit(actor=[actor("IRCP", "clinic")], code=[])],
    }
    both = permit(actor=[actor("IRCP", "reach"), actor("IRCP", "clinic")], provision=[housing])
    (granted,) = read(resource(both))
    everything, back = granted["consent"]["grants"]
    assert everything["recipients"] == ["clinic", "reach"]
    assert "service.housing" not in everything["categories"]
    assert (back["recipients"], back["categories"]) == (["clinic"], ["service.housing"])
    assert (everything["id"], back["id"]) == ("g1", "g2")


def test_all_that_a_resource_says_is_in_the_directive() -> None:
    signed = {
        "url": codes.SIGNATURE,
        "extension": [
            {"url": "method", "valueString": "paper"},
            {"url": "reference", "valueString": "form 3, locker 2"},
        ],
    }
    full = permit(
        actor=[actor("IRCP", "reach"), actor("CST", "clinic"), actor("IRCP", "jail")],
        action=[concept(codes.ACTION, "collect"), concept(codes.ACTION, "disclose")],
        dataPeriod={"start": "2026-02-01T00:00:00-08:00", "end": "2026-03-01T00:00:00Z"},
    ) | {"class": [coding(codes.COMPARTMENT, "subject")]}
    ends = {"url": codes.EXPIRES_ON, "valueCode": "program-exit"}
    value = resource(full, extension=[signed, ends], id="other")
    (granted,) = fhir.directives(value, POLICY)
    assert granted == {
        "type": "consent-granted",
        "consent": {
            "id": "c-1",
            "signed_at": "2026-01-01T00:00:00.000Z",
            "signature": {"method": "paper", "reference": "form 3, locker 2"},
            "starts_at": "2026-01-01T00:00:00.000Z",
            "expires_at": "2027-01-01T00:00:00.000Z",
            "expires_on": "program-exit",
            "statements": ["redisclosure", "refusal", "right-to-revoke"],
            "grants": [
                {
                    "id": "g1",
                    "disclosers": ["clinic"],
                    "recipients": ["jail", "reach"],
                    "purposes": ["care-coordination"],
                    "categories": ["service"],
                    "labels": sorted(POLICY.labels),
                    "compartments": ["subject"],
                    "data_from": "2026-02-01T08:00:00.000Z",
                    "data_until": "2026-03-01T00:00:00.000Z",
                }
            ],
        },
    }
    del value["provision"]["period"]["end"]
    assert "expires_at" not in fhir.directives(value, POLICY)[0]["consent"]
    assert fhir.directives(value | {"identifier": [{}]}, POLICY)[0]["consent"]["id"] == "other"
    assert fhir.directives(value, POLICY, "mine")[0]["consent"]["id"] == "mine"


def test_bounds_on_a_body_name_themselves() -> None:
    def told(body: bytes) -> tuple[str, ...]:
        with pytest.raises(Invalid) as caught:
            fhir.parse(body, POLICY)
        return tuple(caught.value.problems[0])

    whole = json.dumps(resource(permit())).encode()
    room = fhir.body_bytes_max - len(whole)
    assert fhir.parse(whole + b" " * room, POLICY)
    assert told(whole + b" " * (room + 1)) == (
        "Consent", "too-large", f"a resource is at most {fhir.body_bytes_max} bytes"
    )  # fmt: skip
    too_deep = ("Consent.provision", "too-deep", "provisions stand at most 8 deep")
    nested = json.dumps(resource(permit(id='quoted \\" [[[{{{' * 30))).encode()
    assert told(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}") == too_deep
    assert told(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}") != too_deep
    assert fhir.parse(nested, POLICY), "what stands in a text is no nesting"
    deep: dict[str, Any] = {"type": "permit"}
    for _ in range(8):
        deep = {"type": "permit", "provision": [deep]}
    path = "Consent.provision" + ".provision[0]" * 9
    assert told(json.dumps(resource(deep)).encode()) == (path, *too_deep[1:])
    assert told(json.dumps(resource(deep["provision"][0])).encode())[1] != "too-deep"
    many = resource(*[permit()] * 499)
    assert told(json.dumps(many).encode())[2] == "a consent comes to at most 100 grants"
    many["provision"]["provision"].append(permit())
    path, *why = told(json.dumps(many).encode())
    assert why == ["too-many", "a resource has at most 500 provisions"]
    assert path.startswith("Consent.provision")


def test_a_class_less_one_of_its_members_has_no_counterpart() -> None:
    members = {
        "role": concept(codes.PARTICIPATION, "IRCP"),
        "reference": {"identifier": {"system": codes.CLASS, "value": "treating-provider"}},
    }
    denied = {"type": "deny", "actor": [actor("IRCP", "clinic")]}
    value = resource(permit(actor=[members], provision=[denied]))
    assert refused(value) == ("Consent.provision.provision[0].provision[0].actor", "not-exact")


def test_depth_and_width_are_bounded_at_once() -> None:
    deep: dict[str, Any] = {"type": "permit"}
    for _ in range(12):
        deep = {"type": "permit", "provision": [deep]}
    assert refused(resource(deep))[1] == "too-deep"
    bottomless = (
        b'{"resourceType":"Consent","provision":' + b'{"provision":[' * 100_000 + b"]}" * 100_000 + b"}"
    )
    assert refused(bottomless) == ("Consent", "too-large") or refused(bottomless)[1] == "too-deep"
    assert refused(resource(*[permit()] * 1000))[1] == "too-many"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b"\xff", b'{"resourceType":"Consent"}', b'{"a":1,"a":2}']
)
def test_what_is_no_consent_is_refused(body: bytes) -> None:
    refused(body)


def test_a_cycle_in_values_is_refused() -> None:
    root: dict[str, Any] = {"type": "permit"}
    root["provision"] = [root]
    with pytest.raises(Invalid):
        fhir.directives(resource(root), POLICY)


# An independent reading of provisions: the innermost rule that applies, denials before permissions.


def applies(rule: dict[str, Any], case: dict[str, Any]) -> bool:
    roles: dict[str, list[str]] = {"IRCP": [], "CST": []}
    for one in rule.get("actor", []):
        roles[one["role"]["coding"][0]["code"]].append(one["reference"]["identifier"]["value"])
    purposes = {"TREAT": "treatment", "COC": "care-coordination", "HLEGAL": "legal-coordination"}
    labels = {"42CFRPart2": "part2", "HIV": "hiv", "MH": "mental-health"}
    listed = [one["coding"][0]["code"] for one in rule.get("code", [])]
    start = rule.get("dataPeriod", {}).get("start", "0000")
    end = rule.get("dataPeriod", {}).get("end", "9999")
    return (
        (not roles["IRCP"] or case["recipient"] in roles["IRCP"])
        and (not roles["CST"] or case["discloser"] in roles["CST"])
        and (not rule.get("purpose") or case["purpose"] in [purposes[one["code"]] for one in rule["purpose"]])
        and (not listed or any((case["category"] + ".").startswith(one + ".") for one in listed))
        and (not rule.get("class") or case["part"] in [one["code"] for one in rule["class"]])
        and all(labels[one["code"]] in case["labels"] for one in rule.get("securityLabel", []))
        and start <= case["occurred_at"] <= end
    )


def allowed(rules: list[dict[str, Any]], case: dict[str, Any], base: bool) -> bool:
    verdicts = [
        allowed(rule.get("provision", []), case, rule["type"] == "permit")
        for rule in rules
        if applies(rule, case)
    ]
    return base if not verdicts else (all(verdicts) if base else any(verdicts))


def drawn(dice: random.Random, kind: str, depth: int) -> dict[str, Any]:
    """A random provision; a permission at the top names what it has to."""
    top = depth == 0
    rule: dict[str, Any] = {"type": kind}
    if top or dice.random() < 0.3:
        rule["actor"] = [actor("IRCP", one) for one in dice.sample(sorted(ROLES), dice.randint(1, 2))]
        if top and dice.random() < 0.3:
            rule["actor"] += [actor("CST", one) for one in dice.sample(sorted(ROLES), dice.randint(1, 2))]
    if top or dice.random() < 0.4:
        chosen = dice.sample(["TREAT", "COC", "HLEGAL"], dice.randint(1, 2))
        rule["purpose"] = [coding(codes.ACT_REASON, one) for one in chosen]
    if top or dice.random() < 0.4:
        rule["code"] = [concept(codes.CATEGORY, one) for one in dice.sample(CATEGORIES, dice.randint(1, 2))]
    if dice.random() < 0.3:
        rule["class"] = [coding(codes.COMPARTMENT, one) for one in dice.sample(PARTS, dice.randint(1, 2))]
    if not top and kind == "deny" and dice.random() < 0.4:
        rule["securityLabel"] = [coding(codes.ACT_CODE, dice.choice(["42CFRPart2", "HIV", "MH"]))]
    if dice.random() < 0.3:
        rule["dataPeriod"] = {"start": "2026-02-01T00:00:00.000Z"}
    if dice.random() < 0.2:
        rule.setdefault("dataPeriod", {})["end"] = "2026-04-01T00:00:00.000Z"
    if depth < 3 and dice.random() < 0.6:
        other = "deny" if kind == "permit" else "permit"
        rule["provision"] = [drawn(dice, other, depth + 1) for _ in range(dice.randint(1, 2))]
    return rule


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_import_says_exactly_what_its_source_says(seed: int) -> None:
    dice = random.Random(seed)
    rules = [drawn(dice, "permit", 0) for _ in range(dice.randint(1, 2))]
    try:
        found = read(resource(*rules))
    except Invalid as error:
        if error.code in ("not-exact", "too-many", "nothing-permitted"):
            return
        raise
    state = fold(found)
    for _ in range(60):
        case = {
            "recipient": dice.choice(sorted(ROLES)),
            "discloser": dice.choice(sorted(ROLES)),
            "purpose": dice.choice(PURPOSES),
            "category": dice.choice(sorted(one for one in POLICY.lineages if one[:4] in ("serv", "cont"))),
            "labels": dice.sample(LABELS, dice.randint(0, 2)),
            "occurred_at": dice.choice(
                [
                    "2026-01-15T00:00:00.000Z",
                    "2026-02-01T00:00:00.000Z",
                    "2026-04-01T00:00:00.000Z",
                    "2026-04-01T00:00:00.001Z",
                ]
            ),
        }
        event = Event.of(case | {"id": "e", "participant": "p", "compartments": list(PARTS)})
        decision = decide(event, case["recipient"], case["purpose"], AT, state, POLICY, STAKEHOLDERS)
        expected = {part for part in PARTS if allowed(rules, case | {"part": part}, base=False)}
        assert set(decision.compartments) == expected


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_exported_comes_back_the_same(seed: int) -> None:
    dice = random.Random(seed)

    def some(values: Any, least: int = 1) -> list[str]:
        return sorted(dice.sample(sorted(values), dice.randint(least, len(values))))

    grants = []
    for number in range(dice.randint(1, 4)):
        grant: dict[str, Any] = {
            "id": f"g{number + 1}",
            "disclosers": dice.choice([["*"], some(ROLES)]),
            "recipients": some([*ROLES, "class:treating-provider"]),
            "purposes": some(POLICY.purposes),
            "categories": some(["service.housing", "contact", "court.hearing"]),
            "labels": some(POLICY.labels, 0),
            "compartments": dice.choice([["*"], some(POLICY.bits)]),
        }
        if dice.random() < 0.5:
            grant["data_from"] = "2026-02-01T00:00:00.000Z"
        grants.append(grant)
    consent = {
        "id": "c-9",
        "signed_at": "2026-01-01T00:00:00.000Z",
        "signature": {"method": "paper", "reference": "scan-1"},
        "starts_at": "2026-01-02T00:00:00.000Z",
        "statements": ["redisclosure", "refusal", "right-to-revoke"],
        "grants": grants,
    } | dice.choice([{"expires_on": "program-exit"}, {"expires_at": "2027-01-01T00:00:00.000Z"}])
    restriction = {"recipients": some(ROLES), "purposes": ["*"], "categories": ["service"], "labels": ["*"]}
    out = fhir_export.resource(consent, [restriction | {"id": "r"}], "p-1", POLICY)
    placed, granted = read(copy.deepcopy(out))
    assert granted["consent"] == consent
    assert {key: one for key, one in placed["restriction"].items() if key != "id"} == restriction


def test_what_is_exported_satisfies_the_published_schema_of_fhir() -> None:
    consent = read(resource(permit()))[0]["consent"]
    Resource.model_validate(fhir_export.resource(consent, [], "p-1", POLICY))


def test_a_refusal_never_repeats_what_was_sent() -> None:
    value = resource(permit(purpose=[coding(codes.ACT_REASON, "Maria-Secret")]))
    with pytest.raises(Invalid) as caught:
        read(value)
    assert "Maria" not in str([caught.value, *caught.value.problems])
