"""The transactional runner: once each, in order, nothing stale, whatever dies."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.errors import Unavailable
from streams.errors import Corrupt, Fenced
from streams.group import generation
from streams.health import Progress
from streams.settings import RunnerSettings
from streams.slots import Slot
from streams.step import Out, Record
from tests.copying import Copy
from tests.streams_kit import Cluster, Process, Worker, until, working

pytestmark = pytest.mark.broker


@pytest.fixture
def cluster(kafka: str) -> Cluster:
    return Cluster(kafka)


def numbers(count: int, start: int = 0) -> list[tuple[bytes, bytes]]:
    return [(b"k", b"%d" % n) for n in range(start, start + count)]


def payloads(records: list[Record]) -> list[int]:
    return [int((record.value or b"").split()[0]) for record in records]


def settings(cluster: Cluster, *inputs: str, **more: object) -> RunnerSettings:
    defaults: dict[str, object] = {
        "batch_records_max": 50,
        "session_timeout_ms": 3_000,
        "transaction_timeout_ms": 6_000,
    }
    name = f"copy-{cluster.suffix}"
    return RunnerSettings(name, inputs, f"{name}-0", **{**defaults, **more})  # type: ignore[arg-type]


def test_every_record_once_and_in_order_across_a_restart(cluster: Cluster) -> None:
    source, target = cluster.topic("in", 2), cluster.topic("out", 2)
    for partition in (0, 1):
        cluster.write(source, numbers(120), partition)
    for start in (0, 120):
        with working(settings(cluster, source), Copy(target), cluster.client):
            until(lambda start=start: len(cluster.read(target, 2)) >= 2 * (start + 120), "the copies")
        for partition in (0, 1):
            cluster.write(source, numbers(120, start + 120), partition)
    for partition in (0, 1):
        copies = [record for record in cluster.read(target, 2) if record.partition == partition]
        assert payloads(copies) == list(range(240))
    assert cluster.committed_offsets(f"copy-{cluster.suffix}", source, 2) == {0: 240, 1: 240}


def test_a_step_knows_every_side_record_that_was_there_before_its_input(cluster: Cluster) -> None:
    source, side, target = cluster.topic("in"), cluster.topic("side"), cluster.topic("out")
    writer = cluster.producer(f"writer-{cluster.suffix}")
    with working(settings(cluster, source, beside=(side,)), Copy(target), cluster.client):
        for n in range(40):
            writer.begin_transaction()
            writer.produce(side, b"word", b"k", 0)
            writer.commit_transaction()
            cluster.write(source, numbers(1, n))
        copies = until(lambda: len(found := cluster.read(target)) == 40 and found, "the copies")
    known = [int((record.value or b"").split()[1]) for record in copies]
    assert all(count >= n + 1 for n, count in enumerate(known))


def test_what_is_aborted_is_seen_neither_as_input_nor_beside(cluster: Cluster) -> None:
    source, side, target = cluster.topic("in"), cluster.topic("side"), cluster.topic("out")
    writer = cluster.producer(f"writer-{cluster.suffix}")
    writer.begin_transaction()
    writer.produce(source, b"99", b"k", 0)
    writer.produce(side, b"word", b"k", 0)
    writer.flush()
    writer.abort_transaction()
    until(lambda: cluster.ends(source) == {0: 2}, "the marker, which comes after the answer")
    cluster.write(source, numbers(1))
    with working(settings(cluster, source, beside=(side,)), Copy(target), cluster.client):
        until(lambda: cluster.read(target), "the copy")
        until(lambda: cluster.committed_offsets(f"copy-{cluster.suffix}", source) == {0: 3}, "the offset")
    assert [record.value for record in cluster.read(target)] == [b"0 0"]


def test_an_open_transaction_beside_holds_up_no_decision_and_is_not_seen(cluster: Cluster) -> None:
    source, side, target = cluster.topic("in"), cluster.topic("side"), cluster.topic("out")
    writer = cluster.producer(f"writer-{cluster.suffix}")
    writer.begin_transaction()
    writer.produce(side, b"word", b"k", 0)
    writer.flush()
    with working(settings(cluster, source, beside=(side,)), Copy(target), cluster.client):
        cluster.write(source, numbers(1))
        until(lambda: cluster.read(target), "the copy")
        writer.commit_transaction()
        cluster.write(source, numbers(1, 1))
        until(lambda: len(cluster.read(target)) == 2, "the second copy")
    assert [record.value for record in cluster.read(target)] == [b"0 0", b"1 1"]


class Faltering(Copy):
    """Cannot work the first few times."""

    def __init__(self, output: str, failures: int, error: Exception) -> None:
        super().__init__(output)
        self.failures, self.error = failures, error

    def step(self, batch: list[Record], out: Out) -> None:  # type: ignore[override]
        super().step(batch, out)
        self.failures -= 1
        if self.failures >= 0:
            raise self.error


def test_a_step_that_cannot_work_starts_over_with_empty_memory_and_leaves_nothing(cluster: Cluster) -> None:
    source, side, target = cluster.topic("in"), cluster.topic("side"), cluster.topic("out")
    cluster.write(side, numbers(3))
    cluster.write(source, numbers(5))
    step = Faltering(target, 2, Unavailable("the vault is away"))
    with working(settings(cluster, source, beside=(side,)), step, cluster.client):
        until(lambda: ("committed", 0) in step.calls, "a commit")
    again = [("revoked", 1), ("assigned", 1)]
    assert step.calls[:6] == [("assigned", 1), *again, *again, ("committed", 0)]
    assert [record.value for record in cluster.read(target)] == [b"%d 3" % n for n in range(5)]


class Unable(Producer):
    """A client that cannot abort, as after the death of a broker."""

    made = 0

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        Unable.made += 1

    def abort_transaction(self, wait_s: float) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_what_a_client_cannot_abort_another_one_does(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the same process, and nobody who reads what is committed waits for it."""
    monkeypatch.setattr("streams.runner.Producer", Unable)
    monkeypatch.setattr(Unable, "made", 0)
    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(5))
    step = Faltering(target, 2, Unavailable("the vault is away"))
    with working(settings(cluster, source, transaction_timeout_ms=30_000), step, cluster.client):
        until(lambda: len(cluster.read(target)) == 5, "the copies")
    assert payloads(cluster.read(target)) == list(range(5))
    assert Unable.made == 3


