"""Stage `aggregate`: counts people for everybody to see. A Faust app, at human rates, at least once.

What it knows of a participant is sealed under that participant's own key before it goes into the table, and
gone when that key is. It opens two compartments, here and nowhere else: `occurrence` and `equity`. What it
tells is how many people of a partition are in each cell, as a whole and anew: told twice, it is the same.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from consent.counting import counted
from consent.state import State, fold
from schemas import codec, compartments, sealing
from schemas.errors import Erased, Unsealable
from schemas.topics import EVENT_TOPICS, partition_of
from streams import measures, metrics
from streams.cells import Cell
from streams.keys import Sealer
from streams.measures import TOTAL, Measures
from streams.person import Person
from streams.timed import RAW, Timed

APP: Final = "aggregate"
TABLE: Final = "tallied"
OPENED: Final = ("equity", "occurrence")
KEY: Final = "counts"
ANOTHER: Final = "another"
tell_ms: Final = 1_000
mark_ms: Final = 5_000
erased_ms: Final = 30_000
people_per_turn_max: Final = 500  # for whom it is worked out in which cells they are
values_max: Final = 200  # of one row; what fewest say is taken together

_log = structlog.get_logger()


class Vault(Protocol):
    """What it needs of the vault."""

    def sealer(self, participant: str) -> Sealer:
        """Under the participant's data key."""

    def hub(self, purpose: str) -> Sealer:
        """Under a key of the hub's own."""

    def erased(self) -> frozenset[str]:
        """Everybody whose key was destroyed."""


