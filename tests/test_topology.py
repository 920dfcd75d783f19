"""The table of stages: it agrees with the table of topics, and the cluster with both."""

import re

import pytest

from schemas import topics
from streams import topology
from streams.topology import STAGES
from tests.streams_kit import Cluster

TABLE = {**topics.TOPICS, **topics.AGENCY_TOPICS, **topics.STAKEHOLDER_TOPICS}
OUTSIDE = {"agency"}  # who is no process of ours
LATER = {("feed.*", "connectors")}  # written down, not yet written to


def test_every_writer_and_reader_of_a_topic_is_a_stage_that_says_so() -> None:
    for topic in TABLE.values():
        for writer in set(topic.writers) - OUTSIDE:
            assert topic.name in STAGES[writer].writes, f"{writer} is said to write {topic.name}"
        for reader in set(topic.readers) - OUTSIDE:
            stage = STAGES[reader]
            known = (*stage.reads, *stage.beside, *stage.whole, *stage.restore, *stage.looks_up)
            assert topic.name in known or (topic.name, reader) in LATER, (
                f"{reader} is said to read {topic.name}"
            )


def test_every_stage_names_topics_that_exist_and_are_said_to_be_its() -> None:
    for stage in STAGES.values():
        for name in stage.writes:
            assert stage.name in TABLE[name].writers, f"{stage.name} writes {name}"
        for name in (*stage.reads, *stage.beside, *stage.whole, *stage.restore, *stage.looks_up):
            assert stage.name in TABLE[name].readers, f"{stage.name} reads {name}"


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if stage.runs_on == "transactions"])
def test_what_lies_beside_an_input_has_its_partitions(name: str) -> None:
    stage = STAGES[name]
    counts = {TABLE[topic].partitions for topic in (*stage.reads, *stage.beside, *stage.restore)}
    assert len(counts) == 1
    settings = topology.runner(name, "i-0", 4)
    assert settings.group == name
    assert settings.poll_interval_ms_max > settings.join_ms_max


def test_a_family_of_topics_is_found_by_a_pattern_that_finds_nothing_else() -> None:
    pattern = topology.runner("connectors", "i-0", 4).inputs[0]
    assert pattern.startswith("^")
    assert re.match(pattern, topics.outbox("harbor"))
    for other in ("outbox", "outbox.", "outboxes.harbor", "xoutbox.harbor", "outbox.harbor.changelog"):
        assert not re.match(pattern, other)


def test_the_drawing_names_every_stage_and_topic() -> None:
    drawn = topology.draw()
    for name in (*STAGES, *TABLE):
        assert name in drawn


@pytest.mark.broker
def test_topics_are_made_as_the_table_says_once(empty_kafka: str) -> None:
    cluster = Cluster(empty_kafka)
    made = topology.ensure(cluster.admin, 3, 1, ["harbor"])
    assert set(made) >= {"consent", "inbox.harbor", "outbox.harbor", "seen.harbor"}
    cluster.await_topics(made)
    assert topology.ensure(cluster.admin, 3, 1, ["harbor"]) == []
    assert topology.differences(cluster.admin) == []
    found = cluster.admin.list_topics(timeout=10).topics
    assert {name: len(found[name].partitions) for name in ("consent", "governance", "inbox.harbor")} == {
        "consent": 3,
        "governance": 1,
        "inbox.harbor": 1,
    }
    with pytest.raises(ValueError, match="partitions"):
        topology.ensure(cluster.admin, 4, 1)


@pytest.mark.broker
def test_a_topic_that_says_otherwise_is_named(kafka: str) -> None:
    cluster = Cluster(kafka)
    name = f"outbox.o{cluster.suffix}"
    cluster.topic(name, **{**topics.find(name).config(), "retention.ms": "1000"})
    kept = topics.find(name).config()["retention.ms"]
    assert f"{name}: retention.ms is 1000, expected {kept}" in topology.differences(cluster.admin)
