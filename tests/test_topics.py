"""The table of topics, and the one partitioner that every client must agree with."""

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.errors import Invalid
from schemas.topics import partition_of

# Kafka's own UtilsTest.java, testMurmur2: the hash as Java's signed int
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), JAVA.items())
@pytest.mark.parametrize("partitions", [1, 3, 4, 12, 997])
def test_partitions_are_those_of_kafkas_java_client(key: bytes, signed: int, partitions: int) -> None:
    assert partition_of(key, partitions) == (signed & 0x7FFFFFFF) % partitions


@given(st.text(max_size=60), st.integers(1, 50))
def test_text_is_placed_like_its_utf_8_bytes(key: str, partitions: int) -> None:
    place = partition_of(key, partitions)
    assert place == partition_of(key.encode(), partitions)
    assert 0 <= place < partitions


@pytest.mark.broker
async def test_both_clients_place_keys_where_partition_of_says(kafka: str) -> None:
    name = f"partitioner-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 4, 1)])[name].result(30)
    keys = [f"p-{number:04d}".encode() for number in range(1000)]
    placed: dict[bytes, int] = {}

    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(
            name, key=key, on_delivery=lambda _, m: placed.__setitem__(m.key() or b"", m.partition() or 0)
        )
    assert producer.flush(30) == 0
    assert placed == {key: partition_of(key, 4) for key in keys}

    other = AIOKafkaProducer(bootstrap_servers=kafka)
    await other.start()
    try:
        sent = await asyncio.gather(*[await other.send(name, b"", key=key) for key in keys])
    finally:
        await other.stop()
    assert [record.partition for record in sent] == [partition_of(key, 4) for key in keys]


def test_what_is_joined_by_participant_is_partitioned_alike_and_never_compacted() -> None:
    tables = [*topics.TOPICS.values(), *topics.STAKEHOLDER_TOPICS.values()]
    person_level = [topic for topic in tables if topic.key == "participant"]
    assert {"consent", "contact", "referral", "decisions", "deliveries", "outbox.*"} <= {
        topic.name for topic in person_level
    }
    for topic in person_level:
        assert topic.partitions == "P"
        if topic.writers != topic.readers:  # a stage's own changelog holds states, not history
            assert "compact" not in topic.cleanup


def test_only_admit_and_the_agency_side_meet_in_an_inbox() -> None:
    inbox = topics.AGENCY_TOPICS["inbox.*"]
    assert inbox.partitions == 1
    assert inbox.readers == ("admit",)


def test_short_retention_is_made_true_by_short_segments() -> None:
    for topic in (
        *topics.TOPICS.values(),
        *topics.AGENCY_TOPICS.values(),
        *topics.STAKEHOLDER_TOPICS.values(),
    ):
        if topic.name.startswith(("feed.", "receipts.")):
            assert topic.segment_ms is not None
            assert topic.segment_ms * 24 <= topic.retention_ms


def test_nothing_is_lost_because_a_stage_was_away() -> None:
    """What nobody has read yet never ages out; admit deletes an inbox behind itself."""
    for name in ("inbox.reach", "consent", "governance", "identity", *topics.EVENT_TOPICS):
        assert topics.find(name).retention_ms == topics.FOREVER_MS


@pytest.mark.parametrize("name", ["", "a", "A1", "1a", "a_b", "a.b", "a*", "a" * 42, "häfen", "a\n", "-a"])
def test_an_id_that_would_make_another_topic_is_refused(name: str) -> None:
    for family in (topics.inbox, topics.outbox, topics.receipts, topics.seen, topics.parked, topics.feed):
        with pytest.raises(Invalid) as caught:
            family(name)
        assert caught.value.code == "bad-id"


def test_every_topic_is_found_by_its_own_name_and_no_other() -> None:
    assert topics.find("outbox.harbor-house") == topics.STAKEHOLDER_TOPICS["outbox.*"].of("harbor-house")
    assert {topic.name for topic in topics.agency_topics("reach")} == {
        "inbox.reach",
        "receipts.reach",
        "seen.reach",
        "parked.reach",
    }
    for name, topic in topics.TOPICS.items():
        assert topics.find(name) is topic
    for name in ("outbox.*", "outbox", "outbox.A", "nothing.reach", "__consumer_offsets", "consent.reach"):
        with pytest.raises(KeyError):
            topics.find(name)


def test_a_topic_tells_the_broker_what_its_table_says() -> None:
    seen = topics.find("seen.reach")
    assert seen.count(12) == 1
    assert topics.find("consent").count(12) == 12
    assert seen.config()["cleanup.policy"] == "compact,delete"
    assert seen.config()["retention.ms"] == str(7 * topics.DAY_MS)
    assert seen.config()["segment.ms"] == str(topics.DAY_MS)
    assert "segment.ms" not in topics.find("consent").config()
    assert int(topics.find("quarantine").config()["max.message.bytes"]) > 12 * 1024 * 1024
