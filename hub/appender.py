"""Writing to the log outside of the stages: one record at a time, answered when every replica has it.

Idempotent and acknowledged by all in-sync replicas. When an answer stays out, the record may still have been
written, so whatever is written here has an id by which a second copy changes nothing.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas import topics
from schemas.errors import TooLarge, Unavailable

WRITE_MS_MAX: Final = 10_000
LINGER_MS: Final = 1  # for what comes in the same moment
# Under way at a broker. What comes meanwhile goes together in the next: with more of them and a broker that
# is busy, librdkafka's thread goes round and round until there is room, at up to half a processor.
REQUESTS_MAX: Final = 1
QUEUED_RECORDS_MAX: Final = 10_000
_POLL_S: Final = 0.05
_ROOM_S: Final = 0.01

Stored = Callable[[KafkaError | None, Message], None]


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Sendable(Protocol):
    """A record to be written to a partition."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes: ...
    @property
    def partition(self) -> int: ...


class Appender:
    """Appends to topics and says where. Thread-safe; made once a process."""

    def __init__(self, client: Mapping[str, Any], partitions: int) -> None:
        """In: librdkafka settings of the client; the shared partition count of person-level topics."""
        self._partitions = partitions
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": LINGER_MS,
                "max.in.flight": REQUESTS_MAX,
                "delivery.timeout.ms": WRITE_MS_MAX,
                "message.max.bytes": topics.quarantine_bytes_max,
                "queue.buffering.max.messages": QUEUED_RECORDS_MAX,
            }
        )
        self._stop = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="appender", daemon=True)
        self._poller.start()

    def append(self, topic: str, key: str | None, value: bytes) -> Place:
        """Writes one record and waits until it is stored. The key decides the partition.

        Raises `Unavailable` where that takes longer than `WRITE_MS_MAX`, `TooLarge` for too large a record.
        """
        return self.append_all(topic, [(key, value)])[0]

    def append_all(self, topic: str, records: Sequence[tuple[str | None, bytes]]) -> list[Place]:
        """Writes records, keys with values, and waits until all are stored. One wait for all of them.

        Raises as `append` where any was not; then others may be stored all the same.
        """
        count = topics.find(topic).count(self._partitions)
        answers = [_Answer() for _ in records]
        for (key, value), answer in zip(records, answers, strict=True):
            answer.partition = topics.partition_of(key, count) if key is not None else 0
            try:
                self._begin(topic, key, value, answer.partition, answer.stored)
            except BufferError:
                raise Unavailable("too many records wait to be written") from None
        for answer in answers:
            if not answer.done.wait(2 * WRITE_MS_MAX / 1000):
                raise Unavailable("the log did not answer in time")
        return [answer.place(topic) for answer in answers]

    async def send(
        self, topic: str, value: bytes, key: bytes | None, partition: int
    ) -> asyncio.Future[int | None]:
        """Puts a record in line, from an event loop. Out: a future that gives its offset when it is stored,
        or raises `Unavailable` or `TooLarge` within `WRITE_MS_MAX`.

        Waits while the line is full: the caller brings the bound. Raises as the future does.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int | None] = loop.create_future()

        def stored(error: KafkaError | None, message: Message) -> None:
            offset = None if error is not None else message.offset()
            with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits
                loop.call_soon_threadsafe(_settle, future, error, offset)

        while True:
            try:
                self._begin(topic, key, value, partition, stored)
            except BufferError:
                await asyncio.sleep(_ROOM_S)
            else:
                return future

    async def send_all(self, records: Sequence[Sendable]) -> None:
        """Puts records in line, in their order, and waits until all are stored. One wait for all of them.

        Raises `Unavailable` or `TooLarge` where any was not; then others may be stored all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int | None] = loop.create_future()
        left, failed = len(records), None

        def stored(error: KafkaError | None, message: Message) -> None:
            nonlocal left, failed
            left, failed = left - 1, failed or error
            if not left:
                with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits
                    loop.call_soon_threadsafe(_settle, future, failed, None)

        for one in records:
            while True:
                try:
                    self._begin(one.topic, one.key, one.value, one.partition, stored)
                    break
                except BufferError:
                    await asyncio.sleep(_ROOM_S)
        if records:
            await future

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> int | None:
        """Appends from an event loop, and waits until it is stored. Raises `Unavailable`, `TooLarge`."""
        return await (await self.send(topic, value, key, partition))

    def _begin(
        self, topic: str, key: str | bytes | None, value: bytes, partition: int, stored: Stored
    ) -> None:
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=stored)
        except KafkaException as error:
            raise _translated(error.args[0]) from None  # type: ignore[arg-type]

    def close(self) -> None:
        """Waits for what is under way, within the bound, and lets go of the connections."""
        self._producer.flush(WRITE_MS_MAX / 1000)
        self._stop.set()
        self._poller.join()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_S)


class _Answer:
    """What became of one record."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.partition = 0
        self._error: KafkaError | None = None
        self._offset: int | None = None

    def stored(self, error: KafkaError | None, message: Message) -> None:
        """The log has answered."""
        self._error, self._offset = error, message.offset()
        self.done.set()

    def place(self, topic: str) -> Place:
        """Where it stands. Raises `Unavailable`, `TooLarge`."""
        if self._error is not None:
            raise _translated(self._error)
        assert self._offset is not None
        return Place(topic, self.partition, self._offset)


def _settle(future: asyncio.Future[int | None], error: KafkaError | None, offset: int | None) -> None:
    """In the loop: whoever waits is told. Who has given up waiting isn't."""
    if future.done():
        return
    if error is None:
        future.set_result(offset)
    else:
        future.set_exception(_translated(error))


def _translated(error: KafkaError) -> Exception:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return TooLarge("the record is larger than its topic allows")
    return Unavailable(f"the log took no record ({error.name()})")
