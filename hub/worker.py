"""One transactional worker as a process of the hub: its name, its bounds, its heartbeats."""

import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from hub.health import BEAT_MS, Pulse, State
from hub.settings import Settings
from streams import topology
from streams.health import Health
from streams.runner import Runner
from streams.slots import Slot
from streams.step import Step

TURN_MS_MAX: Final = 90_000  # of a worker's loop; the waits in it add up to less
OVERDUE_MS_MAX: Final = 3_000  # of a call of the Kafka client, past the timeout that it was given
WHERE_LINES: Final = 4

log = structlog.get_logger()


def work(
    settings: Settings,
    client: Mapping[str, Any],
    stage: str,
    step: Step,
    stop: threading.Event,
    **more: Any,
) -> None:
    """Runs a transactional stage, and says once a second how it gets on, told by what it got done."""
    pulse = Pulse(settings.run_dir, stage)
    pulse.beat("starting")
    with Slot(settings.run_dir / "slots", stage) as slot:
        runner = Runner(
            topology.runner(
                stage,
                slot.instance_id,
                settings.partitions,
                session_timeout_ms=settings.session_ms_max,
                transaction_timeout_ms=settings.transaction_ms_max,
                **more,
            ),
            step,
            client,
        )
        ended = threading.Event()
        watcher = threading.Thread(target=watch, args=(runner, pulse, ended), name="pulse", daemon=True)
        watcher.start()
        try:
            runner.run(stop)
        finally:
            ended.set()
            watcher.join()
            pulse.close()


def watch(runner: Runner, pulse: Pulse, ended: threading.Event) -> None:
    """Says how the worker gets on; ends the process, as a kill would, where its loop does not go round.

    Every wait in the loop has its bound, but the Kafka client has been seen to wait for ever, inside of a
    call with a timeout, when a broker died: nothing but another process helps then.
    """
    while not ended.wait(BEAT_MS / 1000):
        health = runner.health()
        say(pulse, health)
        if health.silent_ms > TURN_MS_MAX or health.overdue_ms > OVERDUE_MS_MAX:
            waited = {"silent_ms": health.silent_ms, "overdue_ms": health.overdue_ms}
            log.error("worker got nowhere", stage=health.stage, where=_where(), **waited)
            os._exit(1)


def _where() -> list[str]:
    """Where the main thread is, which is the loop: its innermost lines of code, nothing that they hold."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    lines = traceback.extract_stack(frame)[-WHERE_LINES:]
    return [f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in lines]


def say(pulse: Pulse, health: Health) -> None:
    """Says how a worker gets on. What is stuck counts as running: it is named, and not ready."""
    state: State = "running" if health.ready or health.stuck else "starting"
    pulse.beat(state, health.stuck, tuple(health.positions))
