"""What an export contains, to the letter; every code of the tables is read and written as its term."""

import json

import pytest
from fhir.resources.R4B.consent import Consent as Resource

from consent import Policy, default_policy, fhir, fhir_export
from consent import fhir_codes as codes
from tests.small import Json, consent, grant, restriction
from tests.test_fhir import coding, permit, resource

POLICY = Policy.of(default_policy())
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
OURS = "urn:diversion-hub:"
RECEIVES = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]
}
DISCLOSES = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "CST"}]
}


def who(role: Json, system: str, value: str) -> Json:
    return {"role": role, "reference": {"identifier": {"system": OURS + system, "value": value}}}


def label(system: str, code: str) -> Json:
    return {"type": "deny", "securityLabel": [{"system": system, "code": code}]}


HIV, NOTES = label(ACT_CODE, "HIV"), label(ACT_CODE, "PSYTHPN")
MENTAL, PART2, SEX = label(ACT_CODE, "MH"), label(ACT_CODE, "42CFRPart2"), label(ACT_CODE, "SEX")


def test_all_of_an_export() -> None:
    narrow = grant(
        disclosers=["reach", "clinic"],
        recipients=["class:treating-provider", "harbor-house"],
        purposes=["care-coordination", "diversion-handoff"],
        categories=["service", "contact.crisis"],
        labels=["part2", "mental-health", "reproductive-health"],
        data_from="2026-02-01T00:00:00.000Z",
        data_until="2026-03-01T00:00:00.000Z",
    )
    wide = grant(id="g2", disclosers=["*"], labels=sorted(POLICY.labels), compartments=["*"])
    body = consent(narrow, wide, expires_on="program-exit")
    never = [
        restriction(recipients=["jail", "class:treating-provider"])["restriction"],
        restriction(purposes=["treatment"], categories=["court"], labels=["hiv", "part2"])["restriction"],
    ]
    out = fhir_export.resource(body, never, "p-1", POLICY)
    assert out == {
        "resourceType": "Consent",
        "extension": [
            {
                "url": OURS + "signature",
                "extension": [
                    {"url": "method", "valueString": "paper"},
                    {"url": "reference", "valueString": "scan-1"},
                ],
            },
            {"url": OURS + "expires-on", "valueCode": "program-exit"},
        ],
        "identifier": [{"system": OURS + "consent", "value": "c1"}],
        "status": "active",
        "scope": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": OURS + "participant", "value": "p-1"}},
        "dateTime": "2026-01-01T00:00:00Z",
        "policy": [
            {"uri": OURS + "statement:" + one} for one in ("redisclosure", "refusal", "right-to-revoke")
        ],
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]},
        "provision": {
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
            "provision": [
                {
                    "type": "permit",
                    "actor": [
                        who(RECEIVES, "class", "treating-provider"),
                        who(RECEIVES, "stakeholder", "harbor-house"),
                        who(DISCLOSES, "stakeholder", "reach"),
                        who(DISCLOSES, "stakeholder", "clinic"),
                    ],
                    "purpose": [
                        {"system": ACT_REASON, "code": "COC"},
                        {"system": OURS + "purpose", "code": "diversion-handoff"},
                    ],
                    "class": [
                        {"system": OURS + "compartment", "code": "subject"},
                        {"system": OURS + "compartment", "code": "activity"},
                    ],
                    "code": [
                        {"coding": [{"system": OURS + "category", "code": "service"}]},
                        {"coding": [{"system": OURS + "category", "code": "contact.crisis"}]},
                    ],
                    "dataPeriod": {"start": "2026-02-01T00:00:00.000Z", "end": "2026-03-01T00:00:00.000Z"},
                    "provision": [NOTES, HIV],
                },
                {
                    "type": "permit",
                    "actor": [who(RECEIVES, "stakeholder", "harbor-house")],
                    "purpose": [{"system": ACT_REASON, "code": "COC"}],
                    "code": [{"coding": [{"system": OURS + "category", "code": "service"}]}],
                },
                {
                    "type": "deny",
                    "actor": [
                        who(RECEIVES, "stakeholder", "jail"),
                        who(RECEIVES, "class", "treating-provider"),
                    ],
                },
                {
                    "type": "deny",
                    "purpose": [{"system": ACT_REASON, "code": "TREAT"}],
                    "code": [{"coding": [{"system": OURS + "category", "code": "court"}]}],
                    "securityLabel": [{"system": ACT_CODE, "code": "HIV"}],
                },
                {
                    "type": "deny",
                    "purpose": [{"system": ACT_REASON, "code": "TREAT"}],
                    "code": [{"coding": [{"system": OURS + "category", "code": "court"}]}],
                    "securityLabel": [{"system": ACT_CODE, "code": "42CFRPart2"}],
                },
            ],
        },
    }
    Resource.model_validate(json.loads(json.dumps(out)))
    back = fhir.parse(json.dumps(out).encode(), POLICY)
    assert [one["type"] for one in back] == ["restriction-placed"] * 3 + ["consent-granted"]
    never_again = {"recipients": ["*"], "purposes": ["treatment"], "categories": ["court"]}
    assert [one["restriction"] for one in back[:3]] == [
        {"id": "c1.2", "recipients": ["class:treating-provider", "jail"], "purposes": ["*"],
         "categories": ["*"], "labels": ["*"]},
        {"id": "c1.3", **never_again, "labels": ["hiv"]},
        {"id": "c1.4", **never_again, "labels": ["part2"]},
    ]  # fmt: skip


