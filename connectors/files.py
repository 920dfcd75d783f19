"""CSV files taken in: each record an event or a refusal that says where and why, and the next record goes
through.

RFC 4180, by Python's own reader. What is usual and harmless is accepted in silence: a UTF-8 byte-order
mark, CRLF or LF, line breaks within quotes, blank lines, columns in another order. A quote that nobody
closes refuses its own line alone: reading goes on with the line after it. Memory is bounded by
`record_bytes_max`, whatever the file.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from connectors import records
from connectors.mapping import Mapper
from connectors.records import Record
from connectors.rows import BadHeader, Row, record_bytes_max, row
from connectors.rules import Tree
from schemas.errors import Problem
from schemas.strict import field_chars_max

group_lines_max: Final = 1000
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


def _header(record: Record, mapper: Mapper) -> list[str]:
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


def _misfit(record: Record, names: list[str]) -> Problem | None:
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
    found = records.read(stream, mapper.input.encoding, mapper.input.delimiter)
    first = next(found, None)
    if first is None:
        raise BadHeader(
            [Problem("line 1", "missing-column", "the file is empty; its header is missing")], b""
        )
    names = _header(first, mapper)
    if not mapper.input.group:
        for record in found:
            yield _row([record], names, mapper, source)
        return
    for group in _groups(found, names, mapper.input.group):
        yield _row(group, names, mapper, source)


def _groups(found: Iterator[Record], names: list[str], by: Sequence[str]) -> Iterator[list[Record]]:
    """Neighbouring lines that agree in the columns `by`."""
    at = [names.index(name) for name in by]
    under_way: list[Record] = []
    last: list[str] | None = None
    size = 0
    for record in found:
        whole = record.problem is None and len(record.fields) == len(names)
        key = [record.fields[i] for i in at] if whole else None
        size += record.size
        full = len(under_way) >= group_lines_max or size > record_bytes_max
        if under_way and (key is None or key != last or full):
            yield under_way
            under_way, size = [], record.size
        under_way.append(record)
        last = key
    if under_way:
        yield under_way


def _row(group: list[Record], names: list[str], mapper: Mapper, source: str) -> Row:
    problems = [problem for record in group if (problem := _misfit(record, names)) is not None]
    trees = [] if problems else [dict(zip(names, record.fields, strict=True)) for record in group]
    tree: Tree = trees if mapper.input.group or problems else trees[0]
    original, size = b"".join(record.original for record in group), sum(record.size for record in group)
    return row(mapper, source, group[0].line, tree, problems, original, size)
