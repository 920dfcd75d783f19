"""The log as plain files, laid out as c2sp.org/tlog-tiles has it: any web server could hand them out.

`checkpoint`; `tile/LEVEL/INDEX` with up to 256 hashes, each at level 0 a leaf's, above that a whole tile's
below; `tile/entries/INDEX` with the leaves themselves. What is not full yet has its width in its name,
`.p/W`, and is kept until the full one stands beside it. Files are written beside, synced, and then named.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final

from hub.ledger.merkle import HASH_BYTES, Nodes, complete, node_hash
from streams.errors import Corrupt

WIDTH: Final = 256
LEVEL_BITS: Final = 8
LEVELS_MAX: Final = 8
ENTRIES: Final = -1
ENTRY_BYTES: Final = 32
TILE_BYTES: Final = WIDTH * HASH_BYTES
CACHED_TILES_MAX: Final = 256
SYNCS_MAX: Final = 16  # at once
_LENGTH: Final = ENTRY_BYTES.to_bytes(2, "big")  # before each entry, so says the format


class Missing(Corrupt):
    """A file of the log is not there."""


def name(level: int, index: int, width: int = WIDTH) -> str:
    """Where a tile, or with the level `ENTRIES` a bundle of leaves, stands: `tile/0/x001/234.p/5`."""
    digits = f"{index:03d}" if index < 1000 else f"{index:0{-(-len(str(index)) // 3) * 3}d}"
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    kind = "entries" if level == ENTRIES else str(level)
    return f"tile/{kind}/{path}" + (f".p/{width}" if width < WIDTH else "")


def widths(level: int, size: int) -> tuple[int, int]:
    """How many full tiles a level has in a tree of `size` leaves, and how wide the one after them is."""
    return divmod(size >> (LEVEL_BITS * max(level, 0)), WIDTH)


def bundle(entries: bytes) -> bytes:
    """Leaves of 32 bytes, one after the other, as a bundle has them: each after its length in two bytes."""
    return b"".join(_LENGTH + entries[at : at + ENTRY_BYTES] for at in range(0, len(entries), ENTRY_BYTES))


def inside(hashes: bytes, level: int, index: int) -> bytes:
    """The hash of a complete subtree within a tile. In: the tile; the subtree's level and index in it."""
    row = [
        hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(index << level, (index + 1) << level)
    ]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def whole(hashes: bytes) -> bytes:
    """The hash of a full tile, which stands in the tile above."""
    return inside(hashes, LEVEL_BITS, 0)


def over(read: Callable[[int, int, int], bytes], size: int) -> Nodes:
    """The hashes of complete subtrees of the tree of `size` leaves, from its tiles, which are cached.

    In: what reads a tile by level, index and width.
    """

    @lru_cache(maxsize=CACHED_TILES_MAX)
    def tile(level: int, index: int) -> bytes:
        full, width = widths(level, size)
        return read(level, index, WIDTH if index < full else width)

    def nodes(level: int, index: int) -> bytes:
        above, within = divmod(level, LEVEL_BITS)
        per_tile = LEVEL_BITS - within
        return inside(tile(above, index >> per_tile), within, index & ((1 << per_tile) - 1))

    return nodes


def needed(size: int) -> Iterable[tuple[int, int, int]]:
    """The tiles from which the root of a tree of `size` leaves follows: level, index, width."""
    found = {}
    for level, index in complete(0, size):
        above, within = divmod(level, LEVEL_BITS)
        place = index >> (LEVEL_BITS - within)
        full, width = widths(above, size)
        found[above, place] = WIDTH if place < full else width
    return [(level, index, width) for (level, index), width in found.items()]


class Folder:
    """The files of one log."""

    def __init__(self, path: Path) -> None:
        """In: the folder; made at the first write."""
        self.path = path
        self._drafts: dict[Path, Path] = {}
        self._replaced: list[Path] = []

    def read(self, level: int, index: int, width: int) -> bytes:
        """The first `width` parts of a tile or bundle, from its file or a wider one's.

        Raises `Missing`, or `Corrupt` for a file that has not its length; both name the file.
        """
        part = ENTRY_BYTES + len(_LENGTH) if level == ENTRIES else HASH_BYTES
        for wide in self._wider(level, index, width):
            path = self.path / name(level, index, wide)
            try:
                with path.open("rb") as file:
                    data = file.read(WIDTH * part + 1)
            except FileNotFoundError:
                continue
            if len(data) != wide * part:
                raise Corrupt(f"`{name(level, index, wide)}` has {len(data)} bytes, not {wide * part}")
            return data[: width * part]
        raise Missing(f"`{name(level, index, width)}` is missing")

    def has(self, level: int, index: int, width: int) -> bool:
        """Whether there is a file of exactly this width, or the full one."""
        return any((self.path / name(level, index, each)).is_file() for each in (width, WIDTH))

    def _wider(self, level: int, index: int, width: int) -> Iterator[int]:
        """This width, the full one, and then those of files that are there: one begins as the other."""
        yield from dict.fromkeys((width, WIDTH))
        partial = self._partial(level, index)
        found = (int(path.name) for path in partial.glob("[0-9]*") if path.name.isdecimal())
        yield from sorted(each for each in found if width < each < WIDTH)

    def _partial(self, level: int, index: int) -> Path:
        """The folder of what is not full yet."""
        path = self.path / name(level, index)
        return path.with_name(f"{path.name}.p")

    def write(self, where: str, data: bytes) -> None:
        """Writes one file beside its name, which it gets by `sync`. Raises `OSError`."""
        path = self.path / where
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.write_bytes(data)
        self._drafts[path] = draft

    def keep(self, level: int, index: int, data: bytes, width: int) -> None:
        """Writes one tile or bundle; a full one takes the place of what was there of it before."""
        self.write(name(level, index, width), data)
        if width == WIDTH:
            self._replaced.append(self._partial(level, index))

    def sync(self) -> None:
        """What was written is there for good, each file whole. Raises `OSError`; then some are as they were.

        All are written before any is waited for, and then many at once: a disk takes them together.
        """
        if not self._drafts:
            return
        folders = {self.path}
        with ThreadPoolExecutor(SYNCS_MAX) as pool:
            list(pool.map(_settle, self._drafts.values()))
        for path, draft in self._drafts.items():
            draft.replace(path)
            folders.update((path.parent, *path.parent.parents))
        self._drafts.clear()
        for folder in sorted(folders):
            if folder.is_relative_to(self.path):
                _settle(folder)
        for partial in self._replaced:
            shutil.rmtree(partial, ignore_errors=True)
        self._replaced.clear()


def _settle(path: Path) -> None:
    """What was written to a file, or which names a folder has, is on the disk. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
