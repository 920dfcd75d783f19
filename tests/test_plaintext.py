"""The search for plaintext can fail: whatever is planted, wherever and however it is written, is found.

That a played county leaves nothing behind is in `tests/test_end_to_end.py`, on the county played there.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from tests import plaintext
from tests.plaintext import Search, Words, county, searched, words

NAME = "Quill H. Ravenel"
SOUGHT = {NAME: "name", "26-00017": "case number", "Wants to call a sister.": "narrative"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that looks like a hub's, with the words where they may be and nowhere else."""
    for place in ("demo", "broker/data/feed.reach-0", "broker/data/contact-0", "broker/logs", "run", "log"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "demo/arrivals.jsonl").write_text(f"{NAME}\n")
    (tmp_path / "broker/data/feed.reach-0/00000000000000000000.log").write_bytes(NAME.encode())
    (tmp_path / "broker/data/contact-0/00000000000000000000.index").write_bytes(bytes(2**20))
    (tmp_path / "broker/data/contact-0/00000000000000000000.log").write_bytes(segment(b"nothing", 3))
    return tmp_path


def segment(value: bytes, codec: int) -> bytes:
    """A batch of one record, as a producer writes it."""
    made = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=1, producer_id=1, producer_epoch=0, base_sequence=0,
        batch_size=10**6,
    )  # fmt: skip
    made.append(0, 0, b"p-1", value, [("ce_id", b"x")])
    return bytes(made.build())


def found(folder: Path) -> list[tuple[str, str]]:
    search = Search(folder, SOUGHT, native=["county-ems"])
    search.files()
    assert search.seen == 2
    return [(one.area, one.kind) for one in search.wrong]


@pytest.mark.parametrize(
    ("written", "finds"),
    [
        ("deebb389931ddcf2d1" + "0" * 46, 0),  # digits of a digest
        ("p-khlmoreno7xq2wbezg7tgyinkub2", 0),  # of an id
        ('"B389931"', 1), ("case B389931, a", 1), ("0eB389931c", 1), ("e-moreno", 1), ("Moreno", 1),
        ("p-khl moreno q2wbezg7tgyinkub2", 1), ("ab" * 9 + "B389931-" + "cd" * 9, 1),
        (b"Moreno".hex() + "00" * 40, 0), (b"Charlotte Moreno".hex() + "00" * 40, 1),
    ],
)  # fmt: skip
def test_what_digits_spell_by_chance_is_no_word_and_everything_else_is(written: str, finds: int) -> None:
    sought = Words({"B389931": "case number", "Moreno": "name", "Charlotte Moreno": "name"})
    assert len(list(sought.find(b"\x0e" + written.encode() + b"8e"))) == finds


def test_where_they_may_be_is_no_finding(folder: Path) -> None:
    assert found(folder) == []


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["plain", "gzip", "snappy", "lz4", "zstd"])
def test_a_word_in_a_batch_of_the_log_is_found_whatever_compressed_it(folder: Path, codec: int) -> None:
    text = (f"so {NAME} said " * 50).encode()
    path = folder / "broker/data/contact-0/00000000000000000000.log"
    path.write_bytes(segment(b"nothing", 3) + segment(text, codec))
    assert set(found(folder)) == {("Kafka's log", "name")}
    assert len(found(folder)) >= 50


@pytest.mark.parametrize(
    ("place", "area"),
    [
        ("hub.db-wal", "store"), ("demo/hub.log", "process logs"), ("run/web-1.metrics", "metrics"),
        ("broker/data/inbox.reach-0/00000000000000000000.log.deleted", "Kafka's log"),
        ("broker/logs/server.log", "broker's own files"), ("log/tile/0/000", "transparency log"),
        ("faust/table", "Faust's tables"), ("anything", "other files"),
    ],
)  # fmt: skip
def test_a_word_in_any_other_file_is_found(folder: Path, place: str, area: str) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(b"\x00\xff" + NAME.encode() + b"\xfe")
    assert found(folder) == [(area, "name")]


def test_an_inbox_is_open_to_its_native_sender_alone(folder: Path) -> None:
    for agency in ("county-ems", "reach"):
        path = folder / f"broker/data/inbox.{agency}-0/0.log"
        path.parent.mkdir()
        path.write_bytes(b"26-00017 is the case")
    search = Search(folder, SOUGHT, native=["county-ems"])
    search.files()
    assert [one.where for one in search.wrong] == ["broker/data/inbox.reach-0/0.log"]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (NAME.upper().encode(), "name"),
        (NAME.encode("utf-16-le"), "name, in UTF-16"),
        (NAME.encode().hex().upper().encode(), "name, in hexadecimal"),
        *((base64.b64encode(b"?" * n + NAME.encode() + b"??"), "name, in base64") for n in range(3)),
        (base64.urlsafe_b64encode(b"Wants to call a sister."), "narrative, in base64"),
        (json.dumps({"x": "26-00017"}).encode(), "case number"),
    ],
)
def test_a_word_is_found_however_it_is_written(folder: Path, written: bytes, kind: str) -> None:
    (folder / "planted").write_bytes(written)
    assert found(folder) == [("other files", kind)]


def test_a_word_across_two_pieces_of_a_long_file_is_found_where_it_is(folder: Path) -> None:
    at = plaintext.PIECE_BYTES - 5
    (folder / "planted").write_bytes(b"." * at + NAME.encode() + b"." * 100)
    search = Search(folder, SOUGHT)
    search.files()
    assert {one.at for one in search.wrong} == {at}


def test_a_word_in_a_long_value_of_the_store_is_found_although_it_is_in_pieces_in_the_file(
    folder: Path,
) -> None:
    with closing(sqlite3.connect(folder / "hub.db")) as store:
        store.execute("pragma page_size=512")
        store.execute("create table t (a text)")
        for shift in range(16):
            store.execute("insert into t values (?)", ["-" * (480 + 40 * shift) + NAME + "-" * 900])
        store.commit()
    search = Search(folder, SOUGHT)
    search.files()
    assert sum(one.where == "table t" for one in search.wrong) == 16


def test_the_words_of_a_county_are_all_that_is_personal_in_it(tmp_path: Path) -> None:
    assert county(tmp_path) is None
    assert searched(tmp_path) is None
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/plan.json").write_text(
        json.dumps({"seed": 3, "anchor": 1_790_000_000_000, "people": 30})
    )
    played = county(tmp_path)
    assert played is not None
    sought = words(played)
    assert {kind.partition(",")[0] for kind in sought.values()} >= {
        "name", "birth date", "case number", "narrative", "agency's number", "place", "staff", "diagnosis",
    }  # fmt: skip
    for person in played.people:
        assert {person.name, person.birth_date, *person.locals.values()} <= sought.keys()


def test_as_a_command_it_says_what_it_found_where_and_never_the_word(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plaintext.main([str(folder)]) == 2
    (folder / "demo/plan.json").write_text(json.dumps({"seed": 3, "anchor": 1_790_000_000_000, "people": 3}))
    assert plaintext.main([str(folder)]) == 1  # nothing of this county is anywhere: no proof
    assert "proves nothing" in capsys.readouterr().err
    played = county(folder)
    assert played is not None
    name = played.people[1].name
    (folder / "demo/arrivals.jsonl").write_text(name)
    assert plaintext.main([str(folder)]) == 0
    (folder / "hub.db-wal").write_text(name)
    assert plaintext.main([str(folder)]) == 1
    said = capsys.readouterr()
    assert "name: 1 times in hub.db-wal" in said.err or "name: 2 times in hub.db-wal" in said.err
    assert name not in said.out + said.err
