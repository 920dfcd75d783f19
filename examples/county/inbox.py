"""Agencies with a Kafka producer of their own: CloudEvents to `inbox.<id>`, and receipts of them.

Crises go as Avro, by the schemas that the hub serves; overdoses as JSON in one piece.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from examples.county.calendar import EPOCH
from examples.county.events import Event
from examples.county.hubside import NotDone
from examples.county.record import instant

AS_AVRO = frozenset({"contact.crisis"})
TAKEN = frozenset({"admitted", "parked", "duplicate"})
receipt_s_max = 120
metadata_s_max = 30
poll_s = 0.2
records_max = 500


class Inbox:
    """The inboxes of one hub, as those see them who may write there."""

    def __init__(self, kafka: Mapping[str, Any], registry: str) -> None:
        """In: a Kafka client's settings; the schema registry's address."""
        self.kafka = kafka
        self.registry = registry

    def publish(self, events: Sequence[Event]) -> int:
        """Sends events of one agency and waits for their receipts; out: how many were taken.

        Raises `NotDone` where one was not, or nothing is heard of one within two minutes.
        """
        agency = events[0].source
        with SchemaRegistryClient({"url": self.registry}) as registry:
            encode = _encoder(registry, agency)
            failed: list[KafkaError] = []
            producer = Producer({**self.kafka, "enable.idempotence": True})
            for event in events:
                headers, value = _record(event, agency, encode)
                producer.produce(
                    f"inbox.{agency}",
                    value,
                    headers=headers,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )
            if producer.flush(receipt_s_max) or failed:
                raise NotDone(f"the inbox of {agency} did not take {len(failed) or 'all'} records")
            self._receipted(agency, {event.id for event in events}, AvroDeserializer(registry))
        return len(events)

    def _receipted(self, agency: str, waiting: set[str], decode: AvroDeserializer) -> None:
        topic = f"receipts.{agency}"
        consumer = Consumer(
            {
                **self.kafka,
                "group.id": f"{agency}.county",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        deadline = time.monotonic() + receipt_s_max
        try:
            partitions = consumer.list_topics(topic, metadata_s_max).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            while waiting:
                if time.monotonic() > deadline:
                    raise NotDone(f"nothing was heard of {len(waiting)} records in the inbox of {agency}")
                for message in consumer.consume(records_max, poll_s):
                    if message.error() is None:
                        said: Any = decode(
                            message.value() or b"", SerializationContext(topic, MessageField.VALUE)
                        )
                        if said["id"] in waiting and said["status"] not in TAKEN:
                            raise NotDone(f"the hub refused a good event: {said['reason']}")
                        waiting.discard(said["id"])
        finally:
            consumer.close()


def _encoder(registry: SchemaRegistryClient, agency: str) -> AvroSerializer:
    """What writes a contact by the hub's own schema of it; nothing is registered."""
    subject = f"inbox.{agency}-value"
    for version in registry.get_versions(subject):
        text = registry.get_version(subject, version).schema.schema_str or "{}"
        if json.loads(text)["name"] == "Contact":
            return AvroSerializer(
                registry, text, conf={"auto.register.schemas": False, "use.latest.version": False}
            )
    raise NotDone(f"{subject} has no schema of a contact")


def _record(event: Event, agency: str, encode: AvroSerializer) -> tuple[list[tuple[str, str | bytes]], bytes]:
    """A CloudEvent in Kafka's binding: headers and value."""
    told = event.cloudevent()
    if event.category not in AS_AVRO:
        return [("content-type", b"application/cloudevents+json")], json.dumps(told).encode()
    names = ("specversion", "id", "source", "type", "category", "subject", "time", "labels")
    headers: list[tuple[str, str | bytes]] = [("content-type", b"application/avro")]
    headers += [(f"ce_{name}", str(told[name]).encode()) for name in names if name in told]
    context = SerializationContext(f"inbox.{agency}", MessageField.VALUE)
    value = encode(_as_avro(event.fields), context)
    if value is None:
        raise NotDone("a record came to nothing")
    return headers, value


def _as_avro(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a contact as the schema has them: instants as instants, words of enums without spaces."""
    found = {"needs": [], "race_ethnicity": [], **fields}
    found["occurred_at"] = _moment(fields["occurred_at"])
    if "mode" in fields:
        found["mode"] = fields["mode"].replace(" ", "_")
    return found


def _moment(text: str) -> datetime:
    return EPOCH + timedelta(milliseconds=instant(text) or 0)
