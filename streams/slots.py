"""Worker identities that survive a restart: numbered slots, each locked by the process that uses it.

A worker that is started again finds the same slot free and takes its partitions back without a rebalance. A
frozen one still holds its lock, so that its replacement gets another slot and the group sees a newcomer.
"""

import fcntl
import os
import uuid
from pathlib import Path
from typing import Final, Self

from schemas.errors import Unavailable

slots_max: Final = 64


class Slot:
    """One identity, held until `close()` or the end of the process. Also a context manager."""

    def __init__(self, folder: Path, group: str) -> None:
        """Takes the lowest free slot of a group. `folder` is this data folder's own; it is created.

        Raises `Unavailable` when `slots_max` workers of the group run already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        node = _node(folder)
        for number in range(slots_max):
            handle = os.open(folder / f"{group}-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                continue
            self._handle: int | None = handle
            self.instance_id = f"{group}-{node}-{number}"
            return
        raise Unavailable(f"`{group}` has {slots_max} workers here already")

    def close(self) -> None:
        """Frees the slot."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _node(folder: Path) -> str:
    """Eight letters that tell this data folder from those of other machines in the same group."""
    path = folder / "node"
    if not path.exists():
        fresh = folder / f"node.{uuid.uuid4().hex}"
        fresh.write_text(uuid.uuid4().hex[:8], encoding="ascii")
        try:
            os.link(fresh, path)  # whoever links first gives the name
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii")
