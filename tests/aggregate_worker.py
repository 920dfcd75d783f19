"""The aggregate stage: `python -m tests.aggregate_worker BOOTSTRAP FOLDER INSTANCE PARTITIONS`."""

import json
import signal
import sys
import threading
from datetime import UTC
from pathlib import Path

from streams import measures
from streams.aggregate import Aggregates
from tests.streams_scene import World


def main() -> None:
    bootstrap, folder, instance, partitions = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def beat(health: object) -> None:
        Path(folder, "health.json").write_text(json.dumps(str(health)))

    vault = World(Path(folder)).vault
    rows = measures.load()
    Aggregates(vault, rows, UTC, bootstrap, Path(folder), instance, int(partitions)).run(stop, beat)


if __name__ == "__main__":
    main()
