"""A hub whose web is really served, with a broker, a store and keys, and invented people on it. No stages."""

import asyncio
import contextlib
import gc
import json
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from connectors.adapter import Made, Outgoing, Share
from connectors.alerts import Alerts
from connectors.viewer import Permission
from consent import notices
from hub import bootstrap, broker, health, settings, stages, tables, tokens
from hub.bootstrap import Hub
from hub.registration import described
from hub.settings import Settings
from hub.shown import ShownAlerts
from hub.store import upsert
from schemas import instant

UP_MS_MAX = 30_000
SCOPE = {
    "purpose": "care-coordination",
    "compartments": ["occurrence", "subject"],
    "grant": "c/g",
    "until": "2027-03-01T08:00:00Z",
    "said": notices.scopes("care-coordination", ("occurrence", "subject"), 1_803_888_000_000, on_exit=False),
}
REACH, NORTH, HARBOR, CLINIC, JAIL, ATTORNEY, DEFENSE = (
    "reach",
    "north-shore",
    "harbor-house",
    "tideline-clinic",
    "county-jail",
    "city-attorney",
    "public-defense",
)
STAKEHOLDERS: list[dict[str, Any]] = [
    {"id": REACH, "name": "Reach Diversion", "role": "case-management"},
    {"id": NORTH, "name": "North Shore Outreach", "role": "case-management"},
    {"id": HARBOR, "name": "Harbor House", "role": "service-provider"},
    {"id": CLINIC, "name": "Tideline Clinic", "role": "service-provider", "treating": True, "medical": True},
    {"id": JAIL, "name": "County Jail", "role": "police"},
    {"id": ATTORNEY, "name": "City Attorney", "role": "prosecutor"},
    {"id": DEFENSE, "name": "Public Defense Association", "role": "public-defender"},
]


