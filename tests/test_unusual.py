"""A day beside the same days before: what is odd is found, what varies as it always did is not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.unusual import COUNT_MIN, HOURS, WEEKS, Finding, Hour, days, findings, recipient, sender

UNTIL = 500_000
WEEK = 7 * HOURS


def week(back: int, count: int, labelled: int = 0) -> list[Hour]:
    """A day of that many, so many weeks back, spread over its hours."""
    return [
        Hour(UNTIL - 1 - back * WEEK - hour, count // HOURS + (hour < count % HOURS), labelled // HOURS)
        for hour in range(HOURS)
    ]


def test_a_day_is_compared_with_the_same_day_of_each_week_before_and_no_other() -> None:
    hours = [one for back in range(WEEKS + 3) for one in week(back, 48, 24)]
    between = [Hour(UNTIL - 1 - HOURS - 5, 10_000, 0), Hour(UNTIL, 10_000, 0)]
    assert days([*hours, *between], UNTIL) == [(48, 24)] * (WEEKS + 1)
    assert days(week(0, 48), UNTIL) == [(48, 0)], "there is nothing to compare a first day with"


def test_a_jump_is_found_and_a_day_that_is_a_little_more_is_not() -> None:
    usual = [(98, 0), (110, 0), (95, 0), (102, 0), (90, 0), (105, 0), (99, 0), (101, 0)]
    assert recipient("clinic", [(120, 0), *usual]) == []
    (found,) = recipient("clinic", [(300, 0), *usual])
    assert (found.kind, found.who, found.now, found.usual) == ("volume-jump", "clinic", 300, 100)
    assert recipient("clinic", [(0, 0), *usual]) == [], "that a recipient gets less is for its sender to show"


def test_one_odd_week_neither_hides_another_nor_makes_one() -> None:
    usual = [(100, 0), (100, 0), (9_000, 0), (101, 0), (99, 0), (100, 0), (102, 0), (98, 0)]
    assert recipient("clinic", [(104, 0), *usual]) == []
    assert recipient("clinic", [(400, 0), *usual])[0].usual == 100


def test_labels_that_drop_are_found_though_as_much_is_sent() -> None:
    usual = [(100, 60), (110, 68), (95, 55), (102, 62), (90, 55), (105, 61), (99, 60), (101, 58)]
    assert sender("clinic", [(100, 55), *usual]) == []
    (found,) = sender("clinic", [(100, 5), *usual])
    assert (found.kind, found.now) == ("labels-drop", 0.05)
    assert found.usual == pytest.approx(0.6, abs=0.03)
    (silent,) = sender("clinic", [(0, 0), *usual])
    assert silent.kind == "volume-drop"


@pytest.mark.parametrize("weeks", range(4))
def test_with_too_few_weeks_nothing_is_said(weeks: int) -> None:
    assert recipient("x", [(5_000, 0), *[(10, 0)] * weeks]) == []


@given(st.lists(st.integers(0, COUNT_MIN - 1), min_size=1, max_size=WEEKS + 1))
def test_of_a_few_events_nothing_is_said(counts: list[int]) -> None:
    told = [(one, one) for one in counts]
    assert [one for one in (*recipient("x", told), *sender("x", told)) if one.kind != "labels-drop"] == []


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.lists(
            st.builds(
                Hour, st.integers(UNTIL - 10 * WEEK, UNTIL + 5), st.integers(0, 10**9), st.integers(0, 10**9)
            )
        ),
    )
)
def test_any_numbers_give_findings_in_order_and_no_error(hours: dict[str, list[Hour]]) -> None:
    found = findings(hours, hours, UNTIL)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(isinstance(one, Finding) and one.score >= 3.5 for one in found)


def test_days_that_vary_by_chance_alone_seldom_look_odd() -> None:
    chance = random.Random(7)

    def day() -> tuple[int, int]:
        count = sum(chance.random() < 0.5 for _ in range(400))
        return count, sum(chance.random() < 0.3 for _ in range(count))

    odd = sum(
        bool(sender("x", told) or recipient("x", told))
        for told in ([day() for _ in range(WEEKS + 1)] for _ in range(300))
    )
    assert odd <= 9, "more than three of a hundred quiet days would be called unusual"
