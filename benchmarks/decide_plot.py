"""Draws how fast the contenders decide: `python -m benchmarks.decide_plot docs/decide.svg`, after a run."""

import json
import sys
from pathlib import Path

from benchmarks.__main__ import RESULTS
from benchmarks.decide import FOLDED
from benchmarks.drawing import drawn


def main() -> None:
    """Draw the rows about folded consents in `bench-results.json` to the file named."""
    rows = [one for one in json.loads(RESULTS.read_text("utf-8")) if one["name"] == FOLDED]
    bars = [("the hub, compiled", rows[0]["ours"], "")]
    bars += [(one["peer"], one["peer_value"], f"   the hub is {one['ratio']} times as fast") for one in rows]
    names, rates = [name for name, _, _ in bars], [rate for _, rate, _ in bars]
    with drawn(Path(sys.argv[1]), 7.6, 2.4) as (_, axes):
        ours_and_theirs = axes.barh(names, rates, color=["#2a6f97", "#a9a9a9", "#a9a9a9"])
        axes.bar_label(ours_and_theirs, [f" {rate:,}{told}" for _, rate, told in bars])
        axes.invert_yaxis()
        axes.set(
            xlim=(0, rows[0]["ours"] * 1.2),
            xlabel="events a second on one processor, each decided for nine subscriptions",
        )
        axes.locator_params(axis="x", nbins=5)
        axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