def test_a_step_that_never_can_ends_the_worker_within_its_bound(cluster: Cluster) -> None:
    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(1))
    step = Faltering(target, 1_000, Unavailable("the vault is away"))
    worker = Worker(settings(cluster, source, aborts_max=2, backoff_ms_max=50), step, cluster.client)
    assert isinstance(worker.join(), Unavailable)
    assert step.failures == 1_000 - 3
    assert cluster.read(target) == []


def test_corruption_of_our_own_ends_the_worker_at_once(cluster: Cluster) -> None:
    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(1))
    step = Faltering(target, 1_000, Corrupt("a decision that does not parse"))
    assert isinstance(Worker(settings(cluster, source), step, cluster.client).join(), Corrupt)
    assert step.failures == 999
    assert cluster.read(target) == []


class Following(Copy):
    """Keeps what is restored and what is read whole, and wants steps without records."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.side: list[tuple[str, int]] = []
        self.wanted = 0
        self.seen_positions: dict[tuple[str, int], int] = {}

    def apply(self, record: Record) -> None:
        self.side.append((record.topic, record.offset))

    def due(self, now_ms: int) -> bool:
        return self.wanted > 0

    def step(self, batch: list[Record], out: Out) -> None:  # type: ignore[override]
        super().step(batch, out)
        if not batch and self.wanted:
            self.wanted -= 1
            self.seen_positions = dict(out.positions)
            out.produce(self.output, b"k", b"-1", 0)


def test_whole_topics_are_followed_and_restored_ones_read_once(cluster: Cluster) -> None:
    source, target = cluster.topic("in"), cluster.topic("out")
    whole, restored = cluster.topic("whole", 2), cluster.topic("restored")
    cluster.write(whole, numbers(2), 1)
    cluster.write(restored, numbers(3))
    step = Following(target)
    with working(
        settings(cluster, source, whole=(whole,), restore=(restored,)), step, cluster.client
    ) as worker:
        until(worker.ready, "the worker to be ready")
        assert Counter(topic for topic, _ in step.side) == {whole: 2, restored: 3}
        cluster.write(restored, numbers(1))
        cluster.write(whole, numbers(1), 0)
        until(lambda: len(step.side) >= 6, "the whole topic's next record")
        cluster.write(source, numbers(1))
        until(lambda: cluster.read(target), "the copy")
    assert Counter(topic for topic, _ in step.side) == {whole: 3, restored: 3}


class Recent(Following):
    """Needs only what was written since an instant."""

    def since(self) -> int:
        assert any(topic.startswith("whole") for topic, _ in self.side), "asked before the whole was known"
        return 1_000_000


class Preparing(Copy):
    """Has much to prepare, and notes how far it had come when something was to be done."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.prepared = 0
        self.seen: list[int] = []

    def idle(self) -> bool:
        self.prepared += 1
        return self.prepared < 500

    def step(self, batch: Sequence[Record], out: Out) -> None:
        self.seen.append(self.prepared)
        super().step(batch, out)


