"""A file's result: a CSV with one line for each of its records, and where reading goes on after a crash.

Nothing that a record said is in it: the line's number, what became of it, codes of ours and names of columns.
It is written behind the records' being stored, and forced to the disk; so at most one batch is sent again
after a crash, under the same ids.
"""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

HEADER: Final = ("file", "line", "status", "event", "quarantine", "codes", "where")


class Result(NamedTuple):
    """What became of one record. `status`: accepted, rejected, unreadable or left-out."""

    file: str
    line: int
    status: str
    event: str = ""
    quarantine: str = ""
    codes: str = ""
    where: str = ""


class Results:
    """The result of one file, opened where it was left. `count` is how many records it tells of."""

    def __init__(self, path: Path) -> None:
        """Cuts off what a crash left half written. Raises `OSError`."""
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640), "r+b")
        lines = end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            lines, end = lines + 1, end + len(line)
        self._file.seek(end)
        self._file.truncate()
        self.count = max(lines - 1, 0)
        if not lines:
            self._write([HEADER])

    def add(self, results: Iterable[Result]) -> None:
        """Writes down what became of the next records, for good."""
        listed = list(results)
        self._write(listed)
        self.count += len(listed)

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _write(self, rows: Iterable[Result | Sequence[str]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            if isinstance(row, Result) and not (row.file or row.quarantine or row.codes or row.where):
                text.write(f",{row.line},{row.status},{row.event},,,\n")  # most of them; nothing to quote
            else:
                writer.writerow([_one_line(cell) for cell in row])
        self._file.write(text.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _one_line(cell: object) -> object:
    return " ".join(cell.split()) if isinstance(cell, str) else cell
