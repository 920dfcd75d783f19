"""Instants, in and out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import instant
from schemas.errors import BadTime

YEARS = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T09:00:00-08:00", 1_772_384_400_000),
        ("2026-03-01t17:00:00z", 1_772_384_400_000),
        ("2026-03-01T17:00:00.1Z", 1_772_384_400_100),
        ("2026-03-01T17:00:00.1239999999999Z", 1_772_384_400_123),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2026-03-01T17:00:00-00:00", 1_772_384_400_000),
        ("0001-01-01T00:00:00+00:00", -62_135_596_800_000),
        ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
    ],
)
def test_times_are_milliseconds_and_finer_is_cut_off(text: str, ms: int) -> None:
    assert instant.parse(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-03-01", "2026-03-01T09:00:00", "2026-03-01 09:00:00Z", "2026-03-01T09:00Z",
        "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z",
        "2026-03-01T09:00:00+24:00", "2026-03-01T09:00:00+08:60", "2026-03-01T09:00:00+0800",
        "2026-03-01T09:00:00,5Z", "2026-03-01T09:00:00.Z", "0000-01-01T00:00:00Z", "20260301T090000Z",
        "2026-W09-7T09:00:00Z", "٢٠٢٦-03-01T09:00:00Z", " 2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z\n",
        "2026-03-01T09:00:00." + "0" * 80 + "Z", "the day she moved",
    ],
)  # fmt: skip
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(BadTime) as caught:
        instant.parse(text)
    assert caught.value.code == "bad-time"
    assert caught.value.detail.startswith(("expected a time as in RFC 3339", "no such day"))


@pytest.mark.parametrize("value", [None, 5, b"2026-03-01T09:00:00Z", ["2026-03-01T09:00:00Z"]])
def test_no_other_type_is_a_time(value: object) -> None:
    with pytest.raises(BadTime):
        instant.parse(value)  # type: ignore[arg-type]


@given(YEARS)
def test_what_is_written_is_read_back(ms: int) -> None:
    assert instant.parse(instant.format(ms)) == ms


@given(YEARS, st.integers(-1439, 1439), st.integers(0, 999))
def test_an_offset_moves_the_clock_not_the_instant(ms: int, minutes: int, finer: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms, microseconds=finer)
    try:
        local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        return
    assert instant.parse(local.isoformat()) == ms


@pytest.mark.parametrize("ms", [-62_135_596_800_001, 253_402_300_800_000, 2**63, -(2**63)])
def test_what_lies_outside_the_calendar_is_not_written(ms: int) -> None:
    with pytest.raises(BadTime):
        instant.format(ms)
