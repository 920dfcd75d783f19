"""`python -m tests.plaintext FOLDER`: looks for the county's people in every file that the hub has written.

In: the data folder of a hub on which the county was played, running or not. Every name, birth date, case
number, agency's number, narrative and so on that the county made up is looked for, as text, as hexadecimal
digits, in base64 and in UTF-16: in the raw bytes of every file, in Kafka's batches after they were
decompressed, in the store's rows, and in what a running hub answers at `/metrics`.

The words may stand in `feed.*`, in the inboxes of senders with Kafka of their own, and in the stakeholders'
own folders. They are looked for there, too: a search that finds them nowhere proves nothing, and says so.
Words are never printed, only of what kind they are and where they stand.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sqlite3
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import httpx
import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode

from examples.county.plan import Plan, plan

KINDS = {
    "name": "name", "birth_date": "birth date", "case_number": "case number", "booking_number": "case number",
    "number": "case number", "narrative": "narrative", "harm": "narrative", "local_id": "agency's number",
    "staff": "staff", "referred_by": "staff", "display": "diagnosis", "medication": "medication",
}  # fmt: skip
PLACE = "description"  # of a place, or of a charge
LETTERS_MIN = 6  # shorter words stand in random bytes by chance
ENCODED_MIN = 8
CHANCE_MAX = 9  # longer words no digits spell by chance: there are too few of them
DIGEST = re.compile(rb"[0-9a-f]{32,}")
ID = re.compile(rb"(?<=-)[a-z2-7]{26}")  # behind what it is of, as in `p-`
AROUND = 64
PIECE_BYTES = 4 * 2**20
ROWS_MAX = 500
BATCH = struct.Struct(">qiibIH")  # base offset, length, epoch, format, CRC, attributes
RECORDS_AT = 61  # of a batch: behind its header, https://kafka.apache.org/documentation/#recordbatch
CODECS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
ELSEWHERE = "where they may be"


class Found(NamedTuple):
    """One word where it must not be (or, in `ELSEWHERE`, where it may): what kind it is, and where it is."""

    area: str
    kind: str
    where: str
    at: int


def words(county: Plan) -> dict[str, str]:
    """Everything personal that the county made up, each with its kind."""
    found: dict[str, str] = {}
    for person in county.people:
        found[person.name] = "name"
        found[person.name.rpartition(" ")[2]] = "name"
        born = date.fromisoformat(person.birth_date)
        found |= dict.fromkeys((person.birth_date, f"{born:%m/%d/%Y}"), "birth date")
        found |= dict.fromkeys(person.locals.values(), "agency's number")
    for _, event in county.events():
        _gather(event.fields, found)
    return {word: kind for word, kind in found.items() if len(word) >= LETTERS_MIN}


def _gather(fields: Any, found: dict[str, str]) -> None:
    if isinstance(fields, list):
        for one in fields:
            _gather(one, found)
    elif isinstance(fields, dict):
        for name, one in fields.items():
            if isinstance(one, str) and (name in KINDS or (name == PLACE and "statute" not in fields)):
                found[one] = KINDS.get(name, "place")
            else:
                _gather(one, found)


class Words:
    """Finds any of many words in bytes at about 50 MB a second: numpy looks for their first six bytes."""

    def __init__(self, sought: dict[str, str]) -> None:
        """In: words with their kinds. Upper and lower case count as the same, but in base64."""
        plain: dict[bytes, str] = {}
        coded: dict[bytes, str] = {}
        for word, kind in sought.items():
            raw = word.encode()
            plain[raw.lower()] = kind
            plain[json.dumps(word)[1:-1].lower().encode()] = kind
            plain[word.lower().encode("utf-16-le")[:-1]] = f"{kind}, in UTF-16"
            if len(raw) >= ENCODED_MIN:
                plain[raw.hex().encode()] = f"{kind}, in hexadecimal"
                for shift in range(3):
                    text = base64.b64encode(bytes(shift) + raw)
                    inner = text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
                    coded[inner] = coded[inner.translate(bytes.maketrans(b"+/", b"-_"))] = (
                        f"{kind}, in base64"
                    )
        self._plain, self._coded = _Table(plain), _Table(coded)
        self.longest = max(map(len, [*plain, *coded, b""]))

    def find(self, data: bytes) -> Iterator[tuple[int, str]]:
        """Where which kind of word begins. What digits of a digest or an id spell by chance is none."""
        low = data.lower()
        for at, needle, kind in self._plain.find(low):
            if len(needle) > CHANCE_MAX or not _within_digits(low, at, at + len(needle)):
                yield at, kind
        for at, _, kind in self._coded.find(data):
            yield at, kind


class _Table:
    def __init__(self, needles: dict[bytes, str]) -> None:
        self._by_start: dict[int, list[tuple[bytes, str]]] = {}
        for needle, kind in needles.items():
            start = int.from_bytes(needle[:LETTERS_MIN], "little")
            self._by_start.setdefault(start, []).append((needle, kind))
        self._starts = np.array(sorted(self._by_start), dtype=np.uint64)
        self._first = np.zeros(2**24, dtype=bool)
        self._first[(self._starts & np.uint64(2**24 - 1)).astype(np.int64)] = True

    def find(self, data: bytes) -> Iterator[tuple[int, bytes, str]]:
        count = len(data) - LETTERS_MIN + 1
        if count <= 0:
            return
        array = np.frombuffer(data, dtype=np.uint8)
        low = array[:count].astype(np.int32)
        for byte in (1, 2):
            low |= array[byte : count + byte].astype(np.int32) << (8 * byte)
        places = np.flatnonzero(self._first[low])
        starts = np.zeros(len(places), dtype=np.uint64)
        for byte in range(LETTERS_MIN):
            starts |= array[places + byte].astype(np.uint64) << np.uint64(8 * byte)
        for at in places[np.isin(starts, self._starts)].tolist():
            for needle, kind in self._by_start[int.from_bytes(data[at : at + LETTERS_MIN], "little")]:
                if data.startswith(needle, at):
                    yield at, needle, kind


def _within_digits(data: bytes, start: int, end: int) -> bool:
    """Whether a place is inside the digits of a digest (32 and more of base 16) or an id (26 of base 32)."""
    around = max(0, start - AROUND)
    digits = (*DIGEST.finditer(data, around, end + AROUND), *ID.finditer(data, around, end + AROUND))
    return any(one.start() <= start and end <= one.end() for one in digits)


def batches(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The records of each compressed batch of a segment of Kafka's log, decompressed; with where it begins.

    What is not compressed is found in the file itself.
    """
    at = 0
    while at + RECORDS_AT <= len(data):
        _, length, _, layout, _, attributes = BATCH.unpack_from(data, at)
        if length <= 0 or layout != 2 or at + 12 + length > len(data):
            return  # preallocated, or being written just now
        if codec := CODECS.get(attributes & 7):
            yield at, bytes(codec(data[at + RECORDS_AT : at + 12 + length]))
        at += 12 + length


