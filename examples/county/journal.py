"""What the play has done so far, on disk, so that it can be killed at any moment and go on from there."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is either all there or not there, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Journal:
    """Steps by name, each with what it brought; a torn last line is a step that was not done."""

    def __init__(self, path: Path) -> None:
        self.done: dict[str, Any] = {}
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                step = json.loads(line)
                self.done[step["step"]] = step["brought"]
            os.truncate(path, whole)
        self.file = path.open("ab")

    def __contains__(self, step: str) -> bool:
        return step in self.done

    def keep(self, step: str, brought: Any = True) -> Any:
        """Notes that a step is done, on disk before it returns; gives back what it brought."""
        line = json.dumps({"step": step, "brought": brought}, separators=(",", ":"))
        self.file.write(line.encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.done[step] = brought
        return brought

    def moment(self, step: str) -> int:
        """The instant at which a step was first reached, in milliseconds since 1970."""
        known = self.done.get(step)
        return int(known if known is not None else self.keep(step, time.time_ns() // 1_000_000))

    def close(self) -> None:
        """Lets go of the file."""
        self.file.close()
