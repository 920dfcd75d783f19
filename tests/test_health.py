"""Heartbeats: a process that gets nowhere, is stuck, or is missing, is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub import health
from hub.health import Pulse


def test_a_process_that_beats_is_healthy_and_says_where_it_listens(tmp_path: Path) -> None:
    health.expect(tmp_path, ["web"])
    assert health.problems(tmp_path) == ["web is not running"]
    pulse = Pulse(tmp_path, "web")
    pulse.beat("starting", address="http://127.0.0.1:1")
    assert health.problems(tmp_path) == ["web is not running"]
    pulse.beat()
    assert health.problems(tmp_path) == []
    assert [(beat.stage, beat.pid, beat.address) for beat in health.read_all(tmp_path)] == [
        ("web", os.getpid(), "http://127.0.0.1:1")
    ]
    pulse.close()
    assert health.problems(tmp_path) == ["web is not running"]


def test_nothing_is_missed_where_nothing_is_expected(tmp_path: Path) -> None:
    assert health.problems(tmp_path) == []


def test_a_stuck_partition_is_named_at_once(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path, "enforce")
    pulse.beat()
    pulse.beat(stuck=["contact/3"])
    assert health.problems(tmp_path) == [f"enforce ({os.getpid()}) is stuck at contact/3"]


def test_silence_of_a_living_process_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pulse(tmp_path, "admit").beat()
    later = health._now_ms() + health.SILENCE_MS_MAX + 1_000
    monkeypatch.setattr(health, "_now_ms", lambda: later)
    (problem,) = health.problems(tmp_path)
    assert problem.startswith(f"admit ({os.getpid()}) has got nowhere for 1")


def test_silence_names_the_partitions_that_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pulse(tmp_path, "enforce").beat(held=[f"contact/{number}" for number in range(health.NAMED_MAX + 2)])
    later = health._now_ms() + health.SILENCE_MS_MAX + 1_000
    monkeypatch.setattr(health, "_now_ms", lambda: later)
    (problem,) = health.problems(tmp_path)
    assert "s, with contact/0, contact/1, " in problem
    assert problem.endswith(f"contact/{health.NAMED_MAX - 1} and 2 more in its hands")


def test_what_is_wrong_with_a_stage_outlives_its_process_until_it_is_over(tmp_path: Path) -> None:
    health.expect(tmp_path, [])
    health.trouble(tmp_path, "enforce", "failing", "it ended 3 times in a row")
    health.trouble(tmp_path, "admit", "stopped", "governance/0 at 7: not a record")
    assert health.problems(tmp_path) == [
        "admit has stopped for good: governance/0 at 7: not a record",
        "enforce keeps failing: it ended 3 times in a row",
    ]
    health.trouble(tmp_path, "enforce", "failing", None)
    assert len(health.problems(tmp_path)) == 1
    health.expect(tmp_path, [])
    assert health.problems(tmp_path) == []


def test_a_dead_process_is_forgotten_and_its_file_taken_away(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    path = tmp_path / f"admit-1{health.SUFFIX}"
    said = {"stage": "admit", "pid": int(dead.stdout), "state": "running", "at_ms": 0}
    said |= {"stuck": [], "held": []}
    path.write_text(json.dumps(said))
    assert health.read_all(tmp_path) == []
    assert not path.exists()


def test_what_is_no_heartbeat_is_passed_over(tmp_path: Path) -> None:
    for number, content in enumerate(["", "[]", "{}", '{"stuck": [], "surprise": 1}']):
        (tmp_path / f"x-{number}{health.SUFFIX}").write_text(content)
    assert health.read_all(tmp_path) == []


def test_an_unchanged_heartbeat_is_written_only_now_and_then(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path, "admit")
    pulse.beat()
    (path,) = tmp_path.glob(f"*{health.SUFFIX}")
    path.unlink()
    pulse.beat()
    assert not path.exists()
    pulse.beat("stopping")
    assert path.exists()
