"""Counts that may be published: their names, what adds up to what, and how careful to be. Pure.

`streams/suppression.py` decides with these what is shown; it takes a solver, which is slow to import, and
most processes only need the names.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Cell = tuple[str, ...]
"""A count's name: which measure, kind, period, dimension, value."""

Shown = Mapping[Cell, int | None]
"""What is published: the rounded count, or None where it is hidden."""

cells_max: Final = 20_000  # of one publication
OTHER: Final = "another"  # the value that stands for all that few state


class Relation(NamedTuple):
    """What everybody knows about counts: those of `parts` together are those of `whole`.

    With `exact` false they are at least those of `whole`, say because somebody may be in several parts.
    """

    whole: tuple[Cell, ...]
    parts: tuple[Cell, ...]
    exact: bool = True


class Rules(NamedTuple):
    """How careful to be, in people. `interval_min` is how wide the interval of a hidden count is at least."""

    cell_min: int = 11
    interval_min: int = 10
    rounding: int = 5

    def shown(self, count: int) -> int:
        """A count that may be shown, rounded; never to less than the smallest that may be shown."""
        least = -(-self.cell_min // self.rounding) * self.rounding
        return max((count + self.rounding // 2) // self.rounding * self.rounding, least)

    def meant(self, shown: int) -> tuple[int, int]:
        """The least and the most that a shown number can stand for."""
        below = shown - self.rounding // 2
        above = shown + (self.rounding - 1) // 2
        return (max(below, self.cell_min) if self.shown(self.cell_min) < shown else self.cell_min), above


DEFAULT: Final = Rules()


class Noise(NamedTuple):
    """Noise on the numbers of one publication: what it costs, in how many of them a person can be, the scale
    of the discrete Laplace distribution; with 95 % it moves a number by `within` at most.
    """

    epsilon: float
    sensitivity: int
    scale: float
    within: int


class Release(NamedTuple):
    """What is published: for each dimension its values, and of each cell the rounded number or None."""

    values: dict[str, list[str]]
    cells: dict[Cell, int | None]
    noise: Noise | None = None

    def meant(self, shown: int, rules: Rules) -> tuple[int, int]:
        """The least and the most that a shown number can stand for; with noise on it, with 95 %."""
        low, high = rules.meant(shown)
        within = 0 if self.noise is None else self.noise.within
        return (max(low - within, rules.cell_min) if within else low), high + within

    def body(self, rules: Rules) -> dict[str, Any]:
        """As JSON, cells as kind, dimension, value, people."""
        rows = [[*one[2:], n] for one, n in sorted(self.cells.items())]
        noise = {} if self.noise is None else {"noise": self.noise._asdict()}
        return {"rules": rules._asdict(), "values": self.values, "cells": rows} | noise

    @classmethod
    def of(cls, series: str, month: str, body: Mapping[str, Any]) -> "Release":
        """What `body` gave."""
        cells = {(series, month, *row[:3]): row[3] for row in body["cells"]}
        noise = Noise(**body["noise"]) if "noise" in body else None
        return cls(dict(body["values"]), cells, noise)


class TooMany(ValueError):
    """More counts in one publication than `cells_max`."""


class Contradiction(ValueError):
    """What is shown cannot be, by what is said to add up."""
