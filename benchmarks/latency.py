"""From publishing an event to reading the decision about it, as somebody who reads only what was committed.

500 events a second, evenly paced, beside Kafka Streams that commits every 10 ms; in interleaved rounds on one
broker. Publisher and reader are one process with one clock.
"""

import os
import sys
import threading
import time
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, Producer

from benchmarks import population
from benchmarks.arena import Arena, Contender, event_id, hub
from benchmarks.throughput import ROUNDS, row, streams
from schemas.topics import partition_of, partitions_default

PEOPLE: Final = 1_000
WARM: Final = 10_000  # events of a backlog that each contender does first
RATE: Final = 500  # events a second
SECONDS: Final = int(os.environ.get("BENCH_SECONDS", "10"))
COMMIT_MS: Final = 10
SPREAD: Final = (1, partitions_default)  # partitions, by default: on the embedded broker, and on a cluster
UNCOUNTED: Final = 2  # rounds while Java still compiles the broker: it takes the processor from both
TAIL_S_MAX: Final = 30
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: the median round's p50 and p99, in milliseconds."""
    return [one for partitions in SPREAD for one in _among(partitions)]


def _among(partitions: int) -> list[Row]:
    contenders = [hub(), streams(COMMIT_MS, 1)]
    found: dict[str, list[np.ndarray[Any, Any]]] = {one.name: [] for one in contenders}
    with Arena(PEOPLE, WARM, partitions=partitions) as ground:
        for number in range(-UNCOUNTED, ROUNDS):
            for one in contenders if number % 2 == 0 else contenders[::-1]:
                took = measure(ground, one)
                if number >= 0:
                    found[one.name].append(took)
                p50, p99 = np.percentile(took, (50, 99))
                print(f"{one.name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms", file=sys.stderr, flush=True)
    ours, peer = (found[one.name] for one in contenders)
    return [
        row(
            f"publish to committed decision at {RATE} events/s, {partitions} partition(s), p{percent}",
            [float(np.percentile(one, percent)) for one in ours],
            contenders[1].says,
            [float(np.percentile(one, percent)) for one in peer],
            "ms",
        )
        for percent in (50, 99)
    ]


def measure(ground: Arena, contender: Contender) -> np.ndarray[Any, Any]:
    """Milliseconds from publishing to reading, for each event of one round."""
    with ground.running(contender) as alive:
        ground.decided(ground.events, alive)
        with ground.reader(["decisions"], ends=True) as reader:
            sent: dict[str, float] = {}
            first = ground.events
            publisher = threading.Thread(target=publish, args=(ground, sent, RATE * SECONDS))
            publisher.start()
            seen = follow(reader, RATE * SECONDS)
            publisher.join()
        ground.events = first + RATE * SECONDS
    ground.clear()
    return np.array([(seen[name] - at) * 1000 for name, at in sent.items()])


def follow(reader: Consumer, count: int) -> dict[str, float]:
    """When the decision about each of so many events was first read."""
    seen: dict[str, float] = {}
    until = time.monotonic() + SECONDS + TAIL_S_MAX
    while len(seen) < count:
        assert time.monotonic() < until, f"{len(seen)} of {count} events came through"
        one = reader.poll(0.05)  # each as it comes: a batch would be handed over when its time is up
        if one is not None and one.error() is None:
            now = time.monotonic()
            seen.setdefault(event_id(one.value()), now)
    return seen


def publish(ground: Arena, sent: dict[str, float], count: int) -> None:
    """Publishes at an even pace, noting when. A publisher that falls behind doesn't hurry."""
    producer = Producer({"bootstrap.servers": ground.bootstrap, "linger.ms": 0, "log_level": 0})
    began = time.monotonic()
    for n, (who, value) in enumerate(population.events(count, ground.people, ground.events)):
        time.sleep(max(began + n / RATE - time.monotonic(), 0))
        sent[population.event(ground.events + n)] = time.monotonic()
        producer.produce("contact", value, who, partition=partition_of(who, ground.partitions))
        producer.poll(0)
    producer.flush(30)
