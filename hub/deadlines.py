"""By when a participant's request has to be answered. Pure: no clock, no log.

Days are calendar days at the program's place, and a deadline is the last millisecond of its day: a request of
the evening has as much time as one of the morning, and no change of the clocks moves it by an hour.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from schemas.errors import Invalid

ACCOUNTING: Final = "accounting"
PART2_LIST: Final = "part2-list"
DISSEMINATION: Final = "dissemination-log"
COPY: Final = "copy"
CORRECTION: Final = "correction"
ERASURE: Final = "erasure"


class Right(NamedTuple):
    """What somebody may ask for: how many days there are to answer, and how many more, once, with a written
    reason (0 for none); how many years back it reaches (None for all there is); the rule that says so."""

    days: int
    more_days: int
    years: int | None
    source: str


RIGHTS: Final[Mapping[str, Right]] = {
    ACCOUNTING: Right(60, 30, 6, "45 CFR 164.528"),
    PART2_LIST: Right(30, 0, 3, "42 CFR 2.24"),
    DISSEMINATION: Right(30, 0, None, "RCW 10.97"),  # which names no days: as soon as for the list above
    COPY: Right(30, 30, None, "45 CFR 164.524"),
    CORRECTION: Right(60, 30, None, "45 CFR 164.526"),
    ERASURE: Right(45, 45, None, "RCW 19.373.040"),  # where that does not bind, it is the program's own word
}


def right(kind: str) -> Right:
    """What is known of a kind of request. Raises `Invalid` for one that there is none of."""
    if kind not in RIGHTS:
        raise Invalid.one("/kind", "unknown-kind", f"a request is one of {', '.join(RIGHTS)}")
    return RIGHTS[kind]


def due(kind: str, filed_at: int, zone: tzinfo, *, extended: bool = False) -> int:
    """The last millisecond in which a request is answered in time.

    In: when it was received, in epoch milliseconds; the zone of the program's place; whether the one
    extension was taken. Raises `Invalid` for an unknown kind, and where there is no extension to take.
    """
    of = right(kind)
    if extended and not of.more_days:
        raise Invalid.one("/kind", "no-extension", f"{of.source} knows no extension")
    day = datetime.fromtimestamp(filed_at / 1000, zone).date()
    after = day + timedelta(days=of.days + (of.more_days if extended else 0) + 1)
    return int(datetime.combine(after, time.min, zone).timestamp() * 1000) - 1
