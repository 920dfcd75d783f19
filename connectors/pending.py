"""What waits to be delivered: positions in the outboxes, when each is due, and whom it must not overtake.

Bookkeeping in memory, without any I/O. The engine writes every change to the compacted topic `pending`, in
the transaction that made it, so that the next owner finds the same table there.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from connectors.adapter import Record
from schemas import codec
from schemas.errors import BrokenRecord

ENDPOINT_OFFSET: Final = -1  # in place of an outbox offset: the entry is about the recipient itself
WHOLE: Final = b"whole"  # a key: what stands before it is void, all that is left follows


class Lane(NamedTuple):
    """Everything here is delivered in order: one participant and type, to one recipient by one adapter."""

    stakeholder: str
    adapter: str
    participant: str
    type: str


@dataclass(slots=True)
class Item:
    """One delivery that is not done. Times in epoch milliseconds.

    `attempt` counts intents committed. `open` says that the latest has no receipt yet, `since` when it was
    made. `outbound` is the sealed record, where it is still at hand; it can be fetched again by position.
    `stored` says that the topic has an entry for it. `urgent` ones go before others to the same recipient;
    what waits in the same lane before one goes with it.
    """

    lane: Lane
    partition: int
    offset: int
    key: str
    attempt: int = 0
    open: bool = False
    since: int = 0
    next_at: int = 0
    outbound: Mapping[str, Any] | None = None
    bytes_held: int = 0
    stored: bool = False
    done: bool = False
    urgent: bool = False

    @property
    def ref(self) -> bytes:
        """Its key in the topic `pending`."""
        return reference(self.lane.stakeholder, self.lane.adapter, self.partition, self.offset)

    def encode(self) -> bytes:
        """Its value there."""
        return codec.encode(
            "Pending",
            {
                "stakeholder": self.lane.stakeholder,
                "adapter": self.lane.adapter,
                "outbox_partition": self.partition,
                "outbox_offset": self.offset,
                "key": self.key,
                "participant": self.lane.participant,
                "type": self.lane.type,
                "attempt": self.attempt,
                "open": self.open,
                "since": self.since,
                "next_at": self.next_at,
                "urgent": self.urgent,
            },
        )

    @classmethod
    def endpoint(cls, stakeholder: str, adapter: str, partition: int, since: int) -> "Item":
        """The entry that says: since then this recipient wants nothing more."""
        return cls(Lane(stakeholder, adapter, "", ""), partition, ENDPOINT_OFFSET, "", since=since)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Item":
        """The item that a record of `pending` describes."""
        lane = Lane(value["stakeholder"], value["adapter"], value["participant"], value["type"])
        return cls(
            lane,
            value["outbox_partition"],
            value["outbox_offset"],
            value["key"],
            value["attempt"],
            value["open"],
            value["since"],
            value["next_at"] or 0,
            stored=True,
            urgent=value["urgent"],
        )


def reference(stakeholder: str, adapter: str, partition: int, offset: int) -> bytes:
    """The key of an entry of `pending`: a position, and by which adapter it goes out."""
    return f"{stakeholder}/{adapter}/{partition}/{offset}".encode()


class Left:
    """What a partition of `pending` adds up to: the last record of each key counts, since the last `WHOLE`.

    Whoever reads while a part is deleted may have seen an entry and miss that it was removed; `WHOLE`, which
    is never deleted with what it replaces, makes that good.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, bytes] = {}

    def apply(self, record: Record) -> None:
        """Take in one record, in order."""
        if record.key is None:
            raise BrokenRecord("an entry of `pending` has no key")
        if record.key == WHOLE:
            self._last.clear()
        elif record.value is None:
            self._last.pop(record.key, None)
        else:
            self._last[record.key] = record.value

    def items(self) -> list[Item]:
        """What is left, each lane in outbox order."""
        found = [Item.of(codec.decode_as("Pending", value)) for value in self._last.values()]
        return sorted(found, key=lambda item: (item.lane, item.offset))


@dataclass(slots=True)
class _Queue:
    """One recipient by one adapter: lanes whose first item is due, and what is on its way."""

    urgent: OrderedDict[Lane, None] = field(default_factory=OrderedDict)
    ready: OrderedDict[Lane, None] = field(default_factory=OrderedDict)
    in_flight: int = 0


_NONE: Final[Counter[str]] = Counter()


