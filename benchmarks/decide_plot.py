"""Draws how fast the contenders decide: `python -m benchmarks.decide_plot docs/decide.svg`, after a run."""

import json
import sys

import matplotlib
from matplotlib import pyplot

from benchmarks.__main__ import RESULTS
from benchmarks.decide import FOLDED


def main() -> None:
    """Draw the rows about folded consents in `bench-results.json` to the file named."""
    rows = [one for one in json.loads(RESULTS.read_text("utf-8")) if one["name"] == FOLDED]
    bars = [("the hub, compiled", rows[0]["ours"], "")]
    bars += [(one["peer"], one["peer_value"], f"   the hub is {one['ratio']} times as fast") for one in rows]
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "decide"
    figure, axes = pyplot.subplots(figsize=(7.6, 2.4))
    drawn = axes.barh(
        [name for name, _, _ in bars], [rate for _, rate, _ in bars], color=["#2a6f97", "#a9a9a9", "#a9a9a9"]
    )
    axes.bar_label(drawn, [f" {rate:,}{told}" for _, rate, told in bars])
    axes.invert_yaxis()
    axes.set(
        xlim=(0, rows[0]["ours"] * 1.2),
        xlabel="events a second on one processor, each decided for nine subscriptions",
    )
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
