"""The log's worker: every record gets one place, whoever is killed, and there is one history."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from hub import health
from hub.kek import LocalKek
from hub.ledger import merkle
from hub.ledger.commitment import SOURCES, Salts, commitment, recorded
from hub.ledger.keeping import STAGE, keep
from hub.ledger.merkle import leaf_hash
from hub.ledger.note import Checkpoint, Signer, opened
from hub.ledger.places import Places
from hub.ledger.tiles import Folder, over
from hub.ledger.tree import Tree
from hub.ledger.worker import TOPIC, Worker
from hub.store import Store
from hub.vault import Vault
from schemas import codec
from schemas.topics import TOPICS, partition_of
from streams import topology
from streams.errors import Corrupt, Fenced
from tests.streams_kit import Cluster, until

PARTITIONS = 2
SIGNER = Signer("hub.example/log", b"\7" * 32)
KEK = bytes(range(32))
INTERVAL_MS = 100
SESSION_MS = 1_000
NOTHING = Checkpoint("", 0, b"")
WORKER = """
import sys, threading
from pathlib import Path
from tests.test_ledger import made
made(*sys.argv[1:]).run(lambda: False)
"""


def made(bootstrap: str, url: str, folder: str, instance_id: str | None = None) -> Worker:
    """A worker on a broker, a store and a folder."""
    salts = Salts(Vault(Store(url), LocalKek(KEK)))
    client = {"bootstrap.servers": bootstrap, "log_level": 0}
    return Worker(
        client,
        Path(folder),
        salts,
        SIGNER,
        interval_ms=INTERVAL_MS,
        instance_id=instance_id,
        session_timeout_ms=SESSION_MS,
    )


class Scene:
    """A broker with the hub's topics, a store, and records of every kind."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.cluster = Cluster(bootstrap)
        self.folder = folder
        self.log = folder / "log"
        self.url = f"sqlite:///{folder / 'hub.db'}"
        topology.ensure(AdminClient(self.cluster.client), PARTITIONS, 1, [])
        self.store = Store(self.url)
        self.store.migrate()
        self.vault = Vault(self.store, LocalKek(KEK))
        self.producer = Producer(self.cluster.client)
        self.written = 0

    def write(self, count: int) -> None:
        """So many more records of each source."""
        for number in range(count):
            who = f"p-{number % 3}"
            access = {"id": f"a-{number}", "kind": "explanation-read", "at": 5, "principal": "officer"}
            access |= {"participant": who if number % 2 else None, "body": b"{}"}
            work = {"id": f"w-{number}", "kind": "caseload-assigned", "at": 5, "by": "program:lead"}
            work |= {"participant": who if number % 2 else "", "body": b"{}", "sealed": None}
            acts = {"access": codec.encode("Access", access), "work": codec.encode("Work", work)}
            for topic in SOURCES:
                value = acts.get(topic) or f"{topic} {number}".encode()
                key = None if topic == "deliveries" and number % 5 == 0 else who.encode()
                partition = 0 if TOPICS[topic].partitions == 1 else partition_of(who, PARTITIONS)
                self.producer.produce(topic, value, key, partition)
                self.written += 1
        assert self.producer.flush(30) == 0

    def worker(self, folder: Path | None = None) -> Worker:
        return made(self.cluster.bootstrap, self.url, str(folder or self.log))

    def published(self, folder: Path | None = None) -> Checkpoint | None:
        path = (folder or self.log) / "checkpoint"
        if not path.exists():
            return None
        return Checkpoint.of(opened(path.read_text(), [SIGNER.verifier])[0])

    def run(self, size: int | None = None, folder: Path | None = None) -> Checkpoint:
        """A worker, until everything has its place under a published checkpoint."""
        wanted = self.written if size is None else size

        def done() -> bool:
            head = self.published(folder)
            return head is not None and head.size >= wanted

        self.worker(folder).run(done)
        head = self.published(folder)
        assert head is not None
        return head

    def ledger(self) -> list[dict[str, Any]]:
        return [codec.decode_as("Ledger", record.value) for record in self.cluster.read(TOPIC)]

    def placed(self) -> list[tuple[str, int, int]]:
        """Every record that has a place, in order of places."""
        found = []
        for record in self.ledger():
            if (run := record["run"]) is not None:
                assert run["first"] == len(found)
                found += [(run["topic"], run["partition"], leaf["offset"]) for leaf in run["leaves"]]
        return found

    def one_history(self) -> None:
        """Every checkpoint that was ever signed is a beginning of the same tree."""
        tree, heads = Tree(self.folder / "replay"), []
        for record in self.ledger():
            if (run := record["run"]) is not None:
                offsets, leaves = zip(
                    *((leaf["offset"], leaf["commitment"]) for leaf in run["leaves"]), strict=True
                )
                tree.add((run["topic"], run["partition"]), offsets, leaves, run["first"])
            if (saved := record["checkpoint"]) is not None:
                heads.append(Checkpoint.of(opened(saved["note"], [SIGNER.verifier])[0]))
        tree.save()
        for head in heads:
            assert tree.root_at(head.size) == head.root
        assert [head.size for head in heads] == sorted(head.size for head in heads)


def turns(worker: Worker, count: int) -> None:
    for _ in range(count):
        worker.turn()


