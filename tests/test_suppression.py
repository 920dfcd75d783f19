"""Disclosure control, attacked: a solver gets everything published, and recovers no hidden count.

The attacker is written apart from what is attacked: it puts every month and every table into one system, and
where it has come nearest it looks for whole numbers besides (a mixed-integer program; `control` solves linear
ones).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from streams.cells import Cell, Contradiction, Relation, Rules, Shown, TooMany
from streams.suppression import control, intervals

RULES: Final = Rules()
WIDE_MIN: Final = 9  # whole people: one less than what the linear programs see to
DIMENSIONS: Final = {"district": 4, "race": 4, "gender": 3}
WHOLE_MAX: Final = 12  # counts for which whole numbers are looked for, which takes long
MONTHS: Final = ("2026-01", "2026-02", "2026-03")
QUARTER: Final = "2026-Q1"
MOST: Final = 10_000.0  # nobody takes the county for larger


def attack(shown: Shown, relations: Sequence[Relation], rules: Rules) -> dict[Cell, tuple[float, float]]:
    """The least and most whole number that each hidden count can be, from all that is published."""
    cells = sorted({cell for one in relations for cell in (*one.whole, *one.parts)} | set(shown))
    at = {cell: place for place, cell in enumerate(cells)}
    low, high = np.zeros(len(cells)), np.full(len(cells), np.inf)
    for cell, value in shown.items():
        if value is not None:
            fits = [n for n in range(rules.cell_min, value + 20) if rules.shown(n) == value]
            low[at[cell]], high[at[cell]] = fits[0], fits[-1]
    rows = np.zeros((len(relations), len(cells)))
    for row, one in zip(rows, relations, strict=True):
        row[[at[cell] for cell in one.whole]] = 1
        row[[at[cell] for cell in one.parts]] = -1
    least = np.array([0 if one.exact else -np.inf for one in relations])
    adds_up = [LinearConstraint(rows, least, np.zeros(len(relations)))] if relations else []
    bounds = Bounds(low, np.minimum(high, MOST))

    def ends(cell: Cell, whole: bool) -> tuple[float, float]:
        found = []
        for sign in (1, -1):
            wanted = np.zeros(len(cells))
            wanted[at[cell]] = sign
            kind = np.full(len(cells), int(whole))
            solved = milp(wanted, integrality=kind, bounds=bounds, constraints=adds_up)
            assert solved.x is not None, "the truth itself is a solution"
            found.append(float(solved.x[at[cell]]))
        return found[0], found[1]

    found = {cell: ends(cell, whole=False) for cell, value in shown.items() if value is None}
    nearest = sorted(found, key=lambda cell: found[cell][1] - found[cell][0])[:WHOLE_MAX]
    return found | {cell: ends(cell, whole=True) for cell in nearest}


class County:
    """People with what they are, and what happened to whom in which month: counts that hang together."""

    def __init__(self, seed: int, people: int, kinds: int = 2) -> None:
        dice = np.random.default_rng(seed)
        self.relations: list[Relation] = []
        self.counts: dict[str, dict[Cell, int]] = {}
        what = {
            name: dice.choice(size, people, p=dice.dirichlet(np.full(size, 0.7)))
            for name, size in DIMENSIONS.items()
        }
        helped: dict[str, np.ndarray] = {}
        for month in MONTHS:
            some = dice.random((kinds, people)) < dice.random((kinds, 1)) * 0.7
            self._month(month, some, what)
            helped[month] = some.any(axis=0)
        ever = np.any(list(helped.values()), axis=0)
        self.counts[QUARTER] = self._table("helped", QUARTER, ever, what)
        for cell in self.counts[QUARTER]:
            months = tuple((cell[0], month, *cell[2:]) for month in MONTHS)
            self.relations += [Relation((one,), (cell,), False) for one in months]
            self.relations.append(Relation((cell,), months, False))

    def _month(self, month: str, some: np.ndarray, what: Mapping[str, np.ndarray]) -> None:
        names = [f"kind-{kind}" for kind in range(len(some))]
        counts = self._table("helped", month, some.any(axis=0), what)
        for cell in list(counts):
            kinds = tuple((name, *cell[1:]) for name in names)
            self.relations += [Relation((one,), (cell,), False) for one in kinds]
            self.relations.append(Relation((cell,), kinds, False))
        for name, flags in zip(names, some, strict=True):
            counts |= self._table(name, month, flags, what)
        self.counts[month] = counts

    def _table(
        self, name: str, period: str, flags: np.ndarray, what: Mapping[str, np.ndarray]
    ) -> dict[Cell, int]:
        total = (name, period, "all", "")
        counts = {total: int(flags.sum())}
        for dimension, size in DIMENSIONS.items():
            parts = tuple((name, period, dimension, str(value)) for value in range(size))
            for value, cell in enumerate(parts):
                counts[cell] = int((flags & (what[dimension] == value)).sum())
            self.relations.append(Relation((total,), parts))
        return counts

    def publish(self, rules: Rules) -> dict[Cell, int | None]:
        """Month after month, then the quarter, each knowing what went before."""
        published: dict[Cell, int | None] = {}
        for period in (*MONTHS, QUARTER):
            published |= control(self.counts[period], self.relations, rules, published)
        return published


@pytest.mark.parametrize(("seed", "people"), [(2, 140), (3, 500)])
def test_a_solver_that_has_all_months_and_tables_recovers_nothing(seed: int, people: int) -> None:
    county = County(seed, people)
    published = county.publish(RULES)
    truth = {cell: n for counts in county.counts.values() for cell, n in counts.items()}
    assert all(truth[cell] >= RULES.cell_min for cell, value in published.items() if value is not None)
    assert any(value is not None for value in published.values()), "something is told"
    for cell, (low, high) in attack(published, county.relations, RULES).items():
        assert low - 1e-6 <= truth[cell] <= high + 1e-6, "the attacker knows how to count"
        assert high - low >= WIDE_MIN - 1e-5, f"{cell} is {truth[cell]}, and was narrowed to {low} to {high}"


def test_without_complements_the_same_solver_recovers_much() -> None:
    """That the attack is one: against hiding small counts alone it works."""
    county = County(2, 140)
    truth = {cell: n for counts in county.counts.values() for cell, n in counts.items()}
    exact = Rules(rounding=1)
    naive = {cell: n if n >= exact.cell_min else None for cell, n in truth.items()}
    found = attack(naive, county.relations, exact)
    assert sum(high - low < 1e-5 for low, high in found.values()) > len(found) / 5


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[Cell, int], list[Relation]]:
    """Rows of several sums over one total, some of them within another measure's."""
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=3))
    small = st.one_of(st.integers(0, 15), st.integers(0, 300))
    counts: dict[Cell, int] = {}
    relations = []
    first = draw(st.lists(small, min_size=sizes[0], max_size=sizes[0]))
    total = sum(first)
    counts["a", "all"] = total
    for dimension, size in enumerate(sizes):
        parts = first
        if dimension:
            cuts = sorted(draw(st.lists(st.integers(0, total), min_size=size - 1, max_size=size - 1)))
            parts = [high - low for low, high in zip([0, *cuts], [*cuts, total], strict=True)]
        cells = [("a", str(dimension), str(value)) for value in range(len(parts))]
        counts |= dict(zip(cells, parts, strict=True))
        relations.append(Relation((("a", "all"),), tuple(cells)))
    within = [draw(st.integers(0, n)) for n in first]
    inner = [("b", "0", str(value)) for value in range(len(within))]
    counts |= dict(zip(inner, within, strict=True)) | {("b", "all"): sum(within)}
    relations.append(Relation((("b", "all"),), tuple(inner)))
    relations += [Relation((cell,), (("a", *cell[1:]),), False) for cell in [*inner, ("b", "all")]]
    return counts, relations


