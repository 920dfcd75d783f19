"""`hub up`: ready with every stage, whole again after a kill, gone within ten seconds, alone on its data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from hub import broker, health, settings, up
from hub.run import Stage
from hub.settings import Settings
from schemas import codec
from schemas.topics import partition_of
from tests.streams_kit import Cluster
from tests.streams_scene import event

WAIT_MS_MAX = 120_000
STOP_S_MAX = 10
BUSY = 2  # so much longer may it take where other tests want the processors too

pytestmark = pytest.mark.broker


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most `WAIT_MS_MAX`."""
    deadline = time.monotonic() + WAIT_MS_MAX / 1000
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


@dataclass
class Running:
    """A hub in a process of its own, and what it said when it was ready."""

    process: subprocess.Popen[str]
    settings: Settings
    web: str
    bootstrap: str

    def pids(self) -> dict[str, int]:
        """Stage to process id, of all that beat."""
        return {beat.stage: beat.pid for beat in health.read_all(self.settings.run_dir)}

    def ready(self) -> bool:
        """Whether nothing is amiss, by what its processes write and by what its web says."""
        if health.problems(self.settings.run_dir):
            return False
        try:
            return httpx.get(f"{self.web}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def start(data: Path, log: Path) -> Running:
    """`hub up --json` on a data folder, ready."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "up", "--json"],
            env={**os.environ, "HUB_DATA": str(data), "HUB_WEB_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
        )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said, log.read_text()[-4000:]
    stated = json.loads(said)
    assert stated["ready"] is True
    return Running(process, settings.load(data=data), stated["web"], stated["bootstrap"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A hub for the tests of this module, which use it in their order."""
    folder = tmp_path_factory.mktemp("up")
    running = start(folder / "data", folder / "log")
    yield running
    running.process.kill()
    running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()


def test_it_says_that_it_is_ready_when_every_stage_runs(hub: Running) -> None:
    assert set(hub.pids()) == set(up.stages(hub.settings))
    assert hub.ready()
    assert httpx.get(f"{hub.web}/livez").status_code == httpx.codes.OK
    assert broker.address(hub.settings) == hub.bootstrap
    assert hub.settings.data.stat().st_mode & 0o077 == 0


def test_a_second_one_on_the_same_data_is_refused(hub: Running) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "hub.cli", "up"],
        env={**os.environ, "HUB_DATA": str(hub.settings.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "a hub is running on the data folder" in second.stderr
    assert "Traceback" not in second.stderr
    assert hub.ready()


def test_a_killed_stage_comes_back_and_the_others_stay(hub: Running) -> None:
    before = hub.pids()
    os.kill(before[Stage.AUDITOR], signal.SIGKILL)
    wait_until(
        lambda: hub.pids().get(Stage.AUDITOR, before[Stage.AUDITOR]) != before[Stage.AUDITOR] and hub.ready()
    )
    after = hub.pids()
    assert {stage for stage in before if before[stage] != after[stage]} == {Stage.AUDITOR}


def test_a_frozen_stage_is_named_until_it_goes_on(hub: Running) -> None:
    frozen = hub.pids()[Stage.ENFORCE]
    os.kill(frozen, signal.SIGSTOP)
    try:
        wait_until(lambda: not hub.ready())
        answer = httpx.get(f"{hub.web}/readyz")
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        (named,) = [line for line in answer.json()["problems"] if line.startswith(f"enforce ({frozen}) has")]
        assert all(f"contact/{partition}" in named for partition in range(hub.settings.partitions))
    finally:
        os.kill(frozen, signal.SIGCONT)
    wait_until(hub.ready)


def test_a_killed_broker_comes_back_at_its_address(hub: Running) -> None:
    before = broker.status(hub.settings)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: (now := broker.status(hub.settings)) is not None and now.pid != before.pid)
    assert broker.address(hub.settings) == hub.bootstrap
    wait_until(hub.ready)


def burden(hub: Running, events: int = 20_000) -> None:
    """Gives the hub so much to decide that it is at work for seconds, and waits until it is."""
    cluster = Cluster(hub.bootstrap)
    producer, partitions = cluster.producer(), hub.settings.partitions
    for number in range(events):
        key = f"p-{number % 500}"
        value = codec.encode("Event", event(key, number))
        producer.produce("contact", value, key, partition_of(key, partitions))
        producer.poll(0)
    assert producer.flush(WAIT_MS_MAX / 1000) == 0
    wait_until(lambda: sum(cluster.ends("decisions", partitions).values()) > 0)


def test_ctrl_c_ends_all_of_it_in_time_under_load_and_it_starts_again_on_its_data(
    hub: Running, tmp_path: Path
) -> None:
    burden(hub)
    family = [
        hub.process.pid,
        *(child.pid for child in psutil.Process(hub.process.pid).children(recursive=True)),
    ]
    began = time.monotonic()
    hub.process.send_signal(signal.SIGINT)
    assert hub.process.wait(WAIT_MS_MAX / 1000) == 0
    assert up.STAGES_STOP_MS_MAX + up.BROKER_STOP_MS_MAX < STOP_S_MAX * 1_000
    assert time.monotonic() - began <= BUSY * STOP_S_MAX
    assert not [pid for pid in family if psutil.pid_exists(pid)]

    again = start(hub.settings.data, tmp_path / "log")
    try:
        assert again.bootstrap == hub.bootstrap
        children = psutil.Process(again.process.pid).children(recursive=True)
        assert len(children) > len(up.stages(again.settings))
        again.process.kill()
        again.process.wait()
        _, alive = psutil.wait_procs(children, WAIT_MS_MAX / 1000)
        assert not alive
    finally:
        again.process.kill()
        again.process.wait()
        assert again.process.stdout is not None
        again.process.stdout.close()
