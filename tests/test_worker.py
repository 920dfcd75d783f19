"""A worker whose loop no longer goes round is ended, so that another one takes its place."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.worker import OVERDUE_MS_MAX, TURN_MS_MAX
from streams.health import Progress

WATCHED = """
import pathlib, sys, threading
from hub import worker
from hub.health import Pulse
from streams.health import Health

silences = [(0, 0), (0, 0), (int(sys.argv[1]), int(sys.argv[2]))]
ended = threading.Event()

class Runner:
    def health(self):
        silent = silences.pop(0)
        if not silences:
            ended.set()
        return Health("admit", True, {}, (), *silent)

def hangs():
    watching.join()

worker.BEAT_MS = 1
told = Runner(), Pulse(pathlib.Path(sys.argv[3]), "admit"), ended
watching = threading.Thread(target=worker.watch, args=told)
watching.start()
hangs()
"""


def test_the_loop_says_how_long_it_has_been_silent() -> None:
    progress = Progress("admit", 1_000)
    time.sleep(0.05)
    assert progress.health().silent_ms >= 50
    before = progress.health().silent_ms
    progress.turned()
    assert progress.health().silent_ms < before


def test_a_call_that_should_have_come_back_is_overdue() -> None:
    progress = Progress("admit", 1_000)
    assert progress.health().overdue_ms == 0
    progress.promised(60)
    assert progress.health().overdue_ms == 0
    progress.promised(0.01)
    time.sleep(0.05)
    assert progress.health().overdue_ms >= 40
    progress.promised(math.inf)
    assert progress.health().overdue_ms == 0


@pytest.mark.parametrize(
    ("silent_ms", "overdue_ms", "status"),
    [
        (TURN_MS_MAX, OVERDUE_MS_MAX, 0),
        (TURN_MS_MAX + 1, 0, 1),
        (0, OVERDUE_MS_MAX + 1, 1),
    ],
)
def test_a_loop_that_hangs_takes_its_process_with_it(
    tmp_path: Path, silent_ms: int, overdue_ms: int, status: int
) -> None:
    words = [sys.executable, "-c", WATCHED, str(silent_ms), str(overdue_ms), str(tmp_path)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == status
    assert ("hangs" in done.stdout) == bool(status), "it says where it hung"
