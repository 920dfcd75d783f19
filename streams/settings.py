"""What a runner needs to know, with every bound, and the librdkafka settings that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.topics import partitions_default

Client = Mapping[str, Any]

produce_bytes_max: Final = 17 * 1024 * 1024
answer_ms_max: Final = 5_000
fetch_wait_ms_max: Final = 200  # of whoever follows a topic: what comes ends it, and an idle hub asks seldom


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """One group of workers.

    `inputs` are topic names, or patterns that begin with `^`. The others name side inputs, which are never
    committed: `beside` are co-partitioned with the inputs and followed for as long as a partition is held;
    `whole` are read with all their partitions; `restore` are read to their ends once, at assignment, because
    this stage is their only writer. In `beside` and `restore` a `*` stands for what follows the first dot of
    the input's name. Of those that are `recent` besides, only what was written since the step's `since()` is
    read; that is asked when what is `whole` is known.

    A worker that dies leaves an open transaction for at most `transaction_timeout_ms` and the broker's abort
    interval, and its partitions for at most `session_timeout_ms`; the constructor holds these together and
    raises `ValueError` where they contradict each other.
    """

    group: str
    inputs: tuple[str, ...]
    instance_id: str
    beside: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    assignor: Literal["range", "cooperative-sticky"] = "range"
    partitions: int = partitions_default
    batch_records_max: int = 4_000
    batch_bytes_max: int = 16 * 1024 * 1024
    batch_wait_ms_max: int = 50
    side_ms_max: int = 5_000
    join_ms_max: int = 60_000
    session_timeout_ms: int = 6_000
    transaction_timeout_ms: int = 10_000
    abort_ms_max: int = 3_000  # then another producer takes over, which aborts what the last one left
    offsets_ms_max: int = 3_000  # it takes milliseconds, or does not come back
    poll_interval_ms_max: int = 120_000
    topics_refresh_ms: int = 3_000
    stuck_ms_max: int = 30_000
    lag_every_ms: int = 5_000
    aborts_max: int = 8
    backoff_ms_max: int = 2_000
    transactional_id: str = ""
    flush_first: bool = False
    """Records are in the log before their offsets are sent: a worker that is replaced in between then has its
    transaction open where its successor writes, so nobody sees the successor before that transaction ends."""

    def __post_init__(self) -> None:
        if not self.session_timeout_ms <= self.transaction_timeout_ms <= 60_000:
            raise ValueError("expected session_timeout_ms <= transaction_timeout_ms <= 60000")
        if self.side_ms_max >= self.transaction_timeout_ms:
            raise ValueError("expected side_ms_max < transaction_timeout_ms")
        if self.poll_interval_ms_max < self.join_ms_max + 2 * self.transaction_timeout_ms:
            raise ValueError("expected poll_interval_ms_max >= join_ms_max + 2 * transaction_timeout_ms")
        if not 1 <= self.batch_records_max <= 100_000:
            raise ValueError("expected 1 <= batch_records_max <= 100000")

    def consumer(self, client: Client) -> dict[str, Any]:
        """Settings of the group's consumer."""
        return {
            **client,
            "group.id": self.group,
            "group.instance.id": self.instance_id,
            "group.protocol": "classic",
            "partition.assignment.strategy": self.assignor,
            "session.timeout.ms": self.session_timeout_ms,
            "heartbeat.interval.ms": self.session_timeout_ms // 4,
            "max.poll.interval.ms": self.poll_interval_ms_max,
            "topic.metadata.refresh.interval.ms": self.topics_refresh_ms,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 65_536,
            "fetch.wait.max.ms": 100,
        }

    def side_consumer(self, client: Client) -> dict[str, Any]:
        """Settings of the consumer of the side inputs, which belongs to no group."""
        return {
            **client,
            "group.id": f"{self.group}-side",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": fetch_wait_ms_max,
            "queued.max.messages.kbytes": 65_536,
        }

    def producer(self, client: Client) -> dict[str, Any]:
        """Settings of the transactional producer."""
        return {
            **client,
            "transactional.id": self.transactional_id or self.instance_id,
            "transaction.timeout.ms": self.transaction_timeout_ms,
            "socket.timeout.ms": self.transaction_timeout_ms // 2,
            "linger.ms": 1,  # the commit waits for it, and what is in flight makes batches anyhow
            "retry.backoff.ms": 2,  # and doubled: the coordinator is done with the last one in a few ms
            "batch.num.messages": 10_000,
            "batch.size": 1_048_576,
            "message.max.bytes": produce_bytes_max,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "delivery.report.only.error": True,
            "partitioner": "murmur2_random",
        }
