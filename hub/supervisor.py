"""Keeps child processes running: started on a leash, restarted with growing pauses, stopped in good order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from hub import leash
from hub.errors import StageFailed

RESTARTS_MAX: Final = 8  # in a row; a child that ran for STEADY_MS begins anew
PAUSE_MS: Final = 250
PAUSE_MS_MAX: Final = 10_000
STEADY_MS: Final = 60_000
POLL_MS: Final = 25

log = structlog.get_logger()


@dataclass(slots=True)
class Child:
    """One supervised command, and how it has fared."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0  # of the monotonic clock, like `due`
    due: float = 0.0
    failures: int = field(default=0)

    def start(self) -> None:
        """Start it now. Its output is ours."""
        self.started = time.monotonic()
        self.process = leash.spawn(self.command, stdout=sys.stderr.fileno())


class Supervisor:
    """Runs one child for each named command until `stop`."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self.children = [Child(name, command) for name, command in commands.items()]

    def start(self) -> None:
        """Start every child."""
        for child in self.children:
            child.start()

    def watch(self) -> None:
        """Look at every child once, and start again the one that ended, after its pause. To be called often.

        Raises `StageFailed` when one has ended more than `RESTARTS_MAX` times in a row.
        """
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.due:
                    child.start()
            elif (status := child.process.poll()) is not None:
                self._ended(child, status, now)

    def stop(self, wait_ms_max: int) -> None:
        """Ask all to end, and force those that have not after `wait_ms_max`."""
        running = [child for child in self.children if child.process and child.process.poll() is None]
        for child in running:
            _running(child).terminate()
        deadline = time.monotonic() + wait_ms_max / 1000
        while time.monotonic() < deadline and any(_running(child).poll() is None for child in running):
            time.sleep(POLL_MS / 1000)
        for child in running:
            if _running(child).poll() is None:
                log.warning("stage did not end in time", child=child.name, wait_ms=wait_ms_max)
                _running(child).kill()
                _running(child).wait()

    def _ended(self, child: Child, status: int, now: float) -> None:
        child.failures = 0 if (now - child.started) * 1000 >= STEADY_MS else child.failures + 1
        if child.failures > RESTARTS_MAX:
            raise StageFailed(
                f"`{child.name}` ended {child.failures} times in a row", "Its last lines above say why."
            )
        pause_ms = min(PAUSE_MS * 2**child.failures, PAUSE_MS_MAX)
        log.error("stage ended", child=child.name, status=status, failures=child.failures, pause_ms=pause_ms)
        child.process, child.due = None, now + pause_ms / 1000


def _running(child: Child) -> subprocess.Popen[bytes]:
    assert child.process is not None
    return child.process
