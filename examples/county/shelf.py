"""What arrived at the stakeholders' own systems, on disk, so that a demo that was killed finds it again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.county.journal import Lines, kept


@dataclass(frozen=True)
class Arrival:
    """One delivery as it came in: when it began to (ms since 1970), its idempotency key, what was read.

    `way` is how it came; `place` where it still lies, for what can be read again without coming again.
    """

    stakeholder: str
    key: str
    began_at: int
    body: dict[str, Any]
    way: str = "webhook"
    place: str = ""


class Shelf:
    """All arrivals, each on disk as a JSON line before its sender is answered. Safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.arrivals: dict[tuple[str, str], Arrival] = {}
        self.repeats: Counter[str] = Counter()
        self.changed: list[Arrival] = []
        for one in kept(path):
            self._count(Arrival(**one))
        self.lines = Lines(path)

    def put(self, *arrivals: Arrival) -> None:
        """Keeps deliveries, on disk before it returns. One read again where it lies is no other one."""
        with self.lock:
            fresh = [one for one in arrivals if not self._lies_there(one)]
            if fresh:
                self.lines.add(*map(asdict, fresh))
            for arrival in fresh:
                self._count(arrival)

    def _lies_there(self, arrival: Arrival) -> bool:
        known = self.arrivals.get((arrival.stakeholder, arrival.key))
        return bool(arrival.place) and known is not None and known.place == arrival.place

    def _count(self, arrival: Arrival) -> None:
        known = self.arrivals.get((arrival.stakeholder, arrival.key))
        if known is None:
            self.arrivals[(arrival.stakeholder, arrival.key)] = arrival
            return
        self.repeats[arrival.stakeholder] += 1
        if known.body != arrival.body:
            self.changed.append(arrival)

    def last(self, stakeholder: str, way: str) -> Arrival | None:
        """The newest that came to somebody by a way."""
        mine = (one for one in reversed(self.all()) if (one.stakeholder, one.way) == (stakeholder, way))
        return next(mine, None)

    def all(self) -> list[Arrival]:
        """Every delivery once by its idempotency key, in the order of arrival."""
        with self.lock:
            return list(self.arrivals.values())

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self.all())

    def close(self) -> None:
        """Lets go of the file."""
        self.lines.close()
