"""One transactional worker as a process of the hub: its name, its bounds, its heartbeats."""

import threading
from collections.abc import Mapping
from typing import Any

from hub.health import BEAT_MS, Pulse, State
from hub.settings import Settings
from streams import topology
from streams.health import Health
from streams.runner import Runner
from streams.slots import Slot
from streams.step import Step


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
        watcher = threading.Thread(target=_watch, args=(runner, pulse, ended), name="pulse", daemon=True)
        watcher.start()
        try:
            runner.run(stop)
        finally:
            ended.set()
            watcher.join()
            pulse.close()


def _watch(runner: Runner, pulse: Pulse, ended: threading.Event) -> None:
    while not ended.wait(BEAT_MS / 1000):
        say(pulse, runner.health())


def say(pulse: Pulse, health: Health) -> None:
    """Says how a worker gets on. What is stuck counts as running: it is named, and not ready."""
    state: State = "running" if health.ready or health.stuck else "starting"
    pulse.beat(state, health.stuck, tuple(health.positions))
