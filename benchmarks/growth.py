"""What happens at size: how long a killed worker is away, and what more workers bring on one machine."""

import os
import signal
import sys
import threading
import time
from typing import Any, Final

from benchmarks.arena import Arena, hub, new_run
from benchmarks.latency import RATE, SECONDS, follow, publish
from benchmarks.throughput import row

PEOPLE: Final = int(os.environ.get("BENCH_KILL_PEOPLE", "100000"))
ROUNDS: Final = int(os.environ.get("BENCH_GROWTH_ROUNDS", "3"))
EVENTS: Final = int(os.environ.get("BENCH_EVENTS", "60000"))
READY_AIM_S: Final = 5.0
BEFORE_S: Final = 3
WORKERS: Final = (2, 4)
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: seconds from a kill to the next decision, then rates with more workers."""
    with Arena(PEOPLE, EVENTS) as ground:
        away = [_away(ground) for _ in range(ROUNDS)]
        rates: dict[int, list[float]] = {count: [] for count in (1, *WORKERS)}
        for _ in range(ROUNDS):
            for count, some in rates.items():
                some.append(ground.rate(hub(workers=count)))
                print(f"{count} worker(s): {some[-1]:,.0f} events/s", file=sys.stderr, flush=True)
    name = f"from SIGKILL to the next decision, {PEOPLE:,} participants"
    return [
        row(name, away, "aim", [READY_AIM_S] * len(away), "s"),
        *(
            row(
                f"enforce, {count} workers on {os.cpu_count()} processors",
                rates[count],
                "one worker",
                rates[1],
            )
            for count in WORKERS
        ),
    ]


def _away(ground: Arena) -> float:
    """Seconds from the kill of a worker under load to the first decision about a later event."""
    run, ours, count = new_run(), hub(), RATE * SECONDS
    with ground.running(ours, run) as worker:
        ground.decided(ground.events, worker)
        with ground.reader(["decisions"], ends=True) as reader:
            sent: dict[str, float] = {}
            publisher = threading.Thread(target=publish, args=(ground, sent, count))
            publisher.start()
            time.sleep(BEFORE_S)
            worker.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            with ground.running(ours, run):
                seen = follow(reader, count)
            publisher.join()
    ground.events += count
    ground.clear()
    lasted = min(seen[name] for name, at in sent.items() if at > killed) - killed
    print(f"away for {lasted:.1f} s", file=sys.stderr, flush=True)
    return lasted
