"""What is not delivered yet of the partitions owned: in memory, and the same in the topic `pending`.

Every change goes there in the transaction that made it. When so much has been written that a new owner would
read for long, all that is left is written once more, behind a marker, and what lies before is deleted: a
take-over reads what waits, however many deliveries there have been.
"""

from collections.abc import Callable, Collection
from typing import Final

import structlog

from connectors.adapter import History, Out, Record
from connectors.holding import Holding
from connectors.pending import WHOLE, Item, Left, Table
from schemas.errors import Unavailable

log = structlog.get_logger(__name__)

TOPIC: Final = "pending"
waiting_share: Final = 2  # records for each that waits, before all are written once more

Place = tuple[str, int]  # stakeholder, partition


class Stock:
    """Items that wait, those on their way, and recipients that want nothing more."""

    def __init__(self, history: History, held_bytes_max: int, records_max: int) -> None:
        """In: bytes of sealed records kept in memory; records that a partition of `pending` may grow by,
        before what is left is written once more."""
        self.table = Table()
        self.holding = Holding(history, held_bytes_max)
        self._history = history
        self._records_max = records_max
        self._left: dict[int, Left] = {}
        self._flying: dict[tuple[str, int], Item] = {}
        self._touched: dict[bytes, Item] = {}
        self._ended: dict[bytes, Item] = {}
        self._grown: dict[int, int] = {}
        self._end: tuple[int, int] | None = None
        self._cut: tuple[int, int] | None = None

    # -- whose it is

    def begin(self, partition: int) -> None:
        """Know nothing of a partition, until all of `pending` there has been applied."""
        self._left[partition] = Left()
        self._grown[partition] = 0

    def apply(self, record: Record) -> None:
        """One record of `pending`, at assignment. Raises `BrokenRecord`."""
        self._left[record.partition].apply(record)
        self._grown[record.partition] += 1

    def left(self, partition: int) -> Left:
        """What the last owner left there. To be asked for once."""
        return self._left.pop(partition)

    def end(self, partition: int) -> None:
        """Nothing of a partition is ours any more."""
        self._left.pop(partition, None)
        self._grown.pop(partition, None)

    def drop(self, stakeholder: str, partition: int) -> None:
        """Forget everything of one outbox partition, and what was not committed of any."""
        self.table.drop(stakeholder, partition)
        for ref, item in list(self._flying.items()):
            if (item.lane.stakeholder, item.partition) == (stakeholder, partition):
                del self._flying[ref]
                self.table.landed(item)
        for name, item in list(self._ended.items()):
            if (item.lane.stakeholder, item.partition) == (stakeholder, partition):
                del self._ended[name]
        self.holding.recount(self.table)
        self._touched = {}
        self._end = self._cut = None

    # -- what becomes of it

    def touch(self, item: Item) -> None:
        """It has changed: it is to be written."""
        self._touched[item.ref] = item

    def add(self, item: Item) -> None:
        """A new one, behind the others of its lane."""
        self.table.add(item)
        self.touch(item)

    def refuse(self, ended: Item) -> None:
        """Know that a recipient wants nothing more: its `Item.endpoint`."""
        self._ended[ended.ref] = ended

    def still_flying(self, item: Item) -> None:
        """Take up one that this very process is still sending. It must be the first of its lane."""
        self._flying[item.key, item.attempt] = item
        self.table.add_flying(item)

    def send(self, item: Item) -> None:
        """Its next attempt is on its way, as soon as the round stands."""
        self._flying[item.key, item.attempt] = item
        self.table.send(item)

    def landed(self, ref: tuple[str, int]) -> Item | None:
        """An attempt has ended; out: whose it was, None where its partition was taken from us meanwhile."""
        item = self._flying.pop(ref, None)
        if item is not None:
            item.open = False
            self.table.landed(item)
            self.touch(item)
        return item

    def finish(self, item: Item) -> None:
        """It is done."""
        self.holding.release(item)
        self.table.finish(item)

    def wait(self, item: Item) -> None:
        """It is tried again at its `next_at`."""
        self.holding.release(item)
        self.table.wait(item)

    # -- what the log knows of it

    @property
    def long(self) -> bool:
        """Whether all that is left of a partition is to be written once more."""
        return self._end is not None

    def write(self, out: Out, whole: Callable[[int], Collection[str]]) -> set[Place]:
        """Write what has changed. Out: the outboxes that it is about, each of which must send an offset.

        In: `whole`, whose outboxes of a partition are ours, nobody where somebody else has one: what is left
        is known only to him who has all of them.
        """
        places: set[Place] = set()
        if self._end is not None:
            partition = self._end[0]
            mine = whole(partition)
            self._grown[partition] = 0
            if mine:
                self._write_all(partition, out)
                places |= {(stakeholder, partition) for stakeholder in mine}
        for ref, item in self._touched.items():
            places.add((item.lane.stakeholder, item.partition))
            if item.done and not item.stored:
                continue
            out.produce(TOPIC, ref, None if item.done else item.encode(), item.partition)
            self._grown[item.partition] += 1
            item.stored = True
        self._touched = {}
        return places

    def _write_all(self, partition: int, out: Out) -> None:
        out.produce(TOPIC, WHOLE, None, partition)
        for item in (*self._ended.values(), *self.table):
            if item.partition == partition:
                self._touched[item.ref] = item
        self._cut = self._end

    def committed(self) -> None:
        """What was written stands. Deletes what it replaces, and looks whether a partition has grown long.

        Where all of it is to be written, everything before the end of now is replaced. That end is asked for
        here, before governance is brought to its own end once more: whoever had written to that partition
        by then was known to it.
        """
        cut, self._cut, self._end = self._cut, None, None
        if cut is not None:
            self._history.trim(TOPIC, *cut)
        for partition, grown in self._grown.items():
            if grown >= self._records_max and grown >= waiting_share * self.table.waiting(partition):
                try:
                    self._end = partition, self._history.end(TOPIC, partition)
                except Unavailable as error:
                    log.warning("how long `pending` is cannot be known", error=error.code)
                    self._grown[partition] = 0
                return
