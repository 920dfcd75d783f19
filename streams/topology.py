"""The stages and the topics between them: the table that the code runs on. Start here.

Each stage names what it consumes, what it has to know besides, and what it writes. The topics' own table is
`schemas/topics.py`; a test holds the two together.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas import topics
from schemas.errors import Unavailable
from schemas.topics import EVENT_TOPICS, Topic
from streams.errors import cause, code
from streams.settings import RunnerSettings

answer_ms_max: Final = 15_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of process. `reads` are consumed, with offsets of their own. Before it takes a step it knows
    `beside` (the same partitions as what it reads), `whole` (all partitions), and `restore` (what its
    predecessor left), of those that are `recent` only as much as can still matter; `join_ms_max` bounds how
    long that may take. It `looks_up` single records. `runs_on` says what it is made with.
    """

    name: str
    does: str
    runs_on: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    beside: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    looks_up: tuple[str, ...] = ()
    assignor: Literal["range", "cooperative-sticky"] = "range"
    join_ms_max: int = 60_000


STAGES: Final = {
    stage.name: stage
    for stage in (
        Stage(
            name="admit",
            does="validates, drops repeats, finds the person, labels, seals",
            runs_on="transactions",
            reads=("inbox.*",),
            writes=(*EVENT_TOPICS, "quarantine", "receipts.*", "seen.*", "parked.*"),
            whole=("governance", "identity"),
            restore=("seen.*", "parked.*"),
            assignor="cooperative-sticky",
        ),
        Stage(
            name="enforce",
            does="decides for every subscription that wants the event",
            runs_on="transactions",
            reads=(*EVENT_TOPICS, "reconsider"),
            writes=("decisions", "outbox.*", "quarantine"),
            beside=("consent",),
            whole=("governance",),
        ),
        Stage(
            name="reconsider",
            does="puts earlier events before enforce again when something widened",
            runs_on="transactions",
            reads=("clock",),
            writes=("reconsider",),
            beside=("consent", "decisions", "deliveries"),
            whole=("governance",),
            restore=("reconsider",),
            recent=("decisions", "deliveries", "reconsider"),
            looks_up=EVENT_TOPICS,
            join_ms_max=600_000,  # every decision of its partitions, as far back as the policy reaches
        ),
        Stage(
            name="faust",
            does="tells when a consent or an order starts or ends, and when a reminder is due",
            runs_on="Faust",
            reads=("consent", "alarms"),
            writes=("clock", "rings", "timers"),
            restore=("timers",),
        ),
        Stage(
            name="aggregate",
            does="counts people by month, for numbers that everybody may see",
            runs_on="Faust",
            reads=(*EVENT_TOPICS, "consent"),
            writes=("aggregates", "tallied"),
            restore=("tallied",),
        ),
        Stage(
            name="connectors",
            does="decides once more, records the intent, delivers, retries",
            runs_on="transactions",
            reads=("outbox.*", "views"),
            writes=("deliveries", "pending", "feed.*", "alarms"),
            beside=("consent",),
            whole=("governance",),
            restore=("pending",),
        ),
        Stage(
            name="auditor",
            does="projects everything for pages and reports; keeps the transparency log",
            runs_on="consumer",
            reads=(
                "decisions",
                "deliveries",
                "consent",
                "governance",
                "identity",
                "quarantine",
                "work",
                "access",
                "receipts.*",
                "rings",
                "parked.*",
                "aggregates",
                "publications",
            ),
            writes=("ledger", "publications"),
            restore=("ledger",),
        ),
        Stage(
            name="web",
            does="takes in events and directives, answers people and programs",
            runs_on="asyncio",
            reads=("deliveries",),
            writes=(
                "inbox.*",
                "consent",
                "identity",
                "governance",
                "quarantine",
                "views",
                "deliveries",
                "fence",
                "work",
                "access",
                "alarms",
            ),
            whole=("governance",),
            restore=("fence",),
        ),
        Stage(
            name="files",
            does="takes files from folders and SFTP accounts",
            runs_on="asyncio",
            reads=(),
            writes=("inbox.*", "quarantine"),
            whole=("governance",),
        ),
    )
}


