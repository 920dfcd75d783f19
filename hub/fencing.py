"""From a directive's place in the log to what it took back. The log is asked, not a table that may lag."""

import json
from typing import Final, NamedTuple

from connectors.fence import Narrowing
from consent import direction
from hub.lookup import Lookup
from schemas import codec

_PREFERENCES_MAX: Final = 10


class Recorded(NamedTuple):
    """A directive that narrows, and who sent it."""

    narrowing: Narrowing
    sender: str


def narrowing(lookup: Lookup, partition: int, offset: int) -> Recorded | None:
    """What the directive at a place of `consent` took back; None where none there narrows.

    Raises `Unavailable` where the log does not answer.
    """
    value = lookup.value("consent", partition, offset)
    if value is None:
        return None
    directive = codec.decode_as("Directive", value)
    if "narrows" not in direction(directive["type"]):
        return None
    body = json.loads(directive["body"])
    return Recorded(
        Narrowing.of_directive(partition, offset, directive["participant"], body), directive["sender"]
    )


def wished_ms(prefer: str, most_ms: int, otherwise_ms: int | None = None) -> int:
    """How long a caller wants to wait, by `Prefer: wait=seconds` (RFC 7240), at most `most_ms`."""
    for part in prefer.split(",")[:_PREFERENCES_MAX]:
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.isdecimal() and len(value) < 6:
            return min(int(value) * 1000, most_ms)
    return most_ms if otherwise_ms is None else otherwise_ms
