"""An hour's file from the outbox to the recipient's server: the real engine, sender, adapter and SSH server.

Only the clock is the test's own, and the log is in memory.
"""

import csv
import io
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from connectors import projection, sftp
from connectors.engine import Engine, EngineSettings
from connectors.schedule import HOUR_MS, Schedule, first_at
from connectors.sender import Sender
from connectors.sftp import Files
from consent import Governance
from examples.county.mailbox import Mailbox, private_key
from tests.delivery_scene import Keys, Nobody, granted, revoked
from tests.test_engine import SEND_MS, World
from tests.test_sftp import Kept

wait_s_max = 60


class Hub(World):
    """A hub's delivery with a real way out, and the recipient's server at its end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.mailbox = Mailbox(folder / "server")
        self.mailbox.start()
        self.key = private_key(folder / "hub-key")
        public = self.key.export_public_key("openssh").decode()
        self.place = self.mailbox.trust("reach", public) / "in"
        keys = Keys()
        adapter = Files(self, Kept(), lambda: self.memory.now, private=True)
        log = self.memory
        self.sender = Sender({sftp.ADAPTER: adapter}, keys, Nobody(), log, Schedule(), lambda: log.now)
        self.sender.start()
        self.engine = Engine(
            EngineSettings("real", 1, SEND_MS),
            self.sender,
            log,
            log,
            partial(projection.idempotency_key, keys),
            Governance(),
            None,
            lambda: log.now,
        )
        self._seen.clear()
        self._apply("governance")
        self.own()
        settings = {
            "url": self.mailbox.drop("reach"),
            "host_key": self.mailbox.public_key,
            "every": "hour",
            "format": "csv",
        }
        self.subscribe("reach", sftp.ADAPTER, settings=settings)

    def ssh(self, stakeholder: str) -> str | None:
        return str(self.key.export_private_key("openssh").decode())

    def files(self) -> list[Path]:
        return sorted(self.place.iterdir())

    def until_receipts(self, count: int) -> None:
        deadline = time.monotonic() + wait_s_max
        while len(self.memory.told("receipt")) < count:
            assert time.monotonic() < deadline
            self.rounds()
            time.sleep(0.02)
        self.rounds()

    def close(self) -> None:
        self.sender.stop(1_000)
        self.mailbox.stop()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def test_an_hours_events_are_on_the_recipients_server_when_it_is_over_and_what_was_taken_back_is_not(
    hub: Hub,
) -> None:
    people = [f"p{number}" for number in range(1, 6)]
    for number, who in enumerate(people, 1):
        hub.direct(granted(), who)
        hub.offer(number, who)
    hub.rounds()
    assert hub.files() == []
    hub.direct(revoked(), "p3")
    hub.memory.now = first_at({"every": "hour"}, hub.memory.now) - 1
    hub.rounds()
    assert hub.files() == [], "the hour is not over"
    hub.memory.now += 1
    hub.until_receipts(4)
    [file] = hub.files()
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    said = hub.memory.told("receipt")
    assert {row["id"] for row in rows} == {one["key"] for one in said if one["code"] == "renamed"}
    assert len(rows) == 4
    assert [one["participant"] for one in hub.memory.told("withheld")] == ["p3"]
    assert hub.left() == {}
    hub.memory.now += HOUR_MS
    hub.rounds()
    assert hub.files() == [file], "an hour without events has no file"
