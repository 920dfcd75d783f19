"""`python -m benchmarks.report`: puts `bench-results.json` into docs/performance.md, as tables and plots.

Between the markers of each part everything is replaced; the words around them are written by hand.
"""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import RESULTS
from benchmarks.drawing import drawn

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PAGE: Final = DOCS / "performance.md"
SITES: Final = 500
PEOPLE_A_SITE: Final = 2_000
EVENTS_A_DAY: Final = 10  # about each participant: generous, a case worker writes one or two
PEAK: Final = 10  # times the mean
KIB: Final = 1024
Row = dict[str, Any]


def main() -> int:
    """Rewrites the page and its plots. Exit status 2 where there are no results yet."""
    if not RESULTS.exists():
        print(f"there is no {RESULTS}: run `make bench` first")
        return 2
    rows: list[Row] = json.loads(RESULTS.read_text())
    page = PAGE.read_text()
    for name, text in {"table": table(rows), "nation": nation(rows), "machine": machine()}.items():
        page = _replaced(page, name, text)
    PAGE.write_text(page)
    enforced = [one for one in rows if one["name"].startswith("enforce") and one["unit"] == "events/s"]
    draw(enforced, "events a second", "throughput.svg")
    decided = [one for one in rows if one["unit"] == "ms" and one["name"].startswith("publish to")]
    draw(decided, "milliseconds", "latency.svg")
    print(f"written to {PAGE.relative_to(DOCS.parent)}")
    return 0


def table(rows: list[Row]) -> str:
    """Every row, with the range over the rounds."""
    lines = [
        "| what | ours | beside | theirs | ratio | its range |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for one in rows:
        ours = f"{one['ours']:,} {one['unit']}{_range(one.get('range'))}"
        theirs = f"{one['peer_value']:,}{_range(one.get('peer_range'))}"
        spread = one.get("ratio_range")
        between = f"{spread[0]} to {spread[1]}" if spread else ""
        lines.append(f"| {one['name']} | {ours} | {one['peer']} | {theirs} | {one['ratio']} | {between} |")
    return "\n".join(lines)


def nation(rows: list[Row]) -> str:
    """What many sites would need, by the costs that were measured."""
    found = [
        one["ours"] for one in rows if one["name"] == "enforce, 1,000,000 participants, consents compiled"
    ]
    if not found:
        return "Not calculated yet: the sizes are not measured (`python -m benchmarks sizes`)."
    (rate,) = found
    memory = [one["ours"] for one in rows if one["unit"] == "bytes"]
    people = SITES * PEOPLE_A_SITE
    a_second = people * EVENTS_A_DAY / 86_400
    peak = a_second * PEAK
    lines = [
        f"- {SITES} sites with {PEOPLE_A_SITE:,} participants each: {people:,} people, {EVENTS_A_DAY} events",
        f"  a day about each: {a_second:,.0f} a second, and {peak:,.0f} at a peak of {PEAK} times that.",
        f"- With a million participants one worker decides {rate:,} a second here, where it shares two",
        f"  processors with the broker and the meter: the peak takes {peak / rate:.0%} of one worker.",
    ]
    if memory:
        compiled = people * max(memory) / KIB**3
        lines.append(f"- Consent compiled for all of them: {compiled:.1f} GiB, over all workers together.")
    return "\n".join(lines)


def machine() -> str:
    """Where this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / KIB**3
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}; broker, contender and meter share it."
    )


def draw(rows: list[Row], unit: str, name: str) -> None:
    """Bars with their ranges, ours beside theirs."""
    if not rows:
        return
    with drawn(DOCS / "images" / name, 7.6, 0.7 + 0.75 * len(rows)) as (_, axes):
        for place, one in enumerate(reversed(rows)):
            for shift, key, span, colour in (
                (0.18, "ours", "range", "#0b6e4f"),
                (-0.18, "peer_value", "peer_range", "#9aa5b1"),
            ):
                low, high = one.get(span, (one[key], one[key]))
                axes.barh(place + shift, one[key], 0.34, color=colour)
                axes.plot([low, high], [place + shift] * 2, color="black", linewidth=1)
        labels = [f"{one['name']}\nbeside {one['peer']}" for one in reversed(rows)]
        axes.set_yticks(range(len(rows)), labels, fontsize=7)
        axes.set_xlabel(f"{unit}: green ours, grey theirs; lines show the range over the rounds", fontsize=8)


def _range(span: list[float] | None) -> str:
    return f" ({span[0]:,} to {span[1]:,})" if span else ""


def _replaced(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