@pytest.fixture
def scene(empty_kafka: str, tmp_path: Path) -> Iterator[Scene]:
    found = Scene(empty_kafka, tmp_path)
    yield found
    found.store.close()


@pytest.mark.broker
def test_every_record_has_a_place_that_its_salt_opens_and_a_proof_shows(scene: Scene) -> None:
    scene.write(160)
    head = scene.run()
    assert head.size == scene.written == 960
    records = {
        (record.topic, record.partition, record.offset): record
        for topic in SOURCES
        for record in scene.cluster.read(topic, TOPICS[topic].count(PARTITIONS))
    }
    assert sorted(scene.placed()) == sorted(records)
    nodes, places, salts = over(Folder(scene.log).read, head.size), Places(scene.log), Salts(scene.vault)
    for (topic, partition, offset), record in list(records.items())[::41]:
        index = places.find((topic, partition), offset)
        assert index is not None
        one = recorded(topic, partition, offset, record.key, record.value)
        leaf = leaf_hash(commitment(salts.of(one), one.statement))
        merkle.check_inclusion(index, head.size, leaf, merkle.inclusion(nodes, index, head.size), head.root)

    scene.vault.destroy("p-1")  # salts die, the tree does not change
    scene.write(10)  # another worker goes on, and shows that nothing of before was changed
    later = scene.run()
    assert later.size == scene.written
    nodes = over(Folder(scene.log).read, later.size)
    merkle.check_consistency(
        head.size, later.size, merkle.consistency(nodes, head.size, later.size), head.root, later.root
    )
    rebuilt = scene.run(folder=scene.folder / "again")
    assert rebuilt == later
    for path in scene.log.rglob("tile/**/*"):
        if path.is_file() and ".p/" not in str(path):
            assert (scene.folder / "again" / path.relative_to(scene.log)).read_bytes() == path.read_bytes()
    assert len(list(scene.log.rglob("tile/0/[0-9]*"))) > 3
    scene.one_history()


@pytest.mark.broker
def test_killed_anywhere_it_places_each_record_once_and_signs_one_history(scene: Scene) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    for point in ("produced", "committed", "signed", "publishing"):
        scene.write(60)
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, scene.cluster.bootstrap, scene.url, str(scene.log), "ledger-0"],
            env=environment | {"HUB_CRASH_POINT": f"ledger.{point}"},
        )
        assert worker.wait(90) == -signal.SIGKILL
    head = scene.run()
    assert head.size == scene.written == len(set(scene.placed())) == len(scene.placed())
    scene.one_history()


@pytest.mark.broker
def test_one_that_was_replaced_can_write_nothing_more(scene: Scene) -> None:
    scene.write(5)
    first = scene.worker()
    first._follower.subscribe([TOPIC], on_assign=first._assigned, on_revoke=first._dropped)
    until(lambda: first.turn() or (scene.published() or NOTHING).size == 30, "the first checkpoint")
    scene.write(5)
    successor = Producer({**scene.cluster.client, "transactional.id": TOPIC})
    successor.init_transactions(30)  # as the next worker begins
    with pytest.raises(Fenced):
        turns(first, 100)
    first._leave()
    first._follower.close()
    assert len(scene.placed()) == 30
    assert scene.run().size == 60
    scene.one_history()


@pytest.mark.broker
def test_it_does_not_go_on_from_what_contradicts_a_checkpoint(scene: Scene) -> None:
    """A lost end of `ledger`, a fork: found at the start, told by the hub's health, and never signed over."""
    scene.write(20)
    head = scene.run()
    run_dir = scene.folder / "run"

    def refusal(published: str) -> str:
        (scene.log / "checkpoint").write_text(published)
        before = len(scene.ledger())
        scene.write(1)
        keep(scene.worker, threading.Event(), run_dir)
        assert len(scene.ledger()) == before
        return "".join(health.troubles(run_dir))

    longer = SIGNER.sign(Checkpoint(head.origin, head.size + 5, head.root).text)
    assert f"{STAGE} has stopped for good: `ledger` ends before" in refusal(longer)
    (scene.log / "state.json").unlink()
    forked = SIGNER.sign(Checkpoint(head.origin, head.size, merkle.EMPTY_ROOT).text)
    assert f"another checkpoint at {head.size} leaves was published: the log has forked" in refusal(forked)


@pytest.mark.broker
def test_records_that_are_gone_stop_it(scene: Scene) -> None:
    """A partition that ends before what has its place: somebody wrote another one in its place."""
    scene.write(20)
    scene.run()
    admin = AdminClient(scene.cluster.client)
    for deleted in admin.delete_topics(["access"]).values():
        deleted.result()
    until(lambda: "access" not in admin.list_topics(timeout=10).topics, "the topic to go")
    topology.ensure(admin, PARTITIONS, 1, [])
    scene.cluster.await_topics(["access"])
    with pytest.raises(Corrupt, match="records of `access/0` that have their places are gone"):
        scene.worker().run(lambda: False)
    for deleted in admin.delete_topics([TOPIC]).values():
        deleted.result()
    until(lambda: TOPIC not in admin.list_topics(timeout=10).topics, "the topic to go")
    topology.ensure(admin, PARTITIONS, 1, [])
    scene.cluster.await_topics([TOPIC])
    with pytest.raises(Corrupt, match=r"`ledger` ends at 0, and the log has read it up to \d+"):
        scene.worker().run(lambda: False)