@settings(max_examples=25, deadline=None)
@given(tables(), st.sampled_from([1, 5]))
def test_no_table_gives_a_hidden_count_away(
    made: tuple[dict[Cell, int], list[Relation]], rounding: int
) -> None:
    counts, relations = made
    rules = Rules(rounding=rounding)
    published = control(counts, relations, rules)
    assert published.keys() == counts.keys()
    for cell, value in published.items():
        if value is not None:
            assert counts[cell] >= rules.cell_min
            low, high = rules.meant(value)
            assert low <= counts[cell] <= high
    for cell, (low, high) in intervals(published, relations, rules).items():
        assert low <= counts[cell] + 1e-6
        assert high >= counts[cell] - 1e-6
        assert high - low >= rules.interval_min - 1e-5


@given(st.integers(11, 10_000), st.sampled_from([1, 2, 5, 10]), st.sampled_from([5, 11, 20]))
def test_a_rounded_count_stands_for_those_that_round_to_it(n: int, rounding: int, least: int) -> None:
    rules = Rules(least, 10, rounding)
    n = max(n, least)
    low, high = rules.meant(rules.shown(n))
    assert low <= n <= high
    assert [rules.shown(one) for one in (low, high)] == [rules.shown(n)] * 2
    assert rules.shown(high + 1) != rules.shown(n)
    assert low == least or rules.shown(low - 1) != rules.shown(n)
    assert rules.shown(n) >= least


