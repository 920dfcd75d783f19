"""A hub as processes: its broker, and as many of each stage as wanted, kept running whatever befalls them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hub import bootstrap, broker, health, leash, settings
from hub.errors import BrokerFailed
from hub.up import command

RESTART_S = 0.3
READY_S_MAX = 180.0
STARTS_MAX = 3
STOP_S_MAX = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Fault:
    """What befell the hub, and from when to when, in nanoseconds of the monotonic clock."""

    name: str
    began: int
    ended: int


class Fleet:
    """Everything but the county around it. `bounds` are settings of the hub."""

    def __init__(self, folder: Path, wanted: Mapping[str, int], **bounds: int) -> None:
        self.port = free_port()
        self.settings = settings.load(
            data=folder / "hub", private_webhooks=True, web_port=self.port, log_level="warning", **bounds
        )
        self.wanted = dict(wanted)
        self.broken: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.log = folder / "hub.log"
        self._running: dict[str, list[subprocess.Popen[bytes]]] = {stage: [] for stage in wanted}
        self.frozen: set[int] = set()
        self._away = False
        self._guard = threading.RLock()
        self._stop = threading.Event()
        chosen = {"data": self.settings.data, "private_webhooks": True, "web_port": self.port, **bounds}
        self.environment = {name: value for name, value in os.environ.items() if name[:4] != "HUB_"}
        self.environment |= {f"HUB_{name.upper()}": str(value) for name, value in chosen.items()}
        self.environment["HUB_LOG_LEVEL"] = "warning"
        self.broker = broker.start(self.settings)
        try:
            bootstrap.prepare(self.settings, self.broker.bootstrap)
        except BaseException:
            self.broker.stop()
            raise
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def hub(self, *words: str) -> bytes:
        """What a command of the hub prints."""
        asked = [sys.executable, "-m", "hub.cli", *words]
        return subprocess.run(asked, env=self.environment, stdout=subprocess.PIPE, check=True).stdout

    def _supervise(self) -> None:
        with self.log.open("ab") as log:
            while not self._stop.wait(RESTART_S):
                with self._guard:
                    for stage in self._running:
                        self._keep(stage, log)

    def _keep(self, stage: str, log: IO[bytes]) -> None:
        """Starts what is missing; while the broker is away that would only end again at once."""
        alive = [one for one in self._running[stage] if one.poll() is None]
        while not self._away and len(alive) < self.wanted[stage]:
            words = command(stage)
            if stage in self.broken:
                words = [sys.executable, "-m", "tests.faults.broken", stage, self.broken[stage]]
            alive.append(leash.spawn(words, stdout=log, env=self.environment))
        self._running[stage] = alive

    def want(self, stage: str, count: int) -> None:
        """From now on so many of a stage; those that are too many are killed."""
        with self._guard:
            self.wanted[stage] = count
            for one in self._running[stage][count:]:
                one.kill()
                one.wait()

    def ready(self) -> None:
        """Waits until every process that is wanted says that it runs."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            with self._guard:
                alive = {one.pid for some in self._running.values() for one in some if one.poll() is None}
            beats = health.read_all(self.settings.run_dir)
            running = [one for one in beats if one.state == "running" and one.pid in alive]
            if len(running) >= sum(self.wanted.values()):
                return
            time.sleep(0.1)
        raise AssertionError(f"the hub is not ready: {health.problems(self.settings.run_dir)}")

    # -- faults

    @contextlib.contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        began = time.monotonic_ns()
        yield
        self.faults.append(Fault(name, began, time.monotonic_ns()))

    def _moving(self, stage: str) -> list[subprocess.Popen[bytes]]:
        awake = [one for one in self._running[stage] if one.pid not in self.frozen]
        return [one for one in awake if one.poll() is None]

    def kill(self, stage: str, count: int = 1) -> None:
        """SIGKILL to some processes of a stage that are not frozen."""
        with self._guard, self._noted(f"{stage} killed"):
            alive = self._moving(stage)
            for one in random.sample(alive, min(count, len(alive))):
                one.kill()
                one.wait()

    def freeze(self, stage: str, seconds: float) -> None:
        """SIGSTOP to one process of a stage, and SIGCONT after a while."""
        with self._guard:
            alive = self._moving(stage)
            if not alive:
                return
            frozen = random.choice(alive)
            self.frozen.add(frozen.pid)
        with self._noted(f"{stage} frozen"):
            frozen.send_signal(signal.SIGSTOP)
            self._stop.wait(seconds)
            frozen.send_signal(signal.SIGCONT)
        self.frozen.discard(frozen.pid)

    def bounce(self, hard: bool) -> None:
        """The broker ends, cleanly or not, and starts again on its data."""
        with self._noted("broker killed" if hard else "broker restarted"):
            self._away = True
            if hard:
                os.kill(self.broker.running.pid, signal.SIGKILL)
                while not self.broker.ended:
                    time.sleep(0.02)
            else:
                self.broker.stop()
            for left in reversed(range(STARTS_MAX)):
                try:
                    self.broker.restart()
                    break
                except BrokerFailed:  # a machine with much to do may be too slow
                    if not left:
                        raise
            self._away = False

    def trouble(self, until: Callable[[], bool], pause_s: float) -> None:
        """One fault after the other, each kind in turn, until it is enough."""
        session_s = self.settings.session_ms_max / 1000
        kinds: list[Callable[[], None]] = [
            lambda: self.kill("connectors"),
            lambda: self.freeze("connectors", random.uniform(0.5, session_s / 2)),
            lambda: self.kill("enforce"),
            lambda: self.freeze("connectors", session_s * random.uniform(1.5, 2.5)),
            lambda: self.bounce(hard=False),
            lambda: self.kill("connectors", 2),
            lambda: self.freeze("web", random.uniform(0.5, 3)),
            lambda: self.freeze("enforce", session_s * 1.5),
            lambda: self.kill("admit"),
            lambda: self.bounce(hard=True),
            lambda: self.kill("reconsider"),
            lambda: self.kill("web"),
        ]
        turn = 0
        while not until():
            kinds[turn % len(kinds)]()
            turn += 1
            self._stop.wait(random.uniform(0.5, 1.5) * pause_s)

    def stopped_s(self) -> float:
        """Asks every process to end, as Ctrl-C does. Out: seconds until the last one has; -1 for never."""
        self._stop.set()
        self._supervisor.join()
        running = [one for some in self._running.values() for one in some if one.poll() is None]
        asked = time.monotonic()
        for one in running:
            one.terminate()
        while any(one.poll() is None for one in running):
            if time.monotonic() > asked + STOP_S_MAX:
                return -1.0
            time.sleep(0.02)
        return time.monotonic() - asked

    def close(self) -> None:
        """Ends everything."""
        self._stop.set()
        self._supervisor.join()
        for some in self._running.values():
            for one in some:
                one.kill()
                one.wait()
        self.broker.stop()
