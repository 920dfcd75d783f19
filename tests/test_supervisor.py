"""Supervision: children come back, give up loudly, end in time, and never outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hub import leash, locks, supervisor
from hub.supervisor import Supervisor

WAIT_MS_MAX = 10_000
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal as s, sys, time; s.signal(s.SIGTERM, s.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)",
]
FAIL = [sys.executable, "-c", "raise SystemExit(3)"]
GRANDPARENT = """
import sys, time
from hub import leash
print(leash.spawn([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most `WAIT_MS_MAX`."""
    deadline = time.monotonic() + WAIT_MS_MAX / 1000
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody has asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_of(watched: Supervisor, index: int = 0) -> int:
    """The process id of a child that runs."""
    process = watched.children[index].process
    assert process is not None
    return process.pid


def test_a_killed_child_comes_back_and_the_others_go_on() -> None:
    watched = Supervisor({"one": SLEEP, "two": SLEEP})
    watched.start()
    try:
        first, other = pid_of(watched, 0), pid_of(watched, 1)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: watched.watch() or watched.children[0].process is None)
        wait_until(lambda: watched.watch() or watched.children[0].process is not None)
        assert pid_of(watched, 0) != first
        assert pid_of(watched, 1) == other
    finally:
        watched.stop(WAIT_MS_MAX)
    assert gone(pid_of(watched, 0))
    assert gone(other)


def test_a_child_that_ends_again_and_again_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is started again for ever, with pauses up to a bound, and named until it has run for a while."""
    monkeypatch.setattr(supervisor, "PAUSE_MS", 1)
    monkeypatch.setattr(supervisor, "PAUSE_MS_MAX", 4)
    told: list[tuple[str, str | None]] = []
    watched = Supervisor({"broken": FAIL, "fine": SLEEP}, lambda name, why: told.append((name, why)))
    watched.start()
    try:
        broken, fine = watched.children[0], pid_of(watched, 1)
        wait_until(lambda: watched.watch() or broken.failures == 6)
        assert 0 < broken.due - time.monotonic() + 1 <= 1.004
        assert told[0] == ("broken", "it ended 3 times in a row, last with 3")
        assert len(told) == 4
        assert supervisor.FAILING.labels("broken")._value.get() == 6
        broken.command = SLEEP
        wait_until(lambda: watched.watch() or broken.process is not None)
        assert broken.failures == 6, "one that has only just begun is no better yet"
        monkeypatch.setattr(supervisor, "STEADY_MS", 1)
        wait_until(lambda: watched.watch() or broken.failures == 0)
        assert told[-1] == ("broken", None)
        assert pid_of(watched, 1) == fine
    finally:
        watched.stop(WAIT_MS_MAX)


def test_a_child_that_met_corruption_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSE_MS", 0)
    corrupt = [sys.executable, "-c", f"raise SystemExit({supervisor.CORRUPT_STATUS})"]
    watched = Supervisor({"corrupt": corrupt, "fine": SLEEP})
    watched.start()
    try:
        wait_until(lambda: watched.watch() or watched.children[0].stopped)
        for _ in range(10):
            watched.watch()
        assert watched.children[0].process is None
        assert supervisor.STOPPED.labels("corrupt")._value.get() == 1
        assert not gone(pid_of(watched, 1))
    finally:
        watched.stop(WAIT_MS_MAX)


def test_a_child_that_does_not_listen_is_forced_after_the_bound(tmp_path: Path) -> None:
    watched = Supervisor({"stubborn": [*STUBBORN, str(tmp_path / "deaf")]})
    watched.start()
    wait_until((tmp_path / "deaf").exists)
    began = time.monotonic()
    watched.stop(200)
    assert gone(pid_of(watched))
    assert 0.2 <= time.monotonic() - began < 5


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_leashed_child_never_outlives_its_parent(how: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", GRANDPARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.send_signal(how)
        parent.wait()
        wait_until(lambda: gone(child))


def test_a_child_whose_parent_is_another_by_then_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", leash.__file__, "1", *FAIL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the parent ended before its child began" in done.stderr


def test_a_command_that_is_not_there_ends_its_child() -> None:
    assert leash.spawn(["no-such-command"], stdout=subprocess.DEVNULL).wait(WAIT_MS_MAX / 1000) == 1


def test_a_lock_is_held_as_long_as_anybody_has_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert locks.is_free(path)
    held = locks.take(path)
    heir = leash.spawn(SLEEP, pass_fds=(held,))
    os.close(held)
    assert not locks.is_free(path)
    with pytest.raises(BlockingIOError):
        locks.take(path, 20)
    heir.kill()
    os.close(locks.take(path, WAIT_MS_MAX))
    assert locks.is_free(path)
