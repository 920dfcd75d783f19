"""The county's side of every way, against the hub's: what one writes, the other reads as what it means."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from connectors import bundles, feed, files, mapping, markup, resources, tabular
from connectors.adapter import Outcome, Outgoing
from connectors.http import HttpSettings
from connectors.repository import Repositories, checked
from connectors.schedule import awake_ms
from connectors.sftp import Files
from connectors.webhook import signed
from consent import Policy, fhir, notices
from examples.county import charts, sheets
from examples.county.clinic import Clinic
from examples.county.desk import Desk
from examples.county.endpoints import Endpoints, verified
from examples.county.events import CHANNELS, Event
from examples.county.expected import Due, Reckoner
from examples.county.files import LAYOUTS
from examples.county.forms import arrived, heard
from examples.county.hubside import in_binary
from examples.county.inbox import _record
from examples.county.mailbox import Mailbox, Reader, private_key
from examples.county.messages import charge_case, filing, resource
from examples.county.plan import Plan, plan
from examples.county.shelf import Arrival, Shelf
from examples.county.sight import seen, sight
from examples.county.signed import BY_FHIR
from examples.county.signed import resource as consent_resource
from examples.county.summary import OUT
from examples.county.wishes import SCENES
from hub.signing import PRIVATE
from schemas import cloudevents, compartments, events, registry
from tests.test_county import ANCHOR, POLICY
from tests.test_sftp import Kept

KNOWN = (set(POLICY["categories"]), set(POLICY["labels"]))


@pytest.fixture(scope="module")
def county() -> tuple[Plan, list[Due]]:
    planned = plan(11, ANCHOR, 54)
    moments = {scene: ANCHOR + number * 60_000 for number, scene in enumerate(SCENES)}
    return planned, [due for due in Reckoner(planned, POLICY, moments).dues() if due.certain]


def published(told: Any) -> events.Published:
    """What the hub makes of an event in CloudEvents' JSON."""
    return events.validate(cloudevents.parse_structured(told), *KNOWN)


def outgoing(planned: Plan, due: Due, number: int, **settings: Any) -> Outgoing:
    """A delivery as the engine would hand it to an adapter: of the event as the hub reads it."""
    share = due.certain
    assert share is not None
    person = planned.people[due.event.person]
    whole = sight(due.event, share, person, due.stakeholder)
    parts = {
        part: {name: value for name, value in fields.items() if name != "local_id"}
        for part, fields in published(due.event.cloudevent()).compartments.items()
        if part in share.compartments
    }
    shown = {part: compartments.render(due.event.type, fields) for part, fields in parts.items()}
    view = whole | {
        "id": f"e-{number}",
        "participant": f"p-{due.event.person}",
        "notices": [one.as_json() for one in notices.attached(share.obligations)],
        "consent_scope": [
            {
                "grant": "g",
                "purpose": purpose,
                "compartments": inside,
                "until": None,
                "said": {"en": "So <far>."},
            }
            for purpose, inside in whole["consent_scope"]
        ],
        "data": {part: fields for part, fields in shown.items() if fields},
    }
    fields = {name: value for one in parts.values() for name, value in one.items()}
    return Outgoing(
        f"d-{number}", due.stakeholder, due.way, 1, settings, view, {}, (), fields, awake_ms() + 20_000
    )


def by_way(county: tuple[Plan, list[Due]], form: str) -> list[tuple[Due, Outgoing, str]]:
    """What is due in one form: the delivery, and what has to be read out of it. Never nothing."""
    planned, dues = county
    found = []
    for number, due in enumerate(dues):
        agency = planned.agencies[due.stakeholder]
        if agency.way_form(due.way) == form and due.certain is not None:
            person = planned.people[due.event.person]
            told = seen(due.event, due.certain, person, due.stakeholder, form)
            found.append((due, outgoing(planned, due, number), told))
    assert len(found) > 5
    return found


def test_somebody_is_told_by_every_way_and_somebody_tells_by_every_way(
    county: tuple[Plan, list[Due]],
) -> None:
    planned, dues = county
    assert {planned.agencies[due.stakeholder].way_form(due.way) for due in dues} == set(OUT)
    assert {event.channel for scene in planned.scenes for event in scene.events} == set(CHANNELS)
    assert {agency.signed for agency in planned.agencies.values()} == {"hmac", "ed25519"}


