"""What reading a file gives, whatever its format: records one after the other, each an event or a refusal."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from connectors.mapping import Mapper
from connectors.rules import Tree
from schemas.errors import Invalid, Problem

record_bytes_max: Final = 12 * 1024 * 1024


class Row(NamedTuple):
    """One record of a file: the event it became, or the problems that it has; neither where it was left out.

    `line` is its first line, from 1, of the file `entry` where the whole is an archive. `original` is its
    bytes (only the beginning past `record_bytes_max`), `size` how many they were.
    """

    line: int
    event: dict[str, object] | None
    problems: tuple[Problem, ...]
    original: bytes
    size: int
    mapper: Mapper | None = None
    entry: str = ""

    def where(self, pointer: str) -> str:
        """Where an event's value came from, in words, for the JSON Pointer of an error; or the pointer."""
        origin = self.mapper.origin(pointer) if self.mapper is not None else None
        if origin is None or self.mapper is None:
            return pointer
        place = self.mapper.at(self.line, origin)
        return f"{self.entry}, {place}" if self.entry else place


class BadHeader(Invalid):
    """The file as a whole is not what its mapping says; nothing of it is taken."""

    def __init__(self, problems: Sequence[Problem], original: bytes) -> None:
        super().__init__(problems)
        self.original = original


def row(
    mapper: Mapper,
    source: str,
    line: int,
    tree: Tree,
    problems: Iterable[Problem],
    original: bytes,
    size: int,
) -> Row:
    """A record that was read, mapped. In: what is wrong with it before any mapping."""
    found = tuple(problems)
    event: dict[str, object] | None = None
    if not found and not mapper.skips(tree):
        try:
            event = mapper.event_of(tree, source)
        except Invalid as error:
            found = tuple(p._replace(path=mapper.at(line, p.path)) for p in error.problems)
    return Row(line, event, found, original, size, mapper)
