"""A folder that is watched: what is whole in it is taken once, in order, and lies in `done` afterwards.

    folder/        an agency puts its files here
    folder/taken/  what the hub is reading; a restart goes on with it
    folder/done/   what the hub has read, each with its result beside it

A file moves by renaming, so that it is in one place at any moment, and gets the time at which it was taken
in front of its name, so that another one of the same name is another file. What is still being written is
left alone: names that end in `.part`, `.tmp` or `.filepart`, or begin with a dot, and whatever changed a
moment ago. Links are not followed.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from schemas import crash

TAKEN: Final = "taken"
DONE: Final = "done"
RESULT: Final = ".result.csv"
UNFINISHED: Final = (".part", ".tmp", ".filepart")
entries_max: Final = 10_000  # that are looked at in one round
name_chars_max: Final = 200


def stamped(name: str, now_ns: int) -> str:
    """A file's name with the time (nanoseconds since 1970) in front, in UTC: sorts by time."""
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return f"{at:%Y%m%dT%H%M%S}.{now_ns % 1_000_000_000:09d}Z-{name}"


def plain(name: str) -> str:
    """A taken file's name as the agency gave it."""
    return name.partition("Z-")[2]


def waits(name: str) -> bool:
    """Whether a file of this name may be taken at all, by its name."""
    return not name.startswith(".") and not name.endswith(UNFINISHED) and len(name) <= name_chars_max


class Settling:
    """Knows of files for how long they have stayed the same. In: how long makes them whole, and a clock."""

    def __init__(self, settle_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_ms = settle_ms
        self._clock = clock
        self._seen: dict[str, tuple[object, float]] = {}

    def whole(self, looks: dict[str, object]) -> list[str]:
        """The names that have looked the same for long enough. In: each name, and what it looks like now."""
        now = self._clock()
        seen = {}
        for name, look in looks.items():
            before, since = self._seen.get(name, (None, now))
            seen[name] = (look, since if before == look else now)
        self._seen = seen
        return [name for name, (_, since) in seen.items() if (now - since) * 1000 >= self._settle_ms]


class Folder:
    """One watched folder. Only one process may use it at a time."""

    def __init__(self, path: Path, settle_ms: int, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self.taken = path / TAKEN
        self.done = path / DONE
        self._settling = Settling(settle_ms)
        self._now_ns = now_ns

    def prepare(self) -> None:
        """Makes what is missing. Raises `OSError`."""
        for folder in (self.taken, self.done):
            folder.mkdir(exist_ok=True)

    def next(self) -> Path | None:
        """The file to read now: one that was begun, else the oldest that is whole; this takes it.

        Raises `OSError`.
        """
        there = {entry.name for entry in _files(self.taken)}
        for name in there:  # whose file was moved when something ended
            if name.endswith(RESULT) and name.removesuffix(RESULT) not in there:
                os.rename(self.taken / name, self.done / name)
        begun = sorted(name for name in there if not name.endswith(RESULT))
        if begun:
            return self.taken / begun[0]
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in _files(self.path)}
        names = self._settling.whole({name: (one.st_size, one.st_mtime_ns) for name, one in found.items()})
        if not names:
            return None
        oldest = min(names, key=lambda name: (found[name].st_mtime_ns, name))
        target = self.taken / stamped(oldest, self._now_ns())
        os.rename(self.path / oldest, target)
        _persist(self.taken)
        return target

    def finish(self, file: Path) -> None:
        """Moves a file that was read, and then its result, which lies beside it from then on.

        In this order: what is in `taken` without its result is read from its beginning. Raises `OSError`.
        """
        result = result_of(file)
        os.rename(file, self.done / file.name)
        crash.point("files-moved")
        os.rename(result, self.done / result.name)
        _persist(self.done)


def result_of(file: Path) -> Path:
    """Where the result of a taken file is."""
    return file.with_name(file.name + RESULT)


def open_plain(file: Path) -> BinaryIO:
    """A file's bytes. Raises `OSError`, also where it is no plain file: a link put there meanwhile, say."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a plain file")
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for _, entry in zip(range(entries_max), entries, strict=False):
            if waits(entry.name) and entry.is_file(follow_symlinks=False):
                yield entry


def _persist(folder: Path) -> None:
    """Makes renames in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
