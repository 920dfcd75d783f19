"""Plots for the docs: the same results give the same file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot


@contextmanager
def drawn(to: Path, width: float, height: float, **layout: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, written to an SVG file at the end. Width and height in inches.

    In: what `pyplot.subplots` takes besides.
    """
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = to.stem
    figure, axes = pyplot.subplots(figsize=(width, height), **layout)
    yield figure, axes
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})
    pyplot.close(figure)
