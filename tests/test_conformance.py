"""What leaves the hub is taken by others' programs: Standard Webhooks for JavaScript, and HAPI's FHIR server.

Elsewhere: Standard Webhooks for Python and the published vectors (`test_webhook.py`), the CloudEvents SDK
(`test_cloudevents.py`, `test_feed.py`), Confluent's Avro consumer and `kcat` (`test_feed.py`), Java's own
client (`test_users.py`), the columns of HMIS (`test_hmis.py`).
"""

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest

from connectors import bundles, repository
from connectors.adapter import Outcome, Outgoing
from connectors.http import HttpSettings
from connectors.webhook import Webhooks
from consent import Policy, default_policy, fhir_codes, fhir_export
from consent.record import Placed
from hub import fhir
from hub.routes import fhir as routes
from schemas.errors import Invalid, Problem, Unavailable
from tests.conftest import CHECKOUT
from tests.delivery_scene import SECRET
from tests.small import consent, grant, granted, restriction, revoked
from tests.test_repository import AT, CONTACT, REFERRAL, SERVICE, outgoing

PEERS = CHECKOUT / "tests" / "peers"
FETCHED = CHECKOUT / "build" / "peers"
ANSWER_S_MAX = 120
OPEN = HttpSettings(private=True, plain=True)


