"""CSV files taken in: each record an event or a refusal that says where and why, and the next record goes
through.

RFC 4180, by Python's own reader. What is usual and harmless is accepted in silence: a UTF-8 byte-order
mark, CRLF or LF, line breaks within quotes, blank lines, columns in another order. A quote that nobody
closes refuses its own line alone: reading goes on with the line after it. Memory is bounded by
`record_bytes_max`, whatever the file.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

from connectors.mapping import Mapper
from connectors.rows import BadHeader, Row, record_bytes_max, row
from connectors.rules import Tree
from schemas.errors import Problem
from schemas.strict import field_chars_max

record_lines_max: Final = 1000
group_lines_max: Final = 1000
_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")

csv.field_size_limit(record_bytes_max)


class _Record(NamedTuple):
    line: int
    fields: list[str]
    problem: Problem | None
    original: bytes
    size: int


class _Lines(Iterator[str]):
    """The lines of a file as text for `csv`, with the bytes that the record under way is made of."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._again: deque[bytes] = deque()
        self.number = 0
        self.raw: list[bytes] = []
        self.size = 0
        self.cut = False
        self.garbled = False

    def begin(self) -> None:
        """Forgets the last record."""
        self.raw, self.size, self.cut, self.garbled = [], 0, False, False

    def back_to_second(self) -> None:
        """Puts back all lines of this record but its first, which stays refused."""
        self._again.extendleft(reversed(self.raw[1:]))
        self.number -= len(self.raw) - 1
        self.raw, self.size = self.raw[:1], len(self.raw[0])

    def __next__(self) -> str:
        if len(self.raw) >= record_lines_max or self.size >= record_bytes_max:
            raise StopIteration  # to csv, the quote under way is one that nobody closes
        raw = self._again.popleft() if self._again else self._stream.readline(record_bytes_max - self.size)
        if not raw:
            raise StopIteration
        self.number += 1
        if self.number == 1 and raw.startswith(_BOM):
            raw = raw[len(_BOM) :]
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
        while more := self._stream.readline(65_536):
            self.size += len(more)
            if more.endswith(b"\n"):
                return


def _records(stream: BinaryIO, encoding: str, delimiter: str) -> Iterator[_Record]:
    lines = _Lines(stream, encoding)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        line = lines.number + 1
        problem = None
        fields: list[str] = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problem = Problem(f"line {line}", "bad-csv", "a quote is not closed, or stands where none may")
            if len(lines.raw) > 1:
                lines.back_to_second()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        if lines.cut:
            problem = Problem(f"line {line}", "too-large", f"a record has at most {record_bytes_max} bytes")
        elif lines.garbled and problem is None and encoding == "utf-8":
            problem = _garbled(line, fields)
        if fields or problem:
            yield _Record(line, fields, problem, b"".join(lines.raw), lines.size)


def _garbled(line: int, fields: list[str]) -> Problem:
    at = next((i for i, text in enumerate(fields) if any("\udc80" <= c <= "\udcff" for c in text)), 0)
    detail = 'not UTF-8; save the file as UTF-8, or declare `encoding = "latin-1"` in the mapping'
    return Problem(f"line {line}, column {at + 1}", "not-utf-8", detail)


def _header(record: _Record, mapper: Mapper) -> list[str]:
    """The columns' names, checked against the mapping. Raises `BadHeader`."""
    wanted = mapper.input
    problems: list[Problem] = [record.problem] if record.problem else []
    if record.original.startswith(_WIDE_BOMS):
        problems = [Problem("line 1", "not-utf-8", "the file is UTF-16; save it as UTF-8")]
    if problems:
        raise BadHeader(problems, record.original)
    found = [name.strip() for name in record.fields]
    known = {*wanted.columns, *wanted.optional_columns}
    twice = sorted({name for name in found if found.count(name) > 1 and name in known})
    missing = [name for name in wanted.columns if name not in found]
    unknown = [str(i) for i, name in enumerate(found, 1) if name not in known]
    if twice:
        problems.append(
            Problem("line 1", "duplicate-column", "columns that stand twice: " + ", ".join(twice))
        )
    if missing:
        problems.append(
            Problem("line 1", "missing-column", "columns that are missing: " + ", ".join(missing))
        )
    if unknown and wanted.other_columns == "refuse":
        detail = "columns that the mapping does not know, by position: " + ", ".join(unknown[:50])
        problems.append(Problem("line 1", "unknown-column", detail))
    if problems:
        raise BadHeader(problems, record.original)
    return found


def _misfit(record: _Record, names: list[str]) -> Problem | None:
    """What is wrong with a record's texts, before any mapping."""
    if record.problem is not None:
        return _named(record.problem, names)
    where = f"line {record.line}"
    if len(record.fields) != len(names):
        detail = f"{len(record.fields)} columns, the header has {len(names)}"
        return Problem(where, "wrong-columns", detail)
    if record.size <= field_chars_max and b"\0" not in record.original:
        return None
    for name, text in zip(names, record.fields, strict=True):
        if len(text) > field_chars_max:
            detail = f"{len(text)} characters, at most {field_chars_max} are taken"
            return Problem(f"{where}, column {name}", "too-long", detail)
        if "\0" in text:
            return Problem(f"{where}, column {name}", "nul-character", "contains a NUL character")
    return None


def _named(problem: Problem, names: list[str]) -> Problem:
    """The same problem with its column by name, where it has one by number."""
    where, mark, number = problem.path.partition(", column ")
    if mark and number.isdigit() and int(number) <= len(names):
        return problem._replace(path=f"{where}, column {names[int(number) - 1]}")
    return problem


def read(stream: BinaryIO, mapper: Mapper, source: str) -> Iterator[Row]:
    """The records of a CSV file, one after the other, as events under `source`.

    In: the file in binary; the mapping. Raises `BadHeader` before the first record.
    """
    records = _records(stream, mapper.input.encoding, mapper.input.delimiter)
    first = next(records, None)
    if first is None:
        raise BadHeader(
            [Problem("line 1", "missing-column", "the file is empty; its header is missing")], b""
        )
    names = _header(first, mapper)
    for group in _groups(records, names, mapper.input.group):
        yield _row(group, names, mapper, source)


def _groups(records: Iterator[_Record], names: list[str], by: Sequence[str]) -> Iterator[list[_Record]]:
    """Neighbouring lines that agree in the columns `by`; each line alone where there are none."""
    at = [names.index(name) for name in by]
    under_way: list[_Record] = []
    last: list[str] | None = None
    size = 0
    for record in records:
        whole = record.problem is None and len(record.fields) == len(names)
        key = [record.fields[i] for i in at] if at and whole else None
        size += record.size
        full = len(under_way) >= group_lines_max or size > record_bytes_max
        if under_way and (key is None or key != last or full):
            yield under_way
            under_way, size = [], record.size
        under_way.append(record)
        last = key
    if under_way:
        yield under_way


def _row(group: list[_Record], names: list[str], mapper: Mapper, source: str) -> Row:
    problems = [problem for record in group if (problem := _misfit(record, names)) is not None]
    trees = [] if problems else [dict(zip(names, record.fields, strict=True)) for record in group]
    tree: Tree = trees if mapper.input.group or problems else trees[0]
    original, size = b"".join(record.original for record in group), sum(record.size for record in group)
    return row(mapper, source, group[0].line, tree, problems, original, size)
