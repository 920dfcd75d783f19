"""Topics from their beginnings to their ends as of now, committed records alone."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import Unavailable

SILENCE_S_MAX: Final = 30.0
SLICE_S: Final = 0.2
AT_ONCE_MAX: Final = 10_000  # records of one call
ANSWER_S_MAX: Final = 15.0


class Found(NamedTuple):
    """One record of a partition."""

    offset: int
    key: bytes | None
    value: bytes | None


class Topics:
    """What a cluster holds."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        """In: librdkafka settings of a client."""
        self._client = dict(client)

    def partitions(self, topic: str) -> list[int]:
        """A topic's partitions; none where there is no such topic. Raises `Unavailable`."""
        try:
            known = AdminClient(self._client).list_topics(timeout=ANSWER_S_MAX).topics
        except KafkaException:
            raise Unavailable("the cluster does not answer") from None
        return sorted(known[topic].partitions) if topic in known else []

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record: about how many there are. Raises `Unavailable`."""
        place = TopicPartition(topic, partition)
        admin = AdminClient(self._client)  # kept: with the client that was asked its answer is gone
        asked = admin.list_offsets(
            {place: OffsetSpec.latest()},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER_S_MAX,
        )
        try:
            return int(asked[place].result().offset)  # type: ignore[attr-defined]  # typed as what the future gives
        except KafkaException as error:
            raise Unavailable("the cluster does not answer") from error

    def read(self, topic: str, partition: int, start: int = OFFSET_BEGINNING) -> Iterator[Found]:
        """Every record of a partition, in order, from the first or from an offset on.

        Raises `Unavailable` where the broker falls silent.
        """
        consumer = Consumer(
            {
                **self._client,
                "group.id": "hub-check",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
                "fetch.max.bytes": 16 * 1024 * 1024,
                "queued.max.messages.kbytes": 65_536,
            }
        )
        try:
            consumer.list_topics(topic, timeout=ANSWER_S_MAX)  # or it asks for the leader after half a second
            consumer.assign([TopicPartition(topic, partition, start)])
            until = time.monotonic() + SILENCE_S_MAX
            while time.monotonic() < until:
                for message in _arrived(consumer):
                    error = message.error()
                    if error is None:
                        yield Found(message.offset() or 0, _bytes(message.key()), _bytes(message.value()))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not error.retriable():
                        raise Unavailable(f"`{topic}/{partition}` cannot be read ({error.name()})")
                    until = time.monotonic() + SILENCE_S_MAX
            raise Unavailable(f"`{topic}/{partition}` cannot be read to its end")
        except KafkaException as error:
            raise Unavailable(f"`{topic}/{partition}` cannot be read") from error
        finally:
            consumer.close()


def _arrived(consumer: Consumer) -> list[Message]:
    """What has come, waiting for the first record only: asked for many, the client waits for all."""
    first = consumer.poll(SLICE_S)
    return [] if first is None else [first, *consumer.consume(AT_ONCE_MAX, 0)]


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
