"""The embedded broker: one real Kafka in KRaft mode, a child of this process or in the background.

Its folder has a lock that the broker itself holds as long as it lives, by an inherited descriptor: whoever
finds the lock free knows that nobody is writing there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from hub import jvm, locks
from hub.errors import BrokerFailed, BrokerUnreachable, DataInUse
from hub.settings import Settings

START_MS_MAX: Final = 120_000
STOP_MS_MAX: Final = 15_000
PORT_TRIES_MAX: Final = 3
REACH_MS_MAX: Final = 10_000
ANSWER_MS_MAX: Final = 2_000
KILL_MS_MAX: Final = 5_000
POLL_MS: Final = 25
LOCK_WAIT_MS_MAX: Final = (
    3_000  # a broker that was killed a moment ago holds it until the kernel has buried it
)
LOCK: Final = "lock"
STATED: Final = "broker.json"
PORTS: Final = "ports.json"


@dataclasses.dataclass(frozen=True)
class Running:
    """A broker that is alive: its process, its address, and whom it dies with (None: background)."""

    pid: int
    bootstrap: str
    owner: int | None
    started_at: str


class Broker:
    """A broker that this process started. As a context manager, stopped at the end."""

    def __init__(self, settings: Settings, process: subprocess.Popen[bytes], running: Running) -> None:
        self._settings = settings
        self._process = process
        self.running = running

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return self.running.bootstrap

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def restart(self) -> None:
        """Start it again after it ended by itself, where clients look for it. Raises as `start` does."""
        self._process, self.running = _start(self._settings, background=False)

    def stop(self, wait_ms_max: int = STOP_MS_MAX) -> None:
        """End it in good order, or by force when that takes longer than `wait_ms_max`."""
        _end(self._process.pid, lambda: self.ended, wait_ms_max)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(settings: Settings, *, background: bool = False) -> Broker:
    """Start the embedded broker on `settings.broker_dir`, and wait until it answers.

    In: `background` lets it outlive this process; otherwise it dies with it, whatever kills it.
    Out: the broker. It takes the ports that it had before, when they are free, so that clients find it again.
    Raises `JavaMissing`, `JarsMissing`, `DataInUse`, `BrokerFailed`.
    """
    process, running = _start(settings, background)
    return Broker(settings, process, running)


def status(settings: Settings) -> Running | None:
    """The embedded broker of this data folder, or None where none is running or it is just starting."""
    if locks.is_free(settings.broker_dir / LOCK):
        return None
    try:
        stated = json.loads((settings.broker_dir / STATED).read_bytes())
        return Running(stated["pid"], stated["bootstrap"], stated["owner"], stated["started_at"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def stop(settings: Settings) -> bool:
    """End the background broker of this data folder. Out: whether there was one.

    Raises `DataInUse` where it belongs to a process that is to be stopped instead.
    """
    running = status(settings)
    if running is None:
        return False
    if running.owner is not None:
        raise DataInUse(f"this broker belongs to process {running.owner}", "Stop that one, and it ends too.")
    _end(running.pid, lambda: locks.is_free(settings.broker_dir / LOCK), STOP_MS_MAX)
    return True


def address(settings: Settings) -> str:
    """Where clients find the broker: the cluster that the settings name, else the embedded one now running.

    Raises `BrokerUnreachable` where there is neither. Does not try whether a named cluster answers.
    """
    if settings.kafka_bootstrap is not None:
        return settings.kafka_bootstrap
    running = status(settings)
    if running is None:
        raise BrokerUnreachable(
            f"no broker is running on `{settings.data}`", "Start one: `hub up`, or `hub broker start`."
        )
    return running.bootstrap


@contextmanager
def ensured(settings: Settings) -> Iterator[tuple[str, Broker | None]]:
    """A broker while the block lasts: the named cluster, one running in the background, or one of our own.

    Out: its address, and the broker where it is our own. Raises as `start` does, and `BrokerUnreachable`.
    """
    running = status(settings) if settings.embedded else None
    if settings.embedded and (running is None or running.owner is not None):
        with start(settings) as broker:
            yield broker.bootstrap, broker
        return
    bootstrap = address(settings)
    if not answers(settings.kafka(bootstrap), REACH_MS_MAX):
        raise BrokerUnreachable(
            f"no broker answers at `{bootstrap}` within {REACH_MS_MAX} ms",
            "Check `HUB_KAFKA_BOOTSTRAP`, and the cluster.",
        )
    yield bootstrap, None


def answers(client: dict[str, object], wait_ms_max: int) -> bool:
    """Whether a broker names itself within `wait_ms_max`. In: address and security, in librdkafka's names."""
    admin = AdminClient({**client, "log_level": 0, "reconnect.backoff.max.ms": 200})
    try:
        return bool(admin.list_topics(timeout=wait_ms_max / 1000).brokers)
    except KafkaException:
        return False


