"""Keeps child processes running: started on a leash, restarted with growing pauses, stopped in good order.

One that keeps failing is no reason for the others to end: it is named, and started again, for ever. One that
says that the hub's own records make no sense is not started again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from hub import leash

CORRUPT_STATUS: Final = 65  # with which a child says so; EX_DATAERR of sysexits.h
FAILING_MIN: Final = 3  # ends in a row, after which a child is named until it has run for STEADY_MS
PAUSE_MS: Final = 250
PAUSE_MS_MAX: Final = 10_000
PAUSES_MAX: Final = 16  # doublings that are worked out
STEADY_MS: Final = 60_000
POLL_MS: Final = 25

ENDED: Final = Counter("hub_stage_ended_total", "Times a stage ended by itself", ["stage"])
FAILING: Final = Gauge("hub_stage_failures", "Times in a row that a stage ended by itself", ["stage"])
STOPPED: Final = Gauge("hub_stage_stopped", "1 for a stage that is not started again", ["stage"])

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
    stopped: bool = False

    def start(self) -> None:
        """Start it now. Its output is ours."""
        self.started = time.monotonic()
        self.process = leash.spawn(self.command, stdout=sys.stderr.fileno())


class Supervisor:
    """Runs one child for each named command until `stop`.

    In: `failing`, which is told the name of a child that keeps failing and why, with None that it is over.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        failing: Callable[[str, str | None], None] = lambda name, why: None,
    ) -> None:
        self.children = [Child(name, command) for name, command in commands.items()]
        self._failing = failing
        for child in self.children:
            FAILING.labels(child.name).set(0)
            STOPPED.labels(child.name).set(0)

    def start(self) -> None:
        """Start every child."""
        for child in self.children:
            child.start()

    def watch(self) -> None:
        """Look at every child once; start again the one that ended, after its pause. To be called often."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.due and not child.stopped:
                    child.start()
            elif (status := child.process.poll()) is not None:
                self._ended(child, status, now)
            elif child.failures and (now - child.started) * 1000 >= STEADY_MS:
                self._count(child, 0)
                self._failing(child.name, None)

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
        ENDED.labels(child.name).inc()
        self._count(child, child.failures + 1)
        pause_ms = min(PAUSE_MS * 2 ** min(child.failures, PAUSES_MAX), PAUSE_MS_MAX)
        child.process, child.due = None, now + pause_ms / 1000
        child.stopped = status == CORRUPT_STATUS
        STOPPED.labels(child.name).set(child.stopped)
        if child.stopped:
            log.critical("stage is not started again", child=child.name, status=status)
            return
        log.error("stage ended", child=child.name, status=status, failures=child.failures, pause_ms=pause_ms)
        if child.failures >= FAILING_MIN:
            self._failing(child.name, f"it ended {child.failures} times in a row, last with {status}")

    @staticmethod
    def _count(child: Child, failures: int) -> None:
        child.failures = failures
        FAILING.labels(child.name).set(failures)


def _running(child: Child) -> subprocess.Popen[bytes]:
    assert child.process is not None
    return child.process
