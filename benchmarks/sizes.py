"""Events enforced a second with many participants, beside the same with few; in interleaved rounds.

Each size has a broker and a worker of its own, idle while another is measured. A worker compiles consents
while nothing comes, so its steady state is that all of them are compiled: that is what the rounds measure.
Right after a start nearly every event is somebody's first and pays for compiling a consent: that is the worst
case, and is measured once on the way.
"""

import os
from collections import defaultdict
from contextlib import ExitStack
from typing import Any, Final

from benchmarks import population
from benchmarks.arena import Arena, hub, middle, new_run
from benchmarks.throughput import BATCH, EVENTS, ROUNDS, row, say

SIZES: Final = tuple(map(int, os.environ.get("BENCH_SIZES", "1000,100000,1000000").split(",")))
COMPILED: Final = "consents compiled"
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: each larger size beside the smallest, compiled and right after a start."""
    rates: dict[int, list[float]] = defaultdict(list)
    cold: dict[int, float] = {}
    with ExitStack() as stack:
        sides = {}
        for size in SIZES:
            ground, run = stack.enter_context(Arena(size, EVENTS)), new_run()
            alive = stack.enter_context(ground.running(hub(BATCH), run))
            cold[size] = middle(ground.decided(EVENTS, alive))
            ground.said(run, "compiled")
            sides[size] = ground, alive
            say(f"{size:,} participants, right after the start: {cold[size]:,.0f} events/s")
        for number in range(ROUNDS):
            for size in SIZES if number % 2 == 0 else SIZES[::-1]:
                ground, alive = sides[size]
                events = list(population.events(EVENTS, size, EVENTS * (number + 1)))
                rates[size].append(ground.again(alive, events))
                say(f"{size:,} participants: {rates[size][-1]:,.0f} events/s")
    few = SIZES[0]
    name, beside = "enforce, {size:,} participants, {state}", f"{few:,} participants, {COMPILED}"
    return [
        row(name.format(size=size, state=state), some, beside, rates[few])
        for size in SIZES[1:]
        for state, some in ((COMPILED, rates[size]), ("right after a start", [cold[size]] * ROUNDS))
    ]
