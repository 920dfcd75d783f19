"""Where the contenders meet: one broker with a population's consents and a backlog of its events.

Every run is a fresh consumer group that does the whole backlog, or what is published meanwhile, while nothing
else runs; what it wrote is thrown away afterwards. `decisions` carries the time at which the broker appended
each record, so a rate is measured by the broker's clock and not by a reader's.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
)

from benchmarks import population
from benchmarks.population import PARTITIONS
from consent import default_policy
from hub import broker, settings
from schemas import codec
from schemas.topics import outbox
from streams import topology

RUN_S_MAX: Final = 180
SAMPLE: Final = 4_000
_ROOT: Final = Path(__file__).resolve().parent.parent
_QUIET: Final = {"log_level": 0}
_OUTPUTS: Final = ("decisions", *(outbox(name) for name in population.RECIPIENTS))

Written = list[tuple[str, bytes, bytes]]


@dataclass(frozen=True)
class Contender:
    """A process that decides events. In `command`, {bootstrap}, {partitions}, {run} (a name for its group),
    {plan}, {sample} and {folder} are filled in.
    """

    name: str
    says: str
    command: tuple[str, ...]


def hub(batch: int = 4_000, workers: int = 1, *, compiled: bool = True) -> Contender:
    """The hub's own enforce stage, as the image runs it or as the checkout does; with several workers, as
    many processes of one group.
    """
    module = ("-m", "benchmarks.enforcer", "{bootstrap}", "{partitions}", str(batch), "{run}", str(workers))
    if not compiled:
        return Contender("interpreted", "the same, interpreted", (sys.executable, *module))
    subprocess.run([str(_ROOT / "setup/compile.sh")], check=True)
    python = str(_ROOT / "build/compiled/bin/python")
    return Contender("hub", "the hub's enforce stage", (python, *module))


class Arena:
    """A broker of its own with `people` participants and `events` events. A context manager.

    The participants signed one of nine forms, or, where they are not `alike`, each a form of their own.
    """

    def __init__(self, people: int, events: int, *, alike: bool = True, partitions: int = PARTITIONS) -> None:
        self.people, self.events, self.partitions = people, events, partitions
        self.folder = Path(tempfile.mkdtemp(prefix="arena-"))
        self._broker = broker.start(settings.load(data=self.folder / "data"))
        self.bootstrap = self._broker.bootstrap
        self.plan = self.folder / "governance.json"
        self.sample = self.folder / "sample.pickle"
        population.write_plan(self.plan)
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, **_QUIET})
        topology.ensure(self._admin, partitions, 1, population.RECIPIENTS)
        self._stamp("decisions")
        population.send(self.bootstrap, "consent", partitions, population.directives(people, alike=alike))
        population.send(self.bootstrap, "governance", 1, population.governance_records(default_policy()))
        population.send(self.bootstrap, "contact", partitions, population.events(events, people))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def rate(self, contender: Contender, events: int | None = None) -> float:
        """Events a second over the middle four fifths of the backlog, or of its first `events`."""
        count = events or self.events
        with self.running(contender) as alive:
            times = self.decided(count, alive)
        self.clear()
        return middle(times)

    def written(self, contender: Contender) -> dict[str, Written]:
        """What a contender writes about some thousand events: for each a decision and its copies."""
        with self.running(contender) as alive:
            self.decided(self.events, alive)
        found: dict[str, Written] = defaultdict(list)
        for topic in _OUTPUTS:
            with self.reader([topic], partitions=1) as consumer:
                for one in consumer.consume(SAMPLE, 5.0):
                    if one.error() is None:
                        found[event_id(one.value())].append((topic, one.key(), one.value()))
        self.clear()
        whole = {name: some for name, some in found.items() if len(some) == 1 + population.PERMITTED}
        assert len(whole) > SAMPLE // 4, "few events were found with all their copies"
        return whole

    def again(self, alive: subprocess.Popen[bytes], events: Sequence[tuple[str, bytes]]) -> float:
        """Events a second of a contender that has nothing to do until these are there, all of them: it is
        stopped while they are published.
        """
        self.clear()
        alive.send_signal(signal.SIGSTOP)
        try:
            population.send(self.bootstrap, "contact", self.partitions, events)
        finally:
            alive.send_signal(signal.SIGCONT)
        return middle(self.decided(len(events), alive))

    def said(self, run: str, word: str) -> None:
        """Waits until a contender has written this to its log."""
        until = time.monotonic() + RUN_S_MAX
        while word not in (self.folder / f"{run}.log").read_text():
            assert time.monotonic() < until, f"`{word}` was not said in {RUN_S_MAX} s"
            time.sleep(0.2)

    @contextmanager
    def running(self, contender: Contender, run: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """A contender at work, by default in a new group. Raises with the end of its log when it dies."""
        run = run or new_run()
        log = self.folder / f"{run}.log"
        filled = [
            part.replace("{bootstrap}", self.bootstrap)
            .replace("{partitions}", str(self.partitions))
            .replace("{run}", run)
            .replace("{plan}", str(self.plan))
            .replace("{sample}", str(self.sample))
            .replace("{folder}", str(self.folder / run))
            for part in contender.command
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(filled, stdout=out, stderr=out, cwd=_ROOT)
        try:
            yield process
            if process.poll() not in (None, -signal.SIGKILL):
                raise RuntimeError(f"{contender.name} ended by itself: {log.read_text()[-3000:]}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)

    @contextmanager
    def reader(
        self, names: list[str], *, ends: bool = False, partitions: int | None = None
    ) -> Iterator[Consumer]:
        """A committed reader of these topics, from what is kept of them or from their ends."""
        places = [TopicPartition(name, n) for name in names for n in range(partitions or self.partitions)]
        spec = OffsetSpec.latest() if ends else OffsetSpec.earliest()
        found = self._admin.list_offsets(dict.fromkeys(places, spec))
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "meter",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                **_QUIET,
            }
        )
        consumer.assign(
            [TopicPartition(at.topic, at.partition, future.result().offset) for at, future in found.items()]
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def decided(self, count: int, alive: subprocess.Popen[bytes]) -> list[int]:
        """When the broker appended each decision, in ms, once there are so many. One where it died before."""
        times: list[int] = []
        until = time.monotonic() + RUN_S_MAX
        with self.reader(["decisions"]) as consumer:
            while len(times) < count:
                assert time.monotonic() < until, f"{len(times)} of {count} decided in {RUN_S_MAX} s"
                if alive.poll() is not None:
                    break
                messages = consumer.consume(10_000, 0.5)
                times += [one.timestamp()[1] for one in messages if one.error() is None]
        return times[:count] or [0]

    def _stamp(self, topic: str) -> None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entry = ConfigEntry(
            "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
        )
        resource.incremental_configs = [entry]
        for done in self._admin.incremental_alter_configs([resource]).values():
            done.result()

    def clear(self) -> None:
        """Throws away what was written, once whoever wrote it has no transaction open any more."""
        places = [TopicPartition(name, n) for name in _OUTPUTS for n in range(self.partitions)]
        deadline = time.monotonic() + 60
        while True:
            ends = self._admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest()))
            cut = [TopicPartition(at.topic, at.partition, one.result().offset) for at, one in ends.items()]
            try:
                for done in self._admin.delete_records([at for at in cut if at.offset > 0]).values():
                    done.result()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return


def middle(times: Sequence[int]) -> float:
    """Events a second over the middle four fifths, by when each was decided, in ms."""
    some = sorted(times)
    first, last = some[len(some) // 10], some[len(some) * 9 // 10]
    return (len(some) * 8 // 10) / max(last - first, 1) * 1000


def new_run() -> str:
    """A name for a group that nobody was in before."""
    return f"bench-{uuid.uuid4().hex[:8]}"


def event_id(value: bytes) -> str:
    """The event that a record of an output is about."""
    body: dict[str, Any] = codec.decode(value)[1]
    return str(body.get("event", body.get("envelope"))["id"])
