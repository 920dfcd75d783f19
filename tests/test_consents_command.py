"""`hub consent` and `/v1/consents`: FHIR resources at both doors, under the same rules as any directive."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consent import Policy, default_policy, fhir
from consent import fhir_codes as codes
from hub import consents, tables
from hub.store import upsert
from schemas import codec
from schemas.errors import Invalid
from tests.test_fhir import concept, permit, resource
from tests.webside import REACH, Side, records

FHIR = {"content-type": "application/fhir+json"}


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", "consent", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_is_read_and_written_back(tmp_path: Path) -> None:
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(resource(permit())))
    read = command("import-fhir", str(file))
    assert read.returncode == 0
    directives = json.loads(read.stdout)
    again = tmp_path / "directives.json"
    again.write_text(read.stdout)
    written = command("export-fhir", str(again), "--participant", "p-1")
    assert written.returncode == 0
    file.write_text(written.stdout)
    assert json.loads(command("import-fhir", str(file)).stdout) == directives


def test_a_file_without_an_exact_meaning_is_refused_with_the_path(tmp_path: Path) -> None:
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(resource(permit(), policyRule=concept(codes.ACT_CODE, "OPTIN"))))
    refused = command("import-fhir", str(file))
    assert refused.returncode == 1
    assert "Consent.policyRule" in refused.stderr
    assert refused.stdout == ""


def test_a_hub_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(resource(permit())))
    away = command("import-fhir", str(file), "--send", "--token", "x", "--url", "http://127.0.0.1:9")
    assert away.returncode == 1
    assert "hub up" in away.stderr


def signed(participant: str, **more: Any) -> dict[str, Any]:
    """A resource as it is sent: with its participant and, beside it, who saw it signed."""
    witness = [{"url": "name", "valueString": "Ana Ruiz"}, {"url": "organisation", "valueString": REACH}]
    return resource(
        permit(),
        patient={"identifier": {"system": codes.PARTICIPANT, "value": participant}},
        extension=[{"url": codes.WITNESS, "extension": witness}],
        **more,
    )


@pytest.mark.broker
def test_a_resource_is_taken_once_and_given_as_it_stands(side: Side) -> None:
    with side.client(REACH) as reach:
        participant = reach.post("/v1/participants", json={"local_id": "fhir-1"}).json()["participant"]
        body = json.dumps(signed(participant))
        first = reach.post("/v1/consents", content=body, headers=FHIR)
        again = reach.post("/v1/consents", content=body, headers=FHIR)
        assert (first.status_code, again.status_code) == (201, 200), first.text
        assert first.headers["content-type"] == "application/fhir+json"
        assert first.headers["location"] == again.headers["location"]
        name = first.headers["location"].rsplit("/", 1)[1]
        reach.post(
            f"/v1/consents/{name}/revocations",
            json={"participant": participant},
            headers={"prefer": "wait=0"},
        )
        with side.hub.store.write() as connection:  # what the auditor does, where it runs
            found = records(str(side.hub.settings.kafka_bootstrap), "consent")
            kept = [row for row in map(row_of, found) if row["participant"] == participant]
            upsert(connection, tables.directives, kept[:1])
        assert reach.get(first.headers["location"]).json()["status"] == "active"
        with side.hub.store.write() as connection:
            upsert(connection, tables.directives, kept)
        given = reach.get(first.headers["location"])
        assert given.json()["status"] == "inactive"
        assert "Ana" not in given.text


def row_of(message: Any) -> dict[str, Any]:
    record = codec.decode_as("Directive", message.value())
    body = json.loads(record["body"])
    kept = {key: record[key] for key in ("id", "participant", "sender", "recorded_at", "type", "body")}
    concerns = body.get("consent_id") or body.get("consent", {}).get("id")
    return kept | {"partition": message.partition(), "offset": message.offset(), "concerns": concerns}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("change", "status", "expression"),
    [
        ({"policyRule": concept(codes.ACT_CODE, "OPTIN")}, 422, "Consent.policyRule"),
        ({"patient": {"reference": "Patient/1"}}, 422, "Consent.patient.identifier"),
        ({"extension": []}, 403, "/directives/0/witness"),
    ],
)
def test_what_is_refused_says_where(side: Side, change: Any, status: int, expression: str) -> None:
    with side.client(REACH) as reach:
        participant = reach.post("/v1/participants", json={"local_id": "fhir-2"}).json()["participant"]
        value = copy.deepcopy(signed(participant)) | change
        answer = reach.post("/v1/consents", content=json.dumps(value), headers=FHIR)
        assert answer.status_code == status, answer.text
        outcome = answer.json()
        assert outcome["resourceType"] == "OperationOutcome"
        assert outcome["issue"][0]["expression"] == [expression]
        plain = reach.post("/v1/consents", json=value)
        assert plain.status_code == 422


def test_the_example_in_its_help_is_true() -> None:
    inner = {"type": "deny", "securityLabel": [{"system": codes.ACT_CODE, "code": "HIV"}]}
    policy = Policy.of(default_policy())
    body = resource(permit(provision=[inner]))
    granted = fhir.directives(body, policy)[-1]["consent"]["grants"][0]
    labels = json.dumps(granted["labels"])
    assert f'"purposes": {json.dumps(granted["purposes"])}' in consents.IMPORTED
    assert f'"labels": {labels}' in consents.IMPORTED
    with pytest.raises(Invalid) as caught:
        fhir.directives(resource(permit(provision=[permit()])), policy)
    (told,) = caught.value.problems
    assert f"{told.path}:\n {told.detail} ({told.code})" in consents.IMPORTED