def test_a_step_prepares_itself_while_nothing_comes_and_works_when_something_does(cluster: Cluster) -> None:
    source, target = cluster.topic("in"), cluster.topic("out")
    copy = Preparing(target)
    cluster.write(source, numbers(40))
    with working(settings(cluster, source), copy, cluster.client):
        until(lambda: copy.prepared >= 500, "all preparation")
        cluster.write(source, numbers(40, 40))
        until(lambda: len(cluster.read(target)) == 80, "the copies")
    assert copy.seen[0] < 500 <= copy.seen[-1]


def test_of_what_is_recent_the_start_reads_only_what_can_still_matter(cluster: Cluster) -> None:
    """However long the log has grown before that."""
    source, target = cluster.topic("in"), cluster.topic("out")
    whole, beside, restored = cluster.topic("whole"), cluster.topic("beside"), cluster.topic("restored")
    cluster.write(whole, numbers(1))
    producer = cluster.producer()
    for topic in (beside, restored):
        for stamp in [1] * 500 + ([1_000_000, 2] if topic == beside else []):
            producer.produce(topic, b"0", b"k", 0, timestamp=stamp)
    assert producer.flush(30) == 0
    step = Recent(target)
    named = {"whole": (whole,), "beside": (beside,), "restore": (restored,), "recent": (beside, restored)}
    with working(settings(cluster, source, **named), step, cluster.client) as worker:
        until(worker.ready, "the worker to be ready")
        assert step.side == [(whole, 0), (beside, 500), (beside, 501)]
        cluster.write(beside, numbers(1))
        until(lambda: (beside, 502) in step.side, "what came after the start")


def test_a_step_without_records_commits_under_the_groups_fencing(cluster: Cluster) -> None:
    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(3))
    step = Following(target)
    with working(settings(cluster, source), step, cluster.client):
        until(lambda: len(cluster.read(target)) == 3, "the copies")
        step.wanted = 1
        until(lambda: len(cluster.read(target)) == 4, "the step without records")
        # an offset travelled with it, so the broker has checked the membership
        assert step.seen_positions == {(source, 0): 3}


def test_offsets_that_a_step_names_are_committed_instead(cluster: Cluster) -> None:
    class Behind(Copy):
        def step(self, batch: list[Record], out: Out) -> None:  # type: ignore[override]
            super().step(batch, out)
            out.offset(source, 0, 1)

    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(4))
    with working(settings(cluster, source), Behind(target), cluster.client):
        until(lambda: len(cluster.read(target)) == 4, "the copies")
    assert cluster.committed_offsets(f"copy-{cluster.suffix}", source) == {0: 1}


