"""Noise on published numbers: OpenDP's own distribution, within a budget, on what is shown alone, once."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import equity, figures
from hub.language import tongue
from streams import measures, noise
from streams.cells import DEFAULT, Cell, Noise, Release
from streams.noise import NoOpenDP, OverBudget, afford, spent
from streams.person import Person
from streams.release import kinds, release, sensitivity
from tests.counted import CATEGORIES, DAY, MONTH, ROWS, envelope, everybody, fields

EPSILONS = st.decimals("0.001", "10", places=3).map(float)
REFERRALS = next(row for row in ROWS.rows if row.id == "referrals")
NOISY = REFERRALS.model_copy(update={"epsilon": 0.5})


def counts() -> dict[Cell, int]:
    """Few by arrest diversion and in district 2, so that some numbers are small."""
    found: Counter[Cell] = Counter()
    for number in range(200):
        person = Person()
        category = "referral.arrest-diversion" if number < 5 else "referral.community"
        race = [] if number % 10 == 0 else ["black" if number % 2 else "white"]
        said = fields("2" if number % 25 == 0 else "1", race)
        person.apply(envelope(f"p{number}", category), said, DAY)
        found.update(person.cells(ROWS, everybody))
    return dict(found)


@given(st.lists(EPSILONS, max_size=60), EPSILONS)
def test_the_budget_is_never_exceeded_and_never_refuses_what_fits(costs: list[float], budget: float) -> None:
    taken: list[float] = []
    for one in costs:
        try:
            afford(taken, one, budget)
        except OverBudget:
            thousandths = round(budget * 1000) - sum(round(each * 1000) for each in taken)
            assert round(one * 1000) > thousandths, "it would have fitted"
        else:
            taken.append(one)
    assert spent(taken) <= spent([budget])


def test_without_a_budget_nothing_is_spent() -> None:
    with pytest.raises(OverBudget, match="privacy_budget"):
        afford([], 0.1, None)
    afford([0.1] * 9, 0.1, 1.0)  # which adds up in tenths, and not in binary fractions
    with pytest.raises(OverBudget):
        afford([0.1] * 10, 0.001, 1.0)


@given(EPSILONS, st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_opendp_itself_says_that_the_noise_keeps_its_epsilon(epsilon: float, people: int) -> None:
    of = noise.noise(epsilon, people)
    mechanism = noise._mechanism(noise._opendp(), of.scale)
    assert mechanism.map(d_in=people) <= epsilon
    assert mechanism.map(d_in=people) >= epsilon * 0.999, "and is no larger than it has to be"


def test_the_noise_is_the_discrete_laplace_distribution() -> None:
    of = noise.noise(0.5, 5)
    found = Counter(noise.drawn([100] * 20_000, of))
    alpha = math.exp(-1 / of.scale)
    for away in (0, 1, -1, 5, -5, 12):
        expected = 20_000 * (1 - alpha) / (1 + alpha) * alpha ** abs(away)
        assert abs(found[100 + away] - expected) < 6 * math.sqrt(expected), away
    outside = sum(n for value, n in found.items() if abs(value - 100) > of.within)
    assert outside / 20_000 < 0.05 + 0.01


@given(
    st.sampled_from(ROWS.rows),
    st.lists(st.sampled_from(sorted(CATEGORIES)), min_size=1, max_size=12),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_nobody_is_in_more_numbers_than_the_noise_is_made_for(
    row: measures.Measure, categories: list[str], data: st.DataObject
) -> None:
    words = ["handoff:within-1-day", "handoff:later", "warrant:quashed", "charge:not-filed", "engaged:yes"]
    person = Person()
    for category in categories:
        said = fields(
            data.draw(st.sampled_from("123")), ("a", "b"), data.draw(st.lists(st.sampled_from(words)))
        )
        person.apply(envelope("p", category), said, DAY)
    mine = [cell for cell in person.cells(ROWS, everybody) if cell[:2] == (row.series, MONTH)]
    assert len(mine) <= sensitivity(row, len(set(kinds(row, CATEGORIES))))


def test_noise_is_on_what_is_shown_alone_and_small_cells_stay_hidden() -> None:
    true = counts()
    plain = release(REFERRALS, MONTH, true, CATEGORIES, ROWS.rows, {})
    asked: list[int] = []

    def draw(shown: Sequence[int], of: Noise) -> list[int]:
        asked.extend(shown)
        return [n + 40 for n in shown]

    made = release(NOISY, MONTH, true, CATEGORIES, ROWS.rows, {}, draw=draw)
    assert made.noise is not None
    assert made.cells.keys() == plain.cells.keys()
    for cell, n in plain.cells.items():
        assert (made.cells[cell] is None) == (n is None), "the same numbers are hidden"
        assert made.cells[cell] is None or made.cells[cell] >= n + 35
    assert asked
    assert min(asked) >= DEFAULT.cell_min
    assert Release.of(NOISY.series, MONTH, made.body(DEFAULT)) == made, "the log says what was added"
    down = release(
        NOISY, MONTH, true, CATEGORIES, ROWS.rows, {}, draw=lambda shown, _: [n - 500 for n in shown]
    )
    assert {n for n in down.cells.values() if n is not None} == {15}, (
        "no number tells that it was pushed down"
    )


def test_what_was_published_gets_no_noise_again_and_hides_no_less_of_what_comes_later() -> None:
    true = counts()
    first = next(row for row in ROWS.rows if row.id == "first-service")
    made = release(NOISY, MONTH, true, CATEGORIES, ROWS.rows, {}, draw=lambda shown, _: [9_999] * len(shown))
    after = release(first, MONTH, true, CATEGORIES, ROWS.rows, {REFERRALS.series: made})
    sure = release(REFERRALS, MONTH, true, CATEGORIES, ROWS.rows, {})
    same = release(first, MONTH, true, CATEGORIES, ROWS.rows, {REFERRALS.series: sure})
    assert after.cells == same.cells
    assert any(n is not None for n in after.cells.values())

    def never(_shown: Sequence[int], _of: Noise) -> list[int]:
        raise AssertionError("noise on a measure that has none")

    release(REFERRALS, MONTH, true, CATEGORIES, ROWS.rows, {}, draw=never)


def test_readers_are_told_that_there_is_noise_and_rates_are_as_unsure_as_that_makes_them() -> None:
    made = release(NOISY, MONTH, counts(), CATEGORIES, ROWS.rows, {})
    assert made.noise is not None
    series = [figures.Series(NOISY, [(MONTH, made)])]
    assert str(made.noise.within) in str(figures.figure(series[0], tongue("en", "UTC")).noise)
    assert "azar" in str(figures.figure(series[0], tongue("es", "UTC")).noise)
    assert {row["noise"] for row in figures.records(series)} == {made.noise.within}
    residents = equity.Census({"black": 1000, "white": 1000}, "")
    rated = equity.compare(NOISY, MONTH, "community", made, residents, {})
    calm = equity.compare(NOISY, MONTH, "community", made._replace(noise=None), residents, {})
    wide, narrow = (next(line for line in one.lines if line.ratio is not None) for one in (rated, calm))
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low


def test_without_opendp_nothing_is_published_in_place_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with pytest.raises(NoOpenDP, match="pip install opendp"):
        release(NOISY, MONTH, counts(), CATEGORIES, ROWS.rows, {})
