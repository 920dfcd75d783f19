"""The scene of the fault tests: a broker of its own, enforce as processes, and readers who count.

Every event is to be decided once, every permitted one copied once, each participant's events of a type in
their order: for a reader who watches all the time, and for one who comes when everything is over.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from hub import broker, settings
from schemas import codec
from schemas.topics import partition_of
from streams import topology
from tests.streams_kit import Cluster, Process, until
from tests.streams_scene import directive, event, governance, grant

PARTITIONS = 4
PEOPLE = 50
WATCHED = ("decisions", "outbox.harbor")
TOPICS = ("contact", "referral")
DONE_S_MAX = 900.0


@dataclass
class Seen:
    """What one reader saw: events on each topic, and the order of each participant's events of a type."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {topic: Counter() for topic in WATCHED})
    order: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, topic: str, value: bytes) -> None:
        name, record = codec.decode(value)
        envelope = record["event"] if name == "Decision" else record["envelope"]
        self.counts[topic][envelope["id"]] += 1
        if name == "Decision":
            self.order[envelope["participant"], envelope["type"]].append(int(envelope["id"][2:]))


class Watcher:
    """Reads what is committed while everything happens, and notes for how long nothing came."""

    def __init__(self, bootstrap: str) -> None:
        self.seen = Seen()
        self._last: dict[int, float] = {}
        self._standstill_s = 0.0
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "watcher",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        places = [(topic, p) for topic in WATCHED for p in range(PARTITIONS)]
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(1_000, 0.1):
                if message.error() is None:
                    self.seen.add(str(message.topic()), message.value() or b"")
                    if message.topic() == "decisions":
                        self._moved(message.partition() or 0)

    def _moved(self, partition: int) -> None:
        now = time.monotonic()
        self._standstill_s = max(self._standstill_s, now - self._last.get(partition, now))
        self._last[partition] = now

    def begin(self) -> None:
        """What came before does not count as having stood still."""
        self._last, self._standstill_s = {}, 0.0

    @property
    def standstill_s(self) -> float:
        """The longest time between two decisions of one partition, in seconds."""
        return self._standstill_s

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


class Workers:
    """Keeps a number of workers running, as `hub up` does: who ends is started again."""

    def __init__(self, start: Callable[[str], Process], wanted: int) -> None:
        self._start = start
        self.wanted = wanted
        self.restarts = 0
        self.running: list[Process] = []
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def _supervise(self) -> None:
        while not self._stop.wait(0.1):
            with self._guard:
                ended = [one for one in self.running if one.popen.poll() is not None]
                self.restarts += len(ended)
                self.running = [one for one in self.running if one.popen.poll() is None]
                while len(self.running) < self.wanted:
                    self.running.append(self._start(""))

    def add(self, crash: str) -> Process:
        """One more worker, with a crash point; it is not replaced while it is frozen."""
        with self._guard:
            process = self._start(crash)
            self.running.append(process)
            return process

    def kill_one(self) -> None:
        with self._guard:
            if self.running:
                random.choice(self.running).kill()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for process in self.running:
            process.kill()


class Scene:
    """A broker with the hub's topics, governance and consents. Ids of events go on from test to test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = settings.load(data=folder / "hub")
        self.broker = broker.start(self.settings)
        self.cluster = Cluster(self.broker.bootstrap)
        topology.ensure(self.cluster.admin, PARTITIONS, 1, ["harbor", "clinic", "attorney", "jail"])
        changes = [(b"k", codec.encode("Governance", change)) for change in governance()]
        self.cluster.write("governance", changes)
        for number in range(0, PEOPLE, 2):  # every other one lets the case managers know
            who = f"p-{number}"
            said = codec.encode("Directive", directive(who, grant("c-1", ["harbor"])))
            self.cluster.write("consent", [(who.encode(), said)], partition_of(who, PARTITIONS))
        self.next = 1
        self.watcher = Watcher(self.broker.bootstrap)
        self.permitted: set[str] = set()
        self.published: set[str] = set()
        self._counted = {"events": 0, "copies": 0, "aborted": 0}

    @contextlib.contextmanager
    def workers(self, wanted: int) -> Iterator[Workers]:
        args = (self.cluster.bootstrap, str(self.folder / "slots"), str(PARTITIONS))
        workers = Workers(lambda crash: Process("tests.faults.worker", *args, crash=crash), wanted)
        try:
            yield workers
        finally:
            workers.close()

    def publish(self, count: int) -> None:
        """Writes events in order; the producer goes on through a broker that comes back."""
        producer = Producer(
            {
                **self.cluster.client,
                "enable.idempotence": True,
                "message.timeout.ms": int(DONE_S_MAX * 1000),
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 5,
            }
        )
        for number in range(self.next, self.next + count):
            who, topic = f"p-{number % PEOPLE}", TOPICS[number // PEOPLE % 2]
            kind = {"contact": "contact.custody-booking", "referral": "referral.community"}[topic]
            value = event(who, number, type=topic, category=kind)
            producer.produce(topic, codec.encode("Event", value), who.encode(), partition_of(who, PARTITIONS))
            name = value["envelope"]["id"]
            self.published.add(name)
            if number % PEOPLE % 2 == 0 and topic == "contact":
                self.permitted.add(name)
            if number % 500 == 0:
                producer.poll(0)
        self.next += count
        assert producer.flush(DONE_S_MAX) == 0

    def decided(self) -> int:
        return len(self.watcher.seen.counts["decisions"])

    def finish(self) -> dict[str, Any]:
        """Waits for the last decision, then lets both readers count. Out: numbers for the report."""
        until(lambda: self.decided() >= len(self.published), "the last decision", DONE_S_MAX)
        until(
            lambda: len(self.watcher.seen.counts["outbox.harbor"]) >= len(self.permitted), "the last copy", 60
        )
        later = Seen()
        for topic in WATCHED:
            for one in self.cluster.read(topic, PARTITIONS):
                later.add(topic, one.value or b"")
        lost, doubled = set[str](), set[str]()
        for seen in (self.watcher.seen, later):
            for topic, wanted in (("decisions", self.published), ("outbox.harbor", self.permitted)):
                counts = seen.counts[topic]
                assert set(counts) <= wanted, f"{topic} has what nobody published, or nobody may have"
                lost |= wanted - set(counts)
                doubled |= {name for name, count in counts.items() if count > 1}
            for numbers in seen.order.values():
                assert numbers == sorted(numbers), "out of order"
        assert (lost, doubled) == (set(), set())
        raw = sum(len(self.cluster.read(topic, PARTITIONS, committed=False)) for topic in WATCHED)
        kept = len(self.published) + len(self.permitted)
        now = {"events": len(self.published), "copies": len(self.permitted), "aborted": raw - kept}
        added = {name: count - self._counted[name] for name, count in now.items()}
        self._counted = now
        found = {"lost": len(lost), "doubled": len(doubled)}
        return {**added, "standstill_s": round(self.watcher.standstill_s, 1), **found}

    def bounce(self, hard: bool) -> float:
        """Ends the broker, cleanly or not, and starts it again on its data. Out: seconds it was away."""
        gone = time.monotonic()
        if hard:
            os.kill(self.broker.running.pid, signal.SIGKILL)
            until(lambda: self.broker.ended, "the broker's end")
        else:
            self.broker.stop()
        self.broker.restart()
        return time.monotonic() - gone

    def close(self) -> None:
        self.watcher.close()
        self.broker.stop()
