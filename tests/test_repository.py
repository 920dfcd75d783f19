"""FHIR out: transactions that FHIR's own models read, to a server that keeps them, refuses them, or lies."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.encounter import Encounter
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.provenance import Provenance
from fhir.resources.R4B.servicerequest import ServiceRequest

from connectors import bundles, repository
from connectors.adapter import Outcome, Outgoing
from connectors.http import HttpSettings
from connectors.repository import Repositories, checked

AT = "2026-11-23T15:00:00.000Z"
READERS = {
    "Encounter": Encounter,
    "Patient": Patient,
    "Provenance": Provenance,
    "ServiceRequest": ServiceRequest,
}
SUBJECT = {"name": "Ana Invented", "birth_date": "1990-02-03"}
CONTACT = {
    "subject": SUBJECT,
    "occurrence": {"occurred_at": AT, "ended_at": AT, "facility": "North Hall"},
    "activity": {"mode": "phone", "staff": "M. Invented", "needs": ["a coat"]},
    "narrative": {"narrative": "Said <b>hello</b> & left"},
}
SERVICE = {
    "activity": {"provider": "Harbor House", "program": "housing first", "step": "ongoing"},
    "clinical": {"codes": [{"system": "http://snomed.info/sct", "code": "160734000", "display": "Homeless"}]},
}
REFERRAL = {
    "subject": SUBJECT,
    "activity": {"door": "arrest diversion", "referred_by": "Officer Invented", "handoff_due_at": AT},
}


def outgoing(kind: str, data: dict[str, Any], url: str = "", **view: Any) -> Outgoing:
    seen = {
        "id": "0f" * 16,
        "source": "urn:agency:outreach",
        "type": kind,
        "participant": "ab" * 16,
        "purposes": ["care-coordination", "treatment"],
        "obligations": ["no-redisclosure", "attach-part2-notice"],
        "notices": [{"citation": "42 CFR 2.32", "form": "short", "text": "42 CFR part 2 prohibits ..."}],
        "consent_scope": [{"grant": "g", "said": {"en": "You may know who.", "es": "..."}}],
        "data": data,
        **view,
    }
    return Outgoing("d-" + "1c" * 16, "clinic", repository.ADAPTER, 1, {"url": url}, seen, {}, ())


def resources(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["resource"]["resourceType"]: one["resource"] for one in made["entry"]}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("contact", CONTACT),
        ("contact", {}),
        ("contact", {"occurrence": {"booked_at": AT}}),
        ("service-engagement", SERVICE),
        ("referral", REFERRAL),
        ("referral", {}),
    ],
)
def test_every_resource_is_read_by_fhirs_models_and_says_the_same_after(
    kind: str, data: dict[str, Any]
) -> None:
    made = bundles.bundle(outgoing(kind, data), AT)
    assert made is not None
    content = checked(made)
    assert content is not None
    again = Bundle.model_validate_json(content)
    assert json.loads(again.model_dump_json(exclude_none=True)) == json.loads(content)
    for name, resource in resources(json.loads(content)).items():
        READERS[name].model_validate(resource)
    assert set(resources(made)) == {"Patient", bundles.RESOURCES[kind], "Provenance"}


def test_what_is_permitted_stands_where_fhir_has_a_place_for_it() -> None:
    made = bundles.bundle(outgoing("contact", CONTACT, category="contact.outreach", local_id="C-9"), AT)
    assert made is not None
    found = resources(made)
    assert found["Patient"]["name"] == [{"text": "Ana Invented"}]
    assert [one["value"] for one in found["Patient"]["identifier"]] == ["ab" * 16, "C-9"]
    encounter = found["Encounter"]
    assert encounter["period"] == {"start": AT, "end": AT}
    assert encounter["location"] == [{"location": {"display": "North Hall"}}]
    assert encounter["class"]["code"] == "VR"
    assert encounter["type"][0]["coding"][0]["code"] == "contact.outreach"
    assert "Said &lt;b&gt;hello&lt;/b&gt; &amp; left" in encounter["text"]["div"]


def test_and_nothing_else_does() -> None:
    made = bundles.bundle(outgoing("contact", {}), AT)
    assert made is not None
    found = resources(made)
    assert set(found["Patient"]) == {"resourceType", "identifier", "meta"}
    assert {"period", "location", "participant", "text", "reasonCode"}.isdisjoint(found["Encounter"])


def test_labels_say_what_to_refrain_from_and_what_it_may_be_used_for() -> None:
    made = bundles.bundle(outgoing("referral", REFERRAL), AT)
    assert made is not None
    for resource in resources(made).values():
        assert [one["code"] for one in resource["meta"]["security"]] == [
            "R",
            "NORDSCLCD",
            "42CFRPart2",
            "COC",
            "TREAT",
        ]


def test_where_it_comes_from_goes_with_it_and_so_does_what_the_law_wants_told() -> None:
    made = bundles.bundle(outgoing("contact", CONTACT), AT)
    assert made is not None
    provenance = resources(made)["Provenance"]
    assert provenance["target"] == [{"reference": made["entry"][1]["fullUrl"]}]
    assert provenance["agent"][1]["who"]["identifier"]["value"] == "urn:agency:outreach"
    assert "42 CFR part 2 prohibits" in provenance["text"]["div"]
    assert "You may know who." in provenance["text"]["div"]


class Fhir:
    """A small FHIR server: it takes transactions, matches by identifier, and answers as told."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.heard: list[dict[str, str]] = []
        self.answer: tuple[int, str, bytes] | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.heard.append({name.lower(): value for name, value in self.headers.items()})
                body = self.rfile.read(int(self.headers["content-length"]))
                status, media_type, said = owner.answer or owner.take(body)
                self.send_response(status)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/fhir"

    def take(self, body: bytes) -> tuple[int, str, bytes]:
        """By the rules for transactions: conditional create leaves what is there, an update replaces it."""
        read = Bundle.model_validate_json(body)
        assert read.type == "transaction"
        for entry in json.loads(body)["entry"]:
            request = entry["request"]
            if request["method"] == "POST":
                self.kept.setdefault(request["url"] + "?" + request["ifNoneExist"], entry["resource"])
            else:
                assert request["method"] == "PUT"
                self.kept[request["url"]] = entry["resource"]
        answer = {"resourceType": "Bundle", "type": "transaction-response"}
        return 200, "application/fhir+json;charset=utf-8", json.dumps(answer).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Fhir]:
    made = Fhir()
    yield made
    made.close()