def program(name: str, of: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{of} needs `{name}`, which is not installed")
    return found


def started(*command: str, **environment: str) -> subprocess.Popen[str]:
    """A peer; it ends when its standard input is closed."""
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.strip().isdigit(), f"the peer did not start: {said}"
    return int(said)


def end(process: subprocess.Popen[str]) -> list[str]:
    """Out: what else it said."""
    said, _ = process.communicate(timeout=ANSWER_S_MAX)
    return said.splitlines()


class Given(NamedTuple):
    """What signs."""

    secrets: tuple[str, ...]

    def webhook(self, stakeholder: str) -> tuple[str, ...]:
        return self.secrets


async def test_standard_webhooks_for_javascript_verifies_what_is_sent() -> None:
    modules = FETCHED / "webhooks" / "node_modules"
    node = program("node", "the library for JavaScript")
    if not (modules / "standardwebhooks").is_dir():
        pytest.skip("the library for JavaScript was not fetched: there was no `npm`")
    process = started(node, str(PEERS / "webhooks" / "receiver.js"), SECRET, NODE_PATH=str(modules))
    try:
        url = f"http://127.0.0.1:{port_of(process)}/"
        view = {"type": "contact", "data": {"subject": {"name": "Añá 🌱"}}}
        one = Outgoing("d-1", "reach", "webhook", 1, {"url": url}, view, {}, ())
        new = "whsec_" + "bmV3" * 8
        for secrets, expected in (
            ((SECRET,), Outcome("delivered", "http-204")),
            ((new, SECRET), Outcome("delivered", "http-204")),
            (("whsk_" + "a2V5" * 10 + "a2U=", SECRET), Outcome("delivered", "http-204")),
            ((new,), Outcome("failed", "http-401")),
        ):
            adapter = Webhooks(Given(secrets), OPEN)
            assert await adapter.deliver(one) == expected
            await adapter.aclose()
    finally:
        heard = [json.loads(line) for line in end(process)]
    assert heard == [{"id": "d-1", "event": view}] * 3


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """HAPI's FHIR server, which validates by R4's own definitions. Out: its base address."""
    program("javac", "HAPI's FHIR server")
    jars = FETCHED / "fhir"
    if not jars.is_dir():
        pytest.skip("HAPI's FHIR server was not fetched: `setup/setup.sh test`")
    java = program("java", "HAPI's FHIR server")
    words = ("-Xmx700m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # quick to start, small
    process = started(java, *words, "-cp", f"{jars}/*", str(PEERS / "fhir" / "FhirServer.java"))
    try:
        yield f"http://127.0.0.1:{port_of(process)}/fhir"
    finally:
        end(process)


def problems(server: str, resource: dict[str, Any]) -> list[str]:
    """Every error that R4's profiles, value sets and invariants find."""
    text = {"name": "text", "valueString": json.dumps(resource, ensure_ascii=False)}
    asked = {"resourceType": "Parameters", "parameter": [text]}
    answer = httpx.post(f"{server}/$validate", json=asked, headers=FHIR, timeout=ANSWER_S_MAX)
    assert answer.status_code == 200, answer.text
    found = answer.json()["parameter"]
    assert found[-1]["valueCode"] in (resource["resourceType"], "unreadable")
    told = [one["valueString"] for one in found if one["name"] in ("error", "fatal")]
    return told or [one["name"] for one in found if one.get("valueCode") == "unreadable"]


FHIR = {"content-type": repository.MEDIA_TYPE}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("service-engagement", {"activity": {"step": step}}) for step in (*bundles.STEPS, "other")
]
MODES: list[tuple[str, dict[str, Any]]] = [
    ("contact", {"activity": {"mode": mode}}) for mode in (*bundles.CLASSES, "other")
]
DELIVERED = [
    ("contact", CONTACT),
    ("contact", {}),
    ("contact", {"occurrence": {"booked_at": AT}}),
    ("contact", {"occurrence": {"booked_at": AT, "released_at": AT, "place": {"description": "Pier 3"}}}),
    ("service-engagement", SERVICE),
    ("referral", REFERRAL),
    ("referral", {"occurrence": {"handed_off_at": AT, "occurred_at": AT}}),
    ("referral", {}),
    *STEPS,
    *MODES,
]


class Nobody:
    def bearer(self, stakeholder: str) -> None:
        return None


def delivered() -> Iterator[Outgoing]:
    """Each of those, with little and with much besides."""
    more = {
        "category": "contact.outreach",
        "local_id": "C-9",
        "purposes": sorted(set(fhir_codes.PURPOSES.values())),
        "sample": True,
    }
    for number, (kind, data) in enumerate(DELIVERED):
        made = outgoing(kind, data, id=f"{number:032x}", **(more if number % 2 else {}))
        yield dataclasses.replace(made, key=f"d-{number:032x}")


async def sent(server: str, several: Iterable[Outgoing]) -> list[Outcome]:
    """Each twice."""
    adapter = repository.Repositories(Nobody(), OPEN)
    try:
        return [
            await adapter.deliver(dataclasses.replace(one, settings={"url": server}))
            for one in several
            for _ in range(2)
        ]
    finally:
        await adapter.aclose()


def test_a_fhir_server_that_is_not_ours_takes_every_transaction_and_keeps_each_once(server: str) -> None:
    several = list(delivered())
    for one in several:
        made = bundles.bundle(one, AT)
        assert made is not None
        assert problems(server, made) == [], one.view
    assert asyncio.run(sent(server, several)) == [Outcome("delivered", "http-200")] * 2 * len(several)
    assert len(kept(server, "Patient")) == 1, "the same person each time"
    happened = kept(server, "Encounter") + kept(server, "ServiceRequest")
    assert len(happened) == len(kept(server, "Provenance")) == len(several)
    (person,) = kept(server, "Patient")
    assert person["identifier"][0] == {"system": fhir_codes.PARTICIPANT, "value": "ab" * 16}
    assert {one["subject"]["reference"] for one in happened} == {f"Patient/{person['id']}"}


def kept(server: str, kind: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{server}/{kind}?_count=100", timeout=ANSWER_S_MAX).json()
    return [one["resource"] for one in answer.get("entry", ())]


def test_and_refuses_what_r4_does_not_know(server: str) -> None:
    """So that what it takes means something: a code, an invariant, an element."""
    made = bundles.bundle(outgoing("contact", CONTACT), AT)
    assert made is not None
    person, happened, provenance = made["entry"]
    for entry, change in (
        (happened, {"status": "lost"}),
        (happened, {"period": {"start": "2026-02-02", "end": "2026-02-01"}}),
        (happened, {"mood": "glad"}),
        (provenance, {"agent": []}),
        (provenance, {"agent": [UNKNOWN]}),
    ):
        bad = entry | {"resource": entry["resource"] | change}
        posted = httpx.post(server, json=made | {"entry": [person, bad]}, headers=FHIR, timeout=ANSWER_S_MAX)
        assert posted.status_code in (400, 422), change
        assert problems(server, bad["resource"]), change
        assert posted.json()["resourceType"] == "OperationOutcome"


UNKNOWN = {"type": {"coding": [{"system": bundles.AGENT, "code": "transmitter"}]}, "who": {"display": "x"}}
POLICY = Policy.of(default_policy())
NEVER = restriction(purposes=["treatment"], categories=["court"], labels=["hiv", "part2"])["restriction"]
WIDE = grant(
    disclosers=["*"],
    recipients=["class:treating-provider", "harbor-house"],
    purposes=sorted(set(fhir_codes.PURPOSES.values()) & POLICY.purposes),
    labels=sorted(POLICY.labels),
    compartments=["*"],
    data_from="2026-02-01T00:00:00.000Z",
    data_until="2026-03-01T00:00:00.000Z",
)


def standing(*later: dict[str, Any]) -> dict[str, Any]:
    """A consent as `GET /v1/consents/{id}` answers it, once that came after it."""
    bodies = [granted(WIDE, grant(id="g2")), *later]
    placed = [Placed(number, f"d-{number}", body) for number, body in enumerate(bodies)]
    of = SimpleNamespace(register=lambda: SimpleNamespace(policy=default_policy()))
    return fhir._resource(placed, "c1", "p-1", of)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "resource",
    [
        fhir_export.resource(
            consent(WIDE, grant(id="g2"), expires_on="program-exit"), [NEVER], "p-1", POLICY
        ),
        fhir_export.resource(consent(grant(), expires_at=None, expires_on=None), [], "p-1", POLICY),
        standing(),
        standing(revoked(grants=["g2"])),
        standing(revoked(recipients=["harbor-house"])),
        standing(revoked(recipients=["harbor-house", "class:treating-provider"])),
        standing(revoked()),
        fhir.outcome(Invalid([Problem("/id", "no-id", "it needs one"), Problem("", "conflict", "two")])),
        fhir.outcome(Unavailable("later")),
        routes._said(202, "informational", "accepted").body,
        routes.answered("batch-response", []),
        routes.answered(
            "transaction-response", [routes._said(202, "informational", "accepted", at="/v1/events/e-1")]
        ),
    ],
)
def test_consents_and_answers_are_fhir_too(server: str, resource: dict[str, Any]) -> None:
    assert problems(server, json.loads(json.dumps(resource))) == []