class Yes:
    """Stands in for the owners, and lets everything be shown that still stands. `asked`: about what."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []

    async def ask(self, stakeholder: str, alerts: Iterable[tuple[str, str]]) -> Permission:
        async def nothing() -> None:
            return

        self.asked.append(frozenset(alert for alert, _ in alerts))
        return Permission(self.asked[-1], 1 << 62, lambda outcome: asyncio.ensure_future(nothing()))


@dataclass
class Side:
    """A served hub: its address, its parts for looking behind it, each stakeholder's token, and what stands
    in for the owners."""

    address: str
    hub: Hub
    tokens: dict[str, str] = field(default_factory=dict)
    owners: Yes = field(default_factory=Yes)

    def client(self, stakeholder: str | None = None, token: str = "", **more: Any) -> httpx.Client:
        """A client with a stakeholder's token, with that token, or without one."""
        token = self.tokens[stakeholder] if stakeholder else token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, **more)

    @contextlib.contextmanager
    def person(self, account: str) -> Iterator[httpx.Client]:
        """A client that is signed in, as a browser without scripts would be; its forms' token is a header."""
        with self.client(follow_redirects=True) as client:
            answer = client.post("/signin", data={"account": account})
            assert answer.status_code == 200
            client.headers["x-csrf-token"] = answer.text.split('name="csrf" value="')[1].split('"')[0]
            yield client

    def alert(
        self,
        name: str | None,
        *,
        stakeholder: str = REACH,
        key: str | None = None,
        ago_ms: int = 0,
        facility: str | None = "County Jail",
        urgency: str = "urgent",
        participant: str | None = None,
    ) -> str:
        """Show an alert as the delivery engine does. Out: its id."""
        key = key or "d-" + secrets.token_hex(16)
        at = time.time_ns() // 1_000_000 - ago_ms
        adapter = Alerts(ShownAlerts(self.hub.store), self.hub.vault, lambda: at)
        adapter._keep_one(adapter.made(outgoing(key, name, stakeholder, at, facility, participant)))
        if urgency != "urgent":
            with self.hub.store.write() as connection:
                connection.execute(
                    tables.alerts.update().where(tables.alerts.c.id == key).values(urgency=urgency)
                )
        return key

    def burst(self, count: int, people: int, stakeholder: str) -> list[str]:
        """Many alerts at once, about so many people in turn. Out: their ids."""
        now = time.time_ns() // 1_000_000
        adapter = Alerts(ShownAlerts(self.hub.store), self.hub.vault, lambda: now)
        who = ["p-" + secrets.token_hex(13) for _ in range(people)]
        made = [
            adapter.made(
                outgoing(f"d-{secrets.token_hex(16)}", f"Many {n}", stakeholder, now, None, who[n % people])
            ).alerts[0]
            for n in range(count)
        ]
        ShownAlerts(self.hub.store).insert_all([Made(tuple(made))])
        return [one.id for one in made]

    def withdraw(self, *alerts: str) -> None:
        """Take alerts back as the delivery engine does."""
        ShownAlerts(self.hub.store).withdraw(alerts)

    def decision(
        self,
        outcomes: list[Mapping[str, Any]],
        *,
        ago_ms: int = 0,
        category: str = "service.housing",
        event: str | None = None,
        discloser: str = HARBOR,
    ) -> str:
        """Put a decision into the read model. Out: the event's id."""
        at = time.time_ns() // 1_000_000 - ago_ms
        number = secrets.randbits(40)
        event = event or "e-" + secrets.token_hex(13)
        participant = "p-" + secrets.token_hex(13)
        kind = {"service": "service-engagement", "court": "court-status"}.get(
            category.split(".", maxsplit=1)[0], category.split(".", maxsplit=1)[0]
        )
        row = {
            "id": "x-" + secrets.token_hex(13),
            "cause": "first",
            "event": event,
            "participant": participant,
            "discloser": discloser,
            "type": kind,
            "category": category,
            "occurred_at": at - 3_600_000,
            "at": at,
            "envelope": {
                "id": event,
                "participant": participant,
                "type": kind,
                "category": category,
                "labels": [],
                "discloser": discloser,
                "occurred_at": at - 3_600_000,
                "compartments": ["engagement", "occurrence", "subject"],
            },
            "position": {"topic": kind, "partition": 1, "offset": number},
            "consent_offset": 41,
            "governance_offset": 23,
            "partition": 1,
            "offset": number,
        }
        blank = {"basis": None, "grants": [], "compartments": [], "obligations": []}
        rows = [
            blank
            | {
                "decision": row["id"],
                "number": place,
                "event": event,
                "participant": participant,
                "subscription": f"{one['stakeholder']}-{one['purpose']}-webhook",
                "at": at,
            }
            | dict(one)
            for place, one in enumerate(outcomes)
        ]
        columns = set(tables.decisions.c.keys())
        with self.hub.store.write() as connection:
            upsert(connection, tables.decisions, [{k: v for k, v in row.items() if k in columns}])
            upsert(connection, tables.outcomes, rows)
        return event