class Bearer:
    def bearer(self, stakeholder: str) -> str | None:
        return "their-token" if stakeholder == "clinic" else None


async def send(one: Outgoing) -> Outcome:
    made = Repositories(Bearer(), HttpSettings(private=True, plain=True))
    try:
        return await made.deliver(one)
    finally:
        await made.aclose()


async def test_a_server_keeps_it_once_however_often_it_comes(server: Fhir) -> None:
    one = outgoing("contact", CONTACT, server.url)
    assert await send(one) == Outcome("delivered", "http-200")
    first = dict(server.kept)
    assert await send(one) == Outcome("delivered", "http-200")
    assert set(server.kept) == set(first)
    assert len(first) == 3
    assert server.heard[0]["content-type"] == "application/fhir+json"
    assert server.heard[0]["authorization"] == "Bearer their-token"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, "text/html", b"<h1>Sorry</h1>"), Outcome("failed", "no-fhir")),
        ((200, "application/json", b'{"resourceType": "OperationOutcome"}'), Outcome("failed", "no-fhir")),
        ((200, "application/fhir+json", b"{"), Outcome("failed", "no-fhir")),
        ((200, "application/fhir+json", b"[]"), Outcome("failed", "no-fhir")),
        ((200, "application/fhir+json", b" " * 70_000), Outcome("failed", "no-fhir")),
        ((422, "application/fhir+json", b"{}"), Outcome("refused", "http-422")),
        ((401, "application/fhir+json", b"{}"), Outcome("failed", "http-401")),
        ((503, "text/html", b"later"), Outcome("failed", "http-503")),
    ],
)
async def test_only_a_transactions_answer_is_one(
    server: Fhir, answer: tuple[int, str, bytes], expected: Outcome
) -> None:
    server.answer = answer
    assert await send(outgoing("contact", CONTACT, server.url)) == expected


async def test_what_fhir_has_no_resource_for_is_refused_and_not_made_up(server: Fhir) -> None:
    assert await send(outgoing("court-status", {}, server.url)) == Outcome("refused", "no-resource")
    assert server.heard == []


async def test_what_fhirs_models_would_not_read_never_leaves(server: Fhir) -> None:
    data = {"subject": {"birth_date": "the third of May"}}
    assert await send(outgoing("contact", data, server.url)) == Outcome("refused", "invalid-resource")
    assert server.heard == []


@pytest.mark.parametrize("url", [None, "", "ftp://host", "http://user@host/fhir"])
async def test_an_unfit_address_is_never_tried(url: Any) -> None:
    assert await send(outgoing("contact", {}, url)) == Outcome("failed", "url-unfit")
