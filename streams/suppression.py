"""Disclosure control: which counts may be published, so that nobody can work out a small one. Pure.

A count below `cell_min` is never shown, nor is zero. Others are hidden besides, until of every hidden count
all that follows from everything shown, in this publication and in earlier ones, is an interval at least
`interval_min` wide. What is shown is rounded. The smallest cell of 11 is that of the Centers for Medicare &
Medicaid Services (CMS Cell Size Suppression Policy: no cell from 1 to 10, none that lets one be derived).

What somebody could work out is found the way that somebody would: each count is a number at least zero, a
shown one lies where it rounds from, and `Relation` says what adds up to what. Two linear programs for a count
give the least and the most that it can be; numbers need not be whole in them, which only widens: a reader who
knows that people are whole may come one closer (`tests/test_suppression.py` measures it).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from streams.cells import DEFAULT, Cell, Contradiction, Relation, Rules, Shown, TooMany, cells_max

_SLACK: Final = 1e-6
_UNBOUNDED: Final = 3  # a status of `linprog`

Point = np.ndarray[tuple[int], np.dtype[np.float64]]


def control(
    counts: Mapping[Cell, int],
    relations: Sequence[Relation],
    rules: Rules = DEFAULT,
    published: Shown | None = None,
) -> dict[Cell, int | None]:
    """What to publish of these counts.

    In: the true counts, what is known to add up, and what earlier publications showed; relations may name
    counts of both. Out: for each of `counts` its rounded value, or None. What was published before is final:
    a count that stands in `published` comes out as it stands there. Raises `TooMany`.
    """
    earlier = published or {}
    known = [one for one in relations if all(c in counts or c in earlier for c in (*one.whole, *one.parts))]
    out: dict[Cell, int | None] = {
        cell: earlier[cell] if cell in earlier else rules.shown(count) if count >= rules.cell_min else None
        for cell, count in counts.items()
    }
    if len(out) > cells_max:
        raise TooMany(f"more than {cells_max} counts in one publication")
    for group in _groups(known):
        _protect(group, counts, out, earlier, rules)
    return out


def intervals(
    shown: Shown, relations: Sequence[Relation], rules: Rules = DEFAULT
) -> dict[Cell, tuple[float, float]]:
    """The least and the most that each hidden count can be, by what is shown; infinity where nothing says."""
    found: dict[Cell, tuple[float, float]] = {c: (0.0, np.inf) for c, value in shown.items() if value is None}
    for group in _groups(relations):
        known = _Known(group, shown, rules)
        for cell in known.hidden:
            found[cell] = known.least(cell), known.most(cell)
    return found


def _protect(
    group: Sequence[Relation],
    counts: Mapping[Cell, int],
    out: dict[Cell, int | None],
    earlier: Shown,
    rules: Rules,
) -> None:
    """Hides more of one group of relations until every hidden count is wide enough, or nothing is left."""
    mine = {cell for one in group for cell in (*one.whole, *one.parts)}
    free = {cell for cell in mine if cell in counts and cell not in earlier and out[cell] is not None}
    shown = {cell: out[cell] if cell in out else earlier[cell] for cell in mine}
    beside = _neighbours(group)
    _plainly(group, shown, free, counts, rules)
    while free:
        known = _Known(group, shown, rules)
        try:
            narrow = known.narrow(rules.interval_min)
        except Contradiction:  # what is not understood is not shown
            narrow = known.hidden or sorted(free)[:1]
        if not narrow:
            break
        for cell in narrow:
            if (more := _next(cell, beside, free, counts, group)) is not None:
                free.remove(more)
                shown[more] = None
    out.update({cell: shown[cell] for cell in mine if cell in counts and cell not in earlier})


def _plainly(
    group: Sequence[Relation],
    shown: dict[Cell, int | None],
    free: set[Cell],
    counts: Mapping[Cell, int],
    rules: Rules,
) -> None:
    """Hides what one sum by itself would give away: the quick part, after which little is left to solve."""
    sums = [one for one in group if one.exact]
    again = True
    while again:
        again = False
        for one in sums:
            cells = (*one.whole, *one.parts)
            hidden = [cell for cell in cells if shown[cell] is None]
            if not hidden or (len(hidden) > 1 and _left(one, shown, rules) >= rules.interval_min):
                continue
            open_parts = [(counts[cell], cell) for cell in one.parts if cell in free]
            open_parts = open_parts or [(counts[cell], cell) for cell in one.whole if cell in free]
            if open_parts:
                more = min(open_parts)[1]
                free.remove(more)
                shown[more] = None
                again = True


def _left(one: Relation, shown: Shown, rules: Rules) -> float:
    """The most that the hidden parts of a sum can be together; infinity where the whole is hidden."""
    if any(shown[cell] is None for cell in one.whole):
        return np.inf
    above = sum(rules.meant(value)[1] for cell in one.whole if (value := shown[cell]) is not None)
    return above - sum(rules.meant(value)[0] for cell in one.parts if (value := shown[cell]) is not None)


def _neighbours(group: Sequence[Relation]) -> dict[Cell, list[tuple[bool, Cell]]]:
    """For each count those that stand in a relation with it; those on the other side come last."""
    found: dict[Cell, set[tuple[bool, Cell]]] = {}
    for one in group:
        for side, other in ((one.parts, one.whole), (one.whole, one.parts)):
            for cell in side:
                near = found.setdefault(cell, set())
                near |= {(False, c) for c in side if c != cell}
                near |= {(True, c) for c in other}
    return {cell: sorted(near) for cell, near in found.items()}


def _next(
    cell: Cell,
    beside: Mapping[Cell, Sequence[tuple[bool, Cell]]],
    free: set[Cell],
    counts: Mapping[Cell, int],
    group: Sequence[Relation],
) -> Cell | None:
    """What to hide so that a count becomes wider: the smallest beside it, else the smallest of the group."""
    near = [(far, counts[one], one) for far, one in beside.get(cell, ()) if one in free]
    if near:
        return min(near)[2]
    return min(((counts[one], one) for one in free), default=(0, None))[1]


def _groups(relations: Iterable[Relation]) -> list[list[Relation]]:
    """Relations that have to do with each other, however far around."""
    parent: dict[Cell, Cell] = {}

    def root(cell: Cell) -> Cell:
        parent.setdefault(cell, cell)
        while parent[cell] != cell:
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    some = list(relations)
    for one in some:
        first, *rest = (*one.whole, *one.parts)
        for cell in rest:
            parent[root(cell)] = root(first)
    found: dict[Cell, list[Relation]] = {}
    for one in some:
        found.setdefault(root((*one.whole, *one.parts)[0]), []).append(one)
    return [found[cell] for cell in sorted(found)]


class _Known:
    """The linear program of one group of relations."""

    def __init__(self, group: Sequence[Relation], shown: Shown, rules: Rules) -> None:
        self._cells = sorted({cell for one in group for cell in (*one.whole, *one.parts)})
        self._at = {cell: place for place, cell in enumerate(self._cells)}
        self.hidden = [cell for cell in self._cells if shown[cell] is None]
        self._of: dict[Cell, list[int]] = {cell: [] for cell in self._cells}
        for place, one in enumerate(group):
            for cell in (*one.whole, *one.parts):
                self._of[cell].append(place)
        self._bounds = [
            (0.0, np.inf) if (value := shown[cell]) is None else rules.meant(value) for cell in self._cells
        ]
        self._equal = self._rows([one for one in group if one.exact])
        self._under = self._rows([one for one in group if not one.exact])

    def _rows(self, some: Sequence[Relation]) -> csr_array | None:
        """whole − parts, a row for each relation."""
        if not some:
            return None
        values, rows, columns = [], [], []
        for row, one in enumerate(some):
            for sign, side in ((1.0, one.whole), (-1.0, one.parts)):
                for cell in side:
                    values.append(sign)
                    rows.append(row)
                    columns.append(self._at[cell])
        return csr_array((values, (rows, columns)), shape=(len(some), len(self._cells)))

    def least(self, cell: Cell) -> float:
        """The least that a count can be. Raises `Contradiction`."""
        point = self._solve([cell], 1.0)
        return 0.0 if point is None else float(point[self._at[cell]])

    def most(self, cell: Cell) -> float:
        """The most that a count can be; infinity where there is no end. Raises `Contradiction`."""
        point = self._solve([cell], -1.0)
        return np.inf if point is None else float(point[self._at[cell]])

    def narrow(self, width: float) -> list[Cell]:
        """The hidden counts whose interval is narrower than that. Raises `Contradiction`.

        Every point that is found speaks for all counts. Most are seen to be wide enough by pushing several
        at once that do not stand in each other's way; the rest are asked for one by one.
        """
        low = np.full(len(self._cells), np.inf)
        high = np.full(len(self._cells), -np.inf)

        def push(cells: Sequence[Cell], sign: float) -> bool:
            nonlocal low, high
            point = self._solve(cells, sign)
            if point is not None:
                low, high = np.minimum(low, point), np.maximum(high, point)
            return point is not None

        def wide(cell: Cell) -> bool:
            place = self._at[cell]
            return bool(high[place] - low[place] >= width - _SLACK)

        waiting, rest = list(self.hidden), []
        while waiting:
            apart = self._apart(waiting)
            push(apart, 1.0)
            push(apart, -1.0)
            rest += [cell for cell in apart if not wide(cell)]
            taken = set(apart)
            waiting = [cell for cell in waiting if cell not in taken and not wide(cell)]
        found = []
        for cell in rest:
            if not wide(cell) and push([cell], -1.0) and not wide(cell):
                push([cell], 1.0)
                if not wide(cell):
                    found.append(cell)
        return found

    def _apart(self, cells: Sequence[Cell]) -> list[Cell]:
        """Some of these, no two of which stand in one relation."""
        taken: set[int] = set()
        found = []
        for cell in cells:
            if taken.isdisjoint(self._of[cell]):
                taken.update(self._of[cell])
                found.append(cell)
        return found

    def _solve(self, cells: Sequence[Cell], sign: float) -> "Point | None":
        """The point where these together are least (1) or most (-1); None where there is no end.

        Raises `Contradiction`.
        """
        wanted = np.zeros(len(self._cells))
        wanted[[self._at[cell] for cell in cells]] = sign
        solved = linprog(
            wanted,
            A_ub=self._under,
            b_ub=None if self._under is None else np.zeros(self._under.shape[0]),
            A_eq=self._equal,
            b_eq=None if self._equal is None else np.zeros(self._equal.shape[0]),
            bounds=self._bounds,
            method="highs",
        )
        if solved.status == _UNBOUNDED:
            return None
        if solved.x is None:
            raise Contradiction("what is shown contradicts what adds up")
        return np.asarray(solved.x)
