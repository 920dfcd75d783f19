"""How a worker is doing, told by its progress and not by its being alive."""

import math
import time
from dataclasses import dataclass
from typing import Final

Place = tuple[str, int]

_JOINING: Final = -1


@dataclass(frozen=True, slots=True)
class Health:
    """A worker at one moment. `positions` are next offsets (-1 while side inputs are being read); `stuck`
    names the partitions that have had work and made no progress for longer than the bound. `silent_ms` is
    how long ago the worker's loop last went round, `overdue_ms` how long ago the Kafka client should have
    come back from a call that it was given a timeout for.
    """

    stage: str
    ready: bool
    positions: dict[str, int]
    stuck: tuple[str, ...]
    silent_ms: int = 0
    overdue_ms: int = 0


class Progress:
    """Since when each partition has had work that is not done. Written by the worker, read by any thread."""

    def __init__(self, stage: str, stuck_ms_max: int) -> None:
        self._stage = stage
        self._stuck_s = stuck_ms_max / 1000
        self._since: dict[Place, float] = {}
        self._positions: dict[Place, int] = {}
        self._turned = time.monotonic()
        self._promised = math.inf

    def turned(self) -> None:
        """The worker's loop has gone round."""
        self._turned = time.monotonic()

    def promised(self, within_s: float) -> None:
        """The client was asked something that it has to answer in so many seconds; infinity for nothing."""
        self._promised = time.monotonic() + within_s

    def joining(self, place: Place) -> None:
        """Assigned, not yet ready."""
        self._positions[place] = _JOINING
        self._since.setdefault(place, time.monotonic())

    def working(self, place: Place) -> None:
        """There is something to do."""
        self._since.setdefault(place, time.monotonic())

    def done(self, place: Place, position: int) -> None:
        """Everything before this offset is committed."""
        self._positions[place] = position
        self._since.pop(place, None)

    def lost(self, place: Place) -> None:
        """Not ours any more."""
        self._positions.pop(place, None)
        self._since.pop(place, None)

    def health(self) -> Health:
        """The state right now."""
        now = time.monotonic()
        late = {place for place, since in list(self._since.items()) if now - since > self._stuck_s}
        positions = dict(self._positions)
        if now - self._turned > self._stuck_s:
            late |= positions.keys() or {("loop", 0)}
        return Health(
            self._stage,
            not late and _JOINING not in positions.values(),
            {f"{topic}/{partition}": at for (topic, partition), at in sorted(positions.items())},
            tuple(f"{topic}/{partition}" for topic, partition in sorted(late)),
            int((now - self._turned) * 1000),
            int(max(now - self._promised, 0) * 1000),
        )
