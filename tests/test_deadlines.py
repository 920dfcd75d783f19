"""By when a request is due: calendar days at one place, over month ends and changes of the clocks."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import deadlines
from schemas.errors import Invalid

SEATTLE = ZoneInfo("America/Los_Angeles")
ZONES = (UTC, SEATTLE, ZoneInfo("Pacific/Apia"), ZoneInfo("Africa/Cairo"), ZoneInfo("Australia/Lord_Howe"))


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("kind", "filed", "last_day", "extended_to"),
    [
        ("accounting", "2026-01-31T09:00:00-08:00", "2026-04-01", "2026-05-01"),  # over a February of 28 days
        ("accounting", "2028-01-31T09:00:00-08:00", "2028-03-31", "2028-04-30"),  # and of 29
        ("accounting", "2026-12-31T23:59:59.999-08:00", "2027-03-01", "2027-03-31"),  # over a new year
        ("correction", "2026-01-15T00:00:00-08:00", "2026-03-16", "2026-04-15"),  # into summer time
        ("correction", "2026-09-15T00:00:00-07:00", "2026-11-14", "2026-12-14"),  # and out of it
        ("copy", "2026-02-28T12:00:00-08:00", "2026-03-30", "2026-04-29"),
        ("part2-list", "2026-03-01T00:00:00-08:00", "2026-03-31", None),
        ("dissemination-log", "2026-03-01T00:00:00-08:00", "2026-03-31", None),
        ("erasure", "2026-05-31T18:00:00-07:00", "2026-07-15", "2026-08-29"),
    ],
)
def test_a_request_is_due_at_the_end_of_its_last_day(
    kind: str, filed: str, last_day: str, extended_to: str | None
) -> None:
    last = datetime.fromtimestamp(deadlines.due(kind, ms(filed), SEATTLE) / 1000, SEATTLE)
    assert (last.date().isoformat(), last.strftime("%H:%M:%S.%f")[:12]) == (last_day, "23:59:59.999")
    if extended_to is None:
        with pytest.raises(Invalid) as refused:
            deadlines.due(kind, ms(filed), SEATTLE, extended=True)
        assert refused.value.code == "no-extension"
        return
    later = datetime.fromtimestamp(deadlines.due(kind, ms(filed), SEATTLE, extended=True) / 1000, SEATTLE)
    assert later.date().isoformat() == extended_to


def test_the_day_it_came_in_is_that_of_the_programs_place() -> None:
    """Late in the evening there it is the next day already elsewhere."""
    filed = ms("2026-06-01T23:30:00-07:00")
    here = datetime.fromtimestamp(deadlines.due("copy", filed, SEATTLE) / 1000, SEATTLE)
    there = datetime.fromtimestamp(deadlines.due("copy", filed, UTC) / 1000, UTC)
    assert (here.date(), there.date()) == (date(2026, 7, 1), date(2026, 7, 2))


def test_what_nobody_can_ask_for_has_no_deadline() -> None:
    with pytest.raises(Invalid) as refused:
        deadlines.due("anything", 0, UTC)
    assert refused.value.code == "unknown-kind"


@given(
    st.sampled_from(sorted(deadlines.RIGHTS)),
    st.integers(0, 4_102_444_800_000),  # to 2100
    st.sampled_from(ZONES),
    st.booleans(),
)
def test_there_are_exactly_as_many_whole_days_as_the_rule_says(kind, filed, zone, extended) -> None:  # type: ignore[no-untyped-def]
    of = deadlines.RIGHTS[kind]
    if extended and not of.more_days:
        return
    due = deadlines.due(kind, filed, zone, extended=extended)
    days = of.days + (of.more_days if extended else 0)
    first = datetime.fromtimestamp(filed / 1000, zone).date()
    assert datetime.fromtimestamp(due / 1000, zone).date() == first + timedelta(days=days)
    assert datetime.fromtimestamp((due + 1) / 1000, zone).date() == first + timedelta(days=days + 1)
