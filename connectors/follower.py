"""Keeps a `Fence` at the end of `deliveries`, and what it adds up to where the next process finds it.

`deliveries` is kept for ever, and an intent in doubt is never ruled away by age, so all of it counts. Every
`kept_every_records` what a partition adds up to goes to the same partition of `fence`, with its offset and
the digest of the last record it covers. Whoever starts takes up the newest, when that record stands in the
log, and reads on from there; else it reads from the beginning. Until it has reached the end nothing is called
closed, so a state that is old or missing costs time and nothing else.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors import deliveries
from connectors.adapter import Producer
from connectors.fence import Answer, Fence, Narrowing, Open
from schemas import codec
from schemas.errors import HubError, Unavailable

log = structlog.get_logger(__name__)

TOPIC: Final = "fence"
RECORD: Final = "FenceState"
kept_every_records: Final = 10_000  # of one partition
kept_bytes_max: Final = 1_000_000  # of one state; past it the last one that fitted stays the newest
read_ms_max: Final = 5_000  # to see one record of which it is known that it is there
batch_wait_ms_max: Final = 200
restart_ms: Final = 1_000

Listener = Callable[[int, Mapping[str, Any]], None]


class Follower:
    """Feeds one `Fence`. For an asyncio process.

    In: aiokafka's settings for reaching the cluster; `keeper`, by which states are kept, None for none.
    """

    def __init__(
        self, client: Mapping[str, Any], fence: Fence, partitions: int, keeper: Producer | None = None
    ) -> None:
        self._client = client
        self._places = [TopicPartition(deliveries.TOPIC, number) for number in range(partitions)]
        self._fence = fence
        self._keeper = keeper
        self._changed = asyncio.Condition()
        self._listeners: list[Listener] = []
        self._caught_up = False
        self._task: asyncio.Task[None] | None = None
        self._next: dict[TopicPartition, int] = {}
        self._last: dict[TopicPartition, tuple[int, bytes]] = {}
        self._unkept = dict.fromkeys(self._places, 0)
        self.read = 0
        """Records read since the start."""

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the start has been read. Until then nothing is called closed."""
        return self._caught_up

    def listen(self, listener: Listener) -> None:
        """Hear of every record from now on: its partition and what it says.

        A listener that fails is reported, and the fence goes on: no answer depends on it.
        """
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begin to follow, in the background."""
        self._task = asyncio.create_task(self._run(), name="fence")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def answer(self, narrowing: Narrowing, stakeholders: Iterable[str]) -> Answer:
        """How far the fence is, by what has been read so far."""
        if not self._caught_up:
            return Answer("closing")
        return self._fence.answer(narrowing, stakeholders, time.time_ns() // 1_000_000)

    def doubts(self, most: int) -> list[Open] | None:
        """What is in doubt, oldest first; None until all that was there at the start has been read."""
        return self._fence.doubts(time.time_ns() // 1_000_000, most) if self._caught_up else None

    async def wait(self, narrowing: Narrowing, stakeholders: Iterable[str], wait_ms_max: int) -> Answer:
        """The answer as soon as it is another than `closing`, at the latest after `wait_ms_max`."""
        everybody = tuple(stakeholders)
        until = time.monotonic() + wait_ms_max / 1000
        async with self._changed:
            while True:
                answer = self.answer(narrowing, everybody)
                left = until - time.monotonic()
                if answer.state != "closing" or left <= 0:
                    return answer
                with contextlib.suppress(
                    TimeoutError
                ):  # an intent also becomes overdue while nothing arrives
                    await asyncio.wait_for(self._changed.wait(), min(left, 0.25))

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("fence follower failed", error=type(error).__name__)
                await asyncio.sleep(restart_ms / 1000)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._client,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()  # also one that is cancelled meanwhile has connections to close
            for place in self._places:
                if place not in self._next:
                    await self._resume(consumer, place)
            consumer.assign(self._places)
            for place, offset in self._next.items():
                consumer.seek(place, offset)
            ends = await consumer.end_offsets(self._places)
            while True:
                batches = await consumer.getmany(timeout_ms=batch_wait_ms_max)
                async with self._changed:
                    for place, records in batches.items():
                        for record in records:
                            self._take(place, record)
                    if not self._caught_up:
                        reached = [await consumer.position(place) >= ends[place] for place in self._places]
                        self._caught_up = all(reached)
                    self._changed.notify_all()
                await self._keep()
        finally:
            await consumer.stop()

    def _take(self, place: TopicPartition, record: Any) -> None:
        value = deliveries.decode(record.value)
        self._fence.apply(place.partition, value)
        for listener in self._listeners:
            try:
                listener(place.partition, value)
            except Exception as error:
                log.error("listener failed", error=type(error).__name__)
        self._next[place] = record.offset + 1
        self._last[place] = (record.offset, record.value)
        self._unkept[place] += 1
        self.read += 1

    # -- what is kept

    async def _keep(self) -> None:
        """Keep what each partition adds up to of which enough has come since the last time."""
        for place, count in self._unkept.items():
            if self._keeper is None or count < kept_every_records:
                continue
            self._unkept[place] = 0
            state = self._fence.state(place.partition)
            if state is None:
                continue
            last, value = self._last[place]
            state |= {"offset": self._next[place], "last": last, "digest": _digest(value)}
            encoded = codec.encode(RECORD, state)
            if len(encoded) > kept_bytes_max:
                log.warning("fence state too large to keep", partition=place.partition, bytes=len(encoded))
                continue
            await self._keeper.send_and_wait(TOPIC, encoded, b"%d" % place.partition, place.partition)

    async def _resume(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Find where to begin in one partition, and take up what is known of all before that."""
        kept = await self._kept(consumer, TopicPartition(TOPIC, place.partition))
        if kept is not None and await self._stands(consumer, place, kept):
            self._fence.restore(place.partition, kept)
            self._next[place] = kept["offset"]
        else:
            self._next[place] = 0

    async def _kept(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> Mapping[str, Any] | None:
        """The newest state of a partition, None for none. Only whole records of the hub's own stand there."""
        end = (await consumer.end_offsets([place]))[place]
        if end == 0:
            return None
        record = await self._at(consumer, place, end - 1)
        try:
            return codec.decode_as(RECORD, record.value or b"")
        except HubError as error:
            log.error("fence state cannot be read", partition=place.partition, error=error.code)
            return None

    async def _stands(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, kept: Mapping[str, Any]
    ) -> bool:
        """Whether the log holds, at its place, the record that the state says it ends with."""
        if (await consumer.end_offsets([place]))[place] > kept["last"]:
            record = await self._at(consumer, place, kept["last"])
            if record.offset == kept["last"] and _digest(record.value) == kept["digest"]:
                return True
        log.error("fence state does not fit the log", partition=place.partition)
        return False

    @staticmethod
    async def _at(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> Any:
        """The first record at or after an offset. Raises `Unavailable`."""
        consumer.assign([place])
        consumer.seek(place, offset)
        found = await consumer.getmany(place, timeout_ms=read_ms_max, max_records=1)
        for records in found.values():
            return records[0]
        raise Unavailable(f"partition {place.partition} of `{place.topic}` could not be read")


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
