"""The engine's own view of Kafka: looking back into partitions, and appending what needs no transaction."""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.adapter import Read
from schemas.errors import Unavailable

log = structlog.get_logger(__name__)

read_records_max: Final = 5_000  # a poll's worth, while looking back
answer_ms_max: Final = 5_000  # of the broker, to one question
history_ms_max: Final = 5_000  # to read one partition to its end
poll_ms_max: Final = 100
ask_again_ms: Final = 50
linger_ms: Final = 5  # for receipts that come in the same moment


class KafkaHistory:
    """`History` over one consumer that never joins the group, so that asking costs no rebalance.

    In: librdkafka settings of the client. Not thread-safe.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._consumer = Consumer(
            {
                **client,
                "group.id": "history",  # asked for by the client library; never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        self._admin = AdminClient(dict(client))
        self._trimmed: Mapping[TopicPartition, Any] = {}

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def read(self, topic: str, partition: int, since_ms: int | None = None) -> list[Read]:
        """See `History.read`. The end is the high watermark, so an open transaction is waited for."""
        place = TopicPartition(topic, partition, OFFSET_BEGINNING)
        end = self._offset(place, OffsetSpec.latest())
        if since_ms is not None:
            found = self._offset(place, OffsetSpec.for_timestamp(since_ms))
            if found < 0:
                return []
            place = TopicPartition(topic, partition, found)
        records: list[Read] = []
        self._consumer.assign([place])
        try:
            until = time.monotonic() + history_ms_max / 1000
            while end > 0:
                for message in self._received():
                    if self._at_end(message):
                        if (message.offset() or 0) >= end:
                            return records
                    else:
                        records.append(_read(message))
                if time.monotonic() > until:
                    raise Unavailable(f"partition {partition} of `{topic}` could not be read to its end")
        finally:
            self._consumer.unassign()
        return records

    def fetch(self, topic: str, partition: int, offsets: Sequence[int]) -> dict[int, Read]:
        """See `History.fetch`. Offsets that are close together are read in one go."""
        found: dict[int, Read] = {}
        wanted = sorted(set(offsets))
        while wanted:
            self._consumer.assign([TopicPartition(topic, partition, wanted[0])])
            try:
                wanted = self._fetch_run(wanted, found)
            finally:
                self._consumer.unassign()
        return found

    def _fetch_run(self, wanted: list[int], found: dict[int, Read]) -> list[int]:
        """Read on from the first of `wanted`; what is left when the next one lies too far ahead."""
        until = time.monotonic() + answer_ms_max / 1000
        while wanted:
            for message in self._received():
                at = message.offset()
                assert at is not None
                ended = self._at_end(message)
                if not ended and at == wanted[0]:
                    found[at] = _read(message)
                wanted = [offset for offset in wanted if offset > at] if not ended else []
                if not wanted:
                    return []
            if wanted and found and wanted[0] - max(found) > read_records_max:
                return wanted
            if time.monotonic() > until:
                raise Unavailable("an outbox could not be read")
        return []

    def end(self, topic: str, partition: int) -> int:
        """See `History.end`."""
        return self._offset(TopicPartition(topic, partition), OffsetSpec.latest())

    def trim(self, topic: str, partition: int, offset: int) -> None:
        """See `History.trim`. What became of it is looked at the next time."""
        for asked in self._trimmed.values():
            error = asked.exception() if asked.done() else None
            if isinstance(error, KafkaException):
                log.warning("records not deleted", topic=topic, reason=_name(error))
        place = TopicPartition(topic, partition, offset)
        self._trimmed = self._admin.delete_records([place], request_timeout=answer_ms_max / 1000)

    def _received(self) -> list[Message]:
        """What has arrived. Waits for the first record only: asked for many, the client waits for all."""
        first = self._consumer.poll(poll_ms_max / 1000)
        return [] if first is None else [first, *self._consumer.consume(read_records_max - 1, 0)]

    def _offset(self, place: TopicPartition, spec: OffsetSpec) -> int:
        plain = TopicPartition(place.topic, place.partition)
        until = time.monotonic() + answer_ms_max / 1000
        while True:
            futures = self._admin.list_offsets(
                {plain: spec},
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=answer_ms_max / 1000,
            )
            try:
                return int(futures[plain].result().offset)  # type: ignore[attr-defined]  # typed as what the future gives
            except KafkaException as error:  # a leader that is moving comes back as a plain refusal
                if time.monotonic() + ask_again_ms / 1000 >= until:
                    raise Unavailable(f"no offsets of `{place.topic}` ({_name(error)})") from None
                time.sleep(ask_again_ms / 1000)
                with contextlib.suppress(KafkaException):  # else it asks on with the epochs of old leaders
                    self._admin.list_topics(timeout=answer_ms_max / 1000)

    @staticmethod
    def _at_end(message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        raise Unavailable(f"the log could not be read ({error.name()})")


def _name(error: KafkaException) -> str:
    return str(error.args[0].name())  # type: ignore[union-attr]  # always a KafkaError


def _read(message: Message) -> Read:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    key, value = message.key(), message.value()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return Read(topic, partition, offset, _bytes(key), _bytes(value), message.timestamp()[1])


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data


class KafkaLog:
    """`Log` over an idempotent producer of its own, whose delivery reports a thread of its own collects."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": linger_ms,
                "delivery.report.only.error": True,  # a report for each would take longer than its record
            }
        )
        self._failed: KafkaError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="deliveries-log", daemon=True)
        self._thread.start()

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """See `Log.append`. Raises `Unavailable` once something earlier was lost, or the queue is full."""
        if self._failed is not None:
            raise Unavailable(f"an earlier record was not stored ({self._failed.name()})")
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=self._stored)
        except BufferError:
            raise Unavailable("too much waits to be stored") from None

    def flush(self) -> None:
        """See `Log.flush`."""
        left = self._producer.flush(answer_ms_max / 1000)
        if left or self._failed is not None:
            raise Unavailable(f"{left} records are not stored yet")

    def close(self) -> None:
        """Store what is left, within the bound, and stop."""
        self._producer.flush(answer_ms_max / 1000)
        self._stop.set()
        self._thread.join()

    def _stored(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = error

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(poll_ms_max / 1000)
