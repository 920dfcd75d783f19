"""The hub's own names for what others named: they repeat with what they stand for, and say nothing of it."""

import base64
from collections.abc import Callable
from typing import Final

EVENT_ID: Final = "event-id"


def event_id(mac: Callable[[str, bytes], str], source: str, given: str) -> str:
    """The hub's id of an event: `e-` and 26 letters and digits, from the sender's `source` and `id`.

    In: a keyed hash, from a purpose and data to 64 hexadecimal digits.
    """
    digest = bytes.fromhex(mac(EVENT_ID, f"{source}\0{given}".encode()))
    return "e-" + base64.b32encode(digest[:20]).decode("ascii")[:26].lower()  # of all 32 bytes, the same
