"""One partition of the log from its beginning to its end as of now, committed records alone."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import Unavailable

SILENCE_S_MAX: Final = 30.0


def read(client: Mapping[str, Any], topic: str, partition: int) -> Iterator[Message]:
    """Every record, in order. Raises `Unavailable` where the broker falls silent, or has no such topic."""
    consumer = Consumer(
        {
            **client,
            "group.id": "hub-check",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
            "queued.max.messages.kbytes": 16_384,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(SILENCE_S_MAX)
            if message is None:
                raise Unavailable(f"`{topic}/{partition}` cannot be read to its end")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif not error.retriable():
                raise Unavailable(f"`{topic}/{partition}` cannot be read ({error.name()})")
    except KafkaException as error:
        raise Unavailable(f"`{topic}/{partition}` cannot be read") from error
    finally:
        consumer.close()
