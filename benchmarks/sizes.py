"""Events enforced a second with many participants, beside the same with few; in interleaved rounds.

Each size has a broker of its own, idle while another is measured. Consent is compiled when somebody's first
event comes, so with more participants than events nearly every event pays for that: the worst case, as after
a start.
"""

import os
from collections import defaultdict
from typing import Any, Final

from benchmarks.arena import Arena, hub
from benchmarks.throughput import BATCH, EVENTS, ROUNDS, row, say

SIZES: Final = tuple(map(int, os.environ.get("BENCH_SIZES", "1000,100000,1000000").split(",")))
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: each larger size beside the smallest."""
    grounds = {size: Arena(size, EVENTS) for size in SIZES}
    rates: dict[int, list[float]] = defaultdict(list)
    try:
        for number in range(ROUNDS):
            for size in SIZES if number % 2 == 0 else SIZES[::-1]:
                rates[size].append(grounds[size].rate(hub(BATCH)))
                say(f"{size:,} participants: {rates[size][-1]:,.0f} events/s")
    finally:
        for ground in grounds.values():
            ground.__exit__()
    few = SIZES[0]
    return [
        row(f"enforce, {size:,} participants", rates[size], f"{few:,} participants", rates[few])
        for size in SIZES[1:]
    ]