def _start(settings: Settings, background: bool) -> tuple[subprocess.Popen[bytes], Running]:
    java, folder = jvm.java(settings), settings.broker_dir
    settings.make_data()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with _locked(settings) as lock:
        (folder / STATED).unlink(missing_ok=True)
        jvm.format_data(settings, java)
        process, ports = _come_up(settings, java, lock, background)
        running = Running(
            pid=process.pid,
            bootstrap=f"127.0.0.1:{ports[0]}",
            owner=None if background else os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        jvm.write(folder / STATED, json.dumps(dataclasses.asdict(running)))
        jvm.write(folder / PORTS, json.dumps(ports))
        return process, running


def _come_up(
    settings: Settings, java: str, lock: int, background: bool
) -> tuple[subprocess.Popen[bytes], jvm.Ports]:
    """Launch it until it answers; on other ports when somebody took one between our look and its own."""
    ports = _last_ports(settings.broker_dir)
    for tries_left in range(PORT_TRIES_MAX - 1, -1, -1):
        ports = _free_ports(ports)
        process = jvm.launch(settings, java, ports, lock, background)
        try:
            _await_answer(process, f"127.0.0.1:{ports[0]}", settings)
            return process, ports
        except BaseException as error:
            process.kill()
            process.wait()
            taken = isinstance(error, BrokerFailed) and "Address already in use" in jvm.said(
                settings.broker_dir
            )
            if not (tries_left and taken):
                raise
            ports = (0, 0)
    raise AssertionError("unreachable")


@contextmanager
def _locked(settings: Settings) -> Iterator[int]:
    """The data folder's lock, for the broker to inherit. Raises `DataInUse`."""
    try:
        lock = locks.take(settings.broker_dir / LOCK, LOCK_WAIT_MS_MAX)
    except BlockingIOError:
        running = status(settings)
        who = f" (process {running.owner or running.pid}, broker at {running.bootstrap})" if running else ""
        raise DataInUse(
            f"the data folder `{settings.data}` is in use by another broker{who}",
            "Stop it (Ctrl-C there, or `hub broker stop`), or name another folder in `HUB_DATA`.",
        ) from None
    try:
        yield lock
    finally:
        os.close(lock)


def _await_answer(process: subprocess.Popen[bytes], bootstrap: str, settings: Settings) -> None:
    """Wait until the broker answers a client. Raises `BrokerFailed` when it ends or takes too long."""
    client: dict[str, object] = {"bootstrap.servers": bootstrap}
    if settings.embedded:
        client = settings.kafka(bootstrap)
    deadline = time.monotonic() + START_MS_MAX / 1000
    host, port = bootstrap.split(":")
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise jvm.failed("the embedded broker ended while it was starting", settings.broker_dir)
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            if answers(client, ANSWER_MS_MAX):
                return
        time.sleep(POLL_MS / 1000)
    raise jvm.failed(f"the embedded broker did not answer within {START_MS_MAX} ms", settings.broker_dir)


def _free_ports(wanted: jvm.Ports) -> jvm.Ports:
    """Two free ports of the loopback: the wanted ones where they are free, else whichever (0: any)."""
    with contextlib.ExitStack() as bound:
        return (_free_port(wanted[0], bound), _free_port(wanted[1], bound))


def _free_port(wanted: int, bound: contextlib.ExitStack) -> int:
    probe = bound.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", wanted))
    except OSError:
        probe.bind(("127.0.0.1", 0))
    return int(probe.getsockname()[1])


def _last_ports(folder: Path) -> jvm.Ports:
    try:
        port, controller_port = json.loads((folder / PORTS).read_bytes())
        return (int(port), int(controller_port))
    except (FileNotFoundError, ValueError, TypeError):
        return (0, 0)


def _end(pid: int, ended: Callable[[], bool], wait_ms_max: int) -> None:
    """Ask a process to end, wait until it has, and force it after `wait_ms_max`."""
    for how, wait_ms in ((signal.SIGTERM, wait_ms_max), (signal.SIGKILL, KILL_MS_MAX)):
        if ended():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + wait_ms / 1000
        while not ended() and time.monotonic() < deadline:
            time.sleep(POLL_MS / 1000)
    if not ended():
        raise BrokerFailed(f"process {pid} does not end, though it was killed")
