"""Ratios as a picture: a dot for each, a line for how sure it is. Twice is as far from 1 as half."""

from collections.abc import Sequence
from html import escape
from math import log
from typing import Final, NamedTuple

ROW: Final = 52  # pixels, as is all below
WIDE: Final = 320
FOOT: Final = 24
LEAST: Final = 1 / 8  # what is further out is drawn at the edge
MOST: Final = 8.0
TICKS: Final = ((0.25, "¼"), (0.5, "½"), (1.0, "1"), (2.0, "2"), (4.0, "4"))


class Mark(NamedTuple):
    """A ratio with its bounds, in words what it is of, and the numbers as they are written."""

    words: str
    ratio: float
    low: float
    high: float
    said: str


def place(ratio: float) -> float:
    """Where a ratio stands, in pixels from the left."""
    bounded = min(max(ratio, LEAST), MOST)
    return 4 + (log(bounded) - log(LEAST)) / (log(MOST) - log(LEAST)) * (WIDE - 8)


def forest(title: str, marks: Sequence[Mark]) -> str:
    """The picture as SVG. Texts are escaped."""
    height = ROW * len(marks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height + FOOT}" role="img"',
        f' fill="currentColor" font-size="14"><title>{escape(title)}</title>',
    ]
    for at, words in TICKS:
        x = place(at)
        for y in range(0, height, ROW):  # beside the line and not across the words above it
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 22}" y2="{y + 44}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height + 16}" text-anchor="middle">{words}</text>')
    for number, mark in enumerate(marks):
        y = number * ROW
        parts.append(f'<text x="0" y="{y + 16}">{escape(mark.words)}: {escape(mark.said)}</text>')
        parts.append(
            f'<rect class="bar" x="{place(mark.low):.1f}" y="{y + 31}" height="2"'
            f' width="{max(place(mark.high) - place(mark.low), 1):.1f}"/>'
        )
        parts.append(f'<circle class="bar" cx="{place(mark.ratio):.1f}" cy="{y + 32}" r="5"/>')
    return "".join(parts) + "</svg>"
