"""Wrong PINs, counted by the keyed hash of the code that was tried, whether it is anybody's or not.

After five of them the code rests, longer each time. Times in epoch milliseconds.
"""

from typing import Final

import sqlalchemy as sa

from hub import acts
from hub.appender import Appender
from hub.owntables import attempts
from hub.store import Store, upsert

TRIES_MAX: Final = 5
REST_MS: Final = 15 * 60_000
REST_MS_MAX: Final = 24 * 3_600_000
COUNTED_MS_MAX: Final = 30 * 24 * 3_600_000  # then wrong tries are forgotten


class Resting(Exception):
    """Too many wrong tries: this code opens nothing until then (epoch milliseconds)."""

    def __init__(self, until: int) -> None:
        super().__init__("this code rests")
        self.until = until


class Guesses:
    """Counts, in the store."""

    def __init__(self, store: Store, appender: Appender) -> None:
        """In: the store, and the way to the log, which hears when a code begins to rest."""
        self._store = store
        self._appender = appender

    def rests(self, key: str, now: int) -> int | None:
        """Until when a code rests, if it does."""
        with self._store.read() as connection:
            row = connection.execute(sa.select(attempts).where(attempts.c.code == key)).one_or_none()
        if row is None or row.failures < TRIES_MAX or row.failures % TRIES_MAX:
            return None
        times = row.failures // TRIES_MAX - 1
        until: int = row.at + min(REST_MS << min(times, 20), REST_MS_MAX)
        return until if now < until else None

    def failed(self, key: str, now: int) -> None:
        """Counts a wrong try, in the same way whether the code is anybody's or not."""
        mine = attempts.c.code == key
        with self._store.write() as connection:
            connection.execute(attempts.delete().where(attempts.c.at < now - COUNTED_MS_MAX))
            upsert(connection, attempts, [{"code": key, "failures": 0, "at": now}])
            more = attempts.update().where(mine).values(failures=attempts.c.failures + 1, at=now)
            failures = connection.execute(more.returning(attempts.c.failures)).scalar_one()
        if failures % TRIES_MAX == 0:
            acts.access(self._appender, acts.CARD_RESTS, "nobody", {"tries": failures})
