"""`hub up`: the whole hub by its settings; broker, topics, store, and one process for each stage."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final

import structlog
import typer

from hub import bootstrap, broker, health, journal, locks, metrics, settings
from hub.errors import DataInUse
from hub.run import Stage
from hub.settings import Settings
from hub.supervisor import Supervisor

READY_MS_MAX: Final = 120_000
STAGES_STOP_MS_MAX: Final = 7_500  # with the broker's share, less than the 10 s in which the hub stops
BROKER_STOP_MS_MAX: Final = 2_000
WATCH_MS: Final = 50
METRICS_MS: Final = 1_000
UP: Final = "up"
LOCK_WAIT_MS_MAX: Final = 2_000

log = structlog.get_logger()


def up(
    as_json: Annotated[bool, typer.Option("--json", help="Say in one JSON line when it is ready.")] = False,
) -> None:
    """Run the hub by its settings (hub.toml, HUB_*) until Ctrl-C, on its own broker or the one they name."""
    configured = settings.load()
    journal.configure(configured, "up")
    with _alone(configured), broker.ensured(configured) as (address, own):
        bootstrap.prepare(configured, address)
        running = stages(configured)
        health.expect(configured.run_dir, running)
        supervisor = Supervisor({stage: command(stage) for stage in running}, partial(_failing, configured))
        stop = _stop_on_signals()
        try:
            supervisor.start()
            _watch(configured, supervisor, own, stop, as_json, address)
        finally:
            supervisor.stop(STAGES_STOP_MS_MAX)
            metrics.take_away(configured.run_dir, UP)
            if own is not None:
                own.stop(BROKER_STOP_MS_MAX)


def stages(configured: Settings) -> list[Stage]:
    """The stages that run here: all, but `files` only where the settings name places to take files from."""
    return [stage for stage in Stage if stage is not Stage.FILES or configured.files]


def command(stage: str) -> list[str]:
    """What runs one stage: this very Python, blind to another `hub` in the working directory."""
    return [sys.executable, "-P", "-m", "hub.cli", "run", stage]


def _failing(configured: Settings, stage: str, why: str | None) -> None:
    """A stage keeps failing, or does so no more: the others go on, and whoever asks is told."""
    health.trouble(configured.run_dir, stage, "failing", why)


def _watch(
    configured: Settings,
    supervisor: Supervisor,
    own: broker.Broker | None,
    stop: threading.Event,
    as_json: bool,
    address: str,
) -> None:
    """Keep everything running until `stop`; say once that it is ready, or after a while why it is not."""
    waiting, late, tell = True, time.monotonic() + READY_MS_MAX / 1000, 0.0
    while not stop.wait(WATCH_MS / 1000):
        supervisor.watch()
        if time.monotonic() >= tell:
            metrics.leave(configured.run_dir, UP)
            tell = time.monotonic() + METRICS_MS / 1000
        if own is not None and own.ended:
            log.error("embedded broker ended", bootstrap=own.bootstrap)
            own.restart()
        if not waiting:
            continue
        missing = health.problems(configured.run_dir)
        if not missing:
            _say_ready(configured, address, as_json)
            waiting = False
        elif time.monotonic() > late:
            log.error("hub is not ready", problems=missing)
            late = math.inf


def _say_ready(configured: Settings, bootstrap_address: str, as_json: bool) -> None:
    beats = health.read_all(configured.run_dir)
    web = next((beat.address for beat in beats if beat.stage == Stage.WEB), None)
    if as_json:
        stated = {"ready": True, "web": web, "bootstrap": bootstrap_address, "data": str(configured.data)}
        typer.echo(json.dumps(stated))
    else:
        whose = "embedded" if configured.embedded else "named by the settings"
        typer.echo("The hub is running. Ctrl-C stops it.")
        typer.echo(f"  pages   {web}\n  broker  {bootstrap_address} ({whose})\n  data    {configured.data}")
    sys.stdout.flush()


@contextmanager
def _alone(configured: Settings) -> Iterator[None]:
    """One `hub up` on a data folder. Raises `DataInUse`."""
    configured.make_data()
    try:
        lock = locks.take(configured.run_dir / "up.lock", LOCK_WAIT_MS_MAX)
    except BlockingIOError:
        raise DataInUse(
            f"a hub is running on the data folder `{configured.data}` already",
            "Stop it with Ctrl-C there, or name another folder in `HUB_DATA`.",
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
