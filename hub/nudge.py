"""A nudge to somebody: which kinds there are, and how sending one went."""

from typing import Literal, NamedTuple

Kind = Literal["urgent", "digest"]


class Sent(NamedTuple):
    """How it went. `again` says that it may be tried again, after `after_ms` where the other side said so."""

    ok: bool
    code: str
    again: bool = False
    after_ms: int | None = None
