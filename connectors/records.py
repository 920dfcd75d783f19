"""The records of a CSV file, each with the bytes that it was made of.

Read by Python's own reader, a block of whole lines at a time. Where that meets anything unusual (a quote that
is not closed, bytes that are not of the encoding, a line without end) the record in question is read again by
itself, line by line, so that what is wrong costs that record alone.
"""

import csv
import io
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final, NamedTuple

from connectors.rows import record_bytes_max
from schemas.errors import Problem

record_lines_max: Final = 1000
block_bytes: Final = 16 * 1024
_BOM: Final = b"\xef\xbb\xbf"

csv.field_size_limit(record_bytes_max)


class Record(NamedTuple):
    """One record: its first line, its fields, what is wrong with it, its bytes (at least their beginning) and
    how many they were.
    """

    line: int
    fields: list[str]
    problem: Problem | None
    original: bytes
    size: int


class _Source:
    """The bytes of a file by lines. What is given back is read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = b""

    def block(self) -> bytes:
        """Some whole lines; nothing at the end, or where one line fills a block."""
        if len(self._left) < block_bytes:
            self._left += self._stream.read(block_bytes)
        end = self._left.rfind(b"\n") + 1
        block, self._left = self._left[:end], self._left[end:]
        return block

    def line(self, bytes_max: int) -> bytes:
        """The next line with its end, or so much of it; nothing at the end of the file."""
        end = self._left.find(b"\n", 0, bytes_max) + 1 or min(len(self._left), bytes_max)
        line, self._left = self._left[:end], self._left[end:]
        if line.endswith(b"\n") or len(line) >= bytes_max:
            return line
        return line + self._stream.readline(bytes_max - len(line))

    def give_back(self, data: bytes) -> None:
        """Puts bytes back before the rest."""
        self._left = data + self._left


class _Lines(Iterator[str]):
    """The lines of one record as text for `csv`, with their bytes."""

    def __init__(self, source: _Source, encoding: str, *, first: bool) -> None:
        self._source = source
        self._encoding = encoding
        self._first = first
        self.raw: list[bytes] = []
        self.size = 0
        self.cut = False
        self.garbled = False

    def give_back(self) -> None:
        """Puts back all lines but the first, which stays refused."""
        if len(self.raw) > 1:
            self._source.give_back(b"".join(self.raw[1:]))
            self.raw, self.size = self.raw[:1], len(self.raw[0])

    def __next__(self) -> str:
        if len(self.raw) >= record_lines_max or self.size >= record_bytes_max:
            raise StopIteration  # to csv, the quote under way is one that nobody closes
        raw = self._source.line(record_bytes_max - self.size)
        if not raw:
            raise StopIteration
        if self._first and not self.raw:
            raw = raw.removeprefix(_BOM)
        self.raw.append(raw)
        self.size += len(raw)
        if not raw.endswith(b"\n") and self.size >= record_bytes_max:
            self._skip_line()
        try:
            return raw.decode(self._encoding)
        except UnicodeDecodeError:
            self.garbled = True
            return raw.decode(self._encoding, "surrogateescape")

    def _skip_line(self) -> None:
        self.cut = True
        while more := self._source.line(block_bytes):
            self.size += len(more)
            if more.endswith(b"\n"):
                return


def read(stream: BinaryIO, encoding: str, delimiter: str) -> Iterator[Record]:
    """The records of a file, its header the first of them; blank lines are left out."""
    source, line = _Source(stream), 1
    while True:
        record, lines = _careful(source, encoding, delimiter, line)
        if not lines:
            return
        line += lines
        if record is not None:
            yield record
        line = yield from _plain(source, encoding, delimiter, line)


def _plain(source: _Source, encoding: str, delimiter: str, line: int) -> Generator[Record, None, int]:
    """The records of blocks, up to one that needs care. In and out: the number of the next line."""
    while block := source.block():
        lines, at = block.splitlines(keepends=True), 0  # of bytes: at ends of lines alone
        try:
            text = block.decode(encoding) if block.count(b"\r") == block.count(b"\r\n") else None
        except UnicodeDecodeError:
            text = None
        if text is None:
            source.give_back(block)
            return line
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
        while at < len(lines):
            try:
                fields = next(reader)
            except csv.Error:
                fields = None
            taken = reader.line_num - at
            if fields is None or taken > record_lines_max:
                source.give_back(b"".join(lines[at:]))
                return line
            original = lines[at] if taken == 1 else b"".join(lines[at : at + taken])
            if fields:
                yield Record(line, fields, None, original, len(original))
            line, at = line + taken, at + taken
    return line


def _careful(source: _Source, encoding: str, delimiter: str, line: int) -> tuple[Record | None, int]:
    """The next record by itself, None for a blank line, and how many lines it took: none at the end."""
    lines = _Lines(source, encoding, first=line == 1)
    problem = None
    fields: list[str] = []
    try:
        fields = next(csv.reader(lines, delimiter=delimiter, strict=True))
    except StopIteration:
        return None, 0
    except csv.Error:
        problem = Problem(f"line {line}", "bad-csv", "a quote is not closed, or stands where none may")
        lines.give_back()
    if lines.cut:
        problem = Problem(f"line {line}", "too-large", f"a record has at most {record_bytes_max} bytes")
    elif lines.garbled and problem is None and encoding == "utf-8":
        problem = _garbled(line, fields)
    if not fields and problem is None:
        return None, len(lines.raw)
    return Record(line, fields, problem, b"".join(lines.raw), lines.size), len(lines.raw)


def _garbled(line: int, fields: list[str]) -> Problem:
    at = next((i for i, text in enumerate(fields) if any("\udc80" <= c <= "\udcff" for c in text)), 0)
    detail = 'not UTF-8; save the file as UTF-8, or declare `encoding = "latin-1"` in the mapping'
    return Problem(f"line {line}, column {at + 1}", "not-utf-8", detail)
