"""What the play has done so far, on disk, so that it can be killed at any moment and go on from there."""

from __future__ import annotations

import json
import os
import secrets
import threading
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


def kept(path: Path) -> list[Any]:
    """What was kept in a file of JSON lines, oldest first; a torn last line is what a kill leaves."""
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


class Lines:
    """A file of JSON lines that grows, each line on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        """Opens it, without the torn line that a kill may have left at its end."""
        text = path.read_bytes() if path.exists() else b""
        self.file = path.open("ab")
        self.file.truncate(text.rfind(b"\n") + 1)

    def add(self, *values: Any) -> None:
        """Adds lines: all of them are on disk, or a beginning of them."""
        self.file.write(b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in values))
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Lets go of the file."""
        self.file.close()


class Journal:
    """Steps by name, each with what it brought."""

    def __init__(self, path: Path) -> None:
        self.done: dict[str, Any] = {one["step"]: one["brought"] for one in kept(path)}
        self.lines = Lines(path)
        self.lock = threading.Lock()

    def __contains__(self, step: str) -> bool:
        return step in self.done

    def keep(self, step: str, brought: Any = True) -> Any:
        """Notes that a step is done, on disk before it returns; gives back what it brought."""
        with self.lock:
            self.lines.add({"step": step, "brought": brought})
            self.done[step] = brought
        return brought

    def moment(self, step: str) -> int:
        """The instant at which a step was first reached, in milliseconds since 1970."""
        known = self.done.get(step)
        return int(known if known is not None else self.keep(step, time.time_ns() // 1_000_000))

    def close(self) -> None:
        """Lets go of the file."""
        self.lines.close()
