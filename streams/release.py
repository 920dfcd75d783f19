"""One publication: the counts of one measure and month, as anybody may see them. Pure.

Values that few state are taken together before anything is hidden. Every kind and value that there could be
has a cell, so that a missing one says nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from streams import measures
from streams.cells import DEFAULT, OTHER, Cell, Noise, Release, Rules, Shown
from streams.measures import DIMENSIONS, TOTAL, Measure
from streams.noise import drawn, noise
from streams.person import NOT_STATED
from streams.suppression import control
from streams.tallies import HANDOFFS, LATEST

Draw = Callable[[Sequence[int], Noise], list[int]]

WORDS: Final = {
    "engaged": ("yes",),
    "warrant": ("quashed",),
    "charge": ("not-filed",),
    "handoff": (*(name for name, _ in HANDOFFS), LATEST),
}


def kinds(row: Measure, categories: Collection[str]) -> list[str]:
    """Every kind that a measure can have. In: the policy's categories."""
    if row.by == "one":
        return ["people"]
    if row.by == "category":
        return [one.rpartition(".")[2] for one in categories if measures.covers(row.events, one)]
    if row.by == "tally":
        return list(WORDS[row.tally or ""])
    if row.by == "around":
        return ["before", "after"]
    return [row.band(end) for end in row.bands] + [measures.LATER]


def values(counts: Mapping[Cell, int], rules: Rules = DEFAULT) -> dict[str, list[str]]:
    """What is told apart in each dimension: what enough people are somewhere; the rest is one value."""
    found: dict[str, set[str]] = {name: set() for name in DIMENSIONS}
    for one, n in counts.items():
        if one[3] in found and n >= rules.cell_min and one[4] not in (OTHER, NOT_STATED):
            found[one[3]].add(one[4])
    return {name: [*sorted(some), OTHER, NOT_STATED] for name, some in found.items()}


def release(
    row: Measure,
    month: str,
    counts: Mapping[Cell, int],
    categories: Collection[str],
    rows: Sequence[Measure],
    earlier: Mapping[str, Release],
    rules: Rules = DEFAULT,
    draw: Draw = drawn,
) -> Release:
    """What may be published of a measure and month.

    In: the true counts of the month, whatever measures; what was published of the month before, by series;
    what draws noise, for a measure that has some. Raises `NoOpenDP`, `TooMany`.
    """
    told = next((one.values for one in earlier.values()), None) or values(counts, rules)
    together = _together(counts, told)
    published = {cell: n for one in earlier.values() for cell, n in _surely(one, together, rules).items()}
    full = {cell: together[cell] for cell in _empty(row, month, categories, told)}
    known = measures.relations(rows, [*full, *published])
    made = Release(told, control(full, known, rules, published))
    return made if row.epsilon is None else _noisy(row, made, full, rules, draw)


def sensitivity(row: Measure, kinds: int) -> int:
    """In how many numbers of one publication a person can be. In: how many kinds the measure has."""
    return (1 if row.apart else kinds) * (1 + len(DIMENSIONS))


def _noisy(row: Measure, made: Release, counts: Mapping[Cell, int], rules: Rules, draw: Draw) -> Release:
    """With noise on what is shown, rounded afterwards; what is hidden stays so."""
    assert row.epsilon is not None
    of = noise(row.epsilon, sensitivity(row, len({one[2] for one in counts})))
    shown = [cell for cell, n in sorted(made.cells.items()) if n is not None]
    moved = zip(shown, draw([counts[cell] for cell in shown], of), strict=True)
    return Release(made.values, made.cells | {cell: rules.shown(max(n, 0)) for cell, n in moved}, of)


def _surely(one: Release, counts: Mapping[Cell, int], rules: Rules) -> Shown:
    """What was published; of noisy numbers what they would be without noise: so control takes a reader to
    know more than they do, and never less.
    """
    if one.noise is None:
        return one.cells
    return {
        cell: None if n is None else rules.shown(max(counts[cell], rules.cell_min))
        for cell, n in one.cells.items()
    }


def _together(counts: Mapping[Cell, int], told: Mapping[str, Sequence[str]]) -> Counter[Cell]:
    """The counts by the values that are told apart; the rest is one value."""
    found: Counter[Cell] = Counter()
    for one, n in counts.items():
        value = one[4] if one[3] == TOTAL or one[4] in told[one[3]] else OTHER
        found[(*one[:4], value)] += n
    return found


def _empty(
    row: Measure, month: str, categories: Collection[str], told: Mapping[str, Sequence[str]]
) -> list[Cell]:
    found: list[Cell] = []
    for kind in dict.fromkeys(kinds(row, categories)):
        found.append(measures.cell(row.series, month, kind))
        for name, some in told.items():
            found += [measures.cell(row.series, month, kind, name, value) for value in some]
    return found
