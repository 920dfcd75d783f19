"""From a file to its sender's inbox: batch by batch, each written down once it is stored."""

import asyncio
import fnmatch
import itertools
from collections import Counter as Count
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from prometheus_client import Counter

from connectors import archive, batch, folder, mapping
from connectors.batch import Door, Numbered
from connectors.results import Results
from connectors.rows import BadHeader, Row
from connectors.sources import Source
from schemas import cloudevents, crash
from schemas.errors import Problem

_records = Counter("hub_file_records", "Records of files by what became of them", ["status"])


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
                while some := await asyncio.to_thread(batch.next_of, left):
                    if stopping():
                        return False
                    await self._store(file, some, results)
        finally:
            results.close()
        return True

    async def _store(self, file: Path, rows: Sequence[Numbered], results: Results) -> None:
        kept = await asyncio.to_thread(
            batch.judged, rows, self._source.agency, self._door, lambda number: self._reference(file, number)
        )
        await self._door.append([one.taken for one in kept if one.taken is not None])
        crash.point("files-stored")
        await asyncio.to_thread(results.add, [one.result for one in kept])
        crash.point("files-noted")
        for status, count in Count(one.result.status for one in kept).items():
            _records.labels(status).inc(count)

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

    def _reference(self, file: Path, number: int) -> str:
        """Where a record is kept if it is refused: the same when it is sent again after a crash."""
        said = f"{self._source.key}\0{file.name}\0{number}".encode()
        return "q-" + self._mac("quarantine", said)[:24]


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
