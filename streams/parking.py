"""Events about people whom nobody has linked yet: sealed, in order, until somebody does, or too late.

They are sealed under a key of the hub that is destroyed by age. What nobody has linked `waits_ms_max` after
it came is given up before that, so nothing is kept that can be neither opened nor explained.
"""

from collections import deque
from typing import Any, Final, NamedTuple

from schemas.topics import DAY_MS

waits_ms_max: Final = 83 * DAY_MS  # a week less than the key lives
events_max: Final = 50_000  # of one agency
bytes_max: Final = 64 * 1024 * 1024  # of one agency


class Waiting(NamedTuple):
    """One event that waits. `sealed` opens to the CloudEvent as JSON."""

    event: str
    at: int
    consent_at_least: int | None
    sealed: bytes


class Parking:
    """What waits of one agency, by the keyed hash of its local id."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Waiting]] = {}
        self._events = 0
        self._bytes = 0

    def apply(self, record: dict[str, Any]) -> None:
        """One decoded `Parked` record: an event that waits, or that it waits no more."""
        local = record["local"]
        if not record["released"]:
            self.add(
                local, Waiting(record["event"], record["at"], record["consent_at_least"], record["sealed"])
            )
            return
        kept = [one for one in self._waiting.get(local, ()) if one.event != record["event"]]
        self.take(local)
        for one in kept:
            self.add(local, one)

    def full(self, size: int) -> bool:
        """Whether one more event of so many bytes would be too much."""
        return self._events >= events_max or self._bytes + size > bytes_max

    def add(self, local: str, one: Waiting) -> None:
        """Lets one more wait, behind those of the same person."""
        self._waiting.setdefault(local, deque()).append(one)
        self._events += 1
        self._bytes += len(one.sealed)

    def take(self, local: str) -> list[Waiting]:
        """Takes out what waits for a person, in the order in which it came."""
        found = list(self._waiting.pop(local, ()))
        self._events -= len(found)
        self._bytes -= sum(len(one.sealed) for one in found)
        return found

    def overdue(self, before: int, most: int) -> list[tuple[str, Waiting]]:
        """Takes out what came before an instant, in epoch milliseconds, at most so many; with its person."""
        late = [local for local, waiting in self._waiting.items() if waiting[0].at < before]
        found: list[tuple[str, Waiting]] = []
        for local in late:
            for one in self.take(local):
                if one.at < before and len(found) < most:
                    found.append((local, one))
                else:
                    self.add(local, one)
        return found

    def oldest(self) -> int | None:
        """When the first of those that wait came, in epoch milliseconds; None where nothing waits."""
        return min((waiting[0].at for waiting in self._waiting.values()), default=None)

    def __contains__(self, local: object) -> bool:
        return local in self._waiting

    def __len__(self) -> int:
        return self._events

    def locals(self) -> list[str]:
        """For whom something waits."""
        return list(self._waiting)
