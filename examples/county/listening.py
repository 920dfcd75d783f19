"""Organisations with a Kafka client of their own: a stock Avro consumer on `feed.<id>`.

It knows the brokers' address and, as its schema registry, the hub's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from examples.county.forms import heard
from examples.county.shelf import Arrival, Shelf

poll_s = 0.2
records_max = 500
metadata_s_max = 30


class Listener:
    """One organisation's consumer, from the beginning of its feed: what it has, it knows by its place."""

    def __init__(self, shelf: Shelf, stakeholder: str, kafka: Mapping[str, Any], registry: str) -> None:
        self.shelf = shelf
        self.stakeholder = stakeholder
        self.kafka = kafka
        self.registry = registry

    def follow(self, stopping: Callable[[], bool]) -> None:
        """Reads until told to stop."""
        topic = f"feed.{self.stakeholder}"
        with SchemaRegistryClient({"url": self.registry}) as registry:
            decode = AvroDeserializer(registry)
            consumer = Consumer(
                {
                    **self.kafka,
                    "group.id": f"{self.stakeholder}.county",
                    "isolation.level": "read_committed",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                }
            )
            try:
                partitions = consumer.list_topics(topic, metadata_s_max).topics[topic].partitions
                consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
                while not stopping():
                    messages = consumer.consume(records_max, poll_s)
                    good = [one for one in messages if one.error() is None]
                    self.shelf.put(*(self._arrival(one, topic, decode) for one in good))
            finally:
                consumer.close()

    def _arrival(self, message: Message, topic: str, decode: AvroDeserializer) -> Arrival:
        headers = {
            name.removeprefix("ce_"): text.decode()
            for name, text in message.headers() or ()
            if isinstance(text, bytes)
        }
        fields: Any = decode(message.value() or b"", SerializationContext(topic, MessageField.VALUE))
        place = f"{message.partition()}/{message.offset()}"
        key, began_at = headers["idempotencykey"], int(message.timestamp()[1])
        return Arrival(self.stakeholder, key, began_at, heard(headers, fields), "feed", place)