class Search:
    """One search: what was looked through, by area, and what was found."""

    def __init__(self, folder: Path, sought: dict[str, str], native: Iterable[str] = ()) -> None:
        """In: the hub's data folder, words with their kinds, agencies with Kafka of their own."""
        self._folder = folder
        self._words = Words(sought)
        self._open = {f"inbox.{agency}" for agency in native}
        self.looked: Counter[str] = Counter()  # bytes
        self.found: list[Found] = []

    @property
    def wrong(self) -> list[Found]:
        """What was found where it must not be."""
        return [one for one in self.found if one.area != ELSEWHERE]

    @property
    def seen(self) -> int:
        """How many were found where they may be."""
        return sum(one.area == ELSEWHERE for one in self.found)

    def files(self) -> None:
        """Looks through every file; one that goes away meanwhile is none."""
        for path in sorted(self._folder.rglob("*")):
            try:
                if path.is_file() and not path.is_symlink():
                    self._file(path)
            except FileNotFoundError:
                continue

    def bytes(self, area: str, where: str, data: bytes, base: int = 0) -> None:
        """Looks through some bytes."""
        self.looked[area] += len(data)
        self.found += [Found(area, kind, where, base + at) for at, kind in self._words.find(data)]

    def _file(self, path: Path) -> None:
        area, where = self._area(path), str(path.relative_to(self._folder))
        if path.parent.parent == self._folder / "broker" / "data" and ".log" in path.name:
            data = path.read_bytes()
            self.bytes(area, where, data)
            for at, records in batches(data):
                self.bytes(area, f"{where}, decompressed", records, at)
            return
        with path.open("rb") as file:
            end, tail = 0, b""
            while (at := _written(file, end)) is not None:
                file.seek(at)
                piece = file.read(PIECE_BYTES)
                before = tail if at == end else b""
                self.bytes(area, where, before + piece, at - len(before))
                end, tail = at + len(piece), piece[-self._words.longest :]
        if path.name == "hub.db":
            self._rows(path)

    def _area(self, path: Path) -> str:
        parts = path.relative_to(self._folder).parts
        if parts[0] == "demo":
            return "process logs" if parts[1] == "hub.log" else ELSEWHERE
        if parts[:2] == ("broker", "data") and len(parts) > 3:
            topic = parts[2].rpartition("-")[0]
            return ELSEWHERE if topic.startswith("feed.") or topic in self._open else "Kafka's log"
        if parts[0] == "run":
            return "metrics" if path.suffix == ".metrics" else "heartbeats and locks"
        names = {"broker": "broker's own files", "faust": "Faust's tables", "log": "transparency log"}
        return names.get(parts[0]) or ("store" if parts[0].startswith("hub.db") else "other files")

    def _rows(self, path: Path) -> None:
        """The rows of an SQLite file: a long value is in pieces in the file itself."""
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            store.text_factory = bytes
            names = [
                name.decode()
                for (name,) in store.execute("select name from sqlite_master where type='table'")
            ]
            for name in names:
                rows = store.execute(f'select * from "{name}"')
                while some := rows.fetchmany(ROWS_MAX):
                    values = [value for row in some for value in row if isinstance(value, bytes)]
                    self.bytes("store", f"table {name}", b"\0".join(values))


