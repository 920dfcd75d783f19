"""What a participant's consent costs in memory: three consents of four grants, for ever more participants.

Each size is measured in a process of its own: as the directives are applied, and again after decisions about
every participant, or about twice as many as the hub keeps compiled. Thousands are measured by what Python
allocates (a resident set grows by whole megabytes), more by the growth of the resident set.
"""

import argparse
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.consents import NOW_MS, POLICY, STAKEHOLDERS, SUBSCRIPTIONS, bodies, event
from consent import Policy, Stakeholders, States, decide_all
from consent.states import compiled_max

SIZES = (1_000, 100_000, 1_000_000)
FORMS = 2_000  # different sets of consents; the ids in them are different for everybody
TRACED = 10_000
BYTES_MAX = 4096
Row = dict[str, Any]


def rows(sizes: tuple[int, ...] = SIZES) -> list[Row]:
    """Rows for the results: bytes of memory a participant, beside the limit of 4 KiB."""
    return [_row(measured) for measured in map(measure_apart, sizes)]


def measure_apart(people: int) -> Row:
    """`measure` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", str(people)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: Row = json.loads(done.stdout)
    return measured


def measure(people: int) -> Row:
    """Bytes a participant at rest, and once decided about."""
    forms = [bodies(number) for number in range(min(people, FORMS))]
    policy, stakeholders = Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS)
    about = event(1)
    memory = _meter(people)
    states = States()
    start = memory()
    offset = 1_000_000
    for number in range(people):
        who = f"p-{number:026x}"
        for place, body in enumerate(forms[number % FORMS]):
            offset += 1
            own = body.replace(b'"id":"con-', b'"id":"con-%x' % (number // FORMS), 1)
            states.apply(who, offset, own, f"d-{number * 0x9E3779B97F4A7C15 % 2**64:016x}-{place}")
    rest = memory()
    for number in range(min(people, 2 * compiled_max)):
        decide_all(about, SUBSCRIPTIONS, NOW_MS, states.get(f"p-{number:026x}"), policy, stakeholders)
    decided = memory()
    return {
        "people": people,
        "at_rest": round((rest - start) / people),
        "decided": round((decided - start) / people),
        "directive_bytes": round(sum(len(body) for some in forms for body in some) / len(forms)),
    }


def _meter(people: int) -> Callable[[], int]:
    """Something that tells the bytes in use."""
    process = psutil.Process()
    traced = people <= TRACED
    if traced:
        tracemalloc.start()

    def used() -> int:
        gc.collect()
        return int(tracemalloc.get_traced_memory()[0] if traced else process.memory_info().rss)

    return used


def _row(measured: Row) -> Row:
    return {
        "name": f"memory a participant, three consents of four grants, {measured['people']:,} participants",
        "ours": measured["decided"],
        "peer": "limit",
        "peer_value": BYTES_MAX,
        "unit": "bytes",
        "ratio": round(measured["decided"] / BYTES_MAX, 2),
        "higher_is_better": False,
    }


def main() -> None:
    """Measure one size for another process, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int)
    people = parser.parse_args().one
    print(json.dumps(measure(people) if people else [measure_apart(size) for size in SIZES], indent=1))


if __name__ == "__main__":
    main()
