"""A decision's bytes taken apart by one pattern, where they are as nearly all of them are.

`raw.recorded` reads whatever a decision may be, field by field. Of the decisions about events as they came in
all have ids of one length, and Python's patterns find their fields in a fifth of the time. What does not
match is no worse a decision: it is read by `raw.recorded`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from schemas import codec, raw

WHENS_MAX: Final = 4_096
TRAITS_MAX: Final = 4_096
_EVENT: Final = codec.header("Event")
_LONG: Final = rb"[\x80-\xff]*[\x00-\x7f]"
_NAMED: Final = rb"[\x00-\x7f]{26}"  # what stands behind the `d-`, `e-` and `p-` of the hub's ids
_BEFORE_ID: Final = rb"[^8]*+(?:8(?!e-)[^8]*+)*+"  # an id begins with its length, and that is an 8
_OTHER_ID: Final = "e-" + "0" * 26
_OTHER: Final = raw.string(_OTHER_ID) + raw.string("") + b"\0" * 3  # of an envelope that is somebody else's

Pattern = re.Pattern[bytes]
Match = re.Match[bytes]


def pattern(topics: Iterable[str], partition: int) -> Pattern:
    """What matches a decision about an event as it came in from this partition of one of these topics, whose
    own id is that of its event.

    Groups 1 to 7: `id` is the event's behind `e-`; `envelope`, and in it `traits`, `participant`, `occurred`;
    `when` as `raw.applied` has it; `outcomes` is all that stands behind. That there are traits is for
    `envelope` to find out. Where these bytes are traits they are all of them, for Avro is self-delimiting,
    and so each field behind them is too.
    """
    places = b"|".join([re.escape(raw.place(topic, partition)) for topic in topics])
    return re.compile(
        b"".join(
            (
                re.escape(codec.header("Decision")),
                rb"\x38d-(?P<id>" + _NAMED + rb")\x02",
                rb"(?P<envelope>(?P<traits>"
                + _BEFORE_ID
                + rb")\x38e-(?P=id)\x38(?P<participant>p-"
                + _NAMED
                + rb")",
                rb"(?P<occurred>" + _LONG + rb")" + _LONG,  # and when it was taken in
                rb"(?:\x00|\x02" + _LONG + rb"))",  # the directive that it waited for
                rb"(?:" + places + rb")" + _LONG,
                rb"(?P<when>" + _LONG * 3 + rb")(?P<outcomes>.*)",
            )
        ),
        re.DOTALL,
    )


def envelope(match: Match) -> raw.Cut | None:
    """The envelope cut up, as an event without content; None where its traits are more than traits.

    Raises `BrokenRecord` where they are less.
    """
    return raw.cut(_EVENT + match["envelope"]) if _whole(match["traits"]) else None


@lru_cache(maxsize=TRAITS_MAX)
def _whole(traits: bytes) -> bool:
    """Whether these are traits and nothing else. Raises `BrokenRecord` where they are less."""
    other = raw.cut(_EVENT + traits + _OTHER)
    return other.envelope[-len(_OTHER) :] == _OTHER and other.id == _OTHER_ID


@lru_cache(maxsize=WHENS_MAX)
def when(data: bytes) -> tuple[int, int, int]:
    """The instant, the consent offset and the governance offset in these bytes."""
    at, consent_offset, governance_offset = _longs(data)
    return at, consent_offset, governance_offset


def instant(data: bytes) -> int:
    """The one number in these bytes."""
    (found,) = _longs(data)
    return found


def _longs(data: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append((value >> 1) ^ -(value & 1))
            value = shift = 0
    return found
