"""A delivery worker as a process: `python tests/delivery_worker.py '{"bootstrap": …}'`. Ends by SIGTERM.

SIGUSR1 arms the crash points in `then`. Besides `freeze` and `kill` there is `stall` here: the thread that
comes by waits for as long as the file `gate` exists, while the Kafka client's own threads go on.
"""

import json
import signal
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from connectors import projection
from connectors.adapter import Ringing
from connectors.alerts import ADAPTER, Alerts
from connectors.engine import Engine, EngineSettings
from connectors.http import HttpSettings
from connectors.log import KafkaHistory, KafkaLog
from connectors.schedule import Schedule
from connectors.sender import Sender
from connectors.standing import Watch
from connectors.views import Views
from connectors.webhook import Webhooks
from consent import Governance
from hub.shown import ShownAlerts
from hub.store import Store
from schemas import codec, crash
from schemas.topics import partition_of
from streams.runner import Runner
from streams.settings import RunnerSettings
from tests.delivery_scene import GROUP, Keys, Nobody, Secret, now_ms


def arm(setting: str, gate: Path) -> None:
    """From now on, stop at these points."""
    name, _, how = setting.partition(":")
    if how != "stall":
        crash.point = crash.arm(setting)
        return

    def stall(passed: str) -> None:
        while passed == name and gate.exists():
            time.sleep(0.02)

    crash.point = stall


class Bells:
    """The way to the clock, over the worker's own log."""

    def __init__(self, log: KafkaLog, partitions: int) -> None:
        self._log, self._partitions = log, partitions

    def set_all(self, ringing: Sequence[Ringing]) -> None:
        for one in ringing:
            key, value = one.participant.encode(), codec.encode("Clock", one._asdict())
            self._log.append("alarms", partition_of(key, self._partitions), key, value)
        self._log.flush()


def main(config: dict[str, Any]) -> None:
    client = {"bootstrap.servers": config["bootstrap"]}
    keys = Keys()
    log = KafkaLog(client)
    history = KafkaHistory(client)
    adapters: dict[str, Any] = {"webhook": Webhooks(Secret(), HttpSettings(private=True, plain=True))}
    watch, views = None, None
    if "store" in config:
        sink = ShownAlerts(Store(config["store"]))
        alarm = Bells(log, config["partitions"]) if config.get("alarms") else None
        adapters[ADAPTER] = Alerts(sink, keys, now_ms, alarm=alarm)
        watch, views = Watch(sink, keys), Views(sink, keys)
    sender = Sender(
        adapters,
        keys,
        Nobody(),
        log,
        Schedule(tuple(config.get("pauses_ms", (200, 400, 800, 1600)))),
        now_ms,
        config.get("in_flight_max", 32),
    )
    engine = Engine(
        EngineSettings(
            owner=f"{config['name']}-{uuid.uuid4()}",
            partitions=config["partitions"],
            send_ms_max=config.get("send_ms_max", 2_000),
            doubt_margin_ms=300,
            in_flight_max=config.get("in_flight_max", 32),
            waiting_records_max=config.get("waiting_records_max", 1_000),
            standing_records_max=config.get("standing_records_max", 20_000),
            pending_records_max=config.get("pending_records_max", 10_000),
        ),
        sender,
        history,
        log,
        partial(projection.idempotency_key, keys),
        Governance(),
        watch,
        now_ms,
        views,
    )
    settings = RunnerSettings(
        group=GROUP,
        inputs=("^outbox[.].*", "views"),
        instance_id=config["name"],
        beside=("consent",),
        whole=("governance",),
        restore=("pending",),
        partitions=config["partitions"],
        batch_wait_ms_max=20,
        session_timeout_ms=config.get("session_ms", 2_000),
        transaction_timeout_ms=55_000,
        side_ms_max=3_000,
        join_ms_max=40_000,
        poll_interval_ms_max=200_000,
        topics_refresh_ms=500,
        flush_first=True,
    )
    if "poll_ms" in config:  # less than the settings allow, so that a test need not wait for it
        object.__setattr__(settings, "poll_interval_ms_max", config["poll_ms"])
    runner = Runner(settings, engine, client)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: arm(config["then"], Path(config.get("gate", "."))))
    sender.start()
    try:
        runner.run(stop)
    finally:
        sender.stop(3_000)
        log.close()
        history.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
