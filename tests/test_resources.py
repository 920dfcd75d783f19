"""FHIR in: Encounter, ServiceRequest and Bundles of them, as electronic health records write them."""

import copy
import json
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from hypothesis import given
from hypothesis import strategies as st

from connectors import resources
from hub import fhir
from schemas import cloudevents, codec, events, instant
from schemas.errors import Invalid
from tests.test_events import CATEGORIES, LABELS
from tests.webside import CLINIC, Side, records

SOURCE = f"urn:agency:{CLINIC}"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "enc-1",
    "meta": {"versionId": "3", "security": [{"system": ACT, "code": "N"}, {"system": ACT, "code": "ETH"}]},
    "identifier": [{"system": "urn:oid:1.2.3", "value": "V-77"}],
    "status": "in-progress",
    "class": {"system": ACT, "code": "AMB"},
    "type": [{"text": "Group session"}],
    "subject": {"identifier": {"system": "urn:mrn", "value": "M-5"}, "display": "Zoë Marsh"},
    "period": {"start": "2026-03-01T09:30:00-08:00", "end": "2026-03-01T10:30:00-08:00"},
    "reasonCode": [{"text": "Opioid use disorder, severe"}],
    "diagnosis": [{"condition": {"display": "Opioid dependence"}}],
    "location": [{"location": {"display": "Room 2"}}],
    "serviceProvider": {"display": "Tideline Clinic"},
}
REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "req-1",
    "meta": {
        "tag": [
            {"system": "urn:other", "code": "x"},
            {"system": "urn:diversion-hub:category", "code": "service.housing"},
        ]
    },
    "status": "active",
    "intent": "order",
    "code": {"coding": [{"system": "urn:codes", "code": "H1", "display": "Recovery housing"}]},
    "subject": {"reference": "Patient/5"},
    "authoredOn": "2026-03-02",
    "performer": [{"display": "Harbor House"}],
    "reasonCode": [{"text": "Homelessness"}],
}  # fmt: skip


def published(resource: dict[str, Any]) -> events.Published:
    item = resources.event(resource, SOURCE)
    assert item is not None
    return events.validate(cloudevents.parse_structured(item), CATEGORIES, LABELS)


def test_an_encounter_is_a_service_by_its_sensitivity_and_says_not_why() -> None:
    found = published(ENCOUNTER)
    assert (found.type, found.category, found.labels) == (
        "service-engagement",
        "service.substance-use",
        ("part2",),
    )
    assert (found.id, found.local_id) == ("V-77@3", "M-5")
    assert found.compartments == {
        "subject": {"local_id": "M-5"},
        "occurrence": {
            "occurred_at": instant.parse("2026-03-01T09:30:00-08:00"),
            "ended_at": instant.parse("2026-03-01T10:30:00-08:00"),
            "place": {"description": "Room 2"},
        },
        "activity": {"provider": "Tideline Clinic", "service_code": "Group session", "step": "ongoing"},
    }
    assert "pioid" not in json.dumps(resources.event(ENCOUNTER, SOURCE))


def test_a_request_is_offered_under_the_senders_own_category() -> None:
    found = published(REQUEST)
    assert (found.category, found.labels, found.id, found.local_id) == (
        "service.housing",
        (),
        "req-1",
        "Patient/5",
    )
    assert found.compartments["activity"] == {
        "provider": "Harbor House",
        "service_code": "Recovery housing",
        "step": "offered",
    }


@pytest.mark.parametrize(
    ("codes", "category", "labels"),
    [
        ([], "service.medical", ()),
        (["R", "N"], "service.medical", ()),
        (["HIV"], "service.medical", ("hiv",)),
        (["N", "PSY"], "service.mental-health", ("mental-health",)),
        (["PSY", "42CFRPart2"], "service.substance-use", ("mental-health", "part2")),
        (["SEX", "PSYTHPN"], "service.medical", ("counselling-notes", "reproductive-health")),
    ],
)
def test_security_labels_say_what_is_protected(
    codes: list[str], category: str, labels: tuple[str, ...]
) -> None:
    meta = {"security": [{"system": ACT, "code": code} for code in codes]}
    found = published(ENCOUNTER | {"meta": meta if codes else {}})
    assert (found.category, found.labels) == (category, labels)


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "unknown"])
def test_what_did_not_happen_is_no_event(status: str) -> None:
    assert resources.event(ENCOUNTER | {"status": status}, SOURCE) is None
    assert resources.event(REQUEST | {"doNotPerform": True}, SOURCE) is None


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"status": "lost"}, "Encounter.status", "no-such-value"),
        ({"period": {}}, "Encounter.period.start", "missing"),
        ({"period": {"start": "2026-13-01"}}, "Encounter.period", "not-fhir"),
        ({"subject": None}, "Encounter.subject.identifier.value", "missing"),
        ({"class": None}, "Encounter", "not-fhir"),
        ({"Zoë": 1}, "Encounter", "not-fhir"),
        ({"resourceType": "Observation"}, "Resource.resourceType", "not-supported"),
    ],
)
def test_what_is_wrong_is_told_by_its_element(changes: dict[str, Any], path: str, code: str) -> None:
    changed = {name: value for name, value in (ENCOUNTER | changes).items() if value is not None}
    with pytest.raises(Invalid) as caught:
        resources.event(changed, SOURCE)
    assert (path, code) in {problem[:2] for problem in caught.value.problems}
    outcome = fhir.outcome(caught.value)
    OperationOutcome.model_validate(outcome)
    assert "Zo" not in json.dumps(outcome)


