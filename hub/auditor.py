"""Stage `auditor`: builds the store's projections from the log.

A batch and the positions after it are one transaction: it is in the store whole or not at all, whenever the
auditor is killed, and it goes on where the store says. Several auditors share the partitions; one that was
replaced without noticing finds the positions moved, and starts over from them.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from hub.desk import Desk
from hub.health import Pulse
from hub.projections import Read, project, read
from hub.store import Store, upsert
from hub.tables import PROJECTED, offsets
from hub.vault import Vault
from streams.settings import fetch_wait_ms_max

log = structlog.get_logger(__name__)

PROJECTION: Final = "store"
GROUP: Final = "auditor"
TOPICS: Final = (
    "decisions",
    "deliveries",
    "consent",
    "identity",
    "quarantine",
    "work",
    "access",
    "rings",
    "aggregates",
    "publications",
    r"^receipts\..+",
    r"^parked\..+",
)
BATCH_RECORDS_MAX: Final = 2_000
BATCH_WAIT_MS_MAX: Final = 100
EXPIRY_EVERY_MS: Final = 3_600_000
CHECK_EVERY_MS: Final = 2_000
STUCK_MS_MAX: Final = 30_000

Place = tuple[str, int]


class Moved(Exception):
    """Another auditor has these partitions now, or the projections were thrown away."""


class Auditor:
    """One worker. `pulse` is told that the loop goes round, and what is stuck."""

    def __init__(
        self,
        client: Mapping[str, Any],
        store: Store,
        vault: Vault | None = None,
        pulse: Pulse | None = None,
        session_timeout_ms: int = 6_000,
        desk: Desk | None = None,
    ) -> None:
        """In: librdkafka settings, the store, the vault whose expired keys are destroyed on the way; what
        makes alerts of what rings or changes."""
        self._desk = desk
        self._store = store
        self._vault = vault
        self._pulse = pulse
        self._positions: dict[Place, int] = {}
        self._behind: dict[Place, float] = {}
        self._expiry_at = 0.0
        self._check_at = 0.0
        self._consumer = Consumer(
            {
                **client,
                "group.id": GROUP,
                "session.timeout.ms": session_timeout_ms,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "topic.metadata.refresh.interval.ms": 2_000,
                "fetch.wait.max.ms": fetch_wait_ms_max,
            }
        )

    def run(self, stop: threading.Event) -> None:
        """Projects until `stop` is set. Raises what cannot be mended here: a broken record, no store."""
        self._consumer.subscribe(list(TOPICS), on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not stop.is_set():
                self.turn()
        finally:
            self._consumer.close()

    def turn(self) -> int:
        """One batch; out: how many records."""
        messages = self._consumer.consume(BATCH_RECORDS_MAX, BATCH_WAIT_MS_MAX / 1000)
        records, ends = self._sorted(messages)
        try:
            self._check()
            if records:
                self._apply(records)
        except Moved:
            log.warning("positions moved, starting over")
            self._rewind(list(self._positions))
            return 0
        for place in ends:
            self._behind.pop(place, None)
        self._expire()
        self._beat()
        return len(records)

    def _sorted(self, messages: Sequence[Message]) -> tuple[list[Read], list[Place]]:
        records, ends = [], []
        for message in messages:
            error = message.error()
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            if error is None:
                value = message.value()
                self._behind.setdefault((topic, partition), time.monotonic())
                if isinstance(value, bytes) and (topic, partition) in self._positions:
                    records.append(read(topic, partition, offset, value))
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.append((topic, partition))
            elif not error.retriable() and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(error)
        return records, ends

    def _apply(self, records: Sequence[Read]) -> None:
        after: dict[Place, int] = {}
        for record in records:
            after[record.topic, record.partition] = record.offset + 1
        with self._store.write() as connection:
            for place, position in sorted(after.items()):
                _advance(connection, place, self._positions[place], position)
            project(connection, records)
            if self._desk is not None:
                self._desk.apply(connection, records)
        self._positions |= after
        self._behind |= dict.fromkeys(after, time.monotonic())

    def _check(self) -> None:
        """Notices projections that were thrown away, or that another auditor writes now."""
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + CHECK_EVERY_MS / 1000
            if self._stored(list(self._positions)) != self._positions:
                raise Moved

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(one.topic, one.partition) for one in partitions]
        self._positions |= self._stored(places)
        consumer.assign(
            [
                TopicPartition(topic, partition, self._positions[topic, partition] or OFFSET_BEGINNING)
                for topic, partition in places
            ]
        )
        log.info("partitions assigned", partitions=len(partitions))

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._positions.pop((one.topic, one.partition), None)
            self._behind.pop((one.topic, one.partition), None)

    def _rewind(self, places: Sequence[Place]) -> None:
        self._positions |= self._stored(places)
        for topic, partition in places:
            position = self._positions[topic, partition] or OFFSET_BEGINNING
            self._consumer.seek(TopicPartition(topic, partition, position))

    def _stored(self, places: Sequence[Place]) -> dict[Place, int]:
        """The next offset of each partition; 0 where nothing has been read."""
        query = sa.select(offsets.c.topic, offsets.c.partition, offsets.c.position).where(
            offsets.c.projection == PROJECTION
        )
        with self._store.read() as connection:
            known = {(topic, partition): position for topic, partition, position in connection.execute(query)}
        return {place: known.get(place, 0) for place in places}

    def _expire(self) -> None:
        if self._vault is None or time.monotonic() < self._expiry_at:
            return
        self._expiry_at = time.monotonic() + EXPIRY_EVERY_MS / 1000
        if count := self._vault.destroy_expired():
            log.info("expired keys destroyed", keys=count)

    def _beat(self) -> None:
        if self._pulse is not None:
            late = time.monotonic() - STUCK_MS_MAX / 1000
            stuck = [f"{topic}/{number}" for (topic, number), since in self._behind.items() if since < late]
            self._pulse.beat("running" if self._positions else "starting", stuck)


def _advance(connection: sa.Connection, place: Place, before: int, after: int) -> None:
    """Moves a position on, or raises `Moved` where it is not where we left it."""
    topic, partition = place
    row = {"projection": PROJECTION, "topic": topic, "partition": partition, "position": 0}
    if before == 0:
        upsert(connection, offsets, [row])
    here = sa.and_(
        offsets.c.projection == PROJECTION,
        offsets.c.topic == topic,
        offsets.c.partition == partition,
        offsets.c.position == before,
    )
    if connection.execute(offsets.update().where(here).values(position=after)).rowcount != 1:
        raise Moved


def rebuild(store: Store) -> None:
    """Throws the projections away; a running auditor notices, and every auditor builds them again.

    Meanwhile nobody is found in the crosswalk, so nothing is taken in that asks for a participant.
    """
    with store.write() as connection:
        for table in PROJECTED:
            connection.execute(table.delete())
        connection.execute(offsets.delete().where(offsets.c.projection == PROJECTION))
