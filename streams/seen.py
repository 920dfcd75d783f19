"""Which events of an agency were admitted before, and what they said: its own changelog, folded."""

from typing import Any, Final

from schemas.topics import DAY_MS

window_ms_max: Final = 7 * DAY_MS
events_max: Final = 500_000  # of one agency; the oldest go first, and a repeat of one would be taken as new

_DIGEST_BYTES: Final = 16


class Seen:
    """The ids of one agency's events within the window. About 200 bytes for each."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}  # in the order in which they were admitted

    def apply(self, record: dict[str, Any]) -> None:
        """One decoded `Seen` record."""
        self.add(record["event"], record["fingerprint"], record["at"])

    def add(self, event: str, fingerprint: bytes, at: int) -> None:
        """Remembers an event; forgets those that are too old, or too many. Times in epoch milliseconds."""
        key = event.encode()  # the 16 bytes that it stands for would take as much memory
        self._known.pop(key, None)
        self._known[key] = fingerprint[:_DIGEST_BYTES] + at.to_bytes(8, "big")
        while self._known:
            oldest = next(iter(self._known))
            if len(self._known) <= events_max and _at(self._known[oldest]) >= at - window_ms_max:
                break
            del self._known[oldest]

    def same(self, event: str, fingerprint: bytes, now: int) -> bool | None:
        """Whether this event was admitted before and said the same; None where it was not admitted."""
        found = self._known.get(event.encode())
        if found is None or _at(found) < now - window_ms_max:
            return None
        return found[:_DIGEST_BYTES] == fingerprint[:_DIGEST_BYTES]

    def __len__(self) -> int:
        return len(self._known)


def _at(entry: bytes) -> int:
    return int.from_bytes(entry[_DIGEST_BYTES:], "big")
