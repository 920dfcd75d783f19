"""The gateway: what is good stands in its sender's inbox, in order; what is not is kept, with the reason."""

import base64
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from connectors import gateway
from connectors.gateway import Busy, InFlight
from connectors.intake import Intake
from connectors.problems import problem
from hub import tokens
from schemas import codec, naming
from schemas.errors import Problem, Unavailable
from tests.webside import CLINIC, HARBOR, JAIL, REACH, Side, questions, records

pytestmark = pytest.mark.broker
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


def event(given: str, agency: str = HARBOR, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": given,
        "source": f"urn:agency:{agency}",
        "type": "service-engagement",
        "subject": "H-17",
        "time": "2026-11-20T10:00:00-08:00",
        "category": "service.housing",
        "data": {"provider": "Harbor House", "step": "accepted", "narrative": "¿Cuándo? — soon"},
    } | more


@pytest.fixture
def harbor(side: Side) -> Iterator[httpx.Client]:
    with side.client(HARBOR) as client:
        yield client


def inbox(side: Side, agency: str) -> list[dict[str, Any]]:
    """The originals in an agency's inbox, opened."""
    found = []
    for record in records(side.hub.client["bootstrap.servers"], f"inbox.{agency}"):
        inbound = codec.decode_as("Inbound", record.value())
        assert (inbound["agency"], inbound["via"]) == (agency, "http")
        opened = side.hub.vault.hub("originals").open(f"inbox.{agency}".encode(), inbound["sealed"])
        assert b"H-17" not in record.value()
        found.append(json.loads(opened))
    return found


def quarantined(side: Side) -> dict[str, tuple[dict[str, Any], bytes]]:
    """What quarantine holds, by reference: the record and the original, opened."""
    found = {}
    for record in records(side.hub.client["bootstrap.servers"], "quarantine"):
        kept = codec.decode_as("Quarantined", record.value())
        aad = b"quarantine\0" + kept["id"].encode()
        found[kept["id"]] = (kept, side.hub.vault.hub("originals").open(aad, kept["sealed"]))
    return found


def test_each_mode_reaches_the_inbox_in_order(side: Side) -> None:
    earlier = len(inbox(side, CLINIC))  # of other tests
    with side.client(CLINIC) as client:
        one = event("structured", CLINIC)
        client.post("/v1/events", json=one, headers=STRUCTURED).raise_for_status()
        batch = [event(f"batch-{number}", CLINIC) for number in range(200)]
        answer = client.post("/v1/events", json=batch, headers=BATCH)
        binary = {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": "binary",
            "ce-source": "urn:agency:tideline-clinic",
            "ce-type": "service-engagement",
            "ce-subject": "H-17",
            "ce-time": "2026-11-20T10:00:00Z",
            "ce-category": "service.housing",
        }
        client.post("/v1/events", json=one["data"], headers=binary).raise_for_status()
    assert answer.status_code == 202
    assert [(one["id"], one["status"], one["errors"]) for one in answer.json()] == [
        (f"batch-{number}", "accepted", []) for number in range(200)
    ]
    stored = inbox(side, CLINIC)[earlier:]
    assert [one["id"] for one in stored] == ["structured", *(one["id"] for one in batch), "binary"]
    assert stored[0] == one
    assert stored[-1]["data"] == one["data"]


def test_the_hubs_id_of_an_event_repeats_and_says_nothing(side: Side, harbor: httpx.Client) -> None:
    first = harbor.post("/v1/events", json=event("case 26-00417"), headers=STRUCTURED).json()[0]["event"]
    again = harbor.post("/v1/events", json=event("case 26-00417"), headers=STRUCTURED).json()[0]["event"]
    other = harbor.post("/v1/events", json=event("case 26-00418"), headers=STRUCTURED).json()[0]["event"]
    assert first == again == naming.event_id(side.hub.vault.mac, "urn:agency:harbor-house", "case 26-00417")
    assert first != other
    assert "417" not in first


def test_nobody_can_ask_who_is_known(side: Side, harbor: httpx.Client) -> None:
    with side.client(REACH) as reach:
        person = reach.post("/v1/participants", json={"local_id": "R-77"}).json()["participant"]
        link = {"agency": HARBOR, "local_id": "known"}
        assert reach.post(f"/v1/participants/{person}/links", json=link).status_code == 201
    answers, asked = [], []
    for who in ("first", "known", "unknown"):
        with questions(side) as found:
            answers.append(
                harbor.post("/v1/events", json=event(f"about-{who}", subject=who), headers=STRUCTURED)
            )
        asked.append(found)
    answers = answers[1:]
    assert asked[1] == asked[2], "nor by the time it takes: the same questions to the store"
    said = [{**answer.json()[0], "id": "", "event": ""} for answer in answers]
    assert said[0] == said[1]
    assert answers[0].status_code == answers[1].status_code == 202


