"""Publishes what was counted, once a month is complete: for good, and only what disclosure control lets by.

Runs in a thread of the auditor. What it publishes stands in the log, in `publications`; of two that publish
at once, the first in the log counts. It publishes nothing before every partition has been counted to its end,
nothing to which somebody was added lately, and nothing while it does not know everything that was published.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client import Counter as Metric

from hub.appender import Appender
from hub.auditor import PROJECTION
from hub.governance import Register
from hub.publictables import aggregates, publications
from hub.store import Store
from hub.tables import offsets
from hub.vault import Vault
from schemas import codec
from schemas.errors import HubError
from streams import measures
from streams.aggregate import KEY, aad
from streams.cells import DEFAULT, Cell, Contradiction, Release, TooMany
from streams.measures import Measures
from streams.noise import NoOpenDP, OverBudget, afford

LOOK_MS: Final = 5_000
TOPIC: Final = "publications"
ANSWER_S_MAX: Final = 10.0

_withheld = Metric(
    "hub_publications_withheld_total", "Months that could not be published", ["measure", "reason"]
)
log = structlog.get_logger(__name__)


class Publisher:
    """Looks now and then whether a month of a measure is complete."""

    def __init__(
        self,
        client: Mapping[str, Any],
        store: Store,
        vault: Vault,
        appender: Appender,
        register: Callable[[], Register],
        rows: Measures,
        zone: Any,
        partitions: int,
        now_ms: Callable[[], int],
        quiet_ms: int,
        budget: float | None = None,
    ) -> None:
        """In: `quiet_ms` is how long nothing may have come to a month before it is published; `budget` what
        publications of one month may spend together of epsilon, where measures have noise.
        """
        self._now_ms = now_ms
        self._quiet_ms = quiet_ms
        self._budget = budget
        self._withheld: set[tuple[str, str]] = set()
        self._client = dict(client)
        self._store = store
        self._vault = vault
        self._appender = appender
        self._register = register
        self._rows = rows
        self._zone = zone
        self._partitions = partitions

    def run(self, stop: threading.Event) -> None:
        """Looks until `stop` is set. What fails is tried again."""
        while not stop.wait(LOOK_MS / 1000):
            try:
                self.look()
            except (HubError, KafkaException, TimeoutError, sa.exc.SQLAlchemyError) as error:
                log.warning("nothing published", reason=type(error).__name__)

    def look(self) -> int:
        """Publishes what is complete. Out: how many. Raises `Unavailable`, and what the store raises."""
        with self._store.read() as connection:
            query = sa.select(aggregates.c.partition, aggregates.c.month, aggregates.c.at)
            found = connection.execute(query).all()
        marks = {row.partition: row.at for row in found if row.month == ""}
        moved = {row.month for row in found if row.at > self._now_ms() - self._quiet_ms}
        months = {row.month for row in found} - {""} - moved
        policy = self._register().policy
        if marks.keys() != set(range(self._partitions)) or policy is None:
            return 0
        day = measures.day(min(marks.values()), self._zone)
        return sum(self._month(month, day, policy["categories"]) for month in sorted(months))

    def _month(self, month: str, day: int, categories: list[str]) -> int:
        rows = self._rows.of(month)
        earlier = self.published(month)
        ripe = [one for one in rows if one.series not in earlier and measures.ripe(one, month, day)]
        if not ripe or not self._knows_all():
            return 0
        counts, done = self._counts(month), 0
        from streams.release import release  # noqa: PLC0415  its solver is slow to import, and seldom needed

        for one in ripe:
            try:
                if one.epsilon is not None:
                    afford(
                        (of.noise.epsilon for of in earlier.values() if of.noise), one.epsilon, self._budget
                    )
                made = release(one, month, counts, categories, rows, earlier)
            except (Contradiction, TooMany, NoOpenDP, OverBudget) as error:
                if (
                    one.series,
                    month,
                ) not in self._withheld:  # said once, and tried again for as long as it takes
                    log.error("not published", measure=one.id, month=month, reason=type(error).__name__)
                    _withheld.labels(one.id, type(error).__name__).inc()
                    self._withheld.add((one.series, month))
                continue
            body = json.dumps(made.body(DEFAULT), separators=(",", ":")).encode()
            value = {"measure": one.id, "version": one.version, "month": month, "body": body}
            value["at"] = self._now_ms()
            self._appender.append(TOPIC, None, codec.encode("Publication", value))
            earlier[one.series] = made
            done += 1
            log.info("published", measure=one.id, month=month)
        return done

    def published(self, month: str) -> dict[str, Release]:
        """What was published of a month, by series."""
        query = sa.select(publications).where(publications.c.month == month).order_by(publications.c.at)
        with self._store.read() as connection:
            found = connection.execute(query).all()
        return {
            f"{row.measure}@{row.version}": Release.of(f"{row.measure}@{row.version}", month, row.body)
            for row in found
        }

    def _counts(self, month: str) -> dict[Cell, int]:
        """The true counts of a month, all partitions together."""
        query = sa.select(aggregates.c.partition, aggregates.c.sealed).where(aggregates.c.month == month)
        with self._store.read() as connection:
            found = connection.execute(query).all()
        counts: Counter[Cell] = Counter()
        for partition, sealed in found:
            for series, *rest, n in json.loads(self._vault.hub(KEY).open(aad(partition, month), sealed)):
                counts[series, month, *rest] += n
        return dict(counts)

    def _knows_all(self) -> bool:
        """Whether the store has every publication that is in the log."""
        place = TopicPartition(TOPIC, 0)
        admin = AdminClient(self._client)  # a lasting one keeps the epochs of old leaders
        asked = admin.list_offsets(
            {place: OffsetSpec.latest()},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER_S_MAX,
        )
        end: int = asked[place].result(ANSWER_S_MAX).offset  # type: ignore[attr-defined]
        query = sa.select(offsets.c.position).where(
            offsets.c.projection == PROJECTION, offsets.c.topic == TOPIC, offsets.c.partition == 0
        )
        with self._store.read() as connection:
            known = connection.execute(query).scalar() or 0
        return bool(known >= end)