def test_a_topic_that_appears_later_is_taken_up(cluster: Cluster) -> None:
    target = cluster.topic("out")
    cluster.topic(f"new{cluster.suffix}.a")
    wanted = settings(
        cluster, rf"^new{cluster.suffix}\..*", topics_refresh_ms=200, assignor="cooperative-sticky"
    )
    with working(wanted, Copy(target), cluster.client) as worker:
        until(worker.ready, "the worker to be ready")
        cluster.topic(f"new{cluster.suffix}.b")
        cluster.write(f"new{cluster.suffix}.b", numbers(3))
        cluster.write(f"new{cluster.suffix}.a", numbers(3, 3))
        until(lambda: len(cluster.read(target)) == 6, "the copies")
    assert sorted(payloads(cluster.read(target))) == list(range(6))


# -- real processes ---------------------------------------------------------------------------------------


class Flow:
    """Two partitions of numbers, and what a correct copy of them is."""

    def __init__(self, cluster: Cluster, count: int = 3_000) -> None:
        self.cluster, self.count = cluster, count
        self.source, self.side, self.target = (
            cluster.topic("in", 2),
            cluster.topic("side", 2),
            cluster.topic("out", 2),
        )

    def worker(self, instance: str, assignor: str = "range", crash: str = "") -> Process:
        group = f"copy-{self.cluster.suffix}"
        args = (self.cluster.bootstrap, group, f"{group}-{instance}", self.source, self.side, self.target)
        return Process("tests.copying", *args, assignor, crash=crash.replace("@", group))

    def write(self) -> None:
        for partition in (0, 1):
            self.cluster.write(self.source, numbers(self.count), partition)

    def copied(self) -> bool:
        return sum(self.cluster.ends(self.target, 2).values()) >= 2 * self.count

    def check(self) -> None:
        """Each once, in order, for a reader who comes now."""
        until(lambda: len(self.cluster.read(self.target, 2)) >= 2 * self.count, "the last copy")
        found = self.cluster.read(self.target, 2)
        for partition in (0, 1):
            assert payloads([r for r in found if r.partition == partition]) == list(range(self.count))


@pytest.mark.parametrize("point", ["produced", "offsets-sent", "committed"])
def test_killed_at_each_point_nothing_is_lost_or_doubled(cluster: Cluster, point: str) -> None:
    flow = Flow(cluster)
    flow.write()
    assert flow.worker("0", crash=f"@.{point}:kill:4").died() == -9
    worker = flow.worker("0")
    try:
        flow.check()
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_who_lost_its_name_to_another_ends_and_does_not_wait_for_ever(cluster: Cluster) -> None:
    """As after a broker's restart, when a joining whose answer was lost is asked for again."""
    source, target = cluster.topic("in", 1), cluster.topic("out", 1)
    first = Worker(settings(cluster, source), Copy(target), cluster.client)
    until(first.ready, "the first to work")
    second = Worker(settings(cluster, source), Copy(target), cluster.client)
    try:
        assert isinstance(first.join(), Fenced)
        until(second.ready, "the second to work")
    finally:
        second.stop()


