"""Feeds: read by stock consumers that know nothing of the hub but the address of its schemas."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from cloudevents.core.bindings import kafka as binding
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastapi import FastAPI

from connectors import feed, projection
from connectors.adapter import Outcome, Outgoing, Share
from hub.routes import schemas
from schemas import topics
from tests.delivery_scene import Keys, Nobody, event, outbound, until

PARTITIONS = 3
READ_S_MAX = 30.0


def outgoing(
    number: int, *parts: str, who: str = "reach", participant: str = "p1", **fields: Any
) -> Outgoing:
    """A delivery as the sender makes it."""
    made = event(number, participant, **fields)
    share = Share("s1", "care-coordination", "consent", ("c1/g1",), parts, ("attach-part2-notice",))
    known = Nobody({(who, participant): "R-17"})
    seen = projection.seen(outbound(made, share.as_dict()), who, [share], [], Keys(), known)
    return Outgoing(
        f"d-{number}", who, feed.ADAPTER, 1, {}, seen.view, made["envelope"], (share,), seen.fields
    )


def headers_of(message: Message | Outgoing) -> dict[str, str]:
    found = feed.headers(message) if isinstance(message, Outgoing) else message.headers()
    return {name: text.decode() for name, text in found or () if isinstance(text, bytes)}


def test_attributes_say_no_more_than_the_view() -> None:
    little = headers_of(outgoing(1, "subject"))
    assert little["ce_source"] == projection.SOURCE, "who disclosed it does not show"
    assert "ce_time" not in little
    assert "ce_category" not in little
    much = headers_of(outgoing(1, "subject", "occurrence", "activity"))
    assert (much["ce_category"], much["ce_time"]) == ("contact.outreach", "2026-06-01T10:00:00.000Z")
    assert json.loads(much["ce_notices"]), "what the law wants told goes with it"
    assert little["ce_idempotencykey"] == "d-1"


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """The hub's schemas, really served. Out: their address."""
    app = FastAPI()
    app.include_router(schemas.routes)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, READ_S_MAX)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def fed(kafka: str) -> Iterator[str]:
    """A broker with the topics of somebody's feed. Out: its address."""
    topic = next(one for one in topics.stakeholder_topics("reader") if one.name.startswith("feed."))
    admin = AdminClient({"bootstrap.servers": kafka})
    wanted = NewTopic(topic.name, topic.count(PARTITIONS), 1, config=topic.config())
    admin.create_topics([wanted])[topic.name].result()
    yield kafka
    admin.delete_topics([topic.name])[topic.name].result()


def put(kafka: str, *several: Outgoing) -> list[Outcome]:
    async def all_of_them() -> list[Outcome]:
        adapter = feed.Feeds({"bootstrap.servers": kafka}, PARTITIONS, 20_000)
        try:
            return await asyncio.gather(*(adapter.deliver(one) for one in several))
        finally:
            await adapter.aclose()

    return asyncio.run(all_of_them())


def read(kafka: str, count: int) -> list[Message]:
    """As a recipient's own consumer does."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"reader-{time.monotonic_ns()}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe(["feed.reader"])
    found: list[Message] = []
    deadline = time.monotonic() + READ_S_MAX
    while len(found) < count:
        assert time.monotonic() < deadline, "waited in vain for the feed"
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None
            found.append(message)
    consumer.close()
    return found


@pytest.mark.broker
def test_a_stock_consumer_reads_it_by_the_schemas_that_the_hub_serves(fed: str, registry: str) -> None:
    parts = ("subject", "occurrence", "engagement")
    people = [f"p{number}" for number in range(1, 9)]
    made = [
        outgoing(number, *parts, who="reader", participant=one, name=f"Invented {one}")
        for number, one in enumerate(people)
    ]
    assert put(fed, *made) == [Outcome("delivered", "stored")] * len(made)
    messages = read(fed, len(made))
    with SchemaRegistryClient({"url": registry}) as client:
        _read_by_confluent(messages, made, AvroDeserializer(client))
    _read_by_kcat(fed, made)


def _read_by_confluent(messages: list[Message], made: list[Outgoing], decode: AvroDeserializer) -> None:
    by_key = {one.view["participant"]: one for one in made}
    for message in messages:
        key = message.key()
        assert isinstance(key, bytes)
        sent = by_key.pop(key.decode())
        value = decode(message.value(), SerializationContext("feed.reader", MessageField.VALUE))
        assert value["name"] == sent.view["data"]["subject"]["name"]
        assert value["facility"] == "North Hall"
        assert value["occurred_at"].isoformat() == "2026-05-28T20:26:40+00:00"
        assert value["staff"] is None, "activity was not permitted"
        assert value["local_id"] == "R-17", "the recipient's own"
        assert message.partition() == topics.partition_of(key, PARTITIONS)
        assert dict(message.headers() or ())["content-type"] == b"application/avro"
        _read_by_the_sdk(message, sent)
    assert by_key == {}


def _read_by_the_sdk(message: Message, sent: Outgoing) -> None:
    """CloudEvents' own library takes it for what it says it is."""
    headers = {name: text for name, text in message.headers() or () if isinstance(text, bytes)}
    value = message.value()
    assert isinstance(value, bytes)
    heard = binding.from_binary(binding.KafkaMessage(headers, message.key(), value), JSONFormat())
    told = (heard.get_id(), heard.get_type(), heard.get_subject(), heard.get_datacontenttype())
    assert told == (sent.view["id"], "contact", sent.view["participant"], "application/avro")
    assert heard.get_extension("partitionkey") == sent.view["participant"]
    assert heard.get_data() == value


def _read_by_kcat(kafka: str, made: list[Outgoing]) -> None:
    """Keys, headers and lengths: of Avro the usual builds of `kcat` know nothing."""
    program = shutil.which("kcat")
    if program is None:
        pytest.skip("all but `kcat` has read it: `apt-get install kcat`")
    asked = [program, "-b", kafka, "-C", "-t", "feed.reader", "-e", "-q", "-f", "%k %S %h\\n"]
    ran = subprocess.run(asked, capture_output=True, text=True, timeout=READ_S_MAX, check=True)
    lines = {line.split(" ")[0]: line for line in ran.stdout.splitlines()}
    assert set(lines) == {one.view["participant"] for one in made}
    for one in made:
        _, size, headers = lines[one.view["participant"]].split(" ", 2)
        assert int(size) == len(feed.value(one))
        assert headers.startswith(f"content-type=application/avro,ce_specversion=1.0,ce_id={one.view['id']},")


async def test_what_did_not_leave_by_the_deadline_never_does() -> None:
    adapter = feed.Feeds({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, PARTITIONS, 60_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await adapter.deliver(outgoing(1, "subject"))
    assert await asyncio.to_thread(adapter._producer.flush, 5.0) == 0, "nothing is left to be sent later"
    await adapter.aclose()


async def test_a_full_queue_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "records_max", 1)
    adapter = feed.Feeds({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, PARTITIONS, 60_000)
    first = asyncio.ensure_future(adapter.deliver(outgoing(1, "subject")))
    await asyncio.sleep(0)
    assert await adapter.deliver(outgoing(2, "subject")) == Outcome("failed", "queue-full")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await adapter.aclose()
