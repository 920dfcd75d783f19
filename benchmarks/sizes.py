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
UNLIKE: Final = SIZES[1] if len(SIZES) > 1 else SIZES[0]
COMPILED: Final = "consents compiled"
Row = dict[str, Any]
Side = tuple[int, bool]  # how many, and whether they signed the same forms


def rows() -> list[Row]:
    """Rows for the results: each larger size beside the smallest, compiled and right after a start; and
    participants with a form of their own each, the worst case of deciding once for many, beside as many of
    nine forms.
    """
    rates: dict[Side, list[float]] = defaultdict(list)
    cold: dict[Side, float] = {}
    sides: list[Side] = [*[(size, True) for size in SIZES], (UNLIKE, False)]
    with ExitStack() as stack:
        grounds = {}
        for side in sides:
            size, alike = side
            ground, run = stack.enter_context(Arena(size, EVENTS, alike=alike)), new_run()
            worker = stack.enter_context(ground.running(hub(BATCH), run))
            cold[side] = middle(ground.decided(EVENTS, worker))
            ground.said(run, "compiled")
            grounds[side] = ground, worker
            say(f"{size:,} participants, right after the start: {cold[side]:,.0f} events/s")
        for number in range(ROUNDS):
            for side in sides if number % 2 == 0 else sides[::-1]:
                ground, worker = grounds[side]
                events = list(population.events(EVENTS, side[0], EVENTS * (number + 1)))
                rates[side].append(ground.again(worker, events))
                say(f"{side[0]:,} participants, alike {side[1]}: {rates[side][-1]:,.0f} events/s")
    few, beside = rates[SIZES[0], True], f"{SIZES[0]:,} participants, {COMPILED}"
    found = []
    for size in SIZES[1:]:
        name = f"enforce, {size:,} participants"
        found.append(row(f"{name}, {COMPILED}", rates[size, True], beside, few))
        found.append(row(f"{name}, right after a start", [cold[size, True]] * ROUNDS, beside, few))
    name = f"enforce, {UNLIKE:,} participants"
    own = rates[UNLIKE, False]
    return [*found, row(f"{name}, each with a form of their own", own, "nine forms", rates[UNLIKE, True])]
