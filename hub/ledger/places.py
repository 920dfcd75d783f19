"""Which leaf a record of the log has: 8 bytes for each offset of each partition, 0 for none.

Only for finding a leaf quickly. Nothing trusts these files: whoever finds a leaf checks that it is the
record's.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = "places"
_NUMBER: Final = struct.Struct(">Q")

Place = tuple[str, int]


class Places:
    """The files of one log."""

    def __init__(self, path: Path) -> None:
        """In: the log's folder."""
        self._path = path / FOLDER
        self._touched: set[Path] = set()

    def find(self, place: Place, offset: int) -> int | None:
        """The leaf of the record at an offset of a partition, counted from 0; None where it has none yet."""
        try:
            with self._file(place).open("rb") as file:
                file.seek(offset * _NUMBER.size)
                data = file.read(_NUMBER.size)
        except FileNotFoundError:
            return None
        if len(data) < _NUMBER.size or not any(data):
            return None
        return int(_NUMBER.unpack(data)[0]) - 1

    def put(self, place: Place, offsets: Sequence[int], first: int) -> None:
        """Records at these rising offsets have the leaves from `first` on. Raises `OSError`."""
        start = offsets[0]
        data = bytearray((offsets[-1] - start + 1) * _NUMBER.size)
        for number, offset in enumerate(offsets, first + 1):
            _NUMBER.pack_into(data, (offset - start) * _NUMBER.size, number)
        path = self._file(place)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.pwrite(handle, data, start * _NUMBER.size) != len(data):
                raise OSError("the disk took only a part of what was written")
        finally:
            os.close(handle)
        self._touched.add(path)

    def sync(self) -> None:
        """What was put is there for good. Raises `OSError`."""
        for path in (*self._touched, self._path, self._path.parent) if self._touched else ():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._touched.clear()

    def _file(self, place: Place) -> Path:
        return self._path / f"{place[0]}-{place[1]}"
