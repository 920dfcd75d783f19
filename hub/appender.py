"""Writing to the log outside of the stages: one record at a time, answered when every replica has it.

Idempotent and acknowledged by all in-sync replicas. When an answer stays out, the record may still have been
written, so whatever is written here has an id by which a second copy changes nothing.
"""

import asyncio
import time
from collections import deque
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
_LOOK_S: Final = 0.001
_ROOM_S: Final = 0.01

Stored = Callable[[KafkaError | None, Message], None]
Row = tuple[str, bytes | None, bytes, int]  # topic, key, value, partition


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
        self._awaited: _Awaited | None = None

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
        until = time.monotonic() + 2 * WRITE_MS_MAX / 1000
        while not all(answer.done for answer in answers):
            self._producer.poll(_LOOK_S)
            if time.monotonic() > until:
                raise Unavailable("the log did not answer in time")
        return [answer.place(topic) for answer in answers]

    async def send(
        self, topic: str, value: bytes, key: bytes | None, partition: int
    ) -> asyncio.Future[int | None]:
        """Puts a record in line, from an event loop. Out: a future that gives its offset when it is stored,
        or raises `Unavailable` or `TooLarge` within `WRITE_MS_MAX`.

        Waits while the line is full: the caller brings the bound. Raises as the future does.
        """
        awaited = self._awaited_here()
        future = awaited.one()

        def stored(error: KafkaError | None, message: Message) -> None:
            awaited.told(future, error, None if error is not None else message.offset())

        await self._put([(topic, key, value, partition)], stored, awaited, future)
        return future

    async def send_all(self, records: Sequence[Sendable]) -> None:
        """Puts records in line, in their order, and waits until all are stored. One wait for all of them.

        Raises `Unavailable` or `TooLarge` where any was not; then others may be stored all the same.
        """
        if not records:
            return
        awaited = self._awaited_here()
        future = awaited.one()
        left, failed = len(records), None

        def stored(error: KafkaError | None, message: Message) -> None:
            nonlocal left, failed
            left, failed = left - 1, failed or error
            if not left:
                awaited.told(future, failed, None)

        rows = [(one.topic, one.key, one.value, one.partition) for one in records]
        await self._put(rows, stored, awaited, future)
        await future

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> int | None:
        """Appends from an event loop, and waits until it is stored. Raises `Unavailable`, `TooLarge`."""
        return await (await self.send(topic, value, key, partition))

    async def _put(
        self, rows: Sequence[Row], stored: Stored, awaited: "_Awaited", future: asyncio.Future[int | None]
    ) -> None:
        try:
            for row in rows:
                while True:
                    try:
                        self._begin(*row, stored)
                        break
                    except BufferError:
                        await asyncio.sleep(_ROOM_S)
        except BaseException:
            awaited.told(future, None, None)  # not all are in line, so nobody else will say so
            raise

    def _awaited_here(self) -> "_Awaited":
        loop = asyncio.get_running_loop()
        if self._awaited is None or self._awaited.loop is not loop:
            self._awaited = _Awaited(loop, self._producer)
        return self._awaited

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


class _Awaited:
    """What an event loop waits for. It looks for answers itself while there are any to come: a thread that
    did it would take Python's lock from the loop for each of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, producer: Producer) -> None:
        self.loop = loop
        self._producer = producer
        self._told: deque[tuple[asyncio.Future[int | None], KafkaError | None, int | None]] = deque()
        self._count = 0

    def one(self) -> asyncio.Future[int | None]:
        """One answer more is to come, with an offset or an error."""
        if not self._count:
            self.loop.call_later(_LOOK_S, self._look)
        self._count += 1
        return self.loop.create_future()

    def told(self, future: asyncio.Future[int | None], error: KafkaError | None, offset: int | None) -> None:
        """The answer has come, to whatever thread looked."""
        self._told.append((future, error, offset))

    def _look(self) -> None:
        self._producer.poll(0)
        while self._told:
            _settle(*self._told.popleft())
            self._count -= 1
        if self._count:
            self.loop.call_later(_LOOK_S, self._look)


class _Answer:
    """What became of one record."""

    def __init__(self) -> None:
        self.done = False
        self.partition = 0
        self._error: KafkaError | None = None
        self._offset: int | None = None

    def stored(self, error: KafkaError | None, message: Message) -> None:
        """The log has answered."""
        self._error, self._offset = error, message.offset()
        self.done = True

    def place(self, topic: str) -> Place:
        """Where it stands. Raises `Unavailable`, `TooLarge`."""
        if self._error is not None:
            raise _translated(self._error)
        assert self._offset is not None
        return Place(topic, self.partition, self._offset)


def _settle(future: asyncio.Future[int | None], error: KafkaError | None, offset: int | None) -> None:
    """Whoever waits is told. Who has given up waiting isn't."""
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
