"""Every topic of the hub: key, partitions, retention, cleanup, writers, readers. The code runs on this."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from schemas.errors import Invalid

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
FOREVER_MS: Final = -1

record_bytes_max: Final = 2 * 1024 * 1024  # an event of 1 MiB with its envelope and seals
quarantine_bytes_max: Final = 16 * 1024 * 1024  # an original that was refused for its size is kept whole
partitions_default: Final = 4
names_max: Final = 4_096  # of topics that are kept made

STAKEHOLDER_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, or with a `*` in its name one for each stakeholder.

    `partitions` is `"P"` for the hub's shared count of person-level topics, else 1. `retention_ms` is -1 for
    ever. `segment_ms`, where given, is short enough for the retention to be true.
    """

    name: str
    key: str
    partitions: Literal["P", 1]
    retention_ms: int
    cleanup: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    segment_ms: int | None = None
    bytes_max: int = record_bytes_max

    def count(self, partitions: int) -> int:
        """How many partitions it has where the shared count is `partitions`."""
        return partitions if self.partitions == "P" else 1

    def config(self) -> dict[str, str]:
        """Its settings in the broker's words."""
        config = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.bytes_max),
            "compression.type": "producer",
            "message.timestamp.type": "CreateTime",
        }
        if self.segment_ms is not None:
            config["segment.ms"] = str(self.segment_ms)
        return config

    def of(self, stakeholder: str) -> "Topic":
        """The topic of one stakeholder. Raises `Invalid` for an id that cannot stand in a topic's name."""
        return replace(self, name=self.name.replace("*", stakeholder_id(stakeholder)))


def stakeholder_id(text: str) -> str:
    """The same text, when it may serve as a stakeholder's id: 2 to 41 lower-case letters, digits, hyphens."""
    if STAKEHOLDER_ID.fullmatch(text) is None:
        raise Invalid.one(
            "/id", "bad-id", "an id is 2 to 41 lower-case letters, digits and hyphens, letter first"
        )
    return text


TYPE_TOPICS: Final = {
    "contact": "contact",
    "service-engagement": "service-engagement",
    "court-status": "court-status",
    "referral": "referral",
}
EVENT_TOPICS: Final = tuple(TYPE_TOPICS.values())

_EVENT_READERS = ("enforce", "reconsider", "aggregate")

TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        *(
            Topic(name, "participant", "P", FOREVER_MS, "delete", ("admit",), _EVENT_READERS)
            for name in EVENT_TOPICS
        ),
        Topic(
            "consent",
            "participant",
            "P",
            FOREVER_MS,
            "delete",
            ("web",),
            ("enforce", "reconsider", "connectors", "auditor", "faust", "aggregate"),
        ),
        Topic(
            "reconsider",
            "participant",
            "P",
            90 * DAY_MS,
            "delete",
            ("reconsider",),
            ("enforce", "reconsider"),
        ),
        Topic("clock", "participant", "P", 7 * DAY_MS, "delete", ("faust",), ("reconsider",)),
        Topic("alarms", "participant", "P", 90 * DAY_MS, "delete", ("connectors", "web"), ("faust",)),
        Topic("rings", "participant", "P", 90 * DAY_MS, "delete", ("faust",), ("auditor",)),
        Topic("timers", "participant", "P", FOREVER_MS, "compact", ("faust",), ("faust",)),
        Topic("tallied", "participant", "P", FOREVER_MS, "compact", ("aggregate",), ("aggregate",)),
        Topic("aggregates", "month", "P", FOREVER_MS, "compact", ("aggregate",), ("auditor",)),
        Topic("publications", "measure", 1, FOREVER_MS, "delete", ("auditor",), ("auditor",)),
        Topic("decisions", "participant", "P", FOREVER_MS, "delete", ("enforce",), ("reconsider", "auditor")),
        Topic(
            "deliveries",
            "participant",
            "P",
            FOREVER_MS,
            "delete",
            ("connectors", "web"),
            ("auditor", "web", "reconsider"),
        ),
        Topic(
            "fence", "partition", "P", FOREVER_MS, "compact", ("web",), ("web",), segment_ms=DAY_MS
        ),  # what `deliveries` adds up to, so that nobody has to read it from its beginning
        Topic(  # its writer deletes what it has written anew, which takes both ways of cleaning up
            "pending",
            "position",
            "P",
            FOREVER_MS,
            "compact,delete",
            ("connectors",),
            ("connectors",),
            segment_ms=HOUR_MS,
        ),
        Topic(
            "quarantine",
            "reference",
            "P",
            90 * DAY_MS,
            "delete",
            ("admit", "enforce", "web", "files"),
            ("auditor",),
            bytes_max=quarantine_bytes_max,
        ),
        Topic(
            "governance",
            "kind/id",
            1,
            FOREVER_MS,
            "delete",
            ("web",),
            ("admit", "enforce", "reconsider", "connectors", "auditor", "web", "files"),
        ),
        Topic("identity", "participant", "P", FOREVER_MS, "delete", ("web",), ("admit", "auditor")),
        Topic("views", "participant", "P", DAY_MS, "delete", ("web",), ("connectors",), segment_ms=HOUR_MS),
        Topic("work", "participant, account or letter", "P", FOREVER_MS, "delete", ("web",), ("auditor",)),
        Topic("access", "principal", "P", FOREVER_MS, "delete", ("web",), ("auditor",)),
        Topic("ledger", "none", 1, FOREVER_MS, "delete", ("auditor",), ("auditor",)),
    )
}

