"""People's sign-ins. A session lives in the store under the hash of its cookie; it ends when left alone."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from hub.store import Store, chunks, upsert
from hub.tables import accounts, sessions
from hub.tokens import digest

COOKIE: Final = "hub_session"
IDLE_MS_MAX: Final = 30 * 60_000
SESSION_MS_MAX: Final = 12 * 3_600_000
TOUCH_MS: Final = 60_000  # how exactly the last use is remembered; fewer writes
COOKIE_CHARS_MAX: Final = 128

Role = Literal["case-manager", "privacy-officer", "operator"]


class Account(NamedTuple):
    """Somebody who can sign in. `stakeholder` is the organisation whose people and alerts they see."""

    id: str
    role: Role
    name: str
    stakeholder: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in."""

    account: str
    role: Role
    name: str
    stakeholder: str | None
    session: str
    csrf: str

    @property
    def principal(self) -> str:
        """How records of access and work name them."""
        return f"person:{self.account}"


class Sessions:
    """Sessions and the demo accounts, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def offer(self, demo: Iterable[Account]) -> None:
        """Make the demo accounts what is given here; with nothing given, none can be used any more."""
        now = _now()
        rows = [
            {**one._asdict(), "password": None, "demo": True, "created_at": now, "disabled_at": None}
            for one in demo
        ]
        kept = [row["id"] for row in rows]
        with self._store.write() as connection:
            gone = sa.and_(accounts.c.demo, accounts.c.id.not_in(kept))
            connection.execute(
                sessions.delete().where(sessions.c.account.in_(sa.select(accounts.c.id).where(gone)))
            )
            connection.execute(accounts.update().where(gone).values(disabled_at=now))
            upsert(connection, accounts, rows, update=("stakeholder", "role", "name", "disabled_at"))

    def offered(self) -> list[Account]:
        """The demo accounts, in the order of their ids."""
        query = (
            sa.select(accounts.c.id, accounts.c.role, accounts.c.name, accounts.c.stakeholder)
            .where(accounts.c.demo, accounts.c.disabled_at.is_(None))
            .order_by(accounts.c.id)
        )
        with self._store.read() as connection:
            return [Account(*row) for row in connection.execute(query)]

    def open(self, account: str) -> str:
        """Sign a demo account in. Out: the cookie. Raises `KeyError` where there is no such account."""
        if all(one.id != account for one in self.offered()):
            raise KeyError("account")
        cookie, now = secrets.token_urlsafe(32), _now()
        with self._store.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(
                sessions.insert().values(
                    digest=digest(cookie),
                    account=account,
                    csrf=secrets.token_urlsafe(32),
                    created_at=now,
                    seen_at=now,
                    expires_at=now + SESSION_MS_MAX,
                )
            )
        return cookie

    def find(self, cookie: str, *, used: bool) -> Person | None:
        """Who holds this cookie; None where the session ended.

        `used` says that a person did something, so that the time of being left alone starts anew; a page that
        refreshes itself did nothing.
        """
        if len(cookie) > COOKIE_CHARS_MAX:
            return None
        now, key = _now(), digest(cookie)
        query = (
            sa.select(accounts, sessions.c.csrf, sessions.c.seen_at)
            .join(sessions, sessions.c.account == accounts.c.id)
            .where(
                sessions.c.digest == key,
                sessions.c.expires_at > now,
                sessions.c.seen_at > now - IDLE_MS_MAX,
                accounts.c.disabled_at.is_(None),
            )
        )
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if used and row.seen_at < now - TOUCH_MS:
            with self._store.write() as connection:
                connection.execute(sessions.update().where(sessions.c.digest == key).values(seen_at=now))
        return Person(row.id, row.role, row.name, row.stakeholder, key, row.csrf)

    def standing(self, keys: Iterable[str]) -> frozenset[str]:
        """Which of these sessions, by their hashes, have not ended."""
        now, found = _now(), set()
        query = (
            sa.select(sessions.c.digest)
            .join(accounts, sessions.c.account == accounts.c.id)
            .where(
                sessions.c.expires_at > now,
                sessions.c.seen_at > now - IDLE_MS_MAX,
                accounts.c.disabled_at.is_(None),
            )
        )
        with self._store.read() as connection:
            for some in chunks(sorted(keys)):
                found |= set(connection.execute(query.where(sessions.c.digest.in_(some))).scalars())
        return frozenset(found)

    def close(self, session: str) -> None:
        """Sign out: forget a session by its hash."""
        with self._store.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.digest == session))


def _now() -> int:
    return time.time_ns() // 1_000_000
