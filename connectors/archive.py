"""A zip of files taken in: each of the files that its mapping names, in that order; nothing else is opened.

Nothing is ever unpacked to a disk, so the names in a zip lead nowhere. Bounded before the first byte is read:
how many entries there are, what they add up to, and how much each was made smaller (a zip bomb is refused).
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from connectors import files, markup
from connectors.mapping import Mapper, Mappers
from connectors.rows import BadHeader, Row
from schemas.errors import Problem

entries_max: Final = 1_000
unpacked_bytes_max: Final = 8 * 1024 * 1024 * 1024
ratio_max: Final = 200  # text of a real export is made 5 to 30 times smaller
_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def read(stream: BinaryIO, mapping: Mapper | Mappers, source: str) -> Iterator[Row]:
    """The records of a file of any format that a mapping has, as events under `source`.

    In: the file in binary; a zip has to be seekable. Raises `BadHeader` where the file as a whole is not what
    the mapping says; of a file within a zip, that is a row with its problems.
    """
    if isinstance(mapping, Mappers):
        yield from _entries(stream, mapping, source)
    elif mapping.input.format == "xml":
        yield from markup.read(stream, mapping, source)
    else:
        yield from files.read(stream, mapping, source)


def _entries(stream: BinaryIO, mappers: Mappers, source: str) -> Iterator[Row]:
    if not stream.seekable():
        raise _refused("not-seekable", "a zip is read from a file, not from a pipe")
    try:
        opened = zipfile.ZipFile(stream)
    except _UNREADABLE:
        raise _refused("not-a-zip", "the file is no zip, or was cut off") from None
    with opened:
        found = _wanted(opened.infolist(), mappers)
        for name, mapper in mappers.files.items():
            if name in found:
                yield from _entry(opened, found[name], name, mapper, source)


def _wanted(listed: list[zipfile.ZipInfo], mappers: Mappers) -> dict[str, zipfile.ZipInfo]:
    """The entries that are read, by their name without folders. Raises `BadHeader`."""
    if len(listed) > entries_max:
        raise _refused("too-many", f"{len(listed)} files, a zip has at most {entries_max}")
    found: dict[str, zipfile.ZipInfo] = {}
    for one in listed:
        name = one.filename.rpartition("/")[2]
        if name not in mappers.files:
            continue
        if name in found:
            raise _refused("duplicate-entry", f"`{name}` stands in it twice")
        if one.flag_bits & 1:
            raise _refused("encrypted", f"`{name}` is encrypted")
        if one.file_size > ratio_max * max(one.compress_size, 1024):
            raise _refused(
                "zip-bomb", f"`{name}` is more than {ratio_max} times larger than its part of the zip"
            )
        found[name] = one
    if sum(one.file_size for one in found.values()) > unpacked_bytes_max:
        raise _refused("too-large", f"the files of a zip have at most {unpacked_bytes_max} bytes together")
    if not found:
        raise _refused("no-entry", "none of these is in it: " + ", ".join(mappers.files))
    return found


def _entry(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, mapper: Mapper, source: str
) -> Iterator[Row]:
    line = 0
    try:
        with opened.open(info) as stream:
            for row in read(stream, mapper, source):  # type: ignore[arg-type]  # all that is read is `read`
                line = row.line
                yield row._replace(entry=name, problems=_within(name, row.problems))
    except BadHeader as error:
        problems = _within(name, error.problems)
        yield Row(1, None, problems, error.original, len(error.original), mapper, name)
    except _UNREADABLE:
        problem = Problem(f"{name}, line {line}", "damaged", "the zip is damaged from here on")
        yield Row(line, None, (problem,), b"", 0, mapper, name)


def _within(name: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(one._replace(path=f"{name}, {one.path}") for one in problems)


def _refused(code: str, detail: str) -> BadHeader:
    return BadHeader([Problem("", code, detail)], b"")
