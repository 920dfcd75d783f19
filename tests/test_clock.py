"""The clock: tells what falls due, the same however often, and never knows what was not committed."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiokafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, instant
from schemas.bells import EXPIRES_SOON
from schemas.topics import partition_of
from streams.clock import Clock, Due, ahead, changed, dues, dues_max, kept
from streams.committed import CommittedConsumer
from tests.streams_kit import Cluster, Process, until


def directive(
    participant: str, kind: str, body: dict[str, object], recorded_at: int = 0
) -> dict[str, object]:
    return {
        "id": f"d-{participant}-{recorded_at}",
        "participant": participant,
        "sender": "case-management",
        "recorded_at": recorded_at,
        "type": kind,
        "body": json.dumps({"type": kind, **body}).encode(),
        "sealed": None,
    }


def consent(starts_at: int, expires_at: int) -> dict[str, object]:
    return {
        "consent": {
            "id": "c-1",
            "signed_at": instant.format(1_000),
            "starts_at": instant.format(starts_at),
            "expires_at": instant.format(expires_at),
        }
    }


def test_only_what_lies_ahead_falls_due() -> None:
    found = dues(directive("p-1", "consent-granted", consent(5_000, 9_000), recorded_at=2_000))
    assert found == [Due("consent-starts", "c-1", 5_000), Due("consent-expires", "c-1", 9_000)]
    assert dues(directive("p-1", "consent-granted", consent(5_000, 9_000), recorded_at=5_000)) == [
        Due("consent-expires", "c-1", 9_000)
    ]


def test_an_order_and_an_emergency_have_times_too() -> None:
    order = {"order": {"id": "o-1", "starts_at": instant.format(10), "expires_at": instant.format(20)}}
    assert [due.kind for due in dues(directive("p-1", "order-filed", order))] == [
        "order-starts",
        "order-expires",
    ]
    declared = {
        "emergency": {"id": "m-1", "declared_at": instant.format(10), "expires_at": instant.format(20)}
    }
    kinds = [due.kind for due in dues(directive("p-1", "emergency-declared", declared))]
    assert kinds == ["emergency-starts", "emergency-expires"]


@given(
    st.dictionaries(
        st.sampled_from(["id", "signed_at", "starts_at", "expires_at"]),
        st.one_of(st.none(), st.integers(), st.text(max_size=30), st.lists(st.text(max_size=3))),
    )
)
def test_times_of_the_wrong_shape_are_no_times(subject: dict[str, object]) -> None:
    for due in dues(directive("p-1", "consent-granted", {"consent": subject})):
        assert isinstance(due.due_at, int)
        assert due.ref == subject["id"]


def test_people_are_told_days_before_a_consent_ends_by_the_clocks_there() -> None:
    ends = instant.parse("2026-03-09T09:00:00-07:00")
    granted = directive("p-1", "consent-granted", consent(5_000, ends), recorded_at=6_000)
    zone = ZoneInfo("America/Los_Angeles")
    assert ahead(granted, (7, 1), zone) == [
        Due(EXPIRES_SOON, "c-1/7", instant.parse("2026-03-02T09:00:00-08:00")),
        Due(EXPIRES_SOON, "c-1/1", instant.parse("2026-03-08T09:00:00-07:00")),
    ]
    late = {**granted, "recorded_at": instant.parse("2026-03-05T09:00:00-08:00")}
    assert [due.ref for due in ahead(late, (7, 1), zone)] == ["c-1/1"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=20))
def test_of_each_alarm_the_last_word_counts(said: list[tuple[str, int]]) -> None:
    known: set[Due] = set()
    for ref, due_at in said:
        known = changed(known, Due("alert", ref, due_at))
        assert changed(known, Due("alert", ref, due_at)) == known, "said again it is the same"
    last = {ref: due_at for ref, due_at in dict(said).items() if due_at}
    assert known == {Due("alert", ref, due_at) for ref, due_at in last.items()}


def test_reminders_never_take_the_place_of_what_decisions_wait_for() -> None:
    many = {Due("alert", str(n), n + 1) for n in range(dues_max + 5)}
    decisions = {Due("consent-expires", str(n), 10**12 + n) for n in range(5)}
    left = kept(many | decisions)
    assert decisions <= set(left)
    assert len(left) == dues_max + 5
    assert max(due.due_at for due in left if due.kind == "alert") == dues_max


def write_directive(cluster: Cluster, record: dict[str, object], partitions: int) -> None:
    key = str(record["participant"]).encode()
    cluster.write("consent", [(key, codec.encode("Directive", record))], partition_of(key, partitions))


def set_alarm(cluster: Cluster, ref: str, due_at: int, partitions: int) -> None:
    key = b"p-1"
    value = {"participant": "p-1", "kind": "alert", "ref": ref, "due_at": due_at}
    cluster.write("alarms", [(key, codec.encode("Clock", value))], partition_of(key, partitions))


@pytest.mark.broker
def test_what_falls_due_is_told_across_a_kill_and_nothing_uncommitted_is_known(
    empty_kafka: str, tmp_path: Path
) -> None:
    partitions = 2
    cluster = Cluster(empty_kafka)
    cluster.equip(partitions)
    said = tmp_path / "health.json"
    args = (cluster.bootstrap, str(tmp_path), "clock-0", str(partitions))
    worker = Process("tests.clock_worker", *args)
    try:
        until(lambda: said.exists() and "ready=True" in said.read_text(), "the clock to be ready")
        now = int(time.time() * 1000)
        soon, later = now + 8_000, now + 10**9
        kept = directive("p-1", "consent-granted", consent(soon, later), now)
        write_directive(cluster, kept, partitions)
        for ref, due_at in (("moved", later), ("moved", soon), ("cancelled", soon), ("cancelled", 0)):
            set_alarm(cluster, ref, due_at, partitions)
        until(lambda: b"moved" in _table(cluster, partitions).get(b"p-1", b""), "the table's entry")
        until(lambda: b"cancelled" not in _table(cluster, partitions)[b"p-1"], "what was cancelled")
        worker.kill()  # what it knew has to come back from the table's own log
        assert cluster.read("clock", partitions) == []
        said.unlink()

        writer = cluster.producer(f"writer-{cluster.suffix}")
        writer.begin_transaction()
        ghost = directive("p-2", "consent-granted", consent(now + 500, later), now - 9_000)
        writer.produce("consent", codec.encode("Directive", ghost), b"p-2", partition_of(b"p-2", partitions))
        writer.flush()
        writer.abort_transaction()
        worker = Process("tests.clock_worker", *args)
        told = until(lambda: cluster.read("clock", partitions), "what falls due")
        due = {"participant": "p-1", "kind": "consent-starts", "ref": "c-1", "due_at": soon}
        assert {record.value for record in told} == {codec.encode("Clock", due)}  # told again, it is the same
        rung = until(lambda: cluster.read("rings", partitions), "the bell")
        bell = {"participant": "p-1", "kind": "alert", "ref": "moved", "due_at": soon}
        assert {record.value for record in rung} == {codec.encode("Clock", bell)}, "at its new time alone"
        assert int(time.time() * 1000) >= soon
        until(lambda: said.exists() and "ready=True" in said.read_text(), "the successor to be ready")
        assert worker.stop() == 0
    finally:
        worker.kill()
    assert {record.key for record in cluster.read("timers", partitions)} == {b"p-1"}


@contextlib.contextmanager
def clock_at_work(cluster: Cluster, folder: Path, partitions: int) -> Iterator[None]:
    """A clock in a thread of the test's own process, so that single steps of it can be held up."""
    stop = threading.Event()
    clock = Clock(cluster.bootstrap, folder, "clock-0", partitions, broker_commit_interval=0.3)
    worker = threading.Thread(target=clock.run, args=(stop,), daemon=True)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join(30)
        assert not worker.is_alive()


