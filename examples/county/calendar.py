"""Instants of the county: milliseconds since 1970, and the RFC 3339 text of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
COUNTY = ZoneInfo("America/Los_Angeles")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: int) -> str:
    """Milliseconds since 1970 as RFC 3339 text in UTC, with three digits of fraction."""
    text = (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def local(moment: int) -> datetime:
    """The county's clock at an instant."""
    return (EPOCH + timedelta(milliseconds=moment)).astimezone(COUNTY)


def noon(moment: int) -> int:
    """Noon of the county's day that an instant is in: all that a bare date can say."""
    return _instant(local(moment).replace(hour=12, minute=0, second=0, microsecond=0, fold=0))


def local_clock(moment: int) -> int:
    """The instant as the county's clock tells it: of an hour that comes twice, it can mean the first only."""
    return _instant(local(moment).replace(fold=0))


def _instant(told: datetime) -> int:
    return (told - EPOCH) // timedelta(milliseconds=1)