def runner(stage: str, instance_id: str, partitions: int, **bounds: Any) -> RunnerSettings:
    """How the runner runs one of the stages that are made with transactions.

    In: its name here, this worker's own name, the hub's shared partition count, and bounds of
    `RunnerSettings` that are to differ from their defaults.
    """
    row = STAGES[stage]
    return RunnerSettings(
        group=stage,
        inputs=tuple(_input(name) for name in row.reads),
        instance_id=instance_id,
        beside=row.beside,
        whole=row.whole,
        restore=row.restore,
        recent=row.recent,
        assignor=row.assignor,
        partitions=partitions,
        join_ms_max=row.join_ms_max,
        poll_interval_ms_max=2 * row.join_ms_max,
        **bounds,
    )


def _input(name: str) -> str:
    """A topic's name, or for a family of topics the pattern by which the clients find them all."""
    return f"^{re.escape(name[:-1])}[a-z][a-z0-9-]+$" if name.endswith("*") else name


def ensure(
    admin: AdminClient, partitions: int, replication: int, stakeholders: Iterable[str] = ()
) -> list[str]:
    """Creates the topics that are missing: the hub's, and those of these stakeholders. Out: what it created.

    Raises `Unavailable` when the cluster does not answer, `ValueError` when a topic is there with another
    number of partitions than the settings say: keys would be looked for where they are not.
    """
    wanted = list(topics.TOPICS.values())
    for stakeholder in stakeholders:
        wanted += [*topics.agency_topics(stakeholder), *topics.stakeholder_topics(stakeholder)]
    try:
        found = admin.list_topics(timeout=answer_ms_max / 1000).topics
        missing = [topic for topic in wanted if topic.name not in found]
        for topic in wanted:
            if topic.name in found and len(found[topic.name].partitions) != topic.count(partitions):
                count = len(found[topic.name].partitions)
                raise ValueError(
                    f"topic `{topic.name}` has {count} partitions, the settings say {topic.count(partitions)}"
                )
        return _create(admin, missing, partitions, replication)
    except KafkaException as error:
        raise Unavailable("the cluster does not answer", code=code(error)) from None


def _create(admin: AdminClient, missing: list[Topic], partitions: int, replication: int) -> list[str]:
    if not missing:
        return []
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.count(partitions),
            replication_factor=replication,
            config=topic.config(),
        )
        for topic in missing
    ]
    created = []
    for name, future in admin.create_topics(new, operation_timeout=answer_ms_max / 1000).items():
        try:
            future.result()
        except KafkaException as error:
            if cause(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.append(name)
    return created


def differences(admin: AdminClient) -> list[str]:
    """What the cluster's topics say otherwise than the table, a line each. Raises `Unavailable`."""
    try:
        names = [name for name in admin.list_topics(timeout=answer_ms_max / 1000).topics if _ours(name)]
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found = admin.describe_configs(asked, request_timeout=answer_ms_max / 1000) if asked else {}
        lines = []
        for resource, future in found.items():
            config = future.result()
            for key, value in sorted(topics.find(resource.name).config().items()):
                if config[key].value != value:
                    lines.append(f"{resource.name}: {key} is {config[key].value}, expected {value}")
        return sorted(lines)
    except KafkaException as error:
        raise Unavailable("the cluster does not answer", code=code(error)) from None


def _ours(name: str) -> bool:
    try:
        topics.find(name)
    except KeyError:
        return False
    return True


def draw() -> str:
    """The stages as text, for people: what each reads, knows and writes, and how long that is kept."""
    lines: list[str] = []
    for stage in STAGES.values():
        lines.append(f"{stage.name} ({stage.runs_on}): {stage.does}")
        lines += [f"  {name:<19} ──►" for name in stage.reads]
        lines += [f"  {name:<19} ··►" for name in (*stage.beside, *stage.whole, *stage.restore)]
        lines += [f"  {name:<19} · ►" for name in stage.looks_up]
        lines += [f"{'':<22}──► {_described(name)}" for name in stage.writes]
        lines.append("")
    lines.append("──► reads or writes   ··► knows to its end   · ► looks up   P: the shared partition count")
    return "\n".join(lines) + "\n"


def _described(name: str) -> str:
    topic = {**topics.TOPICS, **topics.AGENCY_TOPICS, **topics.STAKEHOLDER_TOPICS}[name]
    kept = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // topics.DAY_MS} d"
    if topic.cleanup != "delete":
        kept = f"{kept}, {topic.cleanup}"
    return f"{name:<19} key {topic.key:<12} partitions {topic.partitions}  kept {kept}"
