"""Instants: RFC 3339 with an offset on the outside, whole milliseconds since 1970 in UTC on the inside."""

import re
from datetime import UTC, datetime, timedelta

from schemas.errors import BadTime

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_PLAIN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MILLISECOND = timedelta(milliseconds=1)
_CHARS_MAX = 64
_NOT_A_TIME = "expected a time as in RFC 3339, with an offset, for example 2026-03-01T09:00:00-08:00"


def parse(text: str) -> int:
    """Milliseconds since the epoch for an RFC 3339 date-time.

    What is finer than a millisecond is cut off. Raises `BadTime` for all else, a missing offset included.
    """
    if not isinstance(text, str) or len(text) > _CHARS_MAX:
        raise BadTime(_NOT_A_TIME)
    if _PLAIN.fullmatch(text) is not None:  # as `format` writes it: the library reads this by itself
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
        except ValueError:
            raise BadTime("no such day or time of day") from None
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise BadTime(_NOT_A_TIME)
    fraction, sign, hours, minutes = match.groups()
    if sign is not None and (int(hours) > 23 or int(minutes) > 59):
        raise BadTime(_NOT_A_TIME)
    try:
        since = datetime.fromisoformat(text[:19]) - _NAIVE_EPOCH  # what is matched has this width
    except ValueError:
        raise BadTime("no such day or time of day") from None
    whole = (since.days * 86_400 + since.seconds) * 1000
    if fraction is not None:
        whole += int((fraction + "00")[:3])
    if sign is None:
        return whole
    offset = (int(hours) * 60 + int(minutes)) * 60_000
    return whole + offset if sign == "-" else whole - offset


def format(ms: int) -> str:
    """An instant as `2026-03-01T17:00:00.000Z`. Raises `BadTime` outside the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise BadTime("outside the years 1 to 9999") from None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
