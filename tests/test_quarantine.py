"""What was refused: listed with its reason, shown on the record, put back where it came from, discarded."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from hub import bootstrap, cli, quarantine, settings
from hub.auditor import TOPICS, Auditor
from hub.quarantine import CannotRetry, NoSuchRecord, Quarantine
from hub.rebuild import NotConfirmed
from hub.vault import DAY_MS
from schemas import codec
from schemas.errors import Erased
from streams.quarantine import HEADERS, aad

pytestmark = pytest.mark.broker
WAIT_S_MAX = 60.0
EVENT = {
    "specversion": "1.0",
    "id": "ev-1",
    "source": "urn:agency:reach",
    "type": "contact",
    "category": "contact.outreach",
    "time": "2026-03-01T09:00:00Z",
    "subject": "R-Quintana",
    "data": {"mode": "phone"},
}


class Scene:
    """A prepared hub with an auditor that works when it is asked to."""

    def __init__(self) -> None:
        self.hub = bootstrap.bootstrap(settings.load())
        self.auditor, self.left = Auditor(self.hub.client, self.hub.store), False
        consumer = self.auditor._consumer
        consumer.subscribe(list(TOPICS), on_assign=self.auditor._assigned, on_revoke=self.auditor._revoked)
        self.quarantine = Quarantine(self.hub)

    def refuse(self, reference: str, original: bytes, **more: Any) -> None:
        """Puts something into quarantine as the stages do."""
        sealer = self.hub.vault.hub("originals")
        headers = more.pop("headers", None)
        value = {
            "id": reference,
            "stage": "admit",
            "agency": "reach",
            "reason": "unknown-category",
            "detail": "no such category",
            "path": "/category",
            "at": time.time_ns() // 1_000_000,
            "sealed": sealer.seal(aad(reference), original),
            "headers": sealer.seal(aad(reference) + HEADERS, json.dumps(headers).encode())
            if headers
            else None,
        } | more
        self.hub.appender.append("quarantine", reference, codec.encode("Quarantined", value))
        self.until(lambda: any(row["id"] == reference for row in self.quarantine.rows()))

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + WAIT_S_MAX
        while not condition():
            assert time.monotonic() < deadline
            self.auditor.turn()

    def state(self, reference: str) -> str:
        return str(next(row["state"] for row in self.quarantine.rows() if row["id"] == reference))

    def inbox(self) -> list[dict[str, Any]]:
        """What is in the agency's inbox."""
        consumer = Consumer(self.hub.client | {"group.id": "test", "enable.partition.eof": True})
        consumer.assign([TopicPartition("inbox.reach", 0, 0)])
        found = []
        while (message := consumer.poll(10)) is not None and message.error() is None:
            value = message.value()
            assert isinstance(value, bytes)
            found.append(codec.decode_as("Inbound", value))
        consumer.close()
        return found

    def leave(self) -> None:
        """Ends the auditor: one that only works when asked to would keep its share from others."""
        if not self.left:
            self.left = True
            self.auditor._consumer.close()

    def close(self) -> None:
        self.leave()
        self.quarantine.close()
        self.hub.close()


