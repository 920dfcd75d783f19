"""Whether anything was changed: `ledger` against every checkpoint in it, the log's files against `ledger`,
and every record against its leaf.

The tree is built again from `ledger` in a folder of its own. What differs is named, and looking goes on.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

from hub.ledger.commitment import SOURCES, Recorded, Salts, commitment, recorded
from hub.ledger.note import NoteInvalid, Verifier
from hub.ledger.places import Place
from hub.ledger.reading import Found
from hub.ledger.tiles import ENTRIES, LEVELS_MAX, WIDTH, Folder, name, widths
from hub.ledger.tree import CHECKPOINT, Tree
from schemas import codec
from schemas.errors import Erased, HubError
from streams.errors import Corrupt

_ROW: Final = struct.Struct(">Q32s")


class Topics(Protocol):
    """What there is to read: `hub.ledger.reading.Topics`."""

    def partitions(self, topic: str) -> list[int]:
        """A topic's partitions. Raises `Unavailable`."""

    def read(self, topic: str, partition: int) -> Iterator[Found]:
        """Every record of a partition, in order. Raises `Unavailable`."""


class Finding(NamedTuple):
    """What is not as it should be: a file, a record or a row by its name, and in which way."""

    where: str
    why: str


@dataclass(slots=True)
class Counts:
    """What was looked at. `erased` are records whose salt is gone, `waiting` those that have no place yet."""

    leaves: int = 0
    checkpoints: int = 0
    records: int = 0
    erased: int = 0
    waiting: int = 0