class Table:
    """All items of the partitions that this worker owns."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[Item]] = {}
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._timers: list[tuple[int, int, Lane, Item]] = []
        self._ticket = 0
        self._urgent: Counter[Lane] = Counter()  # items of each lane
        self._count: dict[tuple[str, int], Counter[str]] = {}  # of an outbox partition, by adapter

    def __len__(self) -> int:
        return sum(one.total() for one in self._count.values())

    def __iter__(self) -> Iterator[Item]:
        return (item for lane in self._lanes.values() for item in lane)

    def waits(self, lane: Lane, offset: int) -> bool:
        """Whether an item of that outbox position is among those of a lane."""
        return any(item.offset == offset for item in self._lanes.get(lane, ()))

    def counts(self, stakeholder: str, partition: int) -> Counter[str]:
        """How many items wait in one outbox partition, by each adapter. To be read only."""
        return self._count.get((stakeholder, partition), _NONE)

    def waiting(self, partition: int) -> int:
        """How many items wait in all outboxes of one partition."""
        return sum(one.total() for (_, number), one in self._count.items() if number == partition)

    def recipients(self, *, urgent: bool = False) -> list[tuple[str, str]]:
        """Every (stakeholder, adapter) with something due; or with something urgent."""
        return [name for name, one in self._queues.items() if one.urgent or (one.ready and not urgent)]

    def in_flight(self, recipient: tuple[str, str]) -> int:
        """How many deliveries to a recipient are on their way."""
        queue = self._queues.get(recipient)
        return queue.in_flight if queue else 0

    def busy(self, recipient: tuple[str, str]) -> bool:
        """Whether something is due to a recipient, or on its way."""
        queue = self._queues.get(recipient)
        return queue is not None and bool(queue.urgent or queue.ready or queue.in_flight)

    def next_at(self) -> int | None:
        """When the earliest timer rings, in epoch milliseconds."""
        return self._timers[0][0] if self._timers else None

    def add(self, item: Item) -> None:
        """Put an item behind the others of its lane."""
        lane = self._put(item)
        if len(lane) == 1:
            self._arm(item)

    def add_flying(self, item: Item) -> None:
        """Put in an item that is on its way already. It must be the first of its lane."""
        lane = self._put(item)
        assert len(lane) == 1, "only the first of a lane can be on its way"
        self.send(item)

    def _put(self, item: Item) -> deque[Item]:
        lane = self._lanes.setdefault(item.lane, deque())
        lane.append(item)
        if item.urgent:
            self._urgent[item.lane] += 1
            queue = self._queue(item.lane)
            if item.lane in queue.ready:
                del queue.ready[item.lane]
                queue.urgent[item.lane] = None
        place = (item.lane.stakeholder, item.partition)
        self._count.setdefault(place, Counter())[item.lane.adapter] += 1
        return lane

    def wake(self, now_ms: int) -> None:
        """Make due what was to wait until now."""
        while self._timers and self._timers[0][0] <= now_ms:
            _, _, lane, item = heapq.heappop(self._timers)
            if self._first(lane) is item:
                queue = self._queue(lane)
                (queue.urgent if lane in self._urgent else queue.ready)[lane] = None

    def take(self, recipient: tuple[str, str], *, urgent: bool = False) -> Item | None:
        """The next due item of a recipient, urgent ones first, or nothing else. It must then be sent, put
        back by `wait`, or finished."""
        queue = self._queues[recipient]
        while due := queue.urgent or (queue.ready if not urgent else None):
            item = self._first(due.popitem(last=False)[0])
            if item is not None:
                return item
        return None

    def send(self, item: Item) -> None:
        """The item is on its way."""
        self._queue(item.lane).in_flight += 1

    def landed(self, item: Item) -> None:
        """The item is no longer on its way, whatever came of it."""
        self._queue(item.lane).in_flight -= 1

    def wait(self, item: Item) -> None:
        """Let the item, and its lane behind it, wait until its `next_at`."""
        self._arm(item)

    def finish(self, item: Item) -> None:
        """The item is done. The next one in its lane becomes due."""
        item.done = True
        lane = self._lanes[item.lane]
        first = lane.popleft()
        assert first is item, "only the first of a lane can end"
        self._count[item.lane.stakeholder, item.partition][item.lane.adapter] -= 1
        if item.urgent:
            self._calmed(item.lane)
        if lane:
            self._arm(lane[0])
        else:
            del self._lanes[item.lane]

    def drop(self, stakeholder: str, partition: int) -> None:
        """Forget everything of one outbox partition: somebody else owns it now."""
        gone = {
            lane
            for lane, items in self._lanes.items()
            if (lane.stakeholder, items[0].partition) == (stakeholder, partition)
        }
        for lane in gone:
            del self._lanes[lane]
            self._urgent.pop(lane, None)
            queue = self._queue(lane)
            queue.urgent.pop(lane, None)
            queue.ready.pop(lane, None)
        self._count.pop((stakeholder, partition), None)

    def _calmed(self, lane: Lane) -> None:
        """One urgent item of a lane is done."""
        self._urgent[lane] -= 1
        if not self._urgent[lane]:
            del self._urgent[lane]

    def _arm(self, item: Item) -> None:
        self._ticket += 1
        heapq.heappush(self._timers, (item.next_at, self._ticket, item.lane, item))

    def _first(self, lane: Lane) -> Item | None:
        items = self._lanes.get(lane)
        return items[0] if items else None

    def _queue(self, lane: Lane) -> _Queue:
        return self._queues.setdefault((lane.stakeholder, lane.adapter), _Queue())
