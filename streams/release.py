"""One publication: the counts of one measure and month, as anybody may see them. Pure.

Values that few state are taken together before anything is hidden. Every kind and value that there could be
has a cell, so that a missing one says nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from streams import measures
from streams.cells import DEFAULT, OTHER, Cell, Release, Rules, Shown
from streams.measures import DIMENSIONS, TOTAL, Measure
from streams.person import NOT_STATED
from streams.suppression import control
from streams.tallies import HANDOFFS, LATEST

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
) -> Release:
    """What may be published of a measure and month.

    In: the true counts of the month, whatever measures; what was published of the month before, by series.
    """
    told = next((one.values for one in earlier.values()), None) or values(counts, rules)
    published: Shown = {cell: n for one in earlier.values() for cell, n in one.cells.items()}
    full = _empty(row, month, categories, told)
    for one, n in counts.items():
        if one[0] != row.series:
            continue
        value = one[4] if one[3] == TOTAL or one[4] in told[one[3]] else OTHER
        cell = (*one[:4], value)
        if cell in full:
            full[cell] += n
    known = measures.relations(rows, [*full, *published])
    return Release(told, control(full, known, rules, published))


def _empty(
    row: Measure, month: str, categories: Collection[str], told: Mapping[str, Sequence[str]]
) -> dict[Cell, int]:
    found: dict[Cell, int] = {}
    for kind in dict.fromkeys(kinds(row, categories)):
        found[measures.cell(row.series, month, kind)] = 0
        for name, some in told.items():
            found |= {measures.cell(row.series, month, kind, name, value): 0 for value in some}
    return found
