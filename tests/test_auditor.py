"""The auditor: the store says what the log says, whatever is killed, and nothing that was not committed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from hub import auditor, tables
from hub.auditor import Auditor, rebuild
from hub.health import Pulse, read_all
from hub.projections import Read, project
from hub.rebuild import built, targets
from hub.store import Store
from schemas import codec
from schemas.errors import HubError
from schemas.topics import partition_of
from streams import topology

PARTITIONS = 2
WAIT_S_MAX = 60.0
WORKER = """
import signal, sys, threading
from hub.auditor import Auditor
from hub.store import Store
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
Auditor({"bootstrap.servers": sys.argv[1]}, Store(sys.argv[2])).run(stop)
"""


def envelope(number: int, participant: str = "p-1") -> dict[str, Any]:
    return {
        "id": f"e-{number}",
        "source": "urn:agency:reach",
        "type": "contact",
        "occurred_at": 1_000 + number,
        "admitted_at": 2_000 + number,
        "participant": participant,
        "category": "contact.outreach",
        "labels": ["part2"],
        "discloser": "reach",
        "compartments": ["occurrence", "subject"],
        "consent_at_least": None,
    }


def decision(number: int, outcomes: int = 3) -> dict[str, Any]:
    return {
        "id": f"decision-{number}",
        "cause": "first",
        "event": envelope(number, f"p-{number % 50}"),
        "position": {"topic": "contact", "partition": 0, "offset": number},
        "at": 3_000 + number,
        "consent_offset": 7,
        "governance_offset": 9,
        "outcomes": [
            {
                "stakeholder": f"s-{place}",
                "subscription": f"s-{place}-care",
                "purpose": "care-coordination",
                "effect": "permit" if place % 2 else "deny",
                "reason": "consent" if place % 2 else "no-consent",
                "basis": "consent" if place % 2 else None,
                "grants": ["c/g"] if place % 2 else [],
                "compartments": ["subject"] if place % 2 else [],
                "obligations": [],
            }
            for place in range(outcomes)
        ],
    }


def parcel(number: int) -> dict[str, Any]:
    return {
        "key": f"k-{number}",
        "stakeholder": "s-1",
        "adapter": "webhook",
        "event": f"e-{number}",
        "participant": "p-1",
    }


def act(kind: str, **more: Any) -> dict[str, Any]:
    return {"id": kind, "kind": kind, "at": 5, "body": json.dumps(more).encode()}


class Scene:
    """A broker with the hub's topics, and a store."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.client = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.client)
        topology.ensure(self.admin, PARTITIONS, 1, ["reach"])
        self.url = f"sqlite:///{folder / 'hub.db'}"
        self.store = Store(self.url)
        self.store.migrate()
        self.producer = Producer(self.client)

    def write(self, topic: str, name: str, value: dict[str, Any], key: str = "p-1") -> None:
        """Puts one record into the log."""
        shared = topic in ("decisions", "deliveries", "consent", "identity", "quarantine", "work", "access")
        partition = partition_of(key, PARTITIONS) if shared else 0
        self.producer.produce(topic, codec.encode(name, value), key.encode(), partition)
        self.producer.poll(0)

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def count(self, table: sa.Table) -> int:
        with self.store.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())

    def rows(self, table: sa.Table) -> list[Any]:
        with self.store.read() as connection:
            return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]

    def everything(self) -> dict[str, list[Any]]:
        return {table.name: self.rows(table) for table in tables.PROJECTED}


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


