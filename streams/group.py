"""Membership of a consumer group: what is ours, since when, and under which generation.

The group's metadata are captured when an assignment is delivered and never fetched afresh: fresh metadata of
a worker that has lost a partition meanwhile would be accepted, and its work on that partition with it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.errors import Fenced, beyond_repair
from streams.settings import Client, RunnerSettings
from streams.step import Record

Place = tuple[str, int]

_METADATA: Final = b"CGMDv2:"


def generation(metadata: bytes) -> int:
    """The generation that group metadata speak for. Raises `Fenced` where that cannot be told."""
    start = len(_METADATA)
    if not metadata.startswith(_METADATA) or len(metadata) < start + 4:
        raise Fenced("the client's group metadata have a form that is not known here")
    return int.from_bytes(metadata[start : start + 4], "little", signed=True)


class Group:
    """The group's consumer. Partitions are `joining` from their assignment until `run` lets them flow."""

    def __init__(
        self,
        settings: RunnerSettings,
        client: Client,
        assigned: Callable[[Sequence[Place]], None],
        revoked: Callable[[Sequence[Place]], None],
        noted: Callable[[str], None],
    ) -> None:
        self._consumer = Consumer(settings.consumer(client))
        self._eager = settings.assignor == "range"
        self._batch_max = settings.batch_records_max
        self._tell_assigned, self._tell_revoked, self._noted = assigned, revoked, noted
        self.metadata = b""
        self.joining: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self._on_hold: set[Place] | None = set()
        self._consumer.subscribe(
            list(settings.inputs),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    @property
    def held(self) -> list[Place]:
        """All partitions that are ours, flowing or not."""
        return [*self.positions, *self.joining]

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        metadata = consumer.consumer_group_metadata()
        if generation(metadata) < 0:
            raise Fenced("the group forgot this worker while it was handing it partitions")
        self.metadata = metadata
        places = [(at.topic, at.partition) for at in partitions]
        if self._eager:
            consumer.assign([])  # nothing flows before its side inputs are known
        else:
            consumer.incremental_assign([])
        self.joining.update(places)
        if places:
            self._tell_assigned(places)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(at.topic, at.partition) for at in partitions]
        flowing = [place for place in places if self.positions.pop(place, None) is not None]
        self.joining.difference_update(places)
        if self._eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign([TopicPartition(*place) for place in flowing])
        if places:
            self._tell_revoked(places)

    def committed(self, wait_s: float) -> dict[Place, int]:
        """Committed offsets of what is joining; -1 where nothing was. Open transactions are waited for.

        Raises `KafkaException` when they do not become known in time.
        """
        found = self._consumer.committed([TopicPartition(*place) for place in self.joining], wait_s)
        for at in found:
            if at.error is not None:
                raise KafkaException(at.error)
        return {(at.topic, at.partition): max(at.offset, -1) for at in found}

    def run(self, starts: dict[Place, int]) -> None:
        """Lets what was joining flow from these offsets."""
        fresh = [TopicPartition(topic, partition, at) for (topic, partition), at in starts.items()]
        if self._eager:
            self._consumer.assign(fresh)
        else:
            self._consumer.incremental_assign(fresh)
        self.positions.update(starts)
        self.joining.difference_update(starts)
        self._on_hold = None

    def hold(self, places: Collection[Place]) -> None:
        """Fetches nothing of these until they are named no more."""
        wanted = self.positions.keys() & places
        if wanted == self._on_hold:
            return
        self._consumer.resume([TopicPartition(*place) for place in self.positions.keys() - wanted])
        self._consumer.pause([TopicPartition(*place) for place in wanted])
        self._on_hold = wanted

    def start_over(self) -> None:
        """Stops the flow of everything that is ours; it is joining again."""
        if self._eager:
            self._consumer.assign([])
        else:
            self._consumer.incremental_unassign([TopicPartition(*place) for place in self.positions])
        self.joining.update(self.positions)
        self.positions.clear()

    def fetch(self, wait_s: float) -> tuple[list[Record], dict[Place, int]]:
        """Records that have come, at most a batch of them, and for each partition the offset that follows.

        Waits for the first one only. Rebalances are served in here. Raises `Fenced`.
        """
        first = self._consumer.poll(wait_s)
        if first is None:
            return [], {}
        messages: list[Any] = [first, *self._consumer.consume(self._batch_max - 1, 0)]
        batch: list[Record] = []
        after: dict[Place, int] = {}
        positions = self.positions
        make = Record._make
        for message in messages:
            error: Any = message.error()
            place = (message.topic(), message.partition())
            if error is not None:
                self._on_error(error, place, message.offset(), after)
            elif place in positions:
                offset = message.offset()
                after[place] = offset + 1
                batch.append(
                    make(
                        (
                            *place,
                            offset,
                            message.key(),
                            message.value(),
                            message.headers(),
                            message.timestamp()[1],
                        )
                    )
                )
        return batch, after

    def _on_error(self, error: KafkaError, place: Place, offset: int, after: dict[Place, int]) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if place in self.positions:  # behind transaction markers, where no record will come
                after[place] = max(after.get(place, 0), offset)
        elif beyond_repair(error):
            raise Fenced("the broker has given this worker's place to another")
        else:
            self._noted(error.name())

    def close(self) -> None:
        """Ends the consumer. A static member's partitions wait for its return until the session times out."""
        self._consumer.close()
