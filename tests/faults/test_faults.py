"""Whatever dies, freezes or goes away: each event decided once, each copy made once, in order.

A short form runs with all tests. `make faults` runs everything at full length and writes a report.
"""

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scene import Scene
from tests.streams_kit import until

EVENTS = int(os.environ.get("FAULTS_EVENTS", "2000"))
FULL = "FAULTS_EVENTS" in os.environ
REPORT = os.environ.get("FAULTS_REPORT")
LEFT_BYTES = 512 * 1024  # on the full disk: less than the events take

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1_800)]
at_full_length = pytest.mark.skipif(not FULL, reason="the long form: `make faults`")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Puts a line into the report, where one is wanted."""
    began = time.monotonic()
    if "scene" in request.fixturenames:
        request.getfixturevalue("scene").watcher.begin()

    def note(**numbers: Any) -> None:
        if REPORT:
            line = {
                "fault": request.node.name.removeprefix("test_"),
                "seconds": round(time.monotonic() - began, 1),
            }
            with Path(REPORT).open("a") as report:
                report.write(json.dumps({**line, **numbers}) + "\n")

    return note


def flowing(scene: Scene, share: float) -> None:
    """Waits until so much of what is published now is decided."""
    before = scene.decided()
    missing = len(scene.published) - before
    until(lambda: scene.decided() >= before + share * missing, "events to flow", 600)


@pytest.mark.parametrize("point", ["produced", "offsets-sent", "committed"])
def test_killed_in_the_middle_of_a_transaction(scene: Scene, noted: Callable[..., None], point: str) -> None:
    scene.publish(EVENTS // 3)
    with scene.workers(0) as workers:
        assert workers.add(f"enforce.{point}:kill:2").died() == -9
        workers.wanted = 1
        noted(**scene.finish(), kills=1)


def test_killed_again_and_again_at_any_moment(scene: Scene, noted: Callable[..., None]) -> None:
    kills = 0
    with scene.workers(2) as workers:
        publishing = threading.Thread(target=scene.publish, args=(EVENTS,), daemon=True)
        publishing.start()
        until(lambda: scene.decided() > 0, "the first decision")
        wanted = 12 if FULL else 3
        while kills < wanted:
            time.sleep(random.uniform(0.3, 1.5))  # this is the fault, not a wait for something
            workers.kill_one()
            kills += 1
        publishing.join()
        noted(**scene.finish(), kills=kills, restarts=workers.restarts)


@pytest.mark.parametrize("point", ["produced", "offsets-sent"])
def test_frozen_taken_over_and_thawed(scene: Scene, noted: Callable[..., None], point: str) -> None:
    rounds = 4 if FULL else 1
    for _ in range(rounds):
        scene.publish(EVENTS // rounds)
        with scene.workers(0) as workers:
            zombie = workers.add(f"enforce.{point}:freeze:2")
            until(zombie.frozen, "the worker to freeze", 120)
            workers.wanted = 2
            flowing(scene, 0.5)
            zombie.thaw()
            until(lambda: scene.decided() >= len(scene.published), "the last decision", 600)
    noted(**scene.finish(), freezes=rounds)


@pytest.mark.parametrize("hard", [False, True], ids=["cleanly", "hard"])
def test_the_broker_goes_away_and_comes_back(scene: Scene, noted: Callable[..., None], hard: bool) -> None:
    with scene.workers(2) as workers:
        publishing = threading.Thread(target=scene.publish, args=(EVENTS,), daemon=True)
        publishing.start()
        away = []
        for _ in range(3 if FULL else 1):
            flowing_from = scene.decided()
            until(lambda start=flowing_from: scene.decided() >= start + EVENTS // 20, "events to flow", 600)
            away.append(scene.bounce(hard))
        publishing.join()
        noted(**scene.finish(), bounces=len(away), away_s=round(sum(away), 1), restarts=workers.restarts)


@at_full_length
def test_a_storm_of_rebalances(scene: Scene, noted: Callable[..., None]) -> None:
    scene.publish(EVENTS)
    changes = 0
    with scene.workers(1) as workers:
        while scene.decided() < len(scene.published) and changes < 200:
            workers.wanted = random.randint(1, 4)
            time.sleep(random.uniform(0.5, 2.0))
            if len(workers.running) > 1 and random.random() < 0.5:
                workers.running[-1].popen.terminate()
            changes += 1
        workers.wanted = 2
        noted(**scene.finish(), changes=changes, restarts=workers.restarts)


@at_full_length
def test_a_full_disk(tmp_path: Path, noted: Callable[..., None]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can only be made by root: " + mounted.stderr.decode().strip())
    try:
        scene = Scene(disk)
        with scene.workers(1) as workers:
            scene.publish(EVENTS // 10)
            flowing(scene, 1.0)
            filler = disk / "filler"
            with filler.open("wb") as out:
                free = os.statvfs(disk)
                out.write(b"\0" * (free.f_bavail * free.f_frsize - LEFT_BYTES))
            publishing = threading.Thread(target=scene.publish, args=(EVENTS,), daemon=True)
            publishing.start()
            until(lambda: scene.broker.ended, "the broker to give up on its full disk", 300)
            filler.unlink()
            scene.broker.restart()
            publishing.join()
            noted(**scene.finish(), restarts=workers.restarts)
        scene.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
