"""The sealed records of what waits: some at hand, within a bound; the others are read again by position."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.adapter import History
from connectors.pending import Item
from schemas import codec, topics


class Holding:
    """Keeps records of the outboxes in memory, at most `bytes_max` of them."""

    def __init__(self, history: History, bytes_max: int) -> None:
        self._history = history
        self._bytes_max = bytes_max
        self._bytes = 0

    def hold(self, item: Item, outbound: Mapping[str, Any], size: int) -> None:
        """Keep the record of an item, if there is room for its `size` in bytes."""
        if self._bytes + size <= self._bytes_max:
            item.outbound, item.bytes_held = outbound, size
            self._bytes += size

    def release(self, item: Item) -> None:
        """Let go of an item's record."""
        self._bytes -= item.bytes_held
        item.outbound, item.bytes_held = None, 0

    def recount(self, items: Iterable[Item]) -> None:
        """Only these are left."""
        self._bytes = sum(item.bytes_held for item in items)

    def fetch(self, picked: Sequence[Item]) -> None:
        """Read again what is not at hand. An item whose record has expired stays without one."""
        missing: dict[tuple[str, int], list[Item]] = {}
        for item in picked:
            if item.outbound is None:
                missing.setdefault((item.lane.stakeholder, item.partition), []).append(item)
        for (stakeholder, partition), items in missing.items():
            offsets = [item.offset for item in items]
            found = self._history.fetch(topics.outbox(stakeholder), partition, offsets)
            for item in items:
                record = found.get(item.offset)
                if record is not None and record.value is not None:
                    item.outbound = codec.decode_as("Outbound", record.value)