def test_only_what_a_consent_says_is_written() -> None:
    body = consent(grant(data_until="2026-03-01T00:00:00.000Z"), expires_at=None, expires_on=None)
    out = fhir_export.resource(body, [], "p-1", POLICY)
    assert [one["url"] for one in out["extension"]] == [OURS + "signature"]
    assert out["provision"]["period"] == {"start": "2026-01-01T00:00:00Z"}
    (permitted,) = out["provision"]["provision"]
    assert permitted["dataPeriod"] == {"end": "2026-03-01T00:00:00.000Z"}
    assert permitted["provision"] == [NOTES, HIV, MENTAL, PART2, SEX], (
        "all labels that it does not list, sorted"
    )


@pytest.mark.parametrize(
    ("code", "term"),
    [("TREAT", "treatment"), ("COC", "care-coordination"), ("HLEGAL", "legal-coordination"),
     ("HOUTCOMS", "program-evaluation"), ("ETREAT", "emergency")],
)  # fmt: skip
def test_each_purpose_of_use_is_one_purpose(code: str, term: str) -> None:
    (granted,) = fhir.directives(resource(permit(purpose=[coding(ACT_REASON, code)])), POLICY)
    assert granted["consent"]["grants"][0]["purposes"] == [term]
    out = fhir_export.resource(granted["consent"], [], "p-1", POLICY)
    assert out["provision"]["provision"][0]["purpose"] == [{"system": ACT_REASON, "code": code}]


@pytest.mark.parametrize("term", sorted(POLICY.purposes))
def test_each_purpose_of_ours_is_read_by_its_own_code(term: str) -> None:
    (granted,) = fhir.directives(resource(permit(purpose=[coding(OURS + "purpose", term)])), POLICY)
    assert granted["consent"]["grants"][0]["purposes"] == [term]


@pytest.mark.parametrize(
    ("code", "term", "written"),
    [("42CFRPart2", "part2", "42CFRPart2"), ("SUD", "part2", "42CFRPart2"), ("ETH", "part2", "42CFRPart2"),
     ("MH", "mental-health", "MH"), ("PSY", "mental-health", "MH"), ("HIV", "hiv", "HIV"),
     ("SEX", "reproductive-health", "SEX"), ("PSYTHPN", "counselling-notes", "PSYTHPN")],
)  # fmt: skip
def test_each_security_label_is_one_label(code: str, term: str, written: str) -> None:
    denied = {"type": "deny", "securityLabel": [coding(ACT_CODE, code)]}
    placed, granted = fhir.directives(resource(permit(), denied), POLICY)
    assert placed["restriction"]["labels"] == [term]
    out = fhir_export.resource(granted["consent"], [placed["restriction"]], "p-1", POLICY)
    assert out["provision"]["provision"][1] == label(ACT_CODE, written)
    own = {"type": "deny", "securityLabel": [coding(OURS + "label", term)]}
    assert fhir.directives(resource(permit(), own), POLICY)[0] == placed


def test_two_codes_of_one_label_are_one_label() -> None:
    both = [coding(ACT_CODE, "42CFRPart2"), coding(ACT_CODE, "SUD"), coding(OURS + "label", "part2")]
    placed, _ = fhir.directives(resource(permit(), {"type": "deny", "securityLabel": both}), POLICY)
    assert placed["restriction"]["labels"] == ["part2"]


@pytest.mark.parametrize(("system", "code"), [(ACT_REASON, "HOUTCOMS"), (OURS + "purpose", "marketing")])
def test_a_code_counts_where_the_policy_has_its_term(system: str, code: str) -> None:
    few = Policy.of(default_policy() | {"purposes": ["care-coordination"]})
    assert codes.term_of(system, code, codes.PURPOSES, codes.PURPOSE, few.purposes) is None
    assert (
        codes.term_of(ACT_REASON, "COC", codes.PURPOSES, codes.PURPOSE, few.purposes) == "care-coordination"
    )
    assert codes.term_of(codes.PURPOSE, "COC", codes.PURPOSES, codes.PURPOSE, few.purposes) is None


def test_a_label_of_the_policys_own_is_written_by_its_own_code() -> None:
    more = Policy.of(default_policy() | {"labels": ["part2", "shelter-address"]})
    out = fhir_export.resource(consent(grant(labels=["part2"])), [], "p-1", more)
    (permitted,) = out["provision"]["provision"]
    assert permitted["provision"] == [label(OURS + "label", "shelter-address")]
    assert fhir.directives(out, more)[-1]["consent"]["grants"][0]["labels"] == ["part2"]


def test_the_tables_are_read_one_way_and_written_the_other() -> None:
    for table, own in ((codes.PURPOSES, codes.PURPOSE), (codes.LABELS, codes.LABEL)):
        for code, term in table.items():
            assert codes.code_of(term, table, own) == code
            assert codes.term_of(*code, table, own, frozenset({term})) == term
        assert codes.code_of("our-own", table, own) == (own, "our-own")


def test_a_recipient_as_an_actor() -> None:
    assert fhir_export.recipient("reach") == who(RECEIVES, "stakeholder", "reach")
    assert fhir_export.recipient("class:treating-provider") == who(RECEIVES, "class", "treating-provider")