AGENCY_TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(  # kept until admit is past it, however long that takes; admit deletes up to there
            "inbox.*",
            "none",
            1,
            FOREVER_MS,
            "delete",
            ("web", "files", "agency"),
            ("admit",),
            segment_ms=HOUR_MS,
        ),
        Topic(
            "receipts.*",
            "none",
            1,
            3 * DAY_MS,
            "delete",
            ("admit",),
            ("agency", "auditor"),
            segment_ms=HOUR_MS,
        ),
        Topic("seen.*", "event", 1, 7 * DAY_MS, "compact,delete", ("admit",), ("admit",), segment_ms=DAY_MS),
        Topic(  # far longer than anything waits in it: what is given up is recorded after a long stop, too
            "parked.*",
            "local",
            1,
            365 * DAY_MS,
            "delete",
            ("admit",),
            ("admit", "auditor"),
            segment_ms=DAY_MS,
        ),
    )
}

STAKEHOLDER_TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic("outbox.*", "participant", "P", 30 * DAY_MS, "delete", ("enforce",), ("connectors",)),
        Topic(
            "feed.*",
            "participant",
            "P",
            3 * DAY_MS,
            "delete",
            ("connectors",),
            ("agency",),
            segment_ms=HOUR_MS,
        ),
    )
}


@lru_cache(maxsize=names_max)
def inbox(agency: str) -> str:
    """Name of the one topic that an agency may write to."""
    return AGENCY_TOPICS["inbox.*"].of(agency).name


@lru_cache(maxsize=names_max)
def receipts(agency: str) -> str:
    """Name of the topic on which an agency learns what became of its events."""
    return AGENCY_TOPICS["receipts.*"].of(agency).name


def seen(agency: str) -> str:
    """Name of the changelog of an agency's event ids, by which duplicates are known."""
    return AGENCY_TOPICS["seen.*"].of(agency).name


def parked(agency: str) -> str:
    """Name of the topic that holds an agency's events about people nobody has linked yet."""
    return AGENCY_TOPICS["parked.*"].of(agency).name


@lru_cache(maxsize=names_max)
def outbox(stakeholder: str) -> str:
    """Name of the topic with what a stakeholder was permitted."""
    return STAKEHOLDER_TOPICS["outbox.*"].of(stakeholder).name


def feed(stakeholder: str) -> str:
    """Name of the topic that a stakeholder with Kafka of its own reads."""
    return STAKEHOLDER_TOPICS["feed.*"].of(stakeholder).name


def agency_topics(agency: str) -> tuple[Topic, ...]:
    """The topics of a stakeholder that publishes."""
    return tuple(topic.of(agency) for topic in AGENCY_TOPICS.values())


def stakeholder_topics(stakeholder: str) -> tuple[Topic, ...]:
    """The topics of a stakeholder that receives."""
    return tuple(topic.of(stakeholder) for topic in STAKEHOLDER_TOPICS.values())


def find(name: str) -> Topic:
    """The topic of that very name. Raises `KeyError` when the hub has no such topic."""
    if name in TOPICS:
        return TOPICS[name]
    family, dot, stakeholder = name.partition(".")
    pattern = f"{family}{dot}*"
    topic = AGENCY_TOPICS.get(pattern) or STAKEHOLDER_TOPICS.get(pattern)
    if topic is None or STAKEHOLDER_ID.fullmatch(stakeholder) is None:
        raise KeyError(name)
    return topic.of(stakeholder)


def _murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of Kafka's Java client, as an unsigned number."""
    m, mask, size = 0x5BD1E995, 0xFFFFFFFF, len(data)
    h = 0x9747B28C ^ size
    whole = size & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if whole != size:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(key: bytes | str, partitions: int) -> int:
    """The partition of a key, as Kafka's Java client places it. The one partitioner of the hub.

    In: the key as bytes, or text taken as UTF-8; the topic's partitions. Out: 0 to `partitions` - 1.
    """
    data = key.encode() if isinstance(key, str) else key
    return (_murmur2(data) & 0x7FFFFFFF) % partitions