def test_csv_files_are_read_as_what_is_due(county: tuple[Plan, list[Due]]) -> None:
    for due, sent, told in by_way(county, "csv"):
        text = tabular.written([sent], "csv").decode()
        ((key, body),) = sheets.rows(f"{due.event.type}-20261123T150001Z-1f0c62aa.csv", text)
        assert (key, body["id"], body["participant"]) == (sent.key, sent.view["id"], sent.view["participant"])
        assert arrived(body, "csv") == told


def test_fhir_transactions_are_read_as_what_is_due_and_answered_so_that_the_hub_believes_it(
    county: tuple[Plan, list[Due]], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf")
    clinic = Clinic(shelf)
    kinds = set()
    for due, sent, told in by_way(county, "fhir"):
        posted = checked(bundles.bundle(sent, "2026-11-23T15:00:01.000Z") or {})
        assert posted is not None
        arrival, answer = clinic.read(due.stakeholder, posted, 7)
        assert arrival.key == sent.key
        assert arrived(arrival.body, "fhir") == told
        kinds.add(arrival.body["resource"])
        shelf.put(arrival)
        assert answer["type"] == "transaction-response"
    assert kinds == {"Encounter", "ServiceRequest"}
    shelf.close()


def test_a_feed_is_heard_as_what_is_due(county: tuple[Plan, list[Due]]) -> None:
    for _, sent, told in by_way(county, "feed"):
        value = feed.value(sent)
        schema = parse_schema(registry.schema(int.from_bytes(value[1:5], "big")))
        fields: Any = schemaless_reader(io.BytesIO(value[5:]), schema, None)
        headers = {
            name.removeprefix("ce_"): text.decode() if isinstance(text, bytes) else text
            for name, text in feed.headers(sent)
        }
        body = heard(headers, fields)
        assert (body["id"], body["participant"]) == (sent.view["id"], sent.view["participant"])
        assert arrived(body, "feed") == told


@pytest.mark.parametrize("form", ["jsonl", "pull", "webhook", "alerts"])
def test_what_is_told_whole_is_what_is_due(county: tuple[Plan, list[Due]], form: str) -> None:
    for _, sent, told in by_way(county, form):
        assert arrived(json.loads(json.dumps(sent.view)), form) == told


def of_channel(planned: Plan, channel: str) -> Iterator[Event]:
    yield from (event for scene in planned.scenes for event in scene.events if event.channel == channel)


def same(event: Event, told: Any) -> None:
    """Whether the hub reads this as that event, but for the id, which some formats make of other things."""
    meant = published(event.cloudevent())._replace(id="")
    assert published(told)._replace(id="") == meant


def test_files_say_what_their_agencies_mean(county: tuple[Plan, list[Due]]) -> None:
    for channel, name in (("docket", "court-docket"), ("roster", "jail-roster")):
        header, as_row = LAYOUTS[channel]
        mapper = mapping.load(name)
        assert isinstance(mapper, mapping.Mapper)
        told = list(of_channel(county[0], channel))
        lines = [",".join(f'"{as_row(event).get(column, "")}"' for column in header) for event in told]
        text = "\r\n".join([",".join(header), *lines, ""]).encode()
        rows = list(files.read(io.BytesIO(text), mapper, f"urn:agency:{told[0].source}"))
        assert len(rows) == len(told) > 5
        for event, row in zip(told, rows, strict=True):
            assert not row.problems
            same(event, row.event)


def test_messages_say_what_their_agencies_mean(county: tuple[Plan, list[Due]]) -> None:
    mapper = mapping.load("niem-charge-filing")
    assert isinstance(mapper, mapping.Mapper)
    charges = list(of_channel(county[0], "niem"))
    text = filing(map(charge_case, charges)).encode()
    rows = list(markup.read(io.BytesIO(text), mapper, "urn:agency:city-attorney"))
    for event, row in zip(charges, rows, strict=True):
        same(event, row.event)
    kinds = set()
    for event in of_channel(county[0], "fhir"):
        made = resource(event)
        kinds.add(made["resourceType"])
        same(event, resources.event(made, f"urn:agency:{event.source}"))
    assert kinds == {"Encounter", "ServiceRequest"}


def test_records_for_an_inbox_say_what_their_agency_means(county: tuple[Plan, list[Due]]) -> None:
    schema_id = registry.newest("Contact")
    schema = parse_schema(json.loads(str(Schema(json.dumps(registry.schema(schema_id)), "AVRO").schema_str)))

    def encode(fields: Any, _: Any) -> bytes:
        out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
        out.seek(5)
        schemaless_writer(out, schema, fields)
        return out.getvalue()

    modes = set()
    for event in of_channel(county[0], "kafka"):
        headers, value = _record(event, event.source, encode)  # type: ignore[arg-type]
        as_bytes = [(name, text.encode() if isinstance(text, str) else text) for name, text in headers]
        modes.add(dict(as_bytes)["content-type"])
        read = events.validate(cloudevents.parse_kafka(as_bytes, value), *KNOWN)
        assert read == published(event.cloudevent())
    assert len(modes) == 2


def test_requests_in_binary_mode_say_what_their_agency_means(county: tuple[Plan, list[Due]]) -> None:
    told = list(of_channel(county[0], "http-binary"))
    assert told
    for event in told:
        read = cloudevents.parse_binary(*in_binary(event))
        assert events.validate(read, *KNOWN) == published(event.cloudevent())


def test_a_consent_as_a_resource_grants_the_same(county: tuple[Plan, list[Due]]) -> None:
    planned, _ = county
    policy = Policy.of(POLICY)
    found = [one for _, one in planned.directives() if planned.people[one.person].profile in BY_FHIR]
    assert len(found) >= len(BY_FHIR)
    for one in found:
        consent = one.body["consent"]
        made = consent_resource(consent, "p-1", {"name": "T.", "organisation": "reach"})
        (granted,) = fhir.directives(made, policy)
        assert {key: granted["consent"][key] for key in ("id", "signed_at", "starts_at", "expires_at")} == {
            key: consent[key] for key in ("id", "signed_at", "starts_at", "expires_at")
        }
        assert granted["consent"]["signature"] == consent["signature"]
        read, meant = granted["consent"]["grants"], consent["grants"]
        assert [_plain(grant) for grant in read] == [_plain(grant) for grant in meant]


def _plain(grant: dict[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in grant.items()
        if name != "id"
    }


class OneKey:
    """The hub's key, the same for everybody."""

    def __init__(self, path: Path) -> None:
        self.key = private_key(path)

    def ssh(self, stakeholder: str) -> str | None:
        return str(self.key.export_private_key("openssh").decode())

    @property
    def public(self) -> str:
        return str(self.key.export_public_key("openssh").decode())


def test_the_mailbox_takes_files_from_the_hub_and_from_nobody_else(
    county: tuple[Plan, list[Due]], tmp_path: Path
) -> None:
    mailbox, shelf, notes = Mailbox(tmp_path / "mailbox"), Shelf(tmp_path / "shelf"), Kept()
    mailbox.start()
    key = OneKey(tmp_path / "hub-key")
    place = mailbox.trust("harbor-pd", key.public)
    mailbox.trust("harbor-house", OneKey(tmp_path / "another").public)
    settings = {"host_key": mailbox.public_key, "every": "at-once", "format": "jsonl"}
    due, sent, told = by_way(county, "jsonl")[0]
    own, others = (
        Outgoing(
            sent.key,
            who,
            "sftp",
            1,
            settings | {"url": mailbox.drop(who)},
            sent.view,
            {},
            (),
            {},
            awake_ms() + 20_000,
        )
        for who in ("harbor-pd", "harbor-house")
    )

    async def put() -> list[Outcome]:
        adapter = Files(key, notes, lambda: time.time_ns() // 1_000_000, private=True)
        return [await adapter.deliver(own), await adapter.deliver(others)]

    assert [one.code for one in asyncio.run(put())] == ["renamed", "login"]
    reader = Reader(shelf, due.stakeholder, place / "in")
    (place / "in" / ".contact-20261123T150001Z-1f0c62aa.jsonl.part").write_text('{"id": "half"')
    reader.look()
    Reader(
        shelf, due.stakeholder, place / "in"
    ).look()  # after a kill: all is read again, and nothing repeated
    (arrival,) = shelf.all()
    assert (arrival.key, arrival.way, shelf.repeats[due.stakeholder]) == (sent.key, "sftp", 0)
    assert arrived(arrival.body, "jsonl") == told
    mailbox.stop()
    shelf.close()


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[Endpoints]:
    servers = Endpoints(Shelf(tmp_path / "shelf.jsonl"))
    servers.start()
    yield servers
    servers.stop()
    servers.shelf.close()


class Bearer:
    def __init__(self, token: str) -> None:
        self.token = token

    def bearer(self, stakeholder: str) -> str | None:
        return self.token


def test_the_clinics_server_takes_what_the_hub_posts_and_asks_for_its_token(
    county: tuple[Plan, list[Due]], endpoints: Endpoints
) -> None:
    due, sent, told = by_way(county, "fhir")[0]
    endpoints.clinic.tokens[due.stakeholder] = "good"
    to = Outgoing(
        sent.key, due.stakeholder, "fhir", 1, {"url": endpoints.fhir(due.stakeholder)}, sent.view, {}, ()
    )

    async def post(token: str) -> Outcome:
        adapter = Repositories(Bearer(token), HttpSettings(private=True, plain=True))
        try:
            return await adapter.deliver(to)
        finally:
            await adapter.aclose()

    assert asyncio.run(post("bad")).code == "http-401"
    assert [asyncio.run(post("good")) for _ in range(2)] == [Outcome("delivered", "http-200")] * 2
    (arrival,) = endpoints.shelf.all()
    assert arrived(arrival.body, "fhir") == told
    assert endpoints.shelf.repeats[due.stakeholder] == 1
    answer = httpx.post(
        endpoints.fhir(due.stakeholder), content=b"{}", headers={"authorization": "Bearer good"}
    )
    assert (answer.status_code, answer.json()["resourceType"]) == (422, "OperationOutcome")


def test_a_transaction_that_lacks_its_provenance_is_not_taken(
    county: tuple[Plan, list[Due]], tmp_path: Path
) -> None:
    _, sent, _ = by_way(county, "fhir")[0]
    made = bundles.bundle(sent, "2026-11-23T15:00:01.000Z")
    assert made is not None
    with pytest.raises((KeyError, StopIteration)):
        charts.read(one["resource"] for one in made["entry"][:2])


def test_a_page_that_goes_on_showing_what_was_taken_back_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    mine = [due for due in dues if due.way == "alerts"]
    assert {due.stands for due in mine} == {True, False}, "some are taken back, and some stay"
    desk = Desk.__new__(Desk)
    desk.stakeholder = mine[0].stakeholder
    everything = [{"event": outgoing(planned, due, n).view} for n, due in enumerate(mine)]
    desk.more = 0
    desk.standing = [one for one, due in zip(everything, mine, strict=True) if due.stands]
    assert desk.amiss(dues, planned.people) == []
    gone = len(everything) - len(desk.standing)
    desk.standing = everything
    assert desk.amiss(dues, planned.people) == [f"alerts that stand, but should not: {gone}"]
    desk.standing = []
    assert len(desk.amiss(dues, planned.people)) == 1


def test_a_record_read_again_where_it_lies_is_no_repeat_and_another_one_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    one = Arrival("county-ems", "k", 1, {"id": "e"}, "feed", "0/7")
    shelf.put(one)
    shelf.put(one)
    shelf.close()
    again = Shelf(tmp_path / "shelf")
    again.put(one)
    assert again.repeats["county-ems"] == 0
    again.put(Arrival("county-ems", "k", 2, {"id": "e"}, "feed", "0/9"))
    assert again.repeats["county-ems"] == 1
    again.close()


def test_a_webhook_signed_with_a_private_key_is_verified_with_the_public_one() -> None:
    secret = PRIVATE + base64.b64encode(bytes(range(32))).decode()
    public = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    known = "whpk_" + base64.b64encode(public.public_bytes_raw()).decode()
    now = int(time.time())
    headers = signed("d-1", now, '{"id": "e"}', [secret])
    assert verified(known, b'{"id": "e"}', headers) == {"id": "e"}
    with pytest.raises(InvalidSignature):
        verified(known, b'{"id": "f"}', headers)
    with pytest.raises(InvalidSignature):
        verified(known, b'{"id": "e"}', signed("d-1", now - 600, '{"id": "e"}', [secret]))
