"""Months and quarters of the calendar, and which of them is the last that is over. Pure."""

from datetime import datetime, tzinfo
from typing import Final, Literal

Every = Literal["month", "quarter"]
MONTHS: Final = {"month": 1, "quarter": 3}


def last(every: Every, now: int, zone: tzinfo) -> str:
    """The newest period that is over by the clocks there, as `2026-03` or `2026-Q1`. In: epoch ms."""
    today = datetime.fromtimestamp(now / 1000, zone)
    number = (today.year * 12 + today.month - 1) // MONTHS[every] - 1
    year, place = divmod(number, 12 // MONTHS[every])
    return f"{year}-{place + 1:02}" if every == "month" else f"{year}-Q{place + 1}"
