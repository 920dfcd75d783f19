"""Reading values that anybody may have written: what is of the wrong type counts as missing."""

from collections.abc import Mapping
from typing import Final

from schemas import instant
from schemas.errors import BadTime

ALL: Final = "*"
TREATING: Final = "class:treating-provider"
NEVER_MS: Final = 1 << 62  # past every instant that RFC 3339 can name
ALWAYS_MS: Final = -NEVER_MS  # before every such instant


def text(value: object) -> str | None:
    """The value if it is a string, the empty one included; else None."""
    return value if isinstance(value, str) else None


def texts(value: object) -> tuple[str, ...]:
    """The strings of a list, in order; nothing of what is not a list."""
    return tuple([item for item in value if isinstance(item, str)]) if isinstance(value, list | tuple) else ()


def moment(value: object) -> int | None:
    """Milliseconds since 1970 of RFC 3339 text with an offset; None for all else."""
    if not isinstance(value, str):
        return None
    try:
        return instant.parse(value)
    except BadTime:
        return None


def mapping(value: object) -> Mapping[object, object]:
    """The value if it is an object with keys, else one without any."""
    return value if isinstance(value, Mapping) else {}


def lineage(category: str) -> tuple[str, ...]:
    """The categories that cover this one: itself, then each that stands above it, nearest first."""
    dots = [place for place, char in enumerate(category) if char == "."]
    return (category, *[category[:place] for place in reversed(dots)])
