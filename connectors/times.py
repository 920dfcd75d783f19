"""Local dates and times of other systems, as RFC 3339 with an offset."""

import re
from datetime import UTC, datetime
from datetime import time as clock
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

NOON: Final = "12:00"
ISO: Final = "iso"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?")
_HOURS: Final = ("%H", "%I", "%X", "%c", "%s")


class Unreadable(Exception):
    """A text that is no time by any of the formats; the detail names the formats, never the text."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def is_zone(name: str) -> bool:
    """Whether the IANA database knows a time zone of this name."""
    try:
        _zone(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def is_clock(text: str) -> bool:
    """Whether a text is a time of day such as `12:00`."""
    try:
        clock.fromisoformat(text)
    except ValueError:
        return False
    return True


def read(text: str, formats: tuple[str, ...], zone: str, time_of_day: str | None, date_only: bool) -> str:
    """A date or time in one of the formats, as RFC 3339, or as `YYYY-MM-DD` with `date_only`.

    A format is one of `strptime`, or `iso` for what XML and FHIR write (ISO 8601, to the day or finer).
    A text without an offset is local to `zone`; one without a time of day is taken at `time_of_day`, noon
    by default. An hour that occurs twice when clocks go back is the first of the two; one that is skipped
    is refused. Raises `Unreadable`.
    """
    for layout in formats:
        dated = _DATE.fullmatch(text) if layout == ISO else None
        try:
            if dated is not None:
                moment = datetime.strptime(text, "%Y-%m-%d%z" if dated[1] else "%Y-%m-%d")
            else:
                moment = datetime.fromisoformat(text) if layout == ISO else datetime.strptime(text, layout)
        except ValueError:
            continue
        if date_only:
            return moment.date().isoformat()
        if dated is not None or (layout != ISO and not any(part in layout for part in _HOURS)):
            moment = datetime.combine(moment.date(), clock.fromisoformat(time_of_day or NOON), moment.tzinfo)
        return _absolute(moment, zone)
    raise Unreadable("bad-time", "expected " + " or ".join(f"`{layout}`" for layout in formats))


def _absolute(moment: datetime, zone: str) -> str:
    if moment.tzinfo is not None:
        return moment.isoformat()
    local = moment.replace(tzinfo=_zone(zone))
    if local.astimezone(UTC).astimezone(_zone(zone)).replace(tzinfo=None) != moment:
        raise Unreadable("no-such-time", "clocks were put forward over this hour")
    return local.isoformat()