def bundle(kind: str, *found: dict[str, Any]) -> dict[str, Any]:
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "M-9"}]}
    entries = [{"fullUrl": "urn:uuid:1", "resource": patient}]
    entries += [{"fullUrl": f"urn:uuid:{n}", "resource": one} for n, one in enumerate(found, 2)]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_a_patient_of_the_same_bundle_is_who_a_reference_means() -> None:
    refers = ENCOUNTER | {"subject": {"reference": "urn:uuid:1"}}
    _, first, second = resources.entries(bundle("batch", refers, REQUEST))
    assert published(first.resource).local_id == "M-9"
    assert published(second.resource).local_id == "Patient/5"
    assert first.path == "Bundle.entry[1]"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "searchset"}, "not-supported"),
        ({"entry": {}}, "not-fhir"),
        ({"entry": [1]}, "not-fhir"),
        ({"entry": [{}] * (resources.entries_max + 1)}, "too-many"),
    ],
)
def test_what_is_no_bundle_to_take_is_told(change: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        list(resources.entries(bundle("batch") | change))
    assert caught.value.code == code


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ENCOUNTER, "x"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(ENCOUNTER)), ANYTHING)
def test_no_resource_does_worse_than_one_of_our_errors(name: str, value: Any) -> None:
    changed = copy.deepcopy(ENCOUNTER) | {name: value}
    try:
        item = resources.event(changed, SOURCE)
    except Invalid as error:
        OperationOutcome.model_validate(fhir.outcome(error))
    else:
        assert item is None or item["id"]
    assert all(one.path for one in resources.entries(bundle("batch", changed)))


def inbox(side: Side) -> list[str]:
    """Ids in the clinic's inbox that came by FHIR."""
    found = []
    for record in records(side.hub.client["bootstrap.servers"], f"inbox.{CLINIC}"):
        inbound = codec.decode_as("Inbound", record.value())
        if inbound["via"] == "fhir":
            opened = side.hub.vault.hub("originals").open(f"inbox.{CLINIC}".encode(), inbound["sealed"])
            found.append(json.loads(opened)["id"])
    return found


@pytest.mark.broker
def test_resources_and_bundles_are_taken_by_rest_and_answered_in_fhir(side: Side) -> None:
    kind = {"content-type": "application/fhir+json"}
    with side.client(CLINIC) as clinic:
        answer = clinic.post("/v1/fhir/Encounter", json=ENCOUNTER, headers=kind)
        assert answer.status_code == 202
        assert answer.headers["content-type"] == "application/fhir+json"
        assert answer.headers["location"].startswith("/v1/events/e-")
        OperationOutcome.model_validate(answer.json())
        broken = ENCOUNTER | {"status": "lost"}
        refused = clinic.post("/v1/fhir/Encounter", json=broken, headers=kind)
        assert refused.status_code == 422
        assert refused.json()["issue"][0]["expression"] == ["Encounter.status"]
        for path, body, headers in (
            ("/v1/fhir/ServiceRequest", ENCOUNTER, kind),
            ("/v1/fhir/Observation", ENCOUNTER, kind),
            ("/v1/fhir", ENCOUNTER, kind),
            ("/v1/fhir/Encounter", ENCOUNTER, {"content-type": "application/json"}),
        ):
            told = clinic.post(path, json=body, headers=headers)
            assert told.status_code == 422
            OperationOutcome.model_validate(told.json())
        batch = bundle("batch", ENCOUNTER | {"id": "x", "identifier": []}, broken, REQUEST)
        done = clinic.post("/v1/fhir", json=batch, headers=kind)
        assert done.status_code == 200
        answered = done.json()
        Bundle.model_validate(answered)
        assert [one["response"]["status"] for one in answered["entry"]] == ["200", "202", "422", "202"]
        whole = bundle("transaction", REQUEST | {"id": "req-2"}, broken)
        assert clinic.post("/v1/fhir", json=whole, headers=kind).status_code == 422
        good = bundle("transaction", REQUEST | {"id": "req-3"}, REQUEST | {"id": "req-4"})
        assert clinic.post("/v1/fhir", json=good, headers=kind).json()["type"] == "transaction-response"
    assert inbox(side) == ["V-77@3", "x@3", "req-1", "req-3", "req-4"]
    with side.client() as nobody:
        assert nobody.post("/v1/fhir/Encounter", json=ENCOUNTER, headers=kind).status_code == 401


@pytest.mark.parametrize("kind", [[], {}, 1, None, "transaction-response"])
def test_a_bundle_of_no_type_that_there_is_is_refused_in_words(kind: Any) -> None:
    with pytest.raises(Invalid):
        list(resources.entries({"resourceType": "Bundle", "type": kind, "entry": []}))


def test_an_address_that_is_no_text_names_nobody() -> None:
    patient = {"resourceType": "Patient", "identifier": [{"value": "A-1"}]}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"fullUrl": [], "resource": patient}]}
    assert [one.kind for one in resources.entries(bundle)] == ["Patient"]