def _written(file: BinaryIO, at: int) -> int | None:
    """Where from `at` on something was written: what the broker preallocates are holes in files."""
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError:
        return None  # nothing but a hole until its end


def county(folder: Path) -> Plan | None:
    """The county that was played on a hub's data folder."""
    begun = folder / "demo" / "plan.json"
    if not begun.is_file():
        return None
    said = json.loads(begun.read_text("utf-8"))
    return plan(said["seed"], said["anchor"], said["people"])


def searched(folder: Path, address: str | None = None) -> Search | None:
    """A whole search of a hub's data folder, and of what it answers at `address`; None without a county."""
    played = county(folder)
    if played is None:
        return None
    native = {event.source for _, event in played.events() if event.channel == "kafka"}
    search = Search(folder, words(played), native)
    search.files()
    if address:
        for path in ("/metrics", "/readyz", "/openapi.json"):
            search.bytes("metrics", path, httpx.get(f"{address}{path}").content)
    return search


def main(given: list[str] | None = None) -> int:
    """Status 0 where nothing stands where it must not, 1 where something does, 2 where there is no county."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.plaintext",
        description="Looks for the county's people in every file that the hub has written.",
        epilog="example: make demo ONCE=1 && python -m tests.plaintext .hub",
    )
    parser.add_argument("folder", type=Path, help="the hub's data folder (HUB_DATA)")
    parser.add_argument("--url", help="a running hub, whose /metrics is looked through besides")
    chosen = parser.parse_args(given)
    search = searched(chosen.folder, chosen.url)
    if search is None:
        print(f"no county was played on `{chosen.folder}`: `make demo ONCE=1` plays one", file=sys.stderr)
        return 2
    for area, size in sorted(search.looked.items()):
        count = sum(one.area == area for one in search.found)
        print(f"{area:<24} {size / 2**20:>9.1f} MB  {count or 'nothing'} found")
    for (area, kind, where), count in Counter((one[:3]) for one in search.wrong).most_common():
        first = next(one.at for one in search.wrong if one[:3] == (area, kind, where))
        print(f"{kind}: {count} times in {where}, first at byte {first}", file=sys.stderr)
    if not search.seen:
        print("nothing was found where it must be, either: this search proves nothing", file=sys.stderr)
    return 0 if search.seen and not search.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
