"""Crash points do what a test asks of them, in real processes, and nothing otherwise."""

import os
import signal
import subprocess
import sys

import pytest

from schemas import crash

LOOP = """
from schemas import crash
for i in range(3):
    print(i, flush=True)
    crash.point("here")
print("end")
"""


def run(setting: str | None) -> subprocess.Popen[str]:
    env = {k: v for k, v in os.environ.items() if k != "HUB_CRASH_POINT"}
    if setting is not None:
        env["HUB_CRASH_POINT"] = setting
    return subprocess.Popen([sys.executable, "-c", LOOP], env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("setting", [None, "", "elsewhere:kill", "here:kill:4"])
def test_a_point_that_is_not_armed_does_nothing(setting: str | None) -> None:
    with run(setting) as process:
        assert process.communicate(timeout=30)[0].split() == ["0", "1", "2", "end"]
        assert process.returncode == 0


@pytest.mark.parametrize(("setting", "seen"), [("here", 1), ("here:kill:3", 3), ("other,here:2", 2)])
def test_a_process_is_killed_at_its_point(setting: str, seen: int) -> None:
    with run(setting) as process:
        assert len(process.communicate(timeout=30)[0].split()) == seen
        assert process.returncode == -signal.SIGKILL


def test_a_process_is_frozen_at_its_point_and_goes_on_when_thawed() -> None:
    with run("here:freeze:2") as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            assert os.WSTOPSIG(status) == signal.SIGSTOP
        finally:
            process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=30)[0].split() == ["0", "1", "2", "end"]


@pytest.mark.parametrize("setting", ["here:explode", "here:kill:0", "here:kill:1:2", "here:kill:x"])
def test_a_misspelt_fault_is_an_error(setting: str) -> None:
    with pytest.raises(ValueError, match="HUB_CRASH_POINT"):
        crash.arm(setting)