@pytest.fixture
def scene(empty_kafka: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(empty_kafka, tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def running(scene: Scene, tmp_path: Path) -> Iterator[Auditor]:
    """An auditor at work in a thread."""
    stop, failed = threading.Event(), []
    one = Auditor(scene.client, scene.store, None, Pulse(tmp_path / "run", "auditor"))

    def work() -> None:
        try:
            one.run(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield one
    stop.set()
    thread.join()
    assert failed == []


@pytest.mark.broker
def test_every_kind_of_record_gets_to_its_tables_and_can_be_built_again(
    scene: Scene, running: Auditor, tmp_path: Path
) -> None:
    scene.write("decisions", "Decision", decision(1))
    shares = {"consent_offset": 1, "governance_offset": 2}
    intent = {"intent": parcel(1) | shares | {"outbox_partition": 0, "outbox_offset": 4, "attempt": 1}}
    intent["intent"] |= {"at": 10, "shares": []}
    receipt = {"receipt": parcel(1) | {"attempt": 1, "outcome": "failed", "code": "http-500", "at": 11}}
    receipt["receipt"] |= {"next_at": 99}
    held = {
        "withheld": parcel(2) | shares | {"at": 12, "reasons": [{"subscription": "x", "reason": "revoked"}]}
    }
    told = {"acknowledgement": shares | {"stakeholders": ["s-1"], "partition": 0, "at": 13, "owner": "o"}}
    for value in (intent, receipt, held, told):
        scene.write("deliveries", "Delivery", value)
    directive = {"id": "d-1", "participant": "p-1", "sender": "s", "recorded_at": 1}
    rule = json.dumps({"type": "consent-revoked", "consent_id": "c-9"}).encode()
    scene.write("consent", "Directive", directive | {"type": "consent-revoked", "body": rule})
    link = {"kind": "linked", "participant": "p-1", "agency": "reach", "local": "ab" * 32}
    scene.write("identity", "Identity", link | {"sealed": b"s", "at": 1, "by": "x"})
    refused = {"id": "q-1", "stage": "admit", "agency": "reach", "reason": "unknown-category"}
    scene.write("quarantine", "Quarantined", refused | {"detail": "d", "at": 5, "sealed": b"z"}, "q-1")
    scene.write("work", "Work", act("alert-acknowledged", alert="a-1") | {"by": "me", "participant": "p-1"})
    discarded = act("quarantine-discarded", quarantine="q-1")
    scene.write("access", "Access", discarded | {"principal": "operator", "participant": None}, "operator")
    scene.flush()
    until(lambda: scene.count(tables.acts) == 2 and scene.count(tables.withheld) == 1, "the projections")

    topology.ensure(scene.admin, PARTITIONS, 1, ["newcomer"])  # joins while the auditor runs
    came = {"id": "ev-1", "event": "e-1", "status": "admitted", "reason": None, "at": 7}
    scene.write("receipts.newcomer", "Receipted", came)
    scene.flush()
    until(lambda: scene.count(tables.event_status) == 1, "the newcomer's receipt")

    with scene.store.read() as connection:
        head = connection.execute(sa.select(tables.decisions)).one()
        outcomes = connection.execute(sa.select(tables.outcomes).order_by("number")).all()
        ended = connection.execute(sa.select(tables.receipts)).one()
        recorded = connection.execute(sa.select(tables.directives)).one()
        acts = connection.execute(sa.select(tables.acts).order_by("topic")).all()
        status = connection.execute(sa.select(tables.event_status)).one()
    assert head.envelope == envelope(1, "p-1")
    assert (head.consent_offset, head.governance_offset, head.position["offset"]) == (7, 9, 1)
    assert [(one.stakeholder, one.effect, one.basis) for one in outcomes] == [
        ("s-0", "deny", None),
        ("s-1", "permit", "consent"),
        ("s-2", "deny", None),
    ]
    assert (ended.outcome, ended.code, ended.next_at) == ("failed", "http-500", 99)
    assert (recorded.concerns, json.loads(recorded.body)["consent_id"]) == ("c-9", "c-9")
    assert [(one.who, one.what, one.about) for one in acts] == [
        ("operator", "quarantine-discarded", "q-1"),
        ("me", "alert-acknowledged", "a-1"),
    ]
    assert (status.agency, status.status) == ("newcomer", "admitted")
    assert [scene.count(one) for one in (tables.intents, tables.crosswalk, tables.quarantine)] == [1, 1, 1]
    assert [beat.state for beat in read_all(tmp_path / "run")] == ["running"]

    before = scene.everything()
    rebuild(scene.store)
    assert scene.count(tables.decisions) == 0
    until(lambda: scene.everything() == before, "the same tables, built again")


@pytest.mark.broker
def test_it_is_built_again_here_and_now_in_either_kind_of_store(scene: Scene, store: Store) -> None:
    """As `hub audit rebuild` does: to the end of the log, marks of transactions behind it or not."""
    transacting = Producer(scene.client | {"transactional.id": "marking"})
    transacting.init_transactions(30)
    for number in range(300):
        scene.write("decisions", "Decision", decision(number), f"p-{number % 50}")
    scene.write("work", "Work", act("alert-acknowledged", alert="a-1") | {"by": "me", "participant": "p-1"})
    scene.flush()
    for _ in range(80):  # more marks than are looked back over at first
        transacting.begin_transaction()
        transacting.produce("decisions", b"never read", b"p", 0)
        transacting.flush()
        transacting.abort_transaction()
    wanted = targets(scene.client)
    assert sum(wanted.values()) >= 301
    told: list[tuple[int, int]] = []
    for _ in range(2):
        rebuild(store)
        built(Auditor(scene.client, store).run, store, wanted, lambda *far: told.append(far))
        with store.read() as connection:
            counts = [
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
                for table in (tables.decisions, tables.outcomes, tables.acts)
            ]
        assert counts == [300, 900, 1]
        assert told[-1] == (sum(wanted.values()),) * 2


@pytest.mark.broker
def test_building_that_fails_says_why(scene: Scene, store: Store) -> None:
    scene.write("decisions", "Decision", decision(1))
    scene.flush()

    def fails(_stop: threading.Event) -> None:
        raise HubError("no more")

    with pytest.raises(HubError, match="no more"):
        built(fails, store, targets(scene.client), lambda *_: None)


@pytest.mark.broker
def test_what_was_aborted_is_never_projected(scene: Scene, running: Auditor) -> None:
    transacting = Producer(scene.client | {"transactional.id": "aborting"})
    transacting.init_transactions(30)
    for number, commit in ((1, False), (2, True)):
        transacting.begin_transaction()
        value = codec.encode("Decision", decision(number))
        transacting.produce("decisions", value, b"p", 0)
        transacting.flush()
        (transacting.commit_transaction if commit else transacting.abort_transaction)()
    until(lambda: scene.count(tables.decisions), "the committed one")
    with scene.store.read() as connection:
        assert connection.execute(sa.select(tables.decisions.c.id)).scalars().all() == ["decision-2"]


@pytest.mark.broker
def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(scene: Scene) -> None:
    total, chance = 3_000, random.Random(7)

    def start() -> "subprocess.Popen[bytes]":
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        return subprocess.Popen([sys.executable, "-c", WORKER, scene.bootstrap, scene.url], env=environment)

    for number in range(total):
        scene.write("decisions", "Decision", decision(number), f"p-{number % 50}")
        came = {"id": f"x{number}", "event": "e-same", "status": "duplicate" if number else "admitted"}
        scene.write("receipts.reach", "Receipted", came | {"reason": None, "at": number})
    scene.flush()
    worker = start()
    try:
        for _ in range(3):
            had = scene.count(tables.decisions)
            until(lambda had=had: scene.count(tables.decisions) > had or had == total, "progress")
            time.sleep(chance.random() * 0.05)  # anywhere within a batch
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            worker = start()

        def done() -> bool:
            with scene.store.read() as connection:
                repeats = connection.execute(sa.select(tables.event_status.c.duplicates)).scalar()
            return repeats == total - 1 and scene.count(tables.outcomes) == 3 * total

        until(done, "everything to be projected")
        assert scene.count(tables.decisions) == total
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.broker
def test_one_that_was_replaced_notices_and_starts_over(scene: Scene) -> None:
    came = {"id": "x", "event": "e-1", "reason": None, "at": 1}
    scene.write("receipts.reach", "Receipted", came | {"status": "admitted"})
    scene.flush()
    one = Auditor(scene.client, scene.store)
    one._consumer.subscribe(list(auditor.TOPICS), on_assign=one._assigned, on_revoke=one._revoked)
    until(lambda: one.turn() and scene.count(tables.event_status), "the first record")
    scene.write("receipts.reach", "Receipted", came | {"status": "duplicate"})
    scene.flush()
    with scene.store.write() as connection:  # as its successor does, in one transaction with the position
        row = sa.and_(tables.offsets.c.topic == "receipts.reach", tables.offsets.c.position == 1)
        connection.execute(tables.offsets.update().where(row).values(position=2))
        connection.execute(tables.event_status.update().values(duplicates=1))
    scene.write("receipts.reach", "Receipted", came | {"status": "conflict"})
    scene.flush()

    def conflicts() -> int:
        one.turn()
        with scene.store.read() as connection:
            return int(connection.execute(sa.select(tables.event_status.c.conflicts)).scalar_one())

    until(conflicts, "the record after the successor's")
    with scene.store.read() as connection:
        status = connection.execute(sa.select(tables.event_status)).one()
    assert (status.duplicates, status.conflicts) == (1, 1)
    one._consumer.close()


@pytest.mark.broker
def test_a_broken_record_of_our_own_ends_it_loudly(scene: Scene) -> None:
    scene.producer.produce("decisions", b"\0\0\0\0\x04garbage", b"p", 0)
    scene.flush()
    with pytest.raises(HubError):
        Auditor(scene.client, scene.store).run(threading.Event())
    assert scene.count(tables.decisions) == 0


class TestEventStatus:
    """What a sender can ask about one event."""

    def project(self, store: Store, *statuses: str) -> Any:
        with store.write() as connection:
            for offset, status in enumerate(statuses):
                value = {"event": "e-1", "status": status, "reason": f"r-{status}", "at": offset}
                project(connection, [Read("receipts.reach", 0, offset, "Receipted", value)])
            return connection.execute(sa.select(tables.event_status)).one()

    @pytest.mark.parametrize(
        ("statuses", "status", "duplicates", "conflicts"),
        [
            (["admitted"], "admitted", 0, 0),
            (["parked", "admitted"], "admitted", 0, 0),
            (["parked", "duplicate"], "parked", 1, 0),
            (["admitted", "duplicate", "duplicate", "conflict"], "admitted", 2, 1),
            (["quarantined", "admitted"], "admitted", 0, 0),
            (["admitted", "quarantined"], "admitted", 0, 0),
            (["duplicate"], "duplicate", 0, 0),
            (["duplicate", "duplicate"], "duplicate", 1, 0),
        ],
    )
    def test_says_what_became_of_it_and_counts_repeats(
        self, store: Store, statuses: list[str], status: str, duplicates: int, conflicts: int
    ) -> None:
        row = self.project(store, *statuses)
        assert (row.status, row.duplicates, row.conflicts) == (status, duplicates, conflicts)

    def test_in_one_batch_or_several_it_is_the_same(self, store: Store) -> None:
        records = [
            Read("receipts.reach", 0, n, "Receipted", {"event": "e-1", "status": s, "reason": None, "at": n})
            for n, s in enumerate(["parked", "duplicate", "admitted", "conflict"])
        ]
        with store.write() as connection:
            project(connection, records)
            row = connection.execute(sa.select(tables.event_status)).one()
        assert (row.status, row.at, row.duplicates, row.conflicts) == ("admitted", 2, 1, 1)
