"""The hub's enforce stage: `python -m benchmarks.enforcer BOOTSTRAP PARTITIONS BATCH RUN WORKERS`."""

import dataclasses
import multiprocessing
import signal
import sys
import threading
import time
from typing import Any

from streams import enforce, topology
from streams.runner import Runner


class Noting:
    """A step, which says in its log once that it has nothing more to compile."""

    def __init__(self, step: enforce.Enforce) -> None:
        self._step = step
        self._said = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def idle(self) -> bool:
        """As it is, and noted."""
        more = self._step.idle()
        if not more and not self._said:
            self._said = True
            print("compiled", flush=True)
        return more


def work(bootstrap: str, partitions: int, batch: int, run: str, number: int) -> None:
    """One worker, until it is told to stop. `run` is its group's name, so that it begins at the beginning."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    step: Any = Noting(enforce.Enforce(lambda: time.time_ns() // 1_000_000, partitions))
    settings = topology.runner(enforce.STAGE, f"{run}-{number}", partitions, batch_records_max=batch)
    settings = dataclasses.replace(
        settings, group=run, join_ms_max=300_000, poll_interval_ms_max=600_000, stuck_ms_max=300_000
    )
    print("started", flush=True)
    Runner(settings, step, {"bootstrap.servers": bootstrap, "log_level": 0}).run(stop)


def main() -> None:
    """Runs the workers, each in a process of its own, until it is told to stop."""
    bootstrap, partitions, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    run, workers = sys.argv[4], int(sys.argv[5])
    if workers == 1:
        work(bootstrap, partitions, batch, run, 0)
        return
    context = multiprocessing.get_context("spawn")
    some = [context.Process(target=work, args=(bootstrap, partitions, batch, run, n)) for n in range(workers)]
    for one in some:
        one.start()
    signal.signal(signal.SIGTERM, lambda *_: [one.terminate() for one in some])
    for one in some:
        one.join()


if __name__ == "__main__":
    main()