@pytest.mark.parametrize(
    ("bad", "code", "path"),
    [
        ({"category": "service.palmistry"}, "unknown-category", "/category"),
        ({"category": "service.no-show"}, "failure-has-no-place", "/category"),
        ({"data": {"step": "no-show"}}, "failure-has-no-place", "/data/step"),
        ({"source": "urn:agency:reach"}, "source-not-yours", "/source"),
        ({"source": "urn:agency:harbor-house-2"}, "source-not-yours", "/source"),
        ({"time": "2026-11-20T10:00:00"}, "bad-time", "/time"),
        ({"labels": "part2,gossip"}, "unknown-label", "/labels"),
        ({"data": {"narrative": "x" * 40_000}}, "too-long", "/data/narrative"),
        ({"data": {"narrative": "\ud800"}}, "lone-surrogate", "/data/narrative"),
        ({"specversion": "0.3"}, "unknown-version", "/specversion"),
    ],
)
def test_a_bad_event_is_kept_with_its_reason_and_the_next_goes_through(
    side: Side,
    harbor: httpx.Client,
    bad: dict[str, Any],
    code: str,
    path: str,
) -> None:
    spoilt, good = event(f"bad-{code}-{path}", **bad), event(f"after-{code}-{path}")
    answer = harbor.post("/v1/events", content=json.dumps([spoilt, good]).encode(), headers=BATCH)
    first, second = answer.json()
    assert (first["status"], second["status"]) == ("rejected", "accepted")
    assert (first["errors"][0]["code"], first["errors"][0]["path"]) == (code, path)
    assert first["id"] == spoilt["id"]
    record, original = quarantined(side)[first["quarantine"]]
    assert (record["stage"], record["agency"], record["reason"]) == ("gateway", HARBOR, code)
    assert json.loads(original) == spoilt
    assert inbox(side, HARBOR)[-1]["id"] == good["id"]


def test_no_answer_repeats_what_was_sent(harbor: httpx.Client) -> None:
    secret = "Rosa-Maldonado"
    for bad in (
        {"category": secret},
        {"labels": secret},
        {"data": {secret: 1}},
        {"data": {"step": secret}},
        {"data": {"units": secret}},
        {"type": secret},
        {"time": secret},
    ):
        answer = harbor.post("/v1/events", json=event("x", **bad), headers=STRUCTURED)
        assert answer.json()[0]["status"] == "rejected"
        assert secret not in answer.text


def test_a_field_of_ten_megabytes_is_refused_and_kept_whole(side: Side, harbor: httpx.Client) -> None:
    huge = json.dumps([event("huge", data={"narrative": "x" * 10_000_000}), event("after-huge")]).encode()
    first, second = harbor.post("/v1/events", content=huge, headers=BATCH).json()
    assert (first["status"], first["errors"][0]["code"]) == ("rejected", "too-large")
    assert second["status"] == "accepted"
    record, original = quarantined(side)[first["quarantine"]]
    assert record["size"] == len(original) > 10_000_000


def test_what_cannot_be_read_at_all_is_kept_too(side: Side, harbor: httpx.Client) -> None:
    for body, headers, code in (
        (b'{"specversion": "1.0", ', STRUCTURED, "not-json"),
        ("[{}, caf\xe9]".encode("latin-1"), BATCH, "not-utf-8"),
        (b'{"not": "a list"}', BATCH, "not-a-batch"),
    ):
        answer = harbor.post("/v1/events", content=body, headers=headers)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert (told["status"], told["code"]) == (400, code)
        assert quarantined(side)[told["quarantine"]][1] == body


