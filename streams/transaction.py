"""Where one step writes: the runner's producer, seen through the narrow opening of `streams.step.Out`."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from schemas import topics
from streams.errors import Stalled, cause
from streams.side import Place, SideInputs

_BUFFER_WAIT_S: Final = 0.05
_BUFFER_TRIES_MAX: Final = 100
_TRY_S_MIN: Final = 0.1

Headers = list[tuple[str, str | bytes]]


def within(ms: int, act: Callable[[float], Any]) -> None:
    """Does something that takes its timeout in seconds, again where that may help, for at most so long.

    Raises the `KafkaException` of the last try.
    """
    deadline = time.monotonic() + ms / 1000
    while True:
        try:
            act(max(deadline - time.monotonic(), _TRY_S_MIN))
        except KafkaException as error:
            if not cause(error).retriable() or time.monotonic() >= deadline:
                raise
        else:
            return


class Transaction:
    """The records and offsets of one step; they become visible together, or not at all."""

    def __init__(
        self, producer: Producer, side: SideInputs, positions: Mapping[Place, int], partitions: int
    ) -> None:
        self._producer = producer
        self._produce = producer.produce
        self._side = side
        self._partitions = partitions
        self.positions = positions
        self.offsets: dict[Place, int] = {}
        self.produced = 0

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Writes one record. Without a `partition`, the hub's one partitioner says which."""
        if partition is None:
            partition = topics.partition_of(key or b"", topics.find(topic).count(self._partitions))
        self.produced += 1
        try:
            if headers is None:
                self._produce(topic, value, key, partition)
            else:
                self._produce(topic, value, key, partition, headers=headers)
        except BufferError:
            self._produce_slowly(topic, key, value, partition, headers)

    def _produce_slowly(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Headers | None
    ) -> None:
        for _ in range(_BUFFER_TRIES_MAX):
            self._producer.poll(_BUFFER_WAIT_S)
            try:
                self._produce(topic, value, key, partition, headers=headers or [])
            except BufferError:
                continue
            return
        raise Stalled("the producer's buffer stays full")

    def offset(self, topic: str, partition: int, offset: int) -> None:
        """Commits this next offset instead of the one that follows the batch."""
        self.offsets[topic, partition] = offset

    def applied(self, topic: str, partition: int) -> int:
        """The last offset of a side input up to which everything has been applied; -1 for nothing."""
        return self._side.applied(topic, partition)

    def reach(self, topic: str, partition: int, offset: int) -> bool:
        """Applies a side input up to `offset`; False at once when nothing was ever written there.

        Raises `Stalled` when something is there and does not become readable in time.
        """
        place = (topic, partition)
        if self._side.applied(topic, partition) >= offset:
            return True
        if self._side.ends([place], committed=False)[place] <= offset:
            return False
        self._side.catch_up({place: offset + 1})
        return True
