"""From a file to its sender's inbox: batch by batch, each written down once it is stored."""

import asyncio
import fnmatch
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from prometheus_client import Counter

from connectors import archive, folder, mapping
from connectors.intake import Taken
from connectors.results import Result, Results
from connectors.rows import BadHeader, Row
from connectors.sources import Source
from schemas import cloudevents, crash, strict
from schemas.cloudevents import CloudEvent
from schemas.errors import HubError, Invalid, Problem

batch_rows_max: Final = 250
batch_bytes_max: Final = 4 * 1024 * 1024
where_max: Final = 5  # problems of one record that its line tells

_records = Counter("hub_file_records", "Records of files by what became of them", ["status"])


class Door(Protocol):
    """What takes events in: `connectors.intake.Intake`."""

    def take(
        self,
        sender: str,
        original: bytes,
        event: CloudEvent | Invalid,
        *,
        via: str,
        reference: str | None = None,
    ) -> Taken: ...

    def quarantined(
        self, sender: str, original: bytes, why: Problem, *, via: str, reference: str | None = None
    ) -> tuple[str, Taken]: ...

    async def append(self, taken: Sequence[Taken]) -> None: ...


class Kept(NamedTuple):
    """What is to be stored of a record, if anything, and what will be said about it then."""

    taken: Taken | None
    result: Result


class Taker:
    """Takes one file after the other of one source."""

    def __init__(self, source: Source, door: Door, mac: Callable[[str, bytes], str]) -> None:
        """In: the door; a keyed hash, from which references are made. Raises `Invalid` for a bad mapping."""
        self._source = source
        self._mappings = [(pattern, mapping.load(name)) for pattern, name in source.mappings.items()]
        self._door = door
        self._mac = mac

    async def take(self, file: Path, stopping: Callable[[], bool]) -> bool:
        """Reads a taken file from where its result ends. Out: whether it was read to its end.

        Raises `OSError`, and `Unavailable` where the log or the vault is away; the next call goes on.
        """
        results = await asyncio.to_thread(Results, folder.result_of(file))
        try:
            stream = await asyncio.to_thread(folder.open_plain, file)
            with stream:
                rows = enumerate(self._rows(file, stream))
                left = itertools.islice(rows, results.count, None)
                while batch := await asyncio.to_thread(_batch, left):
                    if stopping():
                        return False
                    await self._store(file, batch, results)
        finally:
            results.close()
        return True

    async def _store(self, file: Path, batch: list[tuple[int, Row]], results: Results) -> None:
        kept = await asyncio.to_thread(lambda: [self._kept(file, number, row) for number, row in batch])
        await self._door.append([one.taken for one in kept if one.taken is not None])
        crash.point("files-stored")
        await asyncio.to_thread(results.add, [one.result for one in kept])
        crash.point("files-noted")
        for one in kept:
            _records.labels(one.result.status).inc()

    def _rows(self, file: Path, stream: BinaryIO) -> Iterator[Row]:
        """Its records. A file that as a whole cannot be read is one record, and that one is refused."""
        name = folder.plain(file.name)
        mapper = next((one for pattern, one in self._mappings if fnmatch.fnmatchcase(name, pattern)), None)
        try:
            if mapper is None:
                raise BadHeader([Problem("", "no-mapping", "no pattern of `mappings` fits its name")], b"")
            yield from archive.read(stream, mapper, cloudevents.source_of(self._source.agency))
        except BadHeader as error:
            yield Row(1, None, error.problems, error.original, len(error.original))

    def _kept(self, file: Path, number: int, row: Row) -> Kept:
        agency, reference = self._source.agency, self._reference(file, number)
        if row.problems:
            found, taken = self._door.quarantined(
                agency, row.original, row.problems[0], via="file", reference=reference
            )
            return Kept(taken, _told(row, "unreadable", row.problems, quarantine=found))
        if row.event is None:
            return Kept(None, Result(row.entry, row.line, "left-out"))
        original = json.dumps(row.event, separators=(",", ":")).encode("ascii")
        taken = self._door.take(
            agency, original, _event(row.event, len(original)), via="file", reference=reference
        )
        problems = [
            Problem(row.where(one["path"]), one["code"], one["detail"]) for one in taken.answer["errors"]
        ]
        event, kept = taken.answer["event"] or "", taken.answer.get("quarantine", "")
        return Kept(taken, _told(row, taken.answer["status"], problems, event=event, quarantine=kept))

    def _reference(self, file: Path, number: int) -> str:
        """Where a record is kept if it is refused: the same when it is sent again after a crash."""
        said = f"{self._source.key}\0{file.name}\0{number}".encode()
        return "q-" + self._mac("quarantine", said)[:24]


def _event(item: dict[str, object], size: int) -> CloudEvent | Invalid:
    try:
        if size > cloudevents.event_bytes_max:
            strict.refuse(
                "", "too-large", f"{size} bytes, an event has at most {cloudevents.event_bytes_max}"
            )
        return cloudevents.parse_structured(item)
    except Invalid as error:
        return error
    except HubError as error:
        return Invalid([error.problem()])


def _told(row: Row, status: str, problems: Sequence[Problem], **more: str) -> Result:
    codes = " ".join(dict.fromkeys(one.code for one in problems))
    where = "; ".join(one.path for one in problems[:where_max])
    return Result(row.entry, row.line, status, codes=codes, where=where, **more)


def _batch(rows: Iterator[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """The next rows, bounded in number and, to one row, in bytes."""
    found: list[tuple[int, Row]] = []
    size = 0
    for numbered in rows:
        found.append(numbered)
        size += numbered[1].size
        if len(found) >= batch_rows_max or size >= batch_bytes_max:
            break
    return found


class Watched:
    """A folder whose files are taken. In: the folder, and what takes them."""

    def __init__(self, watched: folder.Folder, taker: Taker) -> None:
        self._folder = watched
        self._taker = taker

    async def once(self, stopping: Callable[[], bool]) -> bool:
        """Takes the next file, if there is one. Out: whether there was. Raises as `Taker.take`."""
        await asyncio.to_thread(self._folder.prepare)
        file = await asyncio.to_thread(self._folder.next)
        if file is None or not await self._taker.take(file, stopping):
            return False
        await asyncio.to_thread(self._folder.finish, file)
        crash.point("files-finished")
        return True
