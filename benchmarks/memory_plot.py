"""Draws the memory curve for the docs: `python -m benchmarks.memory_plot docs/memory.svg`."""

import json
import sys
from pathlib import Path

from benchmarks.drawing import drawn
from benchmarks.memory import BYTES_MAX, SIZES, measure_apart


def main() -> None:
    """Measure all sizes, print them, and draw them to the file named."""
    measured = [measure_apart(size) for size in SIZES]
    print(json.dumps(measured, indent=1))
    with drawn(Path(sys.argv[1]), 6.4, 3.6) as (_, axes):
        for key, label in (("decided", "after decisions"), ("at_rest", "directives applied, nobody asked")):
            axes.plot(SIZES, [one[key] for one in measured], marker="o", label=label)
        axes.axhline(BYTES_MAX, linestyle="--", color="grey", label="limit")
        axes.set(xscale="log", ylim=(0, 4500), xlabel="participants", ylabel="bytes of memory a participant")
        axes.legend()


if __name__ == "__main__":
    main()