@contextlib.contextmanager
def questions(side: Side) -> Iterator[list[str]]:
    """The statements that the store is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(side.hub.store.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(side.hub.store.engine, "before_cursor_execute", note)


def outgoing(
    key: str, name: str | None, stakeholder: str, at: int, facility: str | None, participant: str | None
) -> Outgoing:
    """A booking on its way to an alerts page, for the care of somebody of that name."""
    participant = participant or "p-" + secrets.token_hex(13)
    data: dict[str, Any] = {"occurrence": {"booked_at": instant.format(at)}}
    if facility:
        data["occurrence"]["facility"] = facility
    if name:
        data["subject"] = {"name": name}
    return Outgoing(
        key=key,
        stakeholder=stakeholder,
        adapter="alerts",
        attempt=1,
        settings={},
        view={
            "type": "contact",
            "participant": "x",
            "purposes": ["care-coordination"],
            "consent_scope": [SCOPE],
            "data": data,
        },
        envelope={"id": f"e-{key}", "participant": participant, "category": "contact.custody-booking"},
        shares=(Share("s", "care-coordination", "consent", ("c/g",), ("occurrence", "subject"), ()),),
    )


def permit(stakeholder: str, purpose: str = "care-coordination") -> dict[str, Any]:
    """An outcome that permits, by consent."""
    return {
        "stakeholder": stakeholder,
        "purpose": purpose,
        "effect": "permit",
        "reason": "consent",
        "basis": "consent",
        "grants": ["c-housing/g-1"],
        "compartments": ["engagement", "occurrence", "subject"],
        "obligations": ["attach-consent-scope", "no-redisclosure", "record-disclosure"],
    }


def deny(stakeholder: str, reason: str, purpose: str = "legal-coordination") -> dict[str, Any]:
    """An outcome that denies."""
    return {"stakeholder": stakeholder, "purpose": purpose, "effect": "deny", "reason": reason}


@contextlib.contextmanager
def served(servers: str, folder: Path, **more: Any) -> Iterator[Side]:
    """A hub on an emptied broker, its web on a free port of this machine, until the block ends."""
    configured = settings.load(
        data=folder,
        web_port=0,
        kafka_bootstrap=servers,
        partitions=2,
        replication=1,
        **{"demo": True, "time_zone": "America/Los_Angeles", "linking_desk": REACH, **more},
    )
    bootstrap.prepare(configured, servers)
    with bootstrap.bootstrap(configured, servers) as aside:
        since = {"agreement": {"from": "2025-01-01T00:00:00Z"}}
        aside.registration.register([described({**one, **since}) for one in STAKEHOLDERS], "tests")
    with running(configured, servers) as side:
        side.tokens = {one["id"]: tokens.mint(side.hub.store, one["id"]) for one in STAKEHOLDERS}
        yield side


@contextlib.contextmanager
def beside(side: Side, folder: Path, **more: Any) -> Iterator[Side]:
    """Another hub on the log of one that is served, with a store and keys of its own, and other settings."""
    servers = side.hub.client["bootstrap.servers"]
    with running(side.hub.settings.model_copy(update={"data": folder, **more}), servers) as other:
        yield other


@contextlib.contextmanager
def running(configured: Settings, servers: str) -> Iterator[Side]:
    """The web of a hub whose topics are there, until the block ends."""
    aside = bootstrap.bootstrap(configured, servers)
    side = Side("", aside)
    stop = threading.Event()
    inside = bootstrap.bootstrap(configured, servers)
    inside.viewer = lambda *_: side.owners  # type: ignore[method-assign]  # no owner is there to be asked
    thread = threading.Thread(target=stages.run_web, args=(inside, stop), daemon=True)
    thread.start()
    try:
        side.address = _address(configured.run_dir, tls=configured.web_certificate is not None)
        yield side
    finally:
        stop.set()
        thread.join(15)
        aside.close()
        gc.collect()  # lets go of the producers, which else look for their broker
    assert not thread.is_alive(), "the web did not stop"


def _address(run_dir: Path, *, tls: bool) -> str:
    until = time.monotonic() + UP_MS_MAX / 1000
    while time.monotonic() < until:
        found = [beat.address for beat in health.read_all(run_dir) if beat.stage == "web" and beat.address]
        if found:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"{found[0]}/readyz", timeout=5, verify=not tls)
                if answer.status_code == 200:
                    return found[0]
        time.sleep(0.05)
    raise AssertionError("the web did not come up: " + json.dumps([str(b) for b in health.read_all(run_dir)]))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Side]:
    """A served hub on a broker of its own, which no other test empties."""
    with (
        broker.start(settings.load(data=folder / "kafka")) as kafka,
        served(kafka.bootstrap, folder / "hub") as running,
    ):
        yield running


def records(servers: str, topic: str, wait_ms_max: int = 10_000) -> list[Any]:
    """Every committed record of a topic up to its end, as `confluent_kafka` messages."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found, ended, until = [], set(), time.monotonic() + wait_ms_max / 1000
    while len(ended) < len(partitions) and time.monotonic() < until:
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF
            ended.add(message.partition())
        else:
            found.append(message)
    consumer.close()
    assert len(ended) == len(partitions), f"`{topic}` was not read to its end"
    return found