class Check:
    """One look at everything."""

    def __init__(self, topics: Topics, path: Path, scratch: Path, verifier: Verifier, salts: Salts) -> None:
        """In: the topics; the log's folder; an empty one, for as much as the log itself takes; what
        verifies its checkpoints; what makes salts.
        """
        self.counts = Counts()
        self._topics = topics
        self._folder = Folder(path)
        self._scratch = scratch
        self._verifier = verifier
        self._salts = salts
        self._built = Tree(scratch / "log")
        self._saved: dict[int, bytes] = {}

    def log(self) -> Iterator[Finding]:
        """`ledger`, the checkpoint that is published, and the files. To be done first."""
        yield from self._ledger()
        yield from self._published()
        yield from self._files()

    def _ledger(self) -> Iterator[Finding]:
        files: dict[Place, IO[bytes]] = {}
        try:
            for found in self._topics.read("ledger", 0):
                where = f"ledger/0/{found.offset}"
                try:
                    record = codec.decode_as("Ledger", found.value or b"")
                    if (run := record["run"]) is not None:
                        self._run(run, files)
                except (HubError, Corrupt) as error:
                    yield Finding(where, error.detail)
                    break  # whatever follows has another place than it says
                if (saved := record["checkpoint"]) is not None:
                    self.counts.checkpoints += 1
                    yield from self._signed(where, saved["note"])
        finally:
            for file in files.values():
                file.close()
        self._built.save()
        self.counts.leaves = self._built.size

    def _run(self, run: Mapping[str, Any], files: dict[Place, IO[bytes]]) -> None:
        place = (run["topic"], run["partition"])
        leaves = [(leaf["offset"], leaf["commitment"]) for leaf in run["leaves"]]
        self._built.add(place, [offset for offset, _ in leaves], [leaf for _, leaf in leaves], run["first"])
        if place not in files:
            files[place] = self._rows(place).open("wb")
        files[place].writelines(_ROW.pack(*leaf) for leaf in leaves)

    def _rows(self, place: Place) -> Path:
        return self._scratch / f"{place[0]}-{place[1]}.rows"

    def _signed(self, where: str, note: str) -> Iterator[Finding]:
        try:
            head = self._verifier.checkpoint(note)
        except NoteInvalid as error:
            yield Finding(where, f"the checkpoint in it is not good: {error.detail}")
            return
        if (head.size, head.root) == (self._built.size, self._built.root()):
            self._saved[head.size] = head.root
        else:
            yield Finding(
                where, f"its checkpoint over {head.size} leaves is not that of the records before it"
            )

    def _published(self) -> Iterator[Finding]:
        try:
            head = self._verifier.checkpoint((self._folder.path / CHECKPOINT).read_text("utf-8"))
        except FileNotFoundError:
            if self._saved:
                yield Finding(CHECKPOINT, "is missing")
            return
        except (NoteInvalid, UnicodeDecodeError) as error:
            yield Finding(CHECKPOINT, error.detail if isinstance(error, NoteInvalid) else "is not UTF-8")
            return
        if head.size > self._built.size:
            yield Finding(
                CHECKPOINT, f"is over {head.size} leaves, and `ledger` has {self._built.size}: cut short"
            )
        elif head.size not in self._saved:
            yield Finding(CHECKPOINT, f"over {head.size} leaves was never saved in `ledger`")
        elif head.root != self._saved[head.size]:
            yield Finding(CHECKPOINT, f"over {head.size} leaves is another than the one in `ledger`: a fork")

    def _files(self) -> Iterator[Finding]:
        """Every tile and bundle under the last checkpoint, and those of earlier ones that are still there."""
        size = max(self._saved, default=0)
        for level in range(ENTRIES, LEVELS_MAX):
            full, width = widths(level, size)
            for index in range(full + (1 if width else 0)):
                yield from self._file(level, index, WIDTH if index < full else width)

    def _file(self, level: int, index: int, width: int) -> Iterator[Finding]:
        expected = self._built.folder.read(level, index, width)
        part = len(expected) // width
        try:
            found = self._folder.read(level, index, width)
        except (Corrupt, OSError) as error:
            yield Finding(name(level, index, width), getattr(error, "detail", "cannot be read"))
            return
        for wide, data in [(width, found), *self._others(level, index, width)]:
            if data != expected[: wide * part]:
                at = next(n for n in range(len(data) + 1) if data[n : n + 1] != expected[n : n + 1]) // part
                yield Finding(name(level, index, wide), self._told(level, index * WIDTH + at))

    def _others(self, level: int, index: int, width: int) -> Iterator[tuple[int, bytes]]:
        """Files of the same tile for earlier checkpoints."""
        folder = self._folder.path / f"{name(level, index)}.p"
        for path in sorted(folder.glob("[0-9]*")):
            if path.name.isdecimal() and int(path.name) < width:
                yield int(path.name), path.read_bytes()

    def _told(self, level: int, number: int) -> str:
        if level > 0:
            return f"its hash {number % WIDTH} is not that of the tile below"
        for found in self._topics.read("ledger", 0):
            run = codec.decode_as("Ledger", found.value or b"")["run"]
            if run is not None and number < run["first"] + len(run["leaves"]):
                offset = run["leaves"][number - run["first"]]["offset"]
                return (
                    f"leaf {number}, of `{run['topic']}/{run['partition']}/{offset}`, is not as in `ledger`"
                )
        return f"leaf {number} is not as in `ledger`"

    def records(self, seen: Callable[[Recorded], None]) -> Iterator[Finding]:
        """Every record against its leaf. To be done after `log`. In: what is shown each record besides."""
        for topic in SOURCES:
            for partition in self._topics.partitions(topic):
                yield from self._partition((topic, partition), seen)

    def _partition(self, place: Place, seen: Callable[[Recorded], None]) -> Iterator[Finding]:
        rows = self._placed(place)
        row = next(rows, None)
        for found in self._topics.read(*place):
            try:
                record = recorded(*place, found.offset, found.key, found.value)
            except HubError as error:
                yield Finding(f"{place[0]}/{place[1]}/{found.offset}", error.detail)
                continue
            self.counts.records += 1
            while row is not None and row[0] < record.offset:
                yield _gone(place, row[0])
                row = next(rows, None)
            if row is None:
                self.counts.waiting += 1
            elif row[0] > record.offset:
                yield Finding(record.name, "has no place in the log, and later records have")
            else:
                if not self._opens(record, row[1]):
                    yield Finding(record.name, "is not what its leaf in the log says")
                row = next(rows, None)
            seen(record)
        while row is not None:
            yield _gone(place, row[0])
            row = next(rows, None)

    def _opens(self, record: Recorded, leaf: bytes) -> bool:
        try:
            return commitment(self._salts.of(record), record.statement) == leaf
        except Erased:
            if commitment(self._salts.own(record), record.statement) != leaf:
                self.counts.erased += 1
            return True

    def _placed(self, place: Place) -> Iterator[tuple[int, bytes]]:
        try:
            with self._rows(place).open("rb") as file:
                while data := file.read(_ROW.size):
                    yield _ROW.unpack(data)
        except FileNotFoundError:
            return


def _gone(place: Place, offset: int) -> Finding:
    return Finding(f"{place[0]}/{place[1]}/{offset}", "has its place in the log, and is gone")
