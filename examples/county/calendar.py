"""Instants of the county: milliseconds since 1970, and the RFC 3339 text of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: int) -> str:
    """Milliseconds since 1970 as RFC 3339 text in UTC, with three digits of fraction."""
    text = (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
