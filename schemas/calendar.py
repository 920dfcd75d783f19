"""Days and times of day as the clocks of a place show them, on instants in milliseconds since 1970.

A day before nine in the morning is nine in the morning, also where the clocks changed in between. A time that
a change of clocks skips is taken by the clocks as they were before it; of one that comes twice, the first.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
MINUTES_OF_DAY: Final = 24 * 60


def _local(ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + ms * _MS).astimezone(zone)


def _instant(wall: datetime) -> int:
    return (wall - _EPOCH) // _MS


def days_before(ms: int, days: int, zone: tzinfo) -> int:
    """The instant at which the clocks show the same time of day, so many days earlier (negative: later)."""
    wall = _local(ms, zone) - timedelta(days=days)  # arithmetic of one zone is that of its clocks
    return _instant(wall.replace(fold=0))


def minute_of_day(ms: int, zone: tzinfo) -> int:
    """Minutes after midnight that the clocks show."""
    wall = _local(ms, zone)
    return wall.hour * 60 + wall.minute


def last_at(ms: int, minute: int, zone: tzinfo) -> int:
    """The latest instant, not after `ms`, at which the clocks showed that many minutes after midnight."""
    wall = _local(ms, zone).replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0, fold=0)
    found = _instant(wall)
    return found if found <= ms else days_before(found, 1, zone)


def within(ms: int, start: int, end: int, zone: tzinfo) -> bool:
    """Whether the clocks show a time from `start` on and before `end`, which may be past midnight.

    Both in minutes after midnight; the same twice is no time at all.
    """
    now = minute_of_day(ms, zone)
    return start <= now < end if start <= end else now >= start or now < end
