"""Has every running process forget a key that was destroyed, and say so.

A process that may have keys in memory stands in `holders` while it runs, and looks once in `LOOK_MS` whether
anybody was erased. It takes their keys out of its memory and then says how far it has come. Who erases waits
for all of them, and names those that said nothing: one that is frozen, or cut off from the store. Whatever it
had in memory it uses no more after `CACHE_MS_MAX`, by its own clock.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog

from hub.store import Store, upsert
from hub.tables import erasures, holders
from hub.vault import Vault

LOOK_MS: Final = 500
TOUCH_MS: Final = 300_000  # how often a holder says that it still runs
GONE_MS: Final = 3 * TOUCH_MS  # who has not said so for so long runs no more
STOP_MS_MAX: Final = 2_000
POLL_MS: Final = 50

log = structlog.get_logger()


class Forgetter:
    """One process's part. A thread of its own; it begins at once, and ends with `close`."""

    def __init__(self, store: Store, vault: Vault, stage: str) -> None:
        """In: the store, the vault whose memory it is, what this process is called."""
        self._store = store
        self._vault = vault
        self._row = {
            "id": f"{secrets.token_hex(8)}.{_started(os.getpid())}",
            "stage": stage,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._stop = threading.Event()
        with store.write() as connection:
            _bury(connection)
            self._seen = _newest(connection)  # nothing is in memory yet
            self._say(connection)
        self._thread = threading.Thread(target=self._run, name="forgetter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """This process has no keys any more. May be repeated."""
        self._stop.set()
        self._thread.join(STOP_MS_MAX / 1000)
        with self._store.write() as connection:
            connection.execute(holders.delete().where(holders.c.id == self._row["id"]))

    def look(self) -> None:
        """Forgets whoever was erased since the last look, and says so."""
        query = sa.select(erasures.c.number, erasures.c.subject).where(erasures.c.number > self._seen)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(erasures.c.number)).all()
        late = time.monotonic() - self._said >= TOUCH_MS / 1000
        if rows:
            self._vault.forget(row.subject for row in rows)
            self._seen = int(rows[-1].number)
        if rows or late:
            with self._store.write() as connection:
                self._say(connection)

    def _say(self, connection: sa.Connection) -> None:
        row = {**self._row, "forgotten": self._seen, "seen_at": _now()}
        upsert(connection, holders, [row], update=("forgotten", "seen_at"))
        self._said = time.monotonic()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_MS / 1000):
            try:
                self.look()
            except sa.exc.OperationalError:
                log.warning("the store is away: what was erased is not heard of")
            except Exception:
                log.exception("what was erased is not heard of")


def heard(store: Store, wait_ms_max: int, sleep: Callable[[float], None] = time.sleep) -> tuple[str, ...]:
    """Waits until every process has forgotten all who were erased so far; out: those that did not say so.

    A process that has ended is not waited for: on this machine one whose process id nobody has any more,
    elsewhere one that has said nothing for `GONE_MS`.
    """
    with store.read() as connection:
        newest = _newest(connection)
    deadline = time.monotonic() + wait_ms_max / 1000
    query = sa.select(holders).where(holders.c.forgotten < newest).order_by(holders.c.stage)
    while True:
        with store.read() as connection:
            rows = connection.execute(query).all()
        behind = [row for row in rows if _runs(row)]
        if not behind or time.monotonic() >= deadline:
            return tuple(f"{row.stage} ({row.pid} on {row.host})" for row in behind)
        sleep(POLL_MS / 1000)


def _newest(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(erasures.c.number))).scalar() or 0)


def _bury(connection: sa.Connection) -> None:
    """Takes away who runs no more."""
    for row in connection.execute(sa.select(holders)).all():
        if not _runs(row):
            connection.execute(holders.delete().where(holders.c.id == row.id))


def _runs(row: "sa.Row[Any]") -> bool:
    """Whether a holder may still have anything in memory."""
    if row.host != socket.gethostname():
        return bool(row.seen_at >= _now() - GONE_MS)
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return str(row.id).partition(".")[2] == _started(row.pid)


def _started(pid: int) -> str:
    """When a process began, in ticks since this machine did: two that had one id differ in it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _now() -> int:
    return time.time_ns() // 1_000_000
