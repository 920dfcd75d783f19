"""The tree that grows: its right edge in memory, everything else in files.

What is in the files after `save` is enough to go on from; what was added since is in `ledger`, from which all
of it can be built again, byte for byte.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.ledger import merkle
from hub.ledger.commitment import SOURCES
from hub.ledger.merkle import leaf_hash
from hub.ledger.places import Place, Places
from hub.ledger.tiles import ENTRIES, ENTRY_BYTES, TILE_BYTES, WIDTH, Folder, bundle, needed, over, whole
from streams.errors import Corrupt

STATE: Final = "state.json"
CHECKPOINT: Final = "checkpoint"
UNSAVED_LEAVES_MAX: Final = 65_536
MEND: Final = "move the folder `log` away, and it is built again from the topic `ledger`"


@dataclass(slots=True)
class State:
    """How far the tree has come: leaves, the next offset of `ledger`, and of each partition that has places.

    `signed` is the last checkpoint that was saved: its size and root; `note` the checkpoint itself.
    `cosigned` is how many leaves the witness has seen.
    """

    size: int = 0
    next: int = 0
    positions: dict[Place, int] = field(default_factory=dict)
    signed: tuple[int, bytes] = (0, merkle.EMPTY_ROOT)
    note: str = ""
    cosigned: int = 0

    def dump(self, root: bytes) -> bytes:
        """As JSON, with the tree's root."""
        positions = {f"{topic}/{partition}": at for (topic, partition), at in sorted(self.positions.items())}
        said = {"size": self.size, "root": root.hex(), "next": self.next, "positions": positions}
        said |= {"signed": [self.signed[0], self.signed[1].hex()], "note": self.note}
        return json.dumps(said | {"cosigned": self.cosigned}, indent=1).encode()

    @classmethod
    def load(cls, data: bytes) -> "tuple[State, bytes]":
        """What `dump` gave, with the root. Raises `Corrupt`."""
        try:
            said = json.loads(data)
            positions = {
                (place.rpartition("/")[0], int(place.rpartition("/")[2])): int(at)
                for place, at in said["positions"].items()
            }
            signed = (int(said["signed"][0]), bytes.fromhex(said["signed"][1]))
            state = cls(said["size"], said["next"], positions, signed, said["note"], said["cosigned"])
            return state, bytes.fromhex(said["root"])
        except (ValueError, KeyError, TypeError, IndexError):
            raise Corrupt(f"`{STATE}` of the log cannot be read: {MEND}") from None


