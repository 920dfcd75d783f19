"""CSV as counties really send it: each trouble has its outcome, and the next record goes through."""

import csv
import io
import tracemalloc
from collections.abc import Generator, Iterator
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import files, mapping, records
from connectors.mapping import Mapper
from connectors.rows import BadHeader, Row, record_bytes_max

TEXT = """
name = "notes"
title = "Notes"
[input]
format = "csv"
columns = ["ID", "Who", "When", "Note"]
[event]
type = "contact"
id = "ID"
subject = "Who"
time = { path = "When", format = "%Y-%m-%d", as = "instant" }
category = { constant = "contact.outreach" }
[fields]
narrative = "Note"
"""
HEADER = b"ID,Who,When,Note\r\n"
SOURCE = "urn:agency:reach"


def mapper(text: str = TEXT) -> Mapper:
    return mapping.Mapper(mapping.parse(text))


def rows(data: bytes, text: str = TEXT) -> list[Row]:
    return list(files.read(io.BytesIO(data), mapper(text), SOURCE))


def line(number: int, note: str = "") -> bytes:
    return f"{number},L-{number},2026-03-01,{note}\r\n".encode()


def notes(found: list[Row]) -> list[tuple[str, str]]:
    """(id, note) of every event."""
    events = [row.event for row in found if row.event is not None]
    return [(str(event["id"]), event["data"].get("narrative", "")) for event in events]  # type: ignore[attr-defined]


def trouble(found: list[Row]) -> list[tuple[int, str, str]]:
    return [(row.line, problem.path, problem.code) for row in found for problem in row.problems]


def test_lines_become_events_in_order() -> None:
    found = rows(HEADER + line(1, "one") + line(2) + b"\r\n" + line(3, '"a, b"'))
    assert notes(found) == [("1", "one"), ("2", ""), ("3", "a, b")]
    assert [row.line for row in found] == [2, 3, 5]
    assert b"".join(row.original for row in found) == line(1, "one") + line(2) + line(3, '"a, b"')


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(end: bytes) -> None:
    data = b"\xef\xbb\xbf" + HEADER.replace(b"\r\n", end) + line(1, "x").replace(b"\r\n", end).rstrip()
    assert notes(rows(data)) == [("1", "x")]


def test_line_breaks_within_quotes_belong_to_the_text() -> None:
    found = rows(HEADER + line(1, '"two\r\nlines, ""quoted"""') + line(2, "after"))
    assert notes(found) == [("1", 'two\r\nlines, "quoted"'), ("2", "after")]
    assert found[1].line == 4


def test_columns_may_stand_in_another_order() -> None:
    assert notes(rows(b"Note,When,Who,ID\nhello,2026-03-01,L-1,1\n")) == [("1", "hello")]


def test_latin_1_is_refused_with_line_column_and_the_remedy_and_the_next_record_goes_through() -> None:
    data = HEADER + line(1, "ok") + "2,L-2,2026-03-01,Zoë\r\n".encode("latin-1") + line(3, "Zoë")
    found = rows(data)
    assert notes(found) == [("1", "ok"), ("3", "Zoë")]
    assert trouble(found) == [(3, "line 3, column Note", "not-utf-8")]
    assert 'encoding = "latin-1"' in found[1].problems[0].detail
    assert found[1].original == "2,L-2,2026-03-01,Zoë\r\n".encode("latin-1")


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252"])
def test_a_declared_encoding_is_read(encoding: str) -> None:
    text = TEXT.replace('format = "csv"', f'format = "csv"\nencoding = "{encoding}"')
    assert notes(rows(HEADER + "2,L-2,2026-03-01,Zoë\r\n".encode(encoding), text)) == [("2", "Zoë")]


