"""The interface for programs: participants, directives and their fences, submissions, the schema registry."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from connectors import deliveries
from connectors.adapter import Share
from connectors.deliveries import Applied, Parcel
from hub import health
from hub.fencing import wished_ms
from hub.store import upsert
from hub.tables import event_status
from schemas import codec, naming
from tests.test_gateway import BATCH, STRUCTURED, event
from tests.webside import ATTORNEY, CLINIC, HARBOR, REACH, STAKEHOLDERS, Side, questions, records

pytestmark = pytest.mark.broker
EVERYBODY = [one["id"] for one in STAKEHOLDERS]
QUICK = {"prefer": "wait=0"}


@pytest.fixture
def reach(side: Side) -> Iterator[httpx.Client]:
    with side.client(REACH) as client:
        yield client


@pytest.fixture
def harbor(side: Side) -> Iterator[httpx.Client]:
    with side.client(HARBOR) as client:
        yield client


def added(reach: httpx.Client) -> str:
    answer = reach.post("/v1/participants", json={"local_id": "R-" + secrets.token_hex(6)})
    return str(answer.json()["participant"])


def granting(participant: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "grant-" + secrets.token_hex(6),
        "participant": participant,
        "type": "consent-granted",
        "witness": {"name": "T. Reyes", "organisation": REACH},
        "consent": {
            "signed_at": "2026-11-01T09:00:00-08:00",
            "signature": {"method": "paper", "reference": "drawer 4, form 17"},
            "starts_at": "2026-11-01T09:00:00-08:00",
            "expires_at": "2027-11-01T09:00:00-08:00",
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [
                {
                    "id": "housing",
                    "disclosers": ["*"],
                    "recipients": [REACH, CLINIC],
                    "purposes": ["care-coordination"],
                    "categories": ["service.housing"],
                    "compartments": ["*"],
                }
            ],
        },
    } | more


def consented(reach: httpx.Client) -> tuple[str, str, dict[str, Any]]:
    participant = added(reach)
    answer = reach.post("/v1/directives", json=granting(participant))
    assert answer.status_code == 201, answer.text
    return participant, answer.json()["concerns"], answer.json()


def tell(side: Side, partition: int, *values: bytes) -> None:
    """Write to `deliveries` what owners of outboxes would."""
    producer = Producer({"bootstrap.servers": side.hub.client["bootstrap.servers"], "acks": "all"})
    for value in values:
        producer.produce(deliveries.TOPIC, value, partition=partition)
    assert producer.flush(10) == 0


def acknowledged(partition: int, offset: int, *stakeholders: str) -> bytes:
    return deliveries.acknowledgement(stakeholders or EVERYBODY, partition, Applied(offset, 0), 1, "w-1")


# ---- people ---------------------------------------------------------------------------------------------


def test_a_person_is_added_once(reach: httpx.Client, harbor: httpx.Client) -> None:
    body = {"local_id": "R-" + secrets.token_hex(6)}
    first, again = reach.post("/v1/participants", json=body), reach.post("/v1/participants", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert body["local_id"] not in first.text
    refused = harbor.post("/v1/participants", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "role")


def test_a_person_is_linked_once_and_to_one_agency_under_one_id(reach: httpx.Client) -> None:
    one, other = added(reach), added(reach)
    link = {"agency": HARBOR, "local_id": "H-" + secrets.token_hex(6)}
    assert reach.post(f"/v1/participants/{one}/links", json=link).status_code == 201
    assert reach.post(f"/v1/participants/{one}/links", json=link).status_code == 200
    taken = reach.post(f"/v1/participants/{other}/links", json=link)
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    assert reach.post("/v1/participants/p-nobody/links", json=link).status_code == 404
    assert reach.post(f"/v1/participants/{one}/links", json={**link, "agency": "nobody"}).status_code == 404


def test_bodies_that_do_not_fit_are_refused_with_every_reason(reach: httpx.Client) -> None:
    answer = reach.post("/v1/participants", json={"locl_id": "x", "local_id": 5})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {(one["path"], one["code"]) for one in answer.json()["errors"]} == {
        ("/locl_id", "unknown-field"),
        ("/local_id", "wrong-type"),
    }
    for body in (b"", b"{", b"[]", b'"x"', b"\xff"):
        assert reach.post("/v1/participants", content=body).status_code in (400, 422)
    large = reach.post("/v1/directives", content=b"x" * (1 << 20 | 1))
    assert (large.status_code, large.json()["code"]) == (413, "too-large")


# ---- directives -----------------------------------------------------------------------------------------


def test_a_grant_stands_in_the_log_where_the_answer_says(side: Side, reach: httpx.Client) -> None:
    participant, concerns, answer = consented(reach)
    written = {
        (record.partition(), record.offset()): codec.decode_as("Directive", record.value())
        for record in records(side.hub.client["bootstrap.servers"], "consent")
    }
    directive = written[answer["partition"], answer["offset"]]
    assert directive["participant"] == participant
    assert json.loads(directive["body"])["consent"]["id"] == concerns
    assert b"drawer 4" not in directive["body"]
    assert b"Reyes" not in directive["body"]
    assert answer["fence"] is None


def test_a_directive_is_taken_once(reach: httpx.Client) -> None:
    directive = granting(added(reach))
    first, again = reach.post("/v1/directives", json=directive), reach.post("/v1/directives", json=directive)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    changed = directive | {"witness": {"name": "Somebody", "organisation": REACH}}
    assert reach.post("/v1/directives", json=changed).status_code == 409
    found = reach.get(f"/v1/directives/{first.json()['directive']}")
    assert found.json() == first.json()


def test_others_learn_nothing_of_a_directive(reach: httpx.Client, harbor: httpx.Client) -> None:
    _, _, answer = consented(reach)
    assert harbor.get(f"/v1/directives/{answer['directive']}").status_code == 404


def test_who_may_not_know_is_answered_alike_about_anybody_and_nobody(
    side: Side, reach: httpx.Client, harbor: httpx.Client
) -> None:
    """About somebody whose news an agency does not get, and about nobody: one status, headers, body; and
    the same work, so that the time it takes says no more."""
    participant, consent, answer = consented(reach)
    nobody = {participant: "p-" + "a" * 26, consent: "c-none", answer["directive"]: "d-none"}
    asked: list[tuple[str, str, Any]] = [
        ("GET", f"/v1/directives/{answer['directive']}", None),
        ("GET", f"/v1/consents/{consent}", None),
        ("GET", f"/v1/fences/{answer['partition']}/{answer['offset']}", None),
        ("POST", f"/v1/participants/{participant}/links", {"agency": HARBOR, "local_id": "H-x"}),
        ("POST", "/v1/directives", granting(participant)),
        ("POST", "/v1/consents/c-of-another/revocations", {"participant": participant}),
    ]
    for method, path, body in asked:
        said = json.dumps(body)
        for one, other in nobody.items():
            said = said.replace(one, other)
        elsewhere = path.replace(f"/{answer['offset']}", f"/{2**40}") if "/fences/" in path else path
        for one, other in nobody.items():
            elsewhere = elsewhere.replace(one, other)
        assert (elsewhere, said) != (path, json.dumps(body)), "the question is about nobody"
        answered(harbor, method, path, json.dumps(body))  # what is remembered is remembered now
        with questions(side) as once:
            about = answered(harbor, method, path, json.dumps(body))
        with questions(side) as twice:
            assert about == answered(harbor, method, elsewhere, said), (method, path)
        assert once == twice, f"{method} {path}: the same questions to the store, in the same order"


def answered(client: httpx.Client, method: str, path: str, body: str) -> tuple[int, dict[str, str], str]:
    """Status, headers but the date, and the body."""
    answer = client.request(
        method,
        path,
        content=body if method == "POST" else None,
        headers={"content-type": "application/json"} | QUICK,
    )
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, headers, answer.text


def test_a_sender_sends_only_what_it_may(side: Side, reach: httpx.Client) -> None:
    participant = added(reach)
    with side.client(ATTORNEY) as attorney:
        refused = attorney.post("/v1/directives", json=granting(participant))
    assert refused.status_code == 403
    order = {
        "id": "o-1",
        "participant": participant,
        "type": "order-filed",
        "order": {
            "id": "26-1",
            "recipient": ATTORNEY,
            "categories": ["court"],
            "starts_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-12-01T00:00:00Z",
            "subpoena": True,
        },
    }
    assert reach.post("/v1/directives", json=order).status_code == 403


def test_an_order_waits_for_a_second_officer(side: Side, reach: httpx.Client) -> None:
    order = {
        "id": "order-" + secrets.token_hex(6),
        "participant": added(reach),
        "type": "order-filed",
        "order": {
            "id": "26-1-00417",
            "recipient": ATTORNEY,
            "categories": ["court"],
            "starts_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-12-01T00:00:00Z",
            "subpoena": True,
        },
    }
    with side.person("officer") as first, side.person("officer-2") as second:
        filed = first.post("/v1/directives", json=order)
        assert filed.status_code == 202
        assert filed.json()["offset"] is None
        assert first.get(filed.headers["location"]).json()["state"] == "waiting"
        own = first.post(f"/v1/directives/{order['id']}/approvals")
        assert (own.status_code, own.json()["code"]) == (403, "second-officer")
        assert reach.post(f"/v1/directives/{order['id']}/approvals").status_code == 403
        approved = second.post(f"/v1/directives/{order['id']}/approvals")
        assert approved.status_code == 201
        assert approved.json()["offset"] is not None
        again = second.post(f"/v1/directives/{filed.json()['directive']}/approvals")
        assert again.status_code == 200
        assert second.post("/v1/directives/nothing/approvals").status_code == 404


# ---- the fence ------------------------------------------------------------------------------------------


def test_a_revocation_is_closed_only_when_every_outbox_said_so(
    side: Side,
    reach: httpx.Client,
    harbor: httpx.Client,
) -> None:
    participant, consent, _ = consented(reach)
    answer = harbor.post(
        f"/v1/consents/{consent}/revocations", json={"participant": participant}, headers=QUICK
    )
    assert (answer.status_code, answer.json()["state"]) == (202, "closing")
    fence, told = answer.headers["location"], answer.json()
    assert participant not in fence
    tell(side, told["partition"], acknowledged(told["partition"], told["offset"], *EVERYBODY[1:]))
    assert harbor.get(fence, headers={"prefer": "wait=1"}).status_code == 202
    tell(side, told["partition"], acknowledged(told["partition"], told["offset"] - 1))
    assert harbor.get(fence, headers={"prefer": "wait=1"}).status_code == 202
    tell(side, told["partition"], acknowledged(told["partition"], told["offset"], EVERYBODY[0]))
    closed = harbor.get(fence, headers={"prefer": "wait=10"})
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")


def test_a_revocation_answers_as_soon_as_it_is_closed(side: Side, reach: httpx.Client) -> None:
    participant, consent, granted = consented(reach)
    stop = threading.Event()

    def owner() -> None:
        while not stop.wait(0.05):
            tell(side, granted["partition"], acknowledged(granted["partition"], granted["offset"] + 1))

    worker = threading.Thread(target=owner)
    worker.start()
    try:
        before = time.monotonic()
        answer = reach.post(f"/v1/consents/{consent}/revocations", json={"participant": participant})
        assert (answer.status_code, answer.json()["state"]) == (200, "closed")
        assert time.monotonic() - before < 8
    finally:
        stop.set()
        worker.join()
    again = reach.post(f"/v1/consents/{consent}/revocations", json={"participant": participant})
    assert (again.status_code, again.json()["offset"]) == (200, answer.json()["offset"])


def test_what_may_have_gone_is_listed_and_never_answered_200(
    side: Side,
    reach: httpx.Client,
) -> None:
    participant, consent, granted = consented(reach)
    share = Share("s", "care-coordination", "consent", (f"{consent}/housing",), ("subject",), ())
    parcel = Parcel("d-" + secrets.token_hex(8), CLINIC, "webhook", "e-doubt", participant)
    partition, offset = granted["partition"], granted["offset"]
    tell(side, partition, deliveries.intent(parcel, (partition, 7), 1, 1_000, Applied(offset, 0), [share]))
    revoked = reach.post(
        f"/v1/consents/{consent}/revocations", json={"participant": participant}, headers=QUICK
    )
    tell(side, partition, acknowledged(partition, revoked.json()["offset"]))
    doubtful = reach.get(revoked.headers["location"], headers={"prefer": "wait=10"})
    assert (doubtful.status_code, doubtful.json()["state"]) == (202, "closed-in-doubt")
    assert doubtful.json()["in_doubt"] == [
        {"stakeholder": CLINIC, "event": "e-doubt", "attempt": 1, "at": 1_000}
    ]


def test_a_fence_is_shown_to_who_asked_for_it_and_to_officers(
    side: Side,
    reach: httpx.Client,
    harbor: httpx.Client,
) -> None:
    participant, consent, granted = consented(reach)
    body = {"participant": participant, "recipients": [CLINIC]}
    fence = harbor.post(f"/v1/consents/{consent}/revocations", json=body, headers=QUICK).json()["fence"]
    with side.person("officer") as officer:
        assert officer.get(fence).status_code == 202
    assert harbor.get(fence).status_code == 202
    for other in (
        reach.get(fence),
        harbor.get(f"/v1/fences/{granted['partition']}/{granted['offset']}"),
        harbor.get("/v1/fences/0/999999"),
        harbor.get("/v1/fences/99/0"),
        harbor.get("/v1/fences/0/99999999999999999999"),
    ):
        assert (other.status_code, other.json()["code"]) == (404, "not-found")
    assert harbor.get("/v1/fences/x/y").status_code == 422


def test_other_narrowings_have_their_fence_too(reach: httpx.Client) -> None:
    restriction = {
        "id": "never-" + secrets.token_hex(6),
        "participant": added(reach),
        "type": "restriction-placed",
        "restriction": {
            "id": "r",
            "recipients": [ATTORNEY],
            "purposes": ["*"],
            "categories": ["*"],
            "labels": ["*"],
        },
    }
    answer = reach.post("/v1/directives", json=restriction)
    assert answer.status_code == 201, answer.text
    assert reach.get(answer.json()["fence"]).status_code == 202


def test_unknown_consents_are_not_taken_back(reach: httpx.Client) -> None:
    answer = reach.post("/v1/consents/c-unknown/revocations", json={"participant": added(reach)})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("said", "wait_ms"),
    [("", 10), ("wait=0", 0), ("wait=5", 10), ("respond-async, WAIT=0", 0), ("wait=-1", 10), ("wait=x", 10)],
)
def test_how_long_a_caller_wants_to_wait(said: str, wait_ms: int) -> None:
    assert wished_ms(said, 10) == wait_ms


# ---- submissions, and what became of events -------------------------------------------------------------


def test_a_signature_and_its_event_come_in_one(side: Side, reach: httpx.Client) -> None:
    local = "R-" + secrets.token_hex(6)
    participant = reach.post("/v1/participants", json={"local_id": local}).json()["participant"]
    body = {
        "id": "sub-" + secrets.token_hex(6),
        "directives": [granting(participant)],
        "events": [event("ref-" + local, REACH, subject=local)],
    }
    first, again = reach.post("/v1/submissions", json=body), reach.post("/v1/submissions", json=body)
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json() == again.json()
    signed = first.json()["directives"][0]
    assert first.json()["events"][0]["status"] == "accepted"
    inbound = [
        codec.decode_as("Inbound", record.value())
        for record in records(side.hub.client["bootstrap.servers"], f"inbox.{REACH}")
    ]
    mine = [one for one in inbound if one["submission"] == body["id"]]
    assert [one["consent_at_least"] for one in mine] == [signed["offset"]]


def test_a_sender_asks_what_became_of_its_own_events(
    side: Side,
    harbor: httpx.Client,
    reach: httpx.Client,
) -> None:
    given = "asked-" + secrets.token_hex(6)
    hub_id = harbor.post("/v1/events", json=event(given), headers=STRUCTURED).json()[0]["event"]
    assert harbor.get(f"/v1/events/{hub_id}").status_code == 404
    parked = naming.event_id(side.hub.vault.mac, "urn:agency:harbor-house", given + "-parked")
    row = {"agency": HARBOR, "reason": None, "at": 5, "duplicates": 1, "conflicts": 0}
    with side.hub.store.write() as connection:
        upsert(
            connection,
            event_status,
            [row | {"event": hub_id, "status": "admitted"}, row | {"event": parked, "status": "parked"}],
        )
    found = harbor.get(f"/v1/events/{hub_id}").json()
    assert (found["status"], found["duplicates"]) == ("admitted", 1)
    assert harbor.get(f"/v1/events/{parked}").json()["status"] == "admitted", (
        "who is known is nobody's to ask"
    )
    assert reach.get(f"/v1/events/{hub_id}").status_code == 404


# ---- schemas --------------------------------------------------------------------------------------------


@pytest.fixture
def registry(side: Side) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": side.address}) as client:
        yield client


def test_a_stock_client_decodes_what_the_hub_wrote(
    side: Side,
    registry: SchemaRegistryClient,
    reach: httpx.Client,
) -> None:
    participant, _, answer = consented(reach)
    decode = AvroDeserializer(registry)
    values = [
        decode(record.value(), SerializationContext(record.topic(), MessageField.VALUE))
        for topic in ("consent", "governance", "identity")
        for record in records(side.hub.client["bootstrap.servers"], topic)
    ]
    assert any(one.get("id") == answer["directive"] and one["participant"] == participant for one in values)


def test_a_stock_client_encodes_an_agencys_event_without_registering(registry: SchemaRegistryClient) -> None:
    subject = f"inbox.{HARBOR}-value"
    versions = [registry.get_version(subject, number) for number in registry.get_versions(subject)]
    contact = next(one for one in versions if '"Contact"' in one.schema.schema_str)
    serialize = AvroSerializer(
        registry,
        contact.schema.schema_str,
        conf={"auto.register.schemas": False, "use.latest.version": False},
    )
    empty = dict.fromkeys([field["name"] for field in json.loads(contact.schema.schema_str)["fields"]], None)
    filled = empty | {"local_id": "H-1", "occurred_at": 1, "race_ethnicity": [], "needs": []}
    data = serialize(filled, SerializationContext(f"inbox.{HARBOR}", MessageField.VALUE))
    assert data is not None
    name, value = codec.decode(data)
    assert (name, value["local_id"]) == ("Contact", "H-1")


def test_a_stock_client_is_told_what_is_not_there(registry: SchemaRegistryClient, side: Side) -> None:
    for ask, code in (
        (lambda: registry.get_schema(9_999), 40403),
        (lambda: registry.get_versions("nothing-value"), 40401),
        (lambda: registry.get_version("consent-value", 99), 40402),
    ):
        with pytest.raises(SchemaRegistryError) as caught:
            ask()
        assert caught.value.error_code == code
    assert "consent-value" in registry.get_subjects()
    assert f"inbox.{HARBOR}-value" in registry.get_subjects()
    assert registry.get_latest_version("consent-value").version >= 1
    with side.client() as client:
        assert client.get("/config").json() == {"compatibilityLevel": "FULL_TRANSITIVE"}
        assert (
            client.post("/subjects/consent-value", json={"schema": '"string"'}).json()["error_code"] == 40403
        )
        assert client.post("/subjects/consent-value/versions", json={}).status_code in (404, 405)


# ---- the rest -------------------------------------------------------------------------------------------


def test_the_description_names_every_call_for_programs(side: Side) -> None:
    with side.client() as client:
        described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.0")
    paths = described["paths"]
    for path in (
        "/v1/events",
        "/v1/directives",
        "/v1/submissions",
        "/v1/participants",
        "/subjects/{subject}",
    ):
        assert path in paths
    assert not any(path.startswith(("/cases", "/officer", "/signin", "/static")) for path in paths)
    names = set(described["components"]["schemas"])
    for reference in _references(described):
        assert reference.rpartition("/")[2] in names


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_health_is_open_and_says_what_is_wrong(side: Side) -> None:
    with side.client() as client:
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 200
        health.expect(side.hub.settings.run_dir, ["web", "enforce"])
        try:
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["problems"] == ["enforce is not running"]
        finally:
            health.expect(side.hub.settings.run_dir, ["web"])
        metrics = client.get("/metrics")
    assert "hub_gateway_events_total" in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain")


def test_a_broken_part_is_told_without_its_insides(
    side: Side,
    reach: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Rosa Maldonado's file is on fire")

    monkeypatch.setattr("hub.participants.Participants.create", broken)
    answer = reach.post("/v1/participants", json={"local_id": "x"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "Rosa" not in answer.text


def test_no_collector_that_the_process_knows_is_told_of_a_request(
    side: Side, reach: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The framework would tell one what a request said wrong, and how it was handled."""
    collectors = [MagicMock() for _ in range(3)]
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", collectors[0])
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", collectors[1])
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", collectors[2])
    assert reach.post("/v1/participants", json={"local_id": 7}).status_code == 422
    added(reach)
    assert [one.mock_calls for one in collectors] == [[], [], []]


def test_many_senders_at_once_lose_nothing(side: Side) -> None:
    token, done = secrets.token_hex(4), []

    def send(number: int) -> None:
        with side.client(CLINIC) as client:
            batch = [event(f"{token}-{number}-{place}", CLINIC) for place in range(20)]
            done.append(client.post("/v1/events", json=batch, headers=BATCH).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [202] * 8
    opened = [
        side.hub.vault.hub("originals").open(
            f"inbox.{CLINIC}".encode(), codec.decode_as("Inbound", record.value())["sealed"]
        )
        for record in records(side.hub.client["bootstrap.servers"], f"inbox.{CLINIC}")
    ]
    assert sum(token.encode() in one for one in opened) == 160
