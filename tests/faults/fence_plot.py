"""Draws how long revocations waited for their 200, from the report of the fence's proof."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.drawing import drawn

COLOURS = {"in peace": "#1b6e8c", "under faults": "#b5482a"}


def draw(report: Mapping[str, Any], to: Path) -> None:
    """Two panels: the distribution, and each answer beside the faults of its time. Writes an SVG."""
    told = report["timeline"]
    calm = told["calm"]
    series = {
        "in peace": (told["asked_s"][:calm], told["seconds"][:calm]),
        "under faults": (told["asked_s"][calm:], told["seconds"][calm:]),
    }
    with drawn(to, 10, 3.8, ncols=2, width_ratios=(1, 1.6)) as (figure, (left, right)):
        for name, (asked, seconds) in series.items():
            ordered = sorted(seconds)
            share = [(index + 1) / len(ordered) for index in range(len(ordered))]
            left.step(ordered, share, where="post", color=COLOURS[name], label=name)
            right.plot(asked, seconds, ".", markersize=3, color=COLOURS[name])
        for name, at in told["faults"]:
            right.axvline(at, color="#c9c9c9", linewidth=2 if name.startswith("broker") else 0.7, zorder=0)
        left.set(xscale="log", xlabel="seconds until 200", ylabel="share of revocations", ylim=(0, 1.02))
        right.set(yscale="log", xlabel="asked, seconds from the start", ylabel="seconds until 200")
        left.legend(loc="lower right", frameon=False)
        left.grid(visible=True, which="major", color="#eeeeee")
        right.set_title("grey: a fault begins; thick: the broker's", fontsize=9)
        figure.suptitle(
            f"{report['answered_200']} revocations over a backlog of {report['backlog']}: "
            f"{report['after_200']} deliveries began after the 200",
            fontsize=11,
        )