def test_a_field_of_10_mb_is_refused_whole_and_the_next_record_goes_through() -> None:
    big = b"2,L-2,2026-03-01," + b"x" * 10_000_000 + b"\r\n"
    found = rows(HEADER + line(1) + big + line(3))
    assert notes(found) == [("1", ""), ("3", "")]
    assert trouble(found) == [(3, "line 3, column Note", "too-long")]
    assert found[1].original == big


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_record_past_every_bound_is_cut_and_its_size_told(quote: bytes) -> None:
    big = b"2,L-2,2026-03-01," + quote + b"x" * 30_000_000 + quote + b"\r\n"
    found = rows(HEADER + line(1) + big + line(3))
    assert notes(found) == [("1", ""), ("3", "")]
    assert trouble(found) == [(3, "line 3", "too-large")]
    assert found[1].size == len(big)
    assert found[1].original == big[:record_bytes_max]


class Endless(io.RawIOBase):
    """A file of so many bytes that were never in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


@pytest.mark.parametrize("shape", ["one line", "one quote", "many lines"])
def test_memory_is_bounded_whatever_the_file(shape: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield HEADER
        if shape == "many lines":
            for number in range(15_000):
                yield line(number, "some words that take room")
            return
        yield b'1,L-1,2026-03-01,"' if shape == "one quote" else b"1,L-1,2026-03-01,"
        for _ in range(60):
            yield b"x" * 999_999 + (b"\n" if shape == "one quote" else b"x")

    stream: BinaryIO = io.BufferedReader(Endless(pieces()))  # type: ignore[assignment]
    tracemalloc.start()
    try:
        for row in files.read(stream, mapper(), SOURCE):
            assert row.size >= len(row.original)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (500_000 if shape == "many lines" else 8 * record_bytes_max)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"2,L-2,2026-03-01\r\n", "wrong-columns"),
        (b"2,L-2,2026-03-01,a,b\r\n", "wrong-columns"),
        (b'2,L-2,2026-03-01,"a"b\r\n', "bad-csv"),
        (b'2,L-2,2026-03-01,"never closed\r\n', "bad-csv"),
        (b'"2,L-2,2026-03-01,x\r\n', "bad-csv"),
        (b"2,L-2,2026-03-01,a\0b\r\n", "nul-character"),
        (b"2,L-2,March,x\r\n", "bad-time"),
        (b",L-2,2026-03-01,x\r\n", "missing"),
        (b"2,L-2,2026-03-01,a\rb\r\n", "bad-csv"),
    ],
)
def test_a_bad_record_is_refused_alone_and_kept_whole(bad: bytes, code: str) -> None:
    found = rows(HEADER + line(1, "before") + bad + line(3, '"af\nter"') + line(4))
    assert notes(found) == [("1", "before"), ("3", "af\nter"), ("4", "")]
    assert [(where, kind) for where, _, kind in trouble(found)] == [(3, code)]
    assert found[1].original == bad


def test_every_problem_of_a_record_is_named_by_line_and_column() -> None:
    found = rows(HEADER + b",,March,x\r\n")
    assert trouble(found) == [
        (2, "line 2, column ID", "missing"),
        (2, "line 2, column Who", "missing"),
        (2, "line 2, column When", "bad-time"),
    ]


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        (b"ID,Who,When\n", {"missing-column"}),
        (b"ID,Who,When,Note,Secret\n", {"unknown-column"}),
        (b"ID,Who,When,Note,Note\n", {"duplicate-column"}),
        (b"id,who,when,note\n", {"missing-column", "unknown-column"}),
        (b"ID;Who;When;Note\n", {"missing-column", "unknown-column"}),
        (b"", {"missing-column"}),
        (b"\n\n", {"missing-column"}),
        ("ID,Who,When,Note\n".encode("utf-16"), {"not-utf-8"}),
        (b"ID,Who,When,No\xe9\n", {"not-utf-8"}),
        (b'ID,Who,When,"Note\n', {"bad-csv"}),
    ],
)
def test_a_wrong_header_refuses_the_file_and_names_the_columns(header: bytes, codes: set[str]) -> None:
    with pytest.raises(BadHeader) as caught:
        rows(header)
    assert {problem.code for problem in caught.value.problems} == codes
    assert {problem.path for problem in caught.value.problems} == {"line 1"} or codes == {"not-utf-8"}
    assert header.startswith(caught.value.original)
    assert "Secret" not in str(caught.value.problems)
    if "missing-column" in codes and header.strip():
        assert "Note" in str(caught.value.problems)


def test_other_columns_may_be_ignored() -> None:
    text = TEXT.replace('format = "csv"', 'format = "csv"\nother_columns = "ignore"')
    assert notes(rows(b"x,ID,Who,When,Note,x\n?,1,L-1,2026-03-01,hi,?\n", text)) == [("1", "hi")]


def test_neighbouring_lines_of_one_group_make_one_event() -> None:
    text = TEXT.replace('format = "csv"', 'format = "csv"\ngroup = ["ID"]')
    text = text.replace('narrative = "Note"', 'needs = { path = "*/Note", as = "list" }')
    data = HEADER + line(1, "a") + line(1, "b") + line(2, "c") + b"3,L-3\r\n" + line(1, "d")
    found = rows(data, text)
    events = [row.event for row in found if row.event is not None]
    assert [(e["id"], e["data"]) for e in events] == [
        ("1", {"needs": ["a", "b"]}),
        ("2", {"needs": ["c"]}),
        ("1", {"needs": ["d"]}),
    ]
    assert found[0].original == line(1, "a") + line(1, "b")
    assert trouble(found) == [(5, "line 5", "wrong-columns")]


def test_a_line_that_the_mapping_leaves_out_is_neither_event_nor_problem() -> None:
    found = rows(
        HEADER + line(1, "drop") + line(2, "keep"), TEXT + '[[skip]]\npath = "Note"\nvalues = ["drop"]'
    )
    assert [(row.event is None, row.problems) for row in found] == [(True, ()), (False, ())]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(["\r\n", "\n"]))
def test_whatever_csv_writes_is_read_back(texts: list[str], end: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["ID", "Who", "When", "Note"])
    for number, text in enumerate(texts, 1):
        writer.writerow([number, "L", "2026-03-01", text])
    found = rows(out.getvalue().encode())
    assert notes(found) == [(str(number), text.strip()) for number, text in enumerate(texts, 1)]


@settings(max_examples=200)
@given(st.binary(max_size=200), st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xff", b"\0"])))
def test_no_bytes_stop_the_reading_and_none_is_lost(noise: bytes, shaped: list[bytes]) -> None:
    for body in (noise, b"".join(shaped)):
        found = rows(HEADER + body + b"\n" + line(7, "end"))
        kept = b"".join(row.original for row in found).replace(b"\r", b"").replace(b"\n", b"")
        assert kept == (body + line(7, "end")).replace(b"\r", b"").replace(b"\n", b"")


PIECES = [b'"', b",", b"\n", b"\r\n", b"\r", b"a", b"bc", b'"a"', b'"a,\nb"', b"\xff", "ñ".encode(), b"\0"]


def one_by_one(
    source: object, encoding: str, delimiter: str, line: int
) -> Generator[records.Record, None, int]:
    """Reads no block."""
    yield from ()
    return line


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=400, deadline=None)
def test_blocks_are_read_as_single_records_are(pieces: list[bytes], block: int, lines_max: int) -> None:
    data, monkeypatch = b"".join(pieces), pytest.MonkeyPatch()
    try:
        monkeypatch.setattr(records, "record_lines_max", lines_max)
        monkeypatch.setattr(records, "block_bytes", block)
        found = list(records.read(io.BytesIO(data), "utf-8", ","))
        monkeypatch.setattr(records, "_plain", one_by_one)
        assert found == list(records.read(io.BytesIO(data), "utf-8", ","))
    finally:
        monkeypatch.undo()
