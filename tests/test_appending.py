"""A refused record costs nobody else's: the producer whose numbering it spoiled is replaced."""

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber

from hub.appending import Appending
from hub.serving import producer
from tests.streams_kit import Cluster


def counted(client: dict[str, object]) -> tuple[list[AIOKafkaProducer], Callable[[], AIOKafkaProducer]]:
    """All producers that were made, and what makes them."""
    made: list[AIOKafkaProducer] = []

    def make() -> AIOKafkaProducer:
        made.append(producer(client))
        return made[-1]

    return made, make


@pytest.mark.broker
async def test_a_producer_out_of_step_is_replaced_and_what_comes_after_is_stored(kafka: str) -> None:
    cluster = Cluster(kafka)
    topic = cluster.topic("appended")
    made, make = counted(cluster.client)
    appending = Appending(make)
    await appending.start()
    try:
        await appending.send_and_wait(topic, b"first", b"k", 0)
        numbers = made[0]._txn_manager
        numbers.increment_sequence_number(TopicPartition(topic, 0), 5)  # five that the broker never saw
        with pytest.raises(OutOfOrderSequenceNumber):
            await appending.send_and_wait(topic, b"refused", b"k", 0)
        await appending.send_and_wait(topic, b"second", b"k", 0)
    finally:
        await appending.stop()
    assert [one.value for one in cluster.read(topic)] == [b"first", b"second"]
    assert len(made) == 2


@pytest.mark.broker
async def test_a_record_that_its_topic_does_not_take_is_in_nobodys_way(kafka: str) -> None:
    cluster = Cluster(kafka)
    topic = cluster.topic("appended", **{"max.message.bytes": "1000"})
    made, make = counted(cluster.client)
    appending = Appending(make)
    await appending.start()
    try:
        for n in range(3):
            with pytest.raises(MessageSizeTooLargeError):
                await appending.send_and_wait(topic, b"x" * 5_000, b"k", 0)
            await appending.send_and_wait(topic, b"%d" % n, b"k", 0)
    finally:
        await appending.stop()
    assert [one.value for one in cluster.read(topic)] == [b"0", b"1", b"2"]
    assert len(made) == 4
