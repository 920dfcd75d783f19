"""Kafka: `feed.<stakeholder>`, for a recipient with a Kafka client of its own.

CloudEvents' Kafka binding in binary mode: attributes are headers, the value is the event's type in Avro, in
the registry's wire format, by the same schemas in which agencies publish. A field that this recipient may not
see is absent. The key is the participant, as this recipient knows them.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from connectors.adapter import Outcome, Outgoing
from schemas import codec, topics
from schemas.compartments import RECORDS

ADAPTER: Final = "feed"
CONTENT_TYPE: Final = "application/avro"
poll_ms_max: Final = 100
flush_ms_max: Final = 2_000
records_max: Final = 10_000  # in the client's queue


def headers(outgoing: Outgoing) -> list[tuple[str, str | bytes]]:
    """The CloudEvents attributes of a delivery; what has no single text as JSON.

    `ce_subject` is the participant; `ce_idempotencykey` is the same for every attempt at this delivery.
    """
    view = outgoing.view
    found = {
        "specversion": "1.0",
        "id": view["id"],
        "source": view["source"],
        "type": view["type"],
        "subject": view["participant"],
        "time": view.get("time"),
        "category": view.get("category"),
        "idempotencykey": outgoing.key,
        "sample": "true" if view.get("sample") else None,
        "purposes": ",".join(view["purposes"]),
        "obligations": ",".join(view["obligations"]),
        "notices": json.dumps(view["notices"], ensure_ascii=False),
        "consentscope": json.dumps(view["consent_scope"], ensure_ascii=False),
    }
    said = [(f"ce_{name}", text.encode()) for name, text in found.items() if text is not None]
    return [("content-type", CONTENT_TYPE.encode()), *said]


def value(outgoing: Outgoing) -> bytes:
    """The event in the registry's wire format. `local_id` is the recipient's own, where the hub knows it."""
    fields = {**outgoing.fields, "local_id": outgoing.view.get("local_id")}
    return codec.encode(RECORDS[outgoing.view["type"]], fields)


class Feeds:
    """The adapter. One idempotent producer for all feeds, whose reports a thread of its own collects."""

    def __init__(self, client: Mapping[str, Any], partitions: int, send_ms_max: int) -> None:
        """In: librdkafka settings of the client, the partitions of a feed, the send deadline."""
        self._partitions = partitions
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "queue.buffering.max.messages": records_max,
                "message.max.bytes": topics.record_bytes_max,
                "message.timeout.ms": send_ms_max,
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="feeds", daemon=True)
        self._thread.start()

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Append, and wait until it is stored."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Outcome] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not stored.done():
                stored.set_result(outcome)

        def report(error: KafkaError | None, message: Message) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(settle, _outcome(error))

        key = outgoing.view["participant"]
        try:
            self._producer.produce(
                topics.feed(outgoing.stakeholder),
                value(outgoing),
                key,
                topics.partition_of(key, self._partitions),
                on_delivery=report,
                headers=headers(outgoing),
            )
        except BufferError:
            return Outcome("failed", "queue-full")
        try:
            return await stored
        except asyncio.CancelledError:
            # The deadline: nothing that is still queued may leave later. What else is queued fails with it,
            # for it stands still as well, and is tried again by the schedule.
            self._producer.purge(in_queue=True, in_flight=False, blocking=True)
            raise

    async def aclose(self) -> None:
        """Let go of the connection."""
        await asyncio.to_thread(self._producer.flush, flush_ms_max / 1000)
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(poll_ms_max / 1000)


def _outcome(error: KafkaError | None) -> Outcome:
    if error is None:
        return Outcome("delivered", "stored")
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return Outcome("refused", "too-large")
    return Outcome("failed", "kafka-" + error.name().lower().strip("_").replace("_", "-"))
