"""Side inputs: topics whose records a stage must know before it decides anything, read without a group.

Their consumer is made anew whenever what it reads changes: nothing fetched for an earlier assignment can then
be taken for the beginning of a later one.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import Unavailable
from streams.errors import Stalled, code
from streams.settings import Client, RunnerSettings, answer_ms_max
from streams.step import Record

Place = tuple[str, int]

_PUMP_RECORDS_MAX: Final = 10_000
_SLICE_S: Final = 0.05
_DROPPED: Final = 1 << 63


def record(message: Any) -> Record:
    """A client's message as a `Record`."""
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.headers(),
        message.timestamp()[1],
    )


class SideInputs:
    """What is read beside the inputs, and how far it has been applied."""

    def __init__(
        self, settings: RunnerSettings, client: Client, admin: AdminClient, apply: Callable[[Record], None]
    ) -> None:
        self._config = settings.side_consumer(client)
        self._wait_s = settings.side_ms_max / 1000
        self._admin = admin
        self._apply = apply
        self._consumer: Consumer | None = None
        self._next: dict[Place, int] = {}
        self._stale = False

    def partitions(self, names: Iterable[str]) -> list[Place]:
        """All partitions of these topics. Raises `Unavailable` where one does not exist."""
        places: list[Place] = []
        for name in names:
            try:
                known = self._admin.list_topics(name, timeout=answer_ms_max / 1000).topics[name]
            except KafkaException as error:
                raise Unavailable("the cluster does not answer", code=code(error)) from None
            if known.error is not None or not known.partitions:
                raise Unavailable(f"topic `{name}` does not exist")
            places += [(name, partition) for partition in known.partitions]
        return places

    def follow(self, places: Iterable[Place], starts: Mapping[Place, int] | None = None) -> None:
        """Reads exactly these from now on: known ones from where they are, new ones from their beginnings, or
        from `starts` where that names an offset."""
        first = starts or {}
        wanted = {place: self._next.get(place, first.get(place, 0)) for place in places}
        if wanted == self._next and not self._stale:
            return
        self.close()
        self._next, self._stale = wanted, False
        if wanted:
            self._consumer = Consumer(self._config)
            self._consumer.assign(
                [TopicPartition(t, p, n or OFFSET_BEGINNING) for (t, p), n in wanted.items()]
            )

    def drop(self, places: Iterable[Place]) -> None:
        """Knows nothing of these any more. To be followed by `follow`."""
        for place in places:
            self._stale |= self._next.pop(place, None) is not None

    def close(self) -> None:
        """Ends the consumer; what has been applied stays known."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def applied(self, topic: str, partition: int) -> int:
        """The last offset up to which everything has been applied; -1 for nothing."""
        return self._next.get((topic, partition), 0) - 1

    def pump(self, wait_s: float = 0.0) -> bool:
        """Applies what has arrived, waiting at most `wait_s` for the first. True for anything at all."""
        if self._consumer is None:
            return False
        messages: list[Any] = self._consumer.consume(1, wait_s) if wait_s else []
        messages += self._consumer.consume(_PUMP_RECORDS_MAX, 0)
        after = self._next
        for message in messages:
            error = message.error()
            if error is None:
                place = (message.topic(), message.partition())
                if message.offset() >= after.get(place, _DROPPED):
                    self._apply(record(message))
                    after[place] = message.offset() + 1
            elif (
                error.code() == KafkaError._PARTITION_EOF
            ):  # its offset is behind markers and what was aborted
                place = (message.topic(), message.partition())
                if place in after:
                    after[place] = max(after[place], message.offset())
            elif error.fatal():
                raise KafkaException(error)
        return bool(messages)

    def ends(self, places: Iterable[Place], *, committed: bool = True) -> dict[Place, int]:
        """The ends right now, in one request: last stable offsets, or of all that has been written.

        Raises `Unavailable` when the broker does not tell in time.
        """
        return self._offsets(places, OffsetSpec.latest(), committed=committed)

    def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The first offsets that still exist. Raises `Unavailable`."""
        return self._offsets(places, OffsetSpec.earliest(), committed=True)

    def since(self, places: Iterable[Place], at_ms: int) -> dict[Place, int]:
        """Offsets before which nothing was written at or after an instant, in epoch milliseconds.

        Raises `Unavailable`.
        """
        wanted = list(places)
        ends = self.ends(wanted)  # first: what is committed after this lies behind it
        found = self._offsets(wanted, OffsetSpec.for_timestamp(at_ms), committed=True)
        return {place: at if at >= 0 else ends[place] for place, at in found.items()}

    def _offsets(self, places: Iterable[Place], spec: OffsetSpec, *, committed: bool) -> dict[Place, int]:
        wanted = {TopicPartition(topic, partition): spec for topic, partition in places}
        if not wanted:
            return {}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        deadline = time.monotonic() + self._wait_s
        while True:
            left_s = max(deadline - time.monotonic(), _SLICE_S)
            try:
                asked = self._admin.list_offsets(wanted, isolation_level=level, request_timeout=left_s)
                return {(at.topic, at.partition): _offset(future) for at, future in asked.items()}
            except KafkaException as error:  # a leader that is moving comes back as a plain refusal
                if time.monotonic() + _SLICE_S >= deadline:
                    raise Unavailable("the ends of topics cannot be known", code=code(error)) from None
                time.sleep(_SLICE_S)
                with contextlib.suppress(KafkaException):  # else it asks on with the epochs of old leaders
                    self._admin.list_topics(timeout=left_s)

    def reached(self, targets: Mapping[Place, int]) -> bool:
        """Whether everything before these ends has been applied."""
        after = self._next
        return all(after[place] >= end for place, end in targets.items())

    def catch_up(self, targets: Mapping[Place, int]) -> None:
        """Applies everything before these ends. Raises `Stalled` when it takes longer than the bound."""
        if self.reached(targets):
            return
        deadline = time.monotonic() + self._wait_s
        while not self.reached(targets):
            self.pump(_SLICE_S)
            if time.monotonic() > deadline:
                raise Stalled("the side inputs did not arrive in time")


def _offset(future: Any) -> int:
    return int(future.result().offset)