@pytest.mark.broker
def test_nothing_is_taken_before_the_table_stands(
    empty_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust empties its queues once the table stands: what was read just before that would be lost."""
    partitions = 2
    cluster = Cluster(empty_kafka)
    cluster.equip(partitions)
    due_at = int(time.time() * 1000)
    set_alarm(cluster, "known", due_at + 10**9, partitions)
    with clock_at_work(cluster, tmp_path, partitions):
        until(lambda: b"known" in _table(cluster, partitions).get(b"p-1", b""), "a table to be read again")
    refs = [str(n) for n in range(20)]
    for ref in refs:
        set_alarm(cluster, ref, due_at, partitions)
    seek, hand_on = CommittedConsumer.perform_seek, CommittedConsumer._to_message
    taken: list[tuple[str, bool]] = []

    async def slow_seek(self: CommittedConsumer) -> None:
        await seek(self)
        await asyncio.sleep(2)

    def watched(self: CommittedConsumer, tp: Any, record: Any) -> Any:
        taken.append((tp.topic, self.app.rebalancing))
        return hand_on(self, tp, record)

    monkeypatch.setattr(CommittedConsumer, "perform_seek", slow_seek)
    monkeypatch.setattr(CommittedConsumer, "_to_message", watched)
    with clock_at_work(cluster, tmp_path, partitions):
        rung = until(lambda: len(found := cluster.read("rings", partitions)) >= len(refs) and found, "all")
    assert {codec.decode_as("Clock", record.value or b"")["ref"] for record in rung} == set(refs)
    assert set(taken) == {("timers", True), ("alarms", False)}


@pytest.mark.broker
def test_nothing_is_done_with_before_the_table_has_it(
    empty_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust waits for a tenth of a second and then commits what its table's own log does not hold yet."""
    partitions = 2
    cluster = Cluster(empty_kafka)
    cluster.equip(partitions)
    send = aiokafka.AIOKafkaProducer.send

    async def slow_send(self: aiokafka.AIOKafkaProducer, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(2)  # several commits fall into it
        return await send(self, *args, **kwargs)

    monkeypatch.setattr(aiokafka.AIOKafkaProducer, "send", slow_send)
    set_alarm(cluster, "asked", int(time.time() * 1000) + 10**9, partitions)

    def committed() -> int:
        return max(cluster.committed_offsets("faust", "alarms", partitions).values())

    with clock_at_work(cluster, tmp_path, partitions):
        until(lambda: committed() > 0, "the alarm to be done with")
        assert b"asked" in _table(cluster, partitions).get(b"p-1", b"")


def _table(cluster: Cluster, partitions: int) -> dict[bytes | None, bytes]:
    """The clock's table as its own log has it: the last word on each participant."""
    return {record.key: record.value or b"" for record in cluster.read("timers", partitions)}