class Known:
    """One participant: what is counted of them, what they restricted, and the cells in which they are."""

    __slots__ = ("cells", "person", "state")

    def __init__(self, person: Person, state: State) -> None:
        self.person = person
        self.state = state
        self.cells: set[Cell] = set()

    def dump(self) -> bytes:
        """As bytes to seal."""
        placed = [one._asdict() for one in self.state.restrictions]
        return json.dumps([placed, json.loads(self.person.dump())], separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> "Known":
        """What `dump` gave."""
        placed, person = json.loads(data)
        return cls(Person.load(json.dumps(person).encode()), _placed(placed))


class Tables:
    """The counts of the partitions held, kept as people's events and restrictions come. No I/O."""

    def __init__(self, rows: Measures, zone: tzinfo, partitions: int) -> None:
        self._rows = rows
        self._zone = zone
        self._partitions = partitions
        self.people: dict[str, Known] = {}
        self._cells: dict[Cell, Cell] = {}  # each name once, however many people are in it
        self.counts: dict[int, dict[str, Counter[Cell]]] = defaultdict(lambda: defaultdict(Counter))
        self.dirty: set[tuple[int, str]] = set()
        self.stale: set[str] = set()  # people whose cells are to be worked out anew

    def put(self, participant: str, known: Known) -> None:
        """What is known of somebody from now on; it counts once `settle` was called."""
        self.people[participant] = known
        self.stale.add(participant)

    def settle(self, people_max: int | None = None) -> None:
        """Works out in which cells people are, of so many whose news is waiting, or all."""
        for participant in list(self.stale)[:people_max]:
            known = self.people[participant]
            found = known.person.cells(self._rows, partial(_counted, known.state))
            cells = {self._cells.setdefault(one, one) for one in found}
            self._count(participant, known.cells, cells)
            known.cells = cells
            self.stale.remove(participant)

    def drop(self, participant: str) -> None:
        """Counts somebody no more."""
        self.stale.discard(participant)
        known = self.people.pop(participant, None)
        if known is not None:
            self._count(participant, known.cells, set())

    def event(self, envelope: Mapping[str, Any], opened: Mapping[str, Mapping[str, Any]]) -> Known | None:
        """Takes an event in. Out: what is known of its participant now, None where that is nothing new."""
        participant = envelope["participant"]
        known = self.people.get(participant) or Known(Person(), fold(()))
        if not known.person.apply(envelope, opened, measures.day(envelope["occurred_at"], self._zone)):
            return None
        self.put(participant, known)
        return known

    def directive(self, directive: Mapping[str, Any]) -> Known | None:
        """Takes a decoded `Directive` in, the same way."""
        if not directive["type"].startswith("restriction-"):
            return None
        participant = directive["participant"]
        known = self.people.get(participant) or Known(Person(), fold(()))
        placed = [_again(one._asdict()) for one in known.state.restrictions]
        state = fold([*placed, json.loads(directive["body"])])
        if state.restrictions == known.state.restrictions:
            return None
        known.state = state
        self.put(participant, known)
        return known

    def _count(self, participant: str, before: set[Cell], after: set[Cell]) -> None:
        place = partition_of(participant, self._partitions)
        for cells, more in ((before - after, -1), (after - before, 1)):
            for one in cells:
                self.counts[place][one[1]][one] += more
                self.dirty.add((place, one[1]))

    def rows(self, partition: int, month: str) -> list[list[Any]]:
        """One month of a partition as series, kind, dimension, value, people; what is rare is together."""
        rare: Counter[Cell] = Counter()
        by_row: dict[tuple[str, ...], list[tuple[int, Cell]]] = defaultdict(list)
        for one, n in self.counts[partition][month].items():
            if n > 0:
                by_row[one[:4]].append((-n, one))
        for found in by_row.values():
            for place, (n, one) in enumerate(sorted(found)):
                named = one if one[3] == TOTAL or place < values_max else (*one[:4], ANOTHER)
                rare[named] -= n
        return [[one[0], *one[2:], n] for one, n in sorted(rare.items())]


class Aggregates(Timed):
    """The app and its table. Months are those of the clocks of `zone`."""

    def __init__(
        self,
        vault: Vault,
        rows: Measures,
        zone: tzinfo,
        bootstrap: str,
        folder: Path,
        instance_id: str,
        partitions: int,
        **faust_settings: Any,
    ) -> None:
        reads = (*EVENT_TOPICS, "consent")
        super().__init__(APP, reads, bootstrap, folder, instance_id, partitions, **faust_settings)
        self._vault = vault
        self._make = partial(Tables, rows, zone, partitions)
        self._tables = self._make()
        self._stale = True
        self._next = {"tell": 0.0, "mark": 0.0, "erased": 0.0}
        raw: dict[str, Any] = {**RAW, "key_type": str}
        self._table = self.app.Table(
            TABLE,
            partitions=partitions,
            changelog_topic=self.app.topic(TABLE, partitions=partitions, compacting=True, **raw),
            key_type=str,
            value_type=bytes,
        )
        self._table.value_serializer = "raw"  # type: ignore[attr-defined]
        self._out = self.app.topic("aggregates", **RAW)
        self.app.agent(self.app.topic(*EVENT_TOPICS, **RAW), name="events")(self._read_events)
        self.app.agent(self.app.topic("consent", **RAW), name="restrictions")(self._read_consent)
        self.app.on_partitions_revoked.connect(self._forget)
        self.app.on_partitions_assigned.connect(self._forget)

    async def _forget(self, *_: Any, **__: Any) -> None:
        """Other partitions than before: what is in memory is made anew from the table."""
        self._stale = True

    async def _read_events(self, stream: Any) -> None:
        await self._take(stream, "events", self._event)

    async def _read_consent(self, stream: Any) -> None:
        await self._take(stream, "consent", self._directive)

    def _event(self, value: bytes) -> None:
        event = codec.decode_as("Event", value)
        envelope = event["envelope"]
        try:
            known = self._now().event(envelope, opened(self._vault, event))
        except (Erased, Unsealable) as error:  # of somebody who was erased nothing is counted
            metrics.UNCOUNTED.labels(error.code).inc()
            return
        self._keep(envelope["participant"], known)

    def _directive(self, value: bytes) -> None:
        directive = codec.decode_as("Directive", value)
        self._keep(directive["participant"], self._now().directive(directive))

    def _keep(self, participant: str, known: Known | None) -> None:
        if known is None:
            return
        try:
            self._table[participant] = self._vault.sealer(participant).seal(_aad(participant), known.dump())
        except Erased:
            self._drop(participant)

    def _drop(self, participant: str) -> None:
        self._tables.drop(participant)
        self._table.pop(participant, None)

    def _now(self) -> Tables:
        """The counts, made from the table where they are not those of the partitions held."""
        if self._stale:
            self._tables = self._make()
            gone = []
            for participant, sealed in list(self._table.items()):
                try:
                    data = self._vault.sealer(participant).open(_aad(participant), sealed)
                except (Erased, Unsealable):
                    gone.append(participant)
                    continue
                self._tables.put(participant, Known.load(data))
            for participant in gone:
                self._table.pop(participant, None)
            self._stale = False
        return self._tables

    async def turn(self) -> None:
        """Tells what has changed, how far it has come, and forgets who was erased."""
        if self.app.in_recovery:
            return
        tables = self._now()
        if self._due("erased", erased_ms):
            for participant in self._vault.erased() & tables.people.keys():
                self._drop(participant)
        tables.settle(people_per_turn_max)
        if self._due("tell", tell_ms):
            told, tables.dirty = tables.dirty, set()
            for partition, month in sorted(told):
                await self._tell(partition, month, tables.rows(partition, month))
        if self._due("mark", mark_ms):
            for partition in await self._caught_up():
                await self._tell(partition, "", [])

    def _due(self, what: str, every_ms: int) -> bool:
        now = time.monotonic()
        if now < self._next[what]:
            return False
        self._next[what] = now + every_ms / 1000
        return True

    async def _tell(self, partition: int, month: str, rows: list[list[Any]]) -> None:
        at = time.time_ns() // 1_000_000
        sealed = self._vault.hub(KEY).seal(aad(partition, month), json.dumps(rows).encode())
        value = {"partition": partition, "month": month, "at": at, "sealed": sealed}
        key = (month or "mark").encode()
        await (await self._out.send(key=key, value=codec.encode("Aggregate", value), partition=partition))

    async def _caught_up(self) -> Iterable[int]:
        """The partitions of which everything that is there is counted and told."""
        if self._tables.dirty or self._tables.stale:
            return []
        consumer, behind, held = self.app.consumer, set(), set()
        for tp in consumer.assignment():
            if tp.topic in self._inputs:
                at, end = await consumer.position(tp), consumer.highwater(tp)
                held.add(tp.partition)
                if at is None or end is None or at < end:
                    behind.add(tp.partition)
        return sorted(held - behind)


def opened(vault: Vault, event: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The compartments of a decoded `Event` that are opened to count it, and no others.

    Raises `Erased` or `Unsealable`.
    """
    envelope, found = event["envelope"], {}
    sealer = vault.sealer(envelope["participant"])
    names = [name for name in OPENED if name in event["sealed"]]
    for name, bound in zip(names, sealing.aads(envelope, names), strict=True):
        found[name] = compartments.decode(sealer.open(bound, event["sealed"][name]))[2]
    return found


def aad(partition: int, month: str) -> bytes:
    """What the counts of a partition and month are bound to."""
    return f"aggregate\0{partition}\0{month}".encode()


def _aad(participant: str) -> bytes:
    return b"tallied\0" + participant.encode()


def _counted(state: State, category: str, labels: Iterable[str]) -> bool:
    return counted(category, tuple(labels), state)


def _again(restriction: Mapping[str, Any]) -> dict[str, Any]:
    lists = {key: list(one) if isinstance(one, tuple) else one for key, one in restriction.items()}
    return {"type": "restriction-placed", "restriction": lists}


def _placed(restrictions: Iterable[Mapping[str, Any]]) -> State:
    return fold([_again(one) for one in restrictions])