def test_bodies_past_the_bound_are_cut_off(harbor: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(14):
            yield b"x" * (1 << 20)

    declared = harbor.post("/v1/events", content=b"x" * (gateway.body_bytes_max + 1), headers=STRUCTURED)
    streamed = harbor.post("/v1/events", content=endless(), headers=STRUCTURED)
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert answer.json()["code"] == "too-large"


def test_other_content_is_refused(harbor: httpx.Client) -> None:
    for kind in ("application/json", "text/csv", "application/cloudevents+xml"):
        answer = harbor.post("/v1/events", content=b"{}", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unknown-content-type")


def test_a_batch_has_a_bound(harbor: httpx.Client) -> None:
    answer = harbor.post("/v1/events", json=[event(str(n)) for n in range(1001)], headers=BATCH)
    assert (answer.status_code, answer.json()["code"]) == (400, "batch-too-long")
    assert harbor.post("/v1/events", json=[], headers=BATCH).json() == []


def test_one_sender_too_much_at_once_waits_and_others_do_not(side: Side, harbor: httpx.Client) -> None:
    place = urlsplit(side.address)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1000\r\n"
        f"Authorization: Bearer {side.tokens[HARBOR]}\r\nContent-Type: {STRUCTURED['content-type']}\r\n\r\n{{"
    )
    held = [socket.create_connection((str(place.hostname), int(place.port or 0))) for _ in range(17)]
    assert len(held) == gateway.sender_requests_max + 1
    try:
        for one in held:
            one.sendall(head.encode())
        answered, _, _ = select.select(held, [], [], 20)
        assert len(answered) == 1
        answer = answered[0].recv(10_000)
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1" in answer
        with side.client(JAIL) as jail:
            other = jail.post("/v1/events", json=event("fine", JAIL), headers=STRUCTURED)
        assert other.json()[0]["status"] == "accepted"
        assert not select.select([one for one in held if one not in answered], [], [], 0)[0]
    finally:
        for one in held:
            one.close()
    until = time.monotonic() + 10
    while (answer := harbor.post("/v1/events", json=event("late"), headers=STRUCTURED)).status_code == 429:
        assert time.monotonic() < until, "the places of those who went away were not freed"
    assert answer.status_code == 202


def test_bytes_under_way_have_a_bound() -> None:
    bound = InFlight(bytes_max=10, requests_max=2)
    with bound.request("a") as grow:
        grow(6)
        with bound.request("b") as more:
            with pytest.raises(Busy):
                more(5)
            more(4)
        grow(4)
    with bound.request("a") as grow, bound.request("a") as more:
        grow(5)
        more(5)
        with pytest.raises(Busy), bound.request("a"):
            pass


def test_a_retired_sender_is_refused(side: Side) -> None:
    token = tokens.mint(side.hub.store, "somebody-else")
    answer = httpx.post(
        side.address + "/v1/events",
        json=event("x", "somebody-else"),
        headers={**STRUCTURED, "authorization": f"Bearer {token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "not-registered")


def test_a_token_that_ended_hands_nothing_in_before_long(side: Side) -> None:
    token = tokens.mint(side.hub.store, CLINIC)
    (one,) = [row for row in tokens.listed(side.hub.store, CLINIC) if row.expires_at is None]
    with side.client(token=token) as client:
        assert client.post("/v1/events", json=event("e-1", CLINIC), headers=STRUCTURED).status_code == 202
        assert tokens.end(side.hub.store, CLINIC, one.id)
        until = time.monotonic() + 60
        while client.post("/v1/events", json=event("e-1", CLINIC), headers=STRUCTURED).status_code == 202:
            assert time.monotonic() < until
        answer = client.post("/v1/events", json=event("e-1", CLINIC), headers=STRUCTURED)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["x-frame-options"] == "DENY"


def test_another_method_is_refused_as_everywhere(harbor: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = harbor.request(method, "/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (405, "http")


async def test_nothing_is_accepted_that_is_not_stored(side: Side) -> None:
    class Away:
        async def send_all(self, *_: Any) -> None:
            raise Unavailable("the log took no record")

    intake = Intake(Away(), side.hub.vault, side.hub.follower, 2)
    taken = intake.examine(HARBOR, STRUCTURED, json.dumps(event("x")).encode())
    assert isinstance(taken, list)
    with pytest.raises(Unavailable):
        await intake.append(taken)


def test_a_files_record_is_handed_over(side: Side, harbor: httpx.Client) -> None:
    original = b'17,"Rosa\nMaldonado",caf\xe9'
    body = {
        "reason": "not-utf-8",
        "detail": "a byte that is not UTF-8",
        "path": "line 17, column 3",
        "original": base64.b64encode(original).decode(),
    }
    answer = harbor.post("/v1/quarantine", json=body)
    assert answer.status_code == 201
    record, kept = quarantined(side)[answer.json()["quarantine"]]
    assert kept == original
    assert (record["reason"], record["path"], record["via"]) == ("not-utf-8", "line 17, column 3", "file")
    refused = ({"original": "***"}, {"original": "café"}, {"reason": "Rosa M."}, {"detail": 5})
    for wrong in ([], *({**body, **one} for one in refused)):
        assert harbor.post("/v1/quarantine", json=wrong).status_code == 400


def test_headers_of_a_refused_binary_event_are_kept_sealed(side: Side, harbor: httpx.Client) -> None:
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "b-1",
        "ce-type": "contact",
    }
    told = harbor.post("/v1/events", content=b"{}", headers=headers).json()[0]
    assert (told["id"], told["status"]) == ("b-1", "rejected")
    record, _ = quarantined(side)[told["quarantine"]]
    aad = b"quarantine\0" + record["id"].encode() + b"\0headers"
    pairs = json.loads(side.hub.vault.hub("originals").open(aad, record["headers"]))
    assert ["ce-id", "b-1"] in pairs
    assert not any(name == "authorization" for name, _ in pairs)


def test_a_problem_is_what_rfc_9457_says() -> None:
    answer = problem(422, "some-code", "a sentence", errors=[Problem("/a", "b", "c")])
    body = json.loads(bytes(answer.body))
    assert answer.media_type == "application/problem+json"
    assert body["type"] == "urn:diversion-hub:problem:some-code"
    assert (body["title"], body["status"], body["detail"]) == ("Unprocessable Entity", 422, "a sentence")
    assert body["errors"] == [{"path": "/a", "code": "b", "detail": "c"}]
