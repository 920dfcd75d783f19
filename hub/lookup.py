"""Reading one record of the log by its place, `read_committed`."""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import Unavailable

READ_MS_MAX: Final = 5_000
_POLL_S: Final = 0.1


class Lookup:
    """One consumer that is asked for single records. Thread-safe; one question at a time."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        """In: librdkafka settings of the client. Connects at the first question."""
        self._client = dict(client)
        self._guard = threading.Lock()
        self._consumer: Consumer | None = None

    def value(self, topic: str, partition: int, offset: int) -> bytes | None:
        """The value of the record at this place; None where there is none. Raises `Unavailable`."""
        with self._guard:
            if self._consumer is None:
                self._consumer = Consumer(
                    {
                        **self._client,
                        "group.id": "hub-lookup",
                        "isolation.level": "read_committed",
                        "enable.auto.commit": False,
                        "enable.partition.eof": True,
                        "auto.offset.reset": "error",
                        "fetch.wait.max.ms": 10,
                        "queued.max.messages.kbytes": 4096,
                    }
                )
            try:
                return self._read(self._consumer, TopicPartition(topic, partition, offset))
            except KafkaException as error:
                raise Unavailable("the log does not answer") from error
            finally:
                self._consumer.unassign()

    def _read(self, consumer: Consumer, place: TopicPartition) -> bytes | None:
        consumer.assign([place])
        until = time.monotonic() + READ_MS_MAX / 1000
        while time.monotonic() < until:
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                value = message.value()
                return value if message.offset() == place.offset and isinstance(value, bytes) else None
            if error.code() in (
                KafkaError._PARTITION_EOF,
                KafkaError._AUTO_OFFSET_RESET,
                KafkaError.OFFSET_OUT_OF_RANGE,
                KafkaError._UNKNOWN_PARTITION,
                KafkaError.UNKNOWN_TOPIC_OR_PART,
            ):
                return None
            if error.fatal():
                raise KafkaException(error)
        raise Unavailable("the log does not answer in time")

    def close(self) -> None:
        """Lets go of the connection."""
        with self._guard:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None
