"""Heartbeats: one small file for each process of the hub, written by the loop that does the work.

A process that no longer gets anywhere stops writing, and `problems` says so; nothing else has to ask it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

from hub import metrics

BEAT_MS: Final = 1_000
SILENCE_MS_MAX: Final = 10_000  # longer than any step, with its transaction, may take
SUFFIX: Final = ".heartbeat.json"
EXPECTED: Final = "expected.json"
TROUBLE: Final = ".trouble"
SAID: Final = {"failing": "keeps failing", "stopped": "has stopped for good"}
NAMED_MAX: Final = 24  # partitions in one line

State = Literal["starting", "running", "stopping"]
Trouble = Literal["failing", "stopped"]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a process last said of itself.

    `at_ms` is Unix time. `stuck` names partitions (`topic/number`) in which nothing moves although there is
    something to do, `held` all that are in this process's hands. `address` is where it listens, if it does.
    """

    stage: str
    pid: int
    state: State
    at_ms: int
    stuck: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    address: str | None = None

    @property
    def name(self) -> str:
        """The process, for people: its stage and its process id."""
        return f"{self.stage} ({self.pid})"


class Pulse:
    """Writes this process's heartbeats. The loop that does the work calls `beat` as often as it likes."""

    def __init__(self, run_dir: Path, stage: str) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._stage = stage
        self._path = run_dir / f"{stage}-{os.getpid()}{SUFFIX}"
        self._said: Heartbeat | None = None
        self._address: str | None = None
        self._next = 0.0

    def beat(
        self,
        state: State = "running",
        stuck: Sequence[str] = (),
        held: Sequence[str] = (),
        address: str | None = None,
    ) -> None:
        """Say that the loop goes round. Writes once in `BEAT_MS`, and whenever something else is to be said.

        In: `address`, once known, is kept for later beats.
        """
        self._address = address or self._address
        said = Heartbeat(self._stage, os.getpid(), state, 0, tuple(stuck), tuple(held), self._address)
        if said == self._said and time.monotonic() < self._next:
            return
        self._said, self._next = said, time.monotonic() + BEAT_MS / 1000
        heartbeat = replace(said, at_ms=_now_ms())
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(asdict(heartbeat)))
        new.replace(self._path)
        metrics.leave(self._path.parent, self._stage)

    def close(self) -> None:
        """The process ends as it should: it is not missed."""
        self._path.unlink(missing_ok=True)
        metrics.take_away(self._path.parent, self._stage)


def expect(run_dir: Path, stages: Iterable[str]) -> None:
    """Say which stages have to run here for the hub to be ready. What was noted of them before is over."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for path in run_dir.glob(f"*{TROUBLE}"):
        path.unlink(missing_ok=True)
    new = run_dir / f".{EXPECTED}"
    new.write_text(json.dumps(sorted(stages)))
    new.replace(run_dir / EXPECTED)


def read_all(run_dir: Path) -> list[Heartbeat]:
    """The last heartbeat of every process that is alive, by stage. Files of dead ones are taken away."""
    found = []
    for path in sorted(run_dir.glob(f"*{SUFFIX}")):
        try:
            said = json.loads(path.read_bytes())
            heartbeat = Heartbeat(**{**said, "stuck": tuple(said["stuck"]), "held": tuple(said["held"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            continue
        if _alive(heartbeat.pid):
            found.append(heartbeat)
        else:
            path.unlink(missing_ok=True)
    return found


def problems(run_dir: Path) -> list[str]:
    """Why the hub is not ready, one line each, naming stage, process or partition; empty when it is."""
    heartbeats, now_ms = read_all(run_dir), _now_ms()
    found = []
    for heartbeat in heartbeats:
        silent_ms = now_ms - heartbeat.at_ms
        if silent_ms > SILENCE_MS_MAX:
            held = f", with {_listed(heartbeat.held)} in its hands" if heartbeat.held else ""
            found.append(f"{heartbeat.name} has got nowhere for {silent_ms // 1000} s{held}")
        found += [f"{heartbeat.name} is stuck at {partition}" for partition in heartbeat.stuck]
    found += troubles(run_dir)
    running = {heartbeat.stage for heartbeat in heartbeats if heartbeat.state == "running"}
    return found + [f"{stage} is not running" for stage in expected(run_dir) if stage not in running]


def trouble(run_dir: Path, stage: str, kind: Trouble, why: str | None) -> None:
    """Note what is wrong with a stage beyond the life of its process, or with None that it is over.

    In: `why`, for whoever runs the hub, without personal data.
    """
    path = run_dir / f"{stage}.{kind}{TROUBLE}"
    if why is None:
        path.unlink(missing_ok=True)
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(why)
    new.replace(path)


def troubles(run_dir: Path) -> list[str]:
    """What `trouble` noted, one line each."""
    found = []
    for path in sorted(run_dir.glob(f"*{TROUBLE}")):
        stage, kind = path.name.removesuffix(TROUBLE).rsplit(".", 1)
        try:
            found.append(f"{stage} {SAID.get(kind, kind)}: {path.read_text()}")
        except FileNotFoundError:
            continue
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


def expected(run_dir: Path) -> list[str]:
    """The stages that have to run here, as `expect` was told."""
    try:
        return [str(stage) for stage in json.loads((run_dir / EXPECTED).read_bytes())]
    except FileNotFoundError:
        return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