class Tree:
    """One tree and its files. Not thread-safe; one process writes, any may read."""

    def __init__(self, path: Path) -> None:
        """Goes on from what is in the folder. Raises `Corrupt` where that is not what was saved."""
        self.folder = Folder(path)
        self.state = State()
        self._edges: list[bytearray] = [bytearray()]
        self._entries = bytearray()
        self._full: list[tuple[int, int, bytes]] = []  # tiles and bundles to be written
        self._numbered: list[tuple[Place, Sequence[int], int]] = []
        self._unsaved = 0
        self._saved = -1
        with contextlib.suppress(FileNotFoundError):
            self._resume((path / STATE).read_bytes())

    def _resume(self, data: bytes) -> None:
        self.state, root = State.load(data)
        size, level = self.state.size, 0
        self._entries = bytearray()
        if width := size % WIDTH:
            raw = self.folder.read(ENTRIES, size // WIDTH, width)
            self._entries += b"".join(raw[at + 2 : at + 2 + ENTRY_BYTES] for at in range(0, len(raw), 34))
        self._edges = []
        while level == 0 or size:
            index, width = divmod(size, WIDTH)
            self._edges.append(bytearray(self.folder.read(level, index, width) if width else b""))
            size, level = index, level + 1
        if self.root() != root or self._leaf_hashes() != bytes(self._edges[0]):
            raise Corrupt(f"the log's files at its {self.state.size} leaves are not what was saved: {MEND}")

    def _leaf_hashes(self) -> bytes:
        """The hashes of the leaves in the bundle that is not full yet."""
        entries = self._entries
        return b"".join(
            leaf_hash(bytes(entries[at : at + ENTRY_BYTES])) for at in range(0, len(entries), ENTRY_BYTES)
        )

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self.state.size

    def add(self, place: Place, offsets: Sequence[int], leaves: Sequence[bytes], first: int) -> None:
        """The next leaves: of records of one partition, at these offsets. Raises `Corrupt` where the first
        is not the next one, or the offsets do not go on from those before.
        """
        if first != self.state.size:
            raise Corrupt(f"`ledger` goes on at leaf {first}, and the tree at {self.state.size}: {MEND}")
        if place[0] not in SOURCES or place[1] < 0 or not leaves:
            raise Corrupt("`ledger` gives places to what gets none")
        before = self.state.positions.get(place, 0)
        for offset, leaf in zip(offsets, leaves, strict=True):
            if offset < before or len(leaf) != ENTRY_BYTES:
                raise Corrupt(f"`ledger` gives `{place[0]}/{place[1]}/{offset}` a place that it cannot have")
            before = offset + 1
            self._entries += leaf
            self._push(0, leaf_hash(leaf))
        self.state.positions[place] = before
        self._numbered.append((place, offsets, first))
        self._unsaved += len(leaves)
        if self._unsaved >= UNSAVED_LEAVES_MAX:
            self._flush()

    def _push(self, level: int, hashed: bytes) -> None:
        if level == len(self._edges):
            self._edges.append(bytearray())
        edge = self._edges[level]
        edge += hashed
        if level == 0:
            self.state.size += 1
        if len(edge) == TILE_BYTES:
            index = (self.state.size >> (8 * (level + 1))) - 1
            self._full.append((level, index, bytes(edge)))
            if level == 0:
                self._full.append((ENTRIES, index, bytes(self._entries)))
                self._entries.clear()
            top = whole(bytes(edge))
            edge.clear()
            self._push(level + 1, top)

    def root(self) -> bytes:
        """The root of everything added."""
        sizes = self.state.size

        def read(level: int, index: int, width: int) -> bytes:
            assert index == sizes >> (8 * (level + 1)), "the root follows from the right edge"
            return bytes(self._edges[level])

        nodes = over(read, sizes)
        return merkle.root(nodes, 0, sizes)

    def root_at(self, size: int) -> bytes:
        """The root when there were `size` leaves, by the files. Raises `Corrupt` for what is missing."""
        return merkle.root(over(self.folder.read, size), 0, size)

    def save(self) -> bytes:
        """Everything added is in the files for good. Out: the root. Raises `OSError`; then what the files say
        was added is less, and still true.
        """
        self._flush()
        size = self.state.size
        if size != self._saved:
            for level, index, width in needed(size):
                if width < WIDTH:
                    self.folder.keep(level, index, bytes(self._edges[level]), width)
            if self._entries:
                width = len(self._entries) // ENTRY_BYTES
                self.folder.keep(ENTRIES, size // WIDTH, bundle(bytes(self._entries)), width)
            self.folder.sync()
            self._saved = size
        root = self.root()
        self.folder.write(STATE, self.state.dump(root))
        self.folder.sync()
        return root

    def keep_for(self, size: int) -> None:
        """Whatever proves the tree of `size` leaves, which was saved, stands under its own name."""
        tiles = [*needed(size), (ENTRIES, size // WIDTH, size % WIDTH or WIDTH)]
        for level, index, width in tiles:
            if width < WIDTH and not self.folder.has(level, index, width):
                self.folder.keep(level, index, self.folder.read(level, index, width), width)
        self.folder.sync()

    def publish(self, note: str) -> None:
        """The checkpoint that auditors may see from now on. Raises `OSError`."""
        self.folder.write(CHECKPOINT, note.encode())
        self.folder.sync()

    def published(self) -> str:
        """The checkpoint that auditors may see; empty where there is none yet."""
        try:
            return (self.folder.path / CHECKPOINT).read_text("utf-8")
        except FileNotFoundError:
            return ""

    def _flush(self) -> None:
        """Writes what is full, and where each record stands; bounds what is in memory."""
        for level, index, data in self._full:
            self.folder.keep(level, index, bundle(data) if level == ENTRIES else data, WIDTH)
        self._full.clear()
        self.folder.sync()
        places = Places(self.folder.path)
        for place, offsets, first in self._numbered:
            places.put(place, offsets, first)
        places.sync()
        self._numbered.clear()
        self._unsaved = 0
