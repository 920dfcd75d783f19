"""Locks on files under the data folder: whoever has the descriptor open holds it, and the kernel frees it."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

WAIT_MS: Final = 100  # whoever only looks, as `is_free` does, holds a lock for a moment
PAUSE_MS: Final = 10


def take(path: Path, wait_ms_max: int = WAIT_MS) -> int:
    """Lock `path`, making it where it is missing.

    Out: a descriptor; the lock lasts until it, and every copy that a child inherited, is closed.
    Raises `BlockingIOError` where somebody else still holds it after `wait_ms_max`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_ms_max / 1000
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(lock)
                raise
            time.sleep(PAUSE_MS / 1000)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock on `path`."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
