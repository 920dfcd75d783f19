"""The clock: tells what falls due, the same however often, and never knows what was not committed."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, instant, topics
from schemas.topics import partition_of
from streams import topology
from streams.clock import Due, dues
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


def write_directive(cluster: Cluster, record: dict[str, object], partitions: int) -> None:
    key = str(record["participant"]).encode()
    cluster.write("consent", [(key, codec.encode("Directive", record))], partition_of(key, partitions))


@pytest.mark.broker
def test_what_falls_due_is_told_across_a_kill_and_nothing_uncommitted_is_known(
    empty_kafka: str, tmp_path: Path
) -> None:
    partitions = 2
    cluster = Cluster(empty_kafka)
    topology.ensure(cluster.admin, partitions, 1)
    cluster.await_topics([*topics.TOPICS])
    said = tmp_path / "health.json"
    args = (cluster.bootstrap, str(tmp_path), "clock-0", str(partitions))
    worker = Process("tests.clock_worker", *args)
    try:
        until(lambda: said.exists() and "ready=True" in said.read_text(), "the clock to be ready")
        now = int(time.time() * 1000)
        soon, later = now + 6_000, now + 10**9
        kept = directive("p-1", "consent-granted", consent(soon, later), now)
        write_directive(cluster, kept, partitions)
        until(lambda: cluster.read("timers", partitions), "the table's entry")
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
        assert int(time.time() * 1000) >= soon
        until(lambda: said.exists() and "ready=True" in said.read_text(), "the successor to be ready")
        assert worker.stop() == 0
    finally:
        worker.kill()
    assert {record.key for record in cluster.read("timers", partitions)} == {b"p-1"}
