"""One worker of enforce, as a process: `python -m tests.faults.worker BOOTSTRAP SLOTS PARTITIONS`."""

import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from hub.health import Pulse
from hub.worker import watch
from streams import topology
from streams.enforce import Enforce
from streams.runner import Runner
from streams.slots import Slot


def main() -> None:
    bootstrap, folder, partitions = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Slot(folder, "enforce") as slot, tempfile.TemporaryDirectory() as beats:
        settings = topology.runner(
            "enforce",
            slot.instance_id,
            partitions,
            batch_records_max=500,
            session_timeout_ms=3_000,
            transaction_timeout_ms=6_000,
        )
        step = Enforce(lambda: time.time_ns() // 1_000_000, partitions)
        runner = Runner(settings, step, {"bootstrap.servers": bootstrap, "log_level": 0})
        told = runner, Pulse(Path(beats), "enforce"), threading.Event()
        threading.Thread(target=watch, args=told, daemon=True).start()  # as in a hub: who hangs is ended
        runner.run(stop)


if __name__ == "__main__":
    main()
