"""Which records have no place in the log yet, and the runs of leaves that give it to them."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from hub.ledger.commitment import SOURCES, Recorded, Salts, recorded
from hub.ledger.places import Place
from schemas import codec
from schemas.errors import Unavailable
from streams.errors import Corrupt
from streams.settings import fetch_wait_ms_max

RUN_LEAVES_MAX: Final = 1_000
BATCH_RECORDS_MAX: Final = 10_000
ANSWER_S_MAX: Final = 15.0
QUEUED_KB_MAX: Final = 16_384


def reading(client: Mapping[str, Any], group: str) -> dict[str, Any]:
    """How the log's worker reads topics."""
    return {
        **client,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # whoever was here knows where to go on, or something is gone
        "enable.partition.eof": True,
        "fetch.wait.max.ms": fetch_wait_ms_max,
        "queued.max.messages.kbytes": QUEUED_KB_MAX,
    }


class Placing:
    """Reads every source from where the log has come to."""

    def __init__(
        self,
        client: Mapping[str, Any],
        salts: Salts,
        positions: Mapping[Place, int],
        next_leaf: int,
    ) -> None:
        """In: the next offset of each partition that has places; the next leaf. Raises `Unavailable`."""
        self.next_leaf = next_leaf
        self._salts = salts
        known = AdminClient(dict(client)).list_topics(timeout=ANSWER_S_MAX).topics
        if missing := [topic for topic in SOURCES if topic not in known or not known[topic].partitions]:
            raise Unavailable(f"topic `{missing[0]}` does not exist")
        self._consumer = Consumer(reading(client, "ledger-sources"))
        self._consumer.assign(
            [
                TopicPartition(topic, number, positions.get((topic, number), 0) or OFFSET_BEGINNING)
                for topic in SOURCES
                for number in sorted(known[topic].partitions)
            ]
        )

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()

    def values(self, wait_s: float) -> list[bytes]:
        """What comes within that time, with its places, as records of `ledger`, for one transaction.

        Raises `Corrupt` where records that have their places are gone.
        """
        found: dict[Place, list[Recorded]] = {}
        for message in self._consumer.consume(BATCH_RECORDS_MAX, wait_s):
            place = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                key, value = _bytes(message.key()), _bytes(message.value())
                found.setdefault(place, []).append(recorded(*place, message.offset() or 0, key, value))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise Corrupt(f"records of `{place[0]}/{place[1]}` that have their places are gone")
            elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                raise KafkaException(error)
        return [value for place, records in sorted(found.items()) for value in self._runs(place, records)]

    def _runs(self, place: Place, records: list[Recorded]) -> Iterator[bytes]:
        leaves = [
            {"offset": record.offset, "commitment": leaf}
            for record, leaf in zip(records, self._salts.leaves(records), strict=True)
        ]
        for start in range(0, len(leaves), RUN_LEAVES_MAX):
            part = leaves[start : start + RUN_LEAVES_MAX]
            run = {"first": self.next_leaf, "topic": place[0], "partition": place[1], "leaves": part}
            yield codec.encode("Ledger", {"at": time.time_ns() // 1_000_000, "run": run})
            self.next_leaf += len(part)


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
