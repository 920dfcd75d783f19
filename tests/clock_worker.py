"""The clock as a process: `python -m tests.clock_worker BOOTSTRAP FOLDER INSTANCE PARTITIONS`."""

import json
import signal
import sys
import threading
from pathlib import Path

from streams.clock import Clock


def main() -> None:
    bootstrap, folder, instance, partitions = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def beat(health: object) -> None:
        Path(folder, "health.json").write_text(json.dumps(str(health)))

    Clock(bootstrap, Path(folder), instance, int(partitions)).run(stop, beat)


if __name__ == "__main__":
    main()
