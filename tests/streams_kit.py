"""What the tests of the streams share: topics of their own, committed readers, workers as real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from schemas import topics
from streams import topology
from streams.runner import Runner
from streams.settings import RunnerSettings
from streams.step import Record, Step

CHECKOUT = Path(__file__).resolve().parent.parent
WAIT_S_MAX = 90.0


def until(condition: Callable[[], Any], what: str, wait_s: float = WAIT_S_MAX) -> Any:
    """Waits for a condition to become true and returns it; fails the test when it does not."""
    deadline = time.monotonic() + wait_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {wait_s} s for {what}"
        time.sleep(0.02)


class Cluster:
    """One test's view of the broker: everything it makes has a name of its own."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.client = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.admin = AdminClient(self.client)
        self.suffix = uuid.uuid4().hex[:8]

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Makes a topic; with a dot in its name as it is, else with this test's suffix."""
        full = name if "." in name else f"{name}-{self.suffix}"
        made = self.admin.create_topics([NewTopic(full, partitions, 1, config=config)])
        made[full].result()
        self.await_topics([full])
        return full

    def await_topics(self, names: Sequence[str]) -> None:
        """Until clients can see them."""
        for name in names:
            until(
                lambda name=name: self.admin.list_topics(name, timeout=10).topics[name].error is None,
                f"topic {name}",
            )

    def equip(self, partitions: int) -> None:
        """Makes every topic that a hub without agencies has, and waits for them."""
        topology.ensure(self.admin, partitions, 1)
        self.await_topics([*topics.TOPICS])

    def producer(self, transactional_id: str | None = None) -> Producer:
        """A producer, in transactions when it has a name for them."""
        if transactional_id is None:
            return Producer({**self.client, "linger.ms": 1})
        producer = Producer({**self.client, "transactional.id": transactional_id, "linger.ms": 1})
        producer.init_transactions(WAIT_S_MAX)
        return producer

    def write(
        self, topic: str, values: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0
    ) -> None:
        """Writes records, acknowledged by the broker when this returns."""
        producer = self.producer()
        for key, value in values:
            producer.produce(topic, value, key, partition)
        assert producer.flush(WAIT_S_MAX) == 0

    def ends(self, topic: str, partitions: int = 1, *, committed: bool = True) -> dict[int, int]:
        """Partition to its end offset."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}

        def answer() -> dict[int, int] | None:
            found = self.admin.list_offsets(asked, isolation_level=level)
            with contextlib.suppress(KafkaException):  # a leader may be moving
                return {at.partition: future.result().offset for at, future in found.items()}
            self.admin.list_topics(timeout=10)  # else it asks on with what it knew of the leaders
            return None

        return until(answer, "the ends")

    def beginnings(self, topic: str, partitions: int = 1) -> dict[int, int]:
        """Partition to the first offset that still exists."""
        asked = {TopicPartition(topic, p): OffsetSpec.earliest() for p in range(partitions)}
        found = self.admin.list_offsets(asked)
        return {at.partition: future.result().offset for at, future in found.items()}

    def read(self, topic: str, partitions: int = 1, *, committed: bool = True) -> list[Record]:
        """Everything that is readable right now, by partition and offset."""
        ends = self.ends(topic, partitions, committed=committed)
        consumer = Consumer(
            {
                **self.client,
                "group.id": "reader",
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        found: list[Record] = []
        left = {p for p, end in ends.items() if end > 0}
        deadline = time.monotonic() + WAIT_S_MAX
        while left:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in consumer.consume(1000, 0.05):
                error = message.error()
                at = message.offset()
                if error is None:
                    found.append(
                        Record(
                            topic,
                            message.partition(),
                            at,
                            message.key(),
                            message.value(),
                            message.headers(),
                            message.timestamp()[1],
                        )
                    )
                    if at + 1 >= ends[message.partition()]:
                        left.discard(message.partition())
                elif error.code() == KafkaError._PARTITION_EOF and at >= ends[message.partition()]:
                    left.discard(message.partition())
        consumer.close()
        return sorted(found)

    def committed_offsets(self, group: str, topic: str, partitions: int = 1) -> dict[int, int]:
        """What a group has committed, -1 for nothing."""
        consumer = Consumer({**self.client, "group.id": group, "isolation.level": "read_committed"})
        asked = [TopicPartition(topic, p) for p in range(partitions)]
        found = {at.partition: max(at.offset, -1) for at in consumer.committed(asked, WAIT_S_MAX)}
        consumer.close()
        return found


class Worker:
    """A runner in a thread of the test's own process."""

    def __init__(self, settings: RunnerSettings, step: Step, client: Mapping[str, Any]) -> None:
        self.runner = Runner(settings, step, client)
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.runner.run(self._stop)
        except BaseException as error:
            self.failure = error

    def ready(self) -> bool:
        """Whether it holds partitions that flow."""
        health = self.runner.health()
        return bool(health.positions) and health.ready

    def join(self) -> BaseException | None:
        """Waits for an end that comes by itself."""
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        return self.failure

    def stop(self) -> None:
        """Stops it gracefully; raises what it failed with."""
        self._stop.set()
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure


@contextlib.contextmanager
def working(settings: RunnerSettings, step: Step, client: Mapping[str, Any]) -> Iterator[Worker]:
    """A worker for the length of a block, stopped gracefully at its end."""
    worker = Worker(settings, step, client)
    try:
        yield worker
    finally:
        worker.stop()


class Process:
    """A worker as a process of its own, which can be killed, frozen and thawed."""

    def __init__(self, module: str, *args: str, crash: str = "") -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=CHECKOUT,
            env={**os.environ, "HUB_CRASH_POINT": crash},
            stdout=subprocess.DEVNULL,
        )

    def died(self) -> int:
        """Waits for its end; out: its exit status."""
        return self.popen.wait(WAIT_S_MAX)

    def frozen(self) -> bool:
        """Whether it is stopped by a signal right now."""
        status = Path(f"/proc/{self.popen.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"

    def freeze(self) -> None:
        """Stops it where it stands."""
        self.popen.send_signal(signal.SIGSTOP)
        until(self.frozen, "the process to freeze")

    def thaw(self) -> None:
        """Lets it go on."""
        self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and waits."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(WAIT_S_MAX)

    def stop(self) -> int:
        """SIGTERM, and waits for the graceful end."""
        self.popen.send_signal(signal.SIGTERM)
        return self.died()