@pytest.fixture
def scene(empty_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    given = {"DATA": str(tmp_path), "KAFKA_BOOTSTRAP": empty_kafka, "REPLICATION": "1", "PARTITIONS": "2"}
    for name, value in given.items():
        monkeypatch.setenv(f"HUB_{name}", value)
    monkeypatch.chdir(tmp_path)
    bootstrap.prepare(settings.load(), empty_kafka)
    made = Scene()
    made.hub.create_topics(["reach"])
    yield made
    made.close()


def test_from_the_list_to_the_inbox_again(scene: Scene) -> None:
    original = json.dumps(EVENT).encode()
    scene.refuse("q-inbox.reach-0-1", original)
    scene.refuse("q-2", b"broken", reason="not-json", agency="clinic", path=None)

    listed = CliRunner().invoke(quarantine.app, ["list", "--json"])
    assert listed.exit_code == 0, listed.exception
    rows = json.loads(listed.stdout)
    assert [row["id"] for row in rows] == ["q-2", "q-inbox.reach-0-1"]
    assert {row["state"] for row in rows} == {"open"}
    assert "Quintana" not in listed.stdout
    assert [row["id"] for row in scene.quarantine.rows(agency="clinic")] == ["q-2"]
    assert [row["id"] for row in scene.quarantine.rows(reason="unknown-category")] == ["q-inbox.reach-0-1"]

    shown = CliRunner().invoke(quarantine.app, ["show", "q-inbox.reach-0-1", "--json"])
    assert json.loads(shown.stdout)["path"] == "/category"
    assert "Quintana" not in shown.stdout
    revealed = CliRunner().invoke(quarantine.app, ["show", "q-inbox.reach-0-1", "--original"])
    assert revealed.stdout_bytes == original

    retried = CliRunner().invoke(quarantine.app, ["retry", "q-inbox.reach-0-1", "--json"])
    assert json.loads(retried.stdout)["inbox"] == "inbox.reach"
    (inbound,) = scene.inbox()
    assert (inbound["via"], inbound["reference"]) == ("retry", "q-inbox.reach-0-1")
    assert scene.hub.vault.hub("originals").open(b"inbox.reach", inbound["sealed"]) == original
    scene.until(lambda: scene.state("q-inbox.reach-0-1") == "retried")

    assert CliRunner().invoke(quarantine.app, ["discard", "q-2"]).exit_code == 0
    scene.until(lambda: scene.state("q-2") == "discarded")
    assert [row["id"] for row in scene.quarantine.rows(state="discarded")] == ["q-2"]
    assert scene.quarantine.rows(state="open") == []
    with scene.hub.store.read() as connection:
        acts = connection.exec_driver_sql("SELECT what, about FROM acts ORDER BY at").all()
    assert [tuple(one) for one in acts] == [
        ("quarantine-shown", "q-inbox.reach-0-1"),
        ("quarantine-retried", "q-inbox.reach-0-1"),
        ("quarantine-discarded", "q-2"),
    ]
    built_again(scene)


def built_again(scene: Scene) -> None:
    """`hub rebuild` asks first, is recorded, and what was there is there again."""
    before = scene.quarantine.rows()
    command = cli.load("rebuild")
    refused = click.testing.CliRunner().invoke(command, ["--json"], input="n\n")
    assert isinstance(refused.exception, NotConfirmed)
    assert scene.quarantine.rows() == before
    done = click.testing.CliRunner().invoke(command, ["--json"], input="y\n")
    assert done.exit_code == 0, done.exception
    assert scene.quarantine.rows() == []
    scene.until(lambda: scene.quarantine.rows() == before)
    with scene.hub.store.read() as connection:
        last = connection.exec_driver_sql("SELECT what FROM acts ORDER BY at DESC LIMIT 1").scalar()
    assert last == "projections-rebuilt"
    scene.leave()
    now = click.testing.CliRunner().invoke(cli.load("audit"), ["rebuild", "--yes", "--json"])
    assert now.exit_code == 0, now.exception
    assert json.loads(now.stdout.splitlines()[-1])["positions"] > 0
    assert scene.quarantine.rows() == before


def test_what_came_in_headers_goes_back_as_one_event(scene: Scene) -> None:
    body = json.dumps(EVENT["data"]).encode()
    http = [[f"ce-{name}", EVENT[name]] for name in EVENT if name != "data"]
    scene.refuse("q-http", body, headers=[*http, ["content-type", "application/json"]])
    kafka = [[f"ce_{name}", EVENT[name]] for name in EVENT if name != "data"]
    scene.refuse("q-kafka", body, headers=[*kafka, ["content-type", "application/json"]])
    for reference in ("q-http", "q-kafka"):
        scene.quarantine.retry(reference)
    for inbound in scene.inbox():
        event = json.loads(scene.hub.vault.hub("originals").open(b"inbox.reach", inbound["sealed"]))
        assert {name: event[name] for name in EVENT} == EVENT


def test_what_cannot_be_tried_again_stays_as_it_is(scene: Scene) -> None:
    scene.refuse("q-broken", b'{"specversion": "1.0"')
    scene.refuse("q-inside", b"", agency=None, stage="enforce", sealed=b"")
    for reference in ("q-broken", "q-inside"):
        with pytest.raises(CannotRetry):
            scene.quarantine.retry(reference)
        assert scene.state(reference) == "open"
    assert scene.inbox() == []
    for act in (scene.quarantine.retry, scene.quarantine.discard, scene.quarantine.original):
        with pytest.raises(NoSuchRecord):
            act("q-nothing")


def test_an_original_past_its_time_is_gone(scene: Scene) -> None:
    scene.refuse("q-old", json.dumps(EVENT).encode())
    vault = scene.hub.vault
    later = vault._clock_ms() + 92 * DAY_MS
    vault._clock_ms = lambda: later
    assert vault.destroy_expired() == 1
    for act in (scene.quarantine.retry, scene.quarantine.original):
        with pytest.raises(Erased):
            act("q-old")
    refused = CliRunner().invoke(quarantine.app, ["retry", "q-old"])
    assert isinstance(refused.exception, CannotRetry)