def test_a_district_with_one_participant_takes_a_second_one_with_it() -> None:
    counts = {("all",): 101, ("north",): 60, ("south",): 40, ("east",): 1}
    sums = [Relation((("all",),), (("north",), ("south",), ("east",)))]
    assert control(counts, sums) == {("all",): 100, ("north",): 60, ("south",): None, ("east",): None}


def test_a_race_category_of_two_hides_as_much_as_it_takes_and_no_more() -> None:
    counts = {("all",): 82, ("a",): 50, ("b",): 14, ("c",): 2, ("d",): 16}
    sums = [Relation((("all",),), (("a",), ("b",), ("c",), ("d",)))]
    shown = control(counts, sums)
    assert shown[("c",)] is None
    assert shown[("b",)] is None, "the next smallest"
    assert shown[("a",)] == 50
    assert shown[("d",)] == 15


def test_two_small_ones_alone_are_not_enough_when_their_sum_is_small() -> None:
    counts = {("all",): 53, ("a",): 50, ("b",): 1, ("c",): 2}
    shown = control(counts, [Relation((("all",),), (("a",), ("b",), ("c",)))])
    assert shown == {("all",): 55, ("a",): None, ("b",): None, ("c",): None}


def test_what_was_published_is_final_and_the_next_takes_heed_of_it() -> None:
    month = {("jan", "x"): 30, ("jan", "y"): 14}
    earlier = control(month, [])
    quarter = {("q", "x"): 32, ("q", "y"): 17, ("q", "z"): 3, ("q", "all"): 52}
    relations = [
        Relation((("q", "all"),), (("q", "x"), ("q", "y"), ("q", "z"))),
        Relation((("jan", "x"),), (("q", "x"),), False),
        Relation((("jan", "y"),), (("q", "y"),), False),
    ]
    shown = control(quarter, relations, RULES, earlier)
    later = control({**month, ("jan", "y"): 16, **quarter}, relations, RULES, {**earlier, **shown})
    assert later == {**earlier, **shown}, "said again, whatever came late, it says the same"
    known = intervals({**earlier, **shown}, relations)
    assert all(high - low >= RULES.interval_min for low, high in known.values())


def test_of_what_contradicts_itself_enough_is_hidden_that_it_does_not_any_more() -> None:
    counts = {("all",): 100, ("a",): 20, ("b",): 30, ("c",): 5}
    relations = [
        Relation((("all",),), (("a",), ("b",))),
        Relation((("c",),), (("a",),), False),
    ]
    naive = {cell: n if n >= RULES.cell_min else None for cell, n in counts.items()}
    with pytest.raises(Contradiction):
        intervals(naive, relations)
    known = intervals(control(counts, relations), relations)
    assert len(known) >= 2
    assert all(high - low >= RULES.interval_min for low, high in known.values())


def test_a_publication_is_bounded() -> None:
    with pytest.raises(TooMany):
        control({(str(n),): 50 for n in range(20_001)}, [])
