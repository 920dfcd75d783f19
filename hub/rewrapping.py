"""Replaces the key-encryption key while everything runs: a new one, every key wrapped anew, the old one gone.

1. The new key is put where key-encryption keys are, beside the old one.
2. One transaction makes it the current one. From then on no process wraps by the old one: who makes a key
   asks within the same transaction which is current, and holds this step off meanwhile.
3. Keys are wrapped anew, `BATCH_KEYS_MAX` a transaction. A key that was destroyed meanwhile stays destroyed.
4. When nothing is wrapped by the old one any more, it is destroyed, and what it had wrapped leaves the disk.

Running processes meet the new key's name in the store, and look for it where it is. Cut short anywhere, the
next call goes on. A backup of the store from before opens under no key that still exists.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub.kek import KekInvalid, KekSource
from hub.store import Store, upsert
from hub.tables import keks, keys
from hub.vault import KEK_LOCK, KeyId, current_kek
from schemas import crash

BATCH_KEYS_MAX: Final = 500


class Rewrapped(NamedTuple):
    """What was done: the current key, how many were wrapped anew, which keys are gone, and which are not
    because they are somebody else's to take away; whether an earlier call had begun it.
    """

    kek: str
    keys: int
    destroyed: tuple[str, ...]
    left: tuple[str, ...]
    resumed: bool


def rotate(
    store: Store,
    source: KekSource,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> Rewrapped:
    """Replaces the key-encryption key, or finishes what was begun; `done` is told how many of how many keys.

    Raises `KekGivenOnly` where the hub was given no other key than the current one, `KekInvalid` where one by
    which keys are wrapped is missing: then nothing was destroyed.
    """
    resumed = _begun(store)
    current = _current(store, source, clock_ms()) if resumed else _next(store, source, clock_ms())
    count = _wrap_anew(store, source, current, done)
    destroyed, left = _end(store, source, current, clock_ms())
    store.scrub(keys)
    return Rewrapped(current, count, destroyed, left, resumed)


def age_ms(store: Store, now: int) -> int | None:
    """For how long the current key has been that; None where there is none."""
    with store.read() as connection:
        since = connection.execute(
            sa.select(sa.func.max(keks.c.since)).where(keks.c.until.is_(None))
        ).scalar()
    return None if since is None else now - int(since)


def _begun(store: Store) -> bool:
    """Whether an earlier call was cut short."""
    old = sa.select(keks.c.id).where(keks.c.until.is_not(None), keks.c.destroyed_at.is_(None))
    with store.read() as connection:
        return connection.execute(old.limit(1)).first() is not None


def _current(store: Store, source: KekSource, now: int) -> str:
    with store.write() as connection:
        return current_kek(connection, store, source.keks(), now)


def _next(store: Store, source: KekSource, now: int) -> str:
    """Makes a key the current one; out: its id."""
    current = _current(store, source, now)
    with store.read() as connection:
        known = set(connection.execute(sa.select(keks.c.id)).scalars())
    new = source.make({current, *known})
    crash.point("keys.made")
    with store.write() as connection:
        store.alone(connection, KEK_LOCK)
        connection.execute(keks.update().where(keks.c.until.is_(None)).values(until=now))
        upsert(connection, keks, [{"id": new, "since": now, "until": None, "destroyed_at": None}])
    crash.point("keys.current")
    return new


def _wrap_anew(store: Store, source: KekSource, current: str, done: Callable[[int, int], None]) -> int:
    """Wraps every key by the current one; out: how many were not."""
    there = source.keks()
    old = sa.and_(keys.c.wrapped.is_not(None), keys.c.kek != current)
    query = sa.select(keys.c.kind, keys.c.subject, keys.c.version, keys.c.wrapped, keys.c.kek).where(old)
    with store.read() as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(keys).where(old)).scalar_one()
    count = 0
    while True:
        with store.read() as connection:
            rows = connection.execute(query.limit(BATCH_KEYS_MAX)).all()
        if not rows:
            return count
        if missing := {row.kek for row in rows} - there.keys():
            raise KekInvalid(
                f"keys are wrapped by the key-encryption key {min(missing)}, which is not here",
                "Bring it back from its backup; nothing was destroyed.",
            )
        fresh = []
        for row in rows:
            bound = KeyId(row.kind, row.subject, row.version).context()
            key = there[row.kek].unwrap(bound, row.wrapped)
            fresh.append((row, there[current].wrap(bound, key)))
        with store.write() as connection:
            for row, wrapped in fresh:
                same = sa.and_(
                    keys.c.kind == row.kind,
                    keys.c.subject == row.subject,
                    keys.c.version == row.version,
                    keys.c.wrapped == row.wrapped,  # or it was destroyed meanwhile
                )
                count += connection.execute(
                    keys.update().where(same).values(wrapped=wrapped, kek=current)
                ).rowcount
        crash.point("keys.batch")
        done(count, max(count, total))


def _end(store: Store, source: KekSource, current: str, now: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Destroys the keys by which nothing is wrapped any more; out: those, and those that it may not."""
    with store.write() as connection:
        store.alone(connection, KEK_LOCK)
        used = set(connection.execute(sa.select(keys.c.kek).where(keys.c.wrapped.is_not(None))).scalars())
        assert used <= {current}, "a key was wrapped by one that is not current"
        over = keks.c.until.is_not(None), keks.c.destroyed_at.is_(None)
        old = list(connection.execute(sa.select(keks.c.id).where(*over).order_by(keks.c.since)).scalars())
    gone = tuple(kek for kek in old if source.destroy(kek))
    crash.point("keys.destroyed")
    with store.write() as connection:
        connection.execute(keks.update().where(keks.c.id.in_(gone)).values(destroyed_at=now))
    return gone, tuple(kek for kek in old if kek not in gone)
