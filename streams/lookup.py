"""Reads single records of topics again, by where they stand."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import Unavailable
from streams.settings import Client

Place = tuple[str, int, int]

wait_ms_max: Final = 3_000
gap_records_max: Final = 200  # so many are read past rather than sought over


class Lookup:
    """A consumer of its own, without a group. Use it from one thread."""

    def __init__(self, client: Client, name: str) -> None:
        self._consumer = Consumer(
            {
                **client,
                "group.id": f"{name}-lookup",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "queued.min.messages": 500,
                "fetch.message.max.bytes": 262_144,
            }
        )

    def read(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """The values at these topics, partitions and offsets; what is not there any more is left out.

        Raises `Unavailable` when they do not come in time.
        """
        found: dict[Place, bytes] = {}
        for run in _runs(sorted(set(places))):
            self._read_run(run, found)
        self._consumer.unassign()
        return found

    def _read_run(self, run: Sequence[Place], found: dict[Place, bytes]) -> None:
        topic, partition, first = run[0]
        last = run[-1][2]
        wanted = set(run)
        self._consumer.assign([TopicPartition(topic, partition, first)])
        deadline = time.monotonic() + wait_ms_max / 1000
        while time.monotonic() < deadline:
            messages: list[Any] = self._consumer.consume(last - first + 1, 0.02)
            for message in messages:
                error = message.error()
                place = (message.topic(), message.partition(), message.offset())
                if place[:2] != (topic, partition):
                    continue  # fetched for an earlier run
                if error is None:
                    if place in wanted:
                        found[place] = message.value() or b""
                    if place[2] >= last:
                        return
                elif error.code() == KafkaError._PARTITION_EOF:
                    if place[2] > last:
                        return
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    return  # deleted
                elif error.fatal():
                    raise KafkaException(error)
        raise Unavailable("earlier events cannot be read again")

    def close(self) -> None:
        """Ends the consumer."""
        self._consumer.close()


def _runs(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Neighbours together: of one partition, and not too far apart."""
    run: list[Place] = []
    for place in places:
        if run and (place[:2] != run[-1][:2] or place[2] - run[-1][2] > gap_records_max):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