@pytest.mark.parametrize("point", ["produced", "offsets-sent"])
def test_frozen_replaced_and_thawed_it_cannot_double_anything(cluster: Cluster, point: str) -> None:
    flow = Flow(cluster)
    flow.write()
    zombie = flow.worker("0", crash=f"@.{point}:freeze:4")
    successor = None
    try:
        until(zombie.frozen, "the worker to freeze")
        successor = flow.worker("1")
        until(lambda: sum(flow.cluster.ends(flow.target, 2).values()) > 2_000, "the successor to work")
        zombie.thaw()
        flow.check()
        assert successor.stop() == 0
    finally:
        for process in filter(None, (zombie, successor)):
            process.kill()
    flow.check()


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_workers_that_come_and_go_neither_lose_nor_double(cluster: Cluster, assignor: str) -> None:
    flow = Flow(cluster, count=0)
    first = flow.worker("0", assignor)
    others: list[Process] = []
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            for partition in (0, 1):
                cluster.write(flow.source, numbers(20, flow.count), partition)
            flow.count += 20
            time.sleep(0.005)

    writing = threading.Thread(target=keep_writing)
    writing.start()
    try:
        for n in range(2):
            others.append(flow.worker(str(n + 1), assignor))
            seen = flow.count
            until(lambda seen=seen: sum(cluster.ends(flow.target, 2).values()) > 2 * seen + 400, "progress")
            others[-1].kill()
        until(lambda: sum(cluster.ends(flow.target, 2).values()) > 2 * flow.count - 100, "take-over")
    finally:
        stop.set()
        writing.join()
        try:
            flow.check()
        finally:
            for process in (first, *others):
                process.kill()


# -- small parts ---------------------------------------------------------------------------------------------


def test_a_slot_belongs_to_one_process_and_comes_back(tmp_path: Path) -> None:
    with Slot(tmp_path, "enforce") as first, Slot(tmp_path, "enforce") as second:
        assert first.instance_id != second.instance_id
        kept = first.instance_id
    with Slot(tmp_path, "enforce") as again:
        assert again.instance_id == kept
    with Slot(tmp_path / "elsewhere", "enforce") as other:
        assert other.instance_id != kept  # another machine's workers have other names


def test_slots_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.slots.slots_max", 1)
    with Slot(tmp_path, "enforce"), pytest.raises(Unavailable):
        Slot(tmp_path, "enforce")


@pytest.mark.parametrize("metadata", [b"", b"CGMDv2:", b"CGMDv3:\x01\0\0\0g\0"])
def test_metadata_that_cannot_be_read_are_refused(metadata: bytes) -> None:
    with pytest.raises(Fenced):
        generation(metadata)


def test_a_forgotten_member_has_no_generation() -> None:
    assert generation(b"CGMDv2:\xff\xff\xff\xffgroup\0") == -1
    assert generation(b"CGMDv2:\x07\x00\x00\x00group\0") == 7


@pytest.mark.parametrize(
    "bounds",
    [
        {"session_timeout_ms": 9_000, "transaction_timeout_ms": 8_000},
        {"transaction_timeout_ms": 90_000},
        {"side_ms_max": 20_000},
        {"poll_interval_ms_max": 1_000},
        {"batch_records_max": 0},
    ],
)
def test_bounds_that_contradict_each_other_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RunnerSettings("g", ("t",), "i", **bounds)  # type: ignore[arg-type]


def test_health_names_the_partition_that_makes_no_progress() -> None:
    progress = Progress("enforce", stuck_ms_max=0)
    progress.joining(("contact", 0))
    assert not progress.health().ready
    progress.done(("contact", 0), 5)
    progress.done(("contact", 1), 7)
    progress.working(("contact", 1))
    time.sleep(0.001)
    health = progress.health()
    assert "contact/1" in health.stuck
    assert not health.ready
    assert health.positions == {"contact/0": 5, "contact/1": 7}


def test_a_loop_that_hangs_is_seen_from_outside(cluster: Cluster) -> None:
    release = threading.Event()

    class Hanging(Copy):
        def step(self, batch: list[Record], out: Out) -> None:  # type: ignore[override]
            release.wait(30)
            super().step(batch, out)

    source, target = cluster.topic("in"), cluster.topic("out")
    cluster.write(source, numbers(1))
    with working(settings(cluster, source, stuck_ms_max=300), Hanging(target), cluster.client) as worker:
        until(lambda: f"{source}/0" in worker.runner.health().stuck, "the partition to be named")
        release.set()
        until(worker.ready, "the worker to recover")
