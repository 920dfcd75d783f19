"""Locks on files under the data folder: whoever has the descriptor open holds it, and the kernel frees it."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

TAKE_TRIES_MAX: Final = 5
TAKE_PAUSE_MS: Final = 20


def take(path: Path) -> int:
    """Lock `path`, making it where it is missing.

    Out: a descriptor; the lock lasts until it, and every copy that a child inherited, is closed.
    Raises `BlockingIOError` where somebody else holds it. (Who only looks, as `is_free` does, holds it for a
    moment; hence a few tries.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for tries_left in range(TAKE_TRIES_MAX - 1, -1, -1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if not tries_left:
                os.close(lock)
                raise
            time.sleep(TAKE_PAUSE_MS / 1000)
    raise AssertionError("unreachable")


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
