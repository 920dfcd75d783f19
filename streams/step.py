"""What a stage is to the runner: records in, a step, records out. No Kafka client is needed to be one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]


class Record(NamedTuple):
    """One committed record. `timestamp` is in ms; `key`, `value`, `headers` are None where there are none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None
    timestamp: int


class Out(Protocol):
    """Where a step writes: everything of one step becomes visible together, or not at all."""

    @property
    def positions(self) -> Mapping[tuple[str, int], int]:
        """Next offset of each input partition held, as it will be after this batch."""

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: list[tuple[str, str | bytes]] | None = None,
    ) -> None:
        """Writes one record in this step's transaction."""

    def offset(self, topic: str, partition: int, offset: int) -> None:
        """Commits this next offset for an input partition, instead of the one that follows the batch."""

    def applied(self, topic: str, partition: int) -> int:
        """The offset up to which (itself included) a side input has been applied; -1 when nothing has."""

    def reach(self, topic: str, partition: int, offset: int) -> bool:
        """Applies a side input at least up to `offset`, in bounded time. False where nothing is yet."""


class Step(Protocol):
    """A stage. The runner calls it from one thread only, in this order.

    What is assigned starts empty: side inputs are applied from their first record on, and no step is taken
    until they have been applied to their ends. After a transaction that had to be aborted everything is
    revoked and assigned again, so a step never has to undo anything. Side inputs that are read whole are the
    exception: they belong to no partition, are applied once, and stay.

    A step that can be full has `held() -> Collection[tuple[str, int]]` besides: the input partitions of which
    it wants no more for now. One that can prepare itself while nothing comes has `idle() -> bool`, which
    takes some milliseconds at most and is true where there is more to prepare. One with side inputs that are
    `recent` has `since() -> int`: an instant, in epoch milliseconds, such that nothing written to them
    earlier matters any more; asked at each assignment.
    """

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """These input partitions are ours from now on; nothing is known about them yet."""

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """These input partitions are no longer ours; all in-memory work for them has to be dropped."""

    def apply(self, record: Record) -> None:
        """One record of a side input, in order within its partition."""

    def step(self, batch: Sequence[Record], out: Out) -> None:
        """Handles a batch, perhaps an empty one. Side inputs are at their last stable offsets as of now."""

    def due(self, now_ms: int) -> bool:
        """Whether a step is wanted although no record may have come."""

    def committed(self) -> None:
        """The last step has been committed."""
