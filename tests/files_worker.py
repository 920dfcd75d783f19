"""A process that takes all files of a folder: `python tests/files_worker.py FOLDER LOG MAPPING`.

The log is a file with a line for each record that was stored, forced to the disk as a broker would.
"""

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from connectors.folder import Folder
from connectors.intake import Intake, Taken
from connectors.sources import Source
from connectors.taking import Taker, Watched
from schemas import codec
from tests.test_events import CATEGORIES, LABELS


class Keys:
    """Seals nothing, so that the test can look."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext

    def seal_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        return [plaintext for _, plaintext in pairs]

    def hub(self, purpose: str) -> "Keys":
        return self

    def mac(self, purpose: str, data: bytes) -> str:
        return hashlib.sha256(purpose.encode() + data).hexdigest()


class Rules:
    """The policy's words; everybody is registered."""

    def categories(self) -> Sequence[str]:
        return CATEGORIES

    def labels(self) -> Sequence[str]:
        return LABELS

    def registered(self, stakeholder: str) -> bool:
        return True


class Door(Intake):
    """An intake whose topics are a file. In: its path."""

    async def append(self, taken: Sequence[Taken]) -> None:
        with Path(str(self.producer)).open("a") as log:  # noqa: ASYNC230 - nothing else is in this loop
            for one in taken:
                value = codec.decode(one.value)[1]
                said = json.loads(value["sealed"])["id"] if one.topic.startswith("inbox.") else value["id"]
                log.write(json.dumps([one.topic, said]) + "\n")
            log.flush()
            os.fsync(log.fileno())


def door(log: Path) -> Door:
    """What takes events in."""
    return Door(str(log), Keys(), Rules(), 4)  # type: ignore[arg-type]


def watched(folder: Path, log: Path, mapping: str) -> Watched:
    """What takes the files of a folder without waiting for them to settle."""
    source = Source(agency="reach", mappings={"*.csv": mapping}, folder=folder, settle_ms=0)
    return Watched(Folder(folder, 0), Taker(source, door(log), Keys().mac))


async def main(folder: Path, log: Path, mapping: str) -> None:
    place = watched(folder, log, mapping)
    while await place.once(lambda: False):
        pass


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
