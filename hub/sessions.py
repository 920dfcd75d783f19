"""People's sign-ins. A session lives in the store under the hash of its cookie; it ends when left alone."""

import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa
import structlog

from hub.store import Store, chunks, upsert
from hub.tables import accounts, sessions
from hub.tokens import digest

COOKIE: Final = "hub_session"
BOUND: Final = "__Host-"  # RFC 6265bis, 4.1.3: by TLS, for this host and all of it, or the browser drops it
IDLE_MS_MAX: Final = 30 * 60_000
SESSION_MS_MAX: Final = 12 * 3_600_000
TOUCH_MS: Final = 60_000  # how exactly the last use is remembered; fewer writes
COOKIE_CHARS_MAX: Final = 128
NAME_CHARS: Final = 16
LISTED_MAX: Final = 10_000

log = structlog.get_logger(__name__)

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


class Open(NamedTuple):
    """A session as `hub session list` shows it, by the beginning of its hash. Times in epoch milliseconds."""

    name: str
    account: str
    created_at: int
    seen_at: int


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

    def open(self, account: str, agent: str = "", sid: str | None = None) -> str:
        """Sign an account in. In: what the browser calls itself; the provider's session, where there is one.

        Out: the cookie. Raises `KeyError` where there is no such account, or not any more.
        """
        cookie, now = secrets.token_urlsafe(32), _now()
        there = sa.select(sa.literal(1)).where(accounts.c.id == account, accounts.c.disabled_at.is_(None))
        with self._store.write() as connection:
            if connection.execute(there).scalar() is None:
                raise KeyError("account")
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(
                sessions.insert().values(
                    digest=digest(cookie),
                    account=account,
                    csrf=secrets.token_urlsafe(32),
                    created_at=now,
                    seen_at=now,
                    expires_at=now + SESSION_MS_MAX,
                    agent=digest(agent),
                    sid=sid,
                )
            )
        return cookie

    def find(self, cookie: str, *, used: bool, agent: str = "") -> Person | None:
        """Who holds this cookie; None where the session ended, which one does that moves to another browser.

        `used` says that a person did something, so that the time of being left alone starts anew; a page that
        refreshes itself did nothing. `agent` is what the browser calls itself.
        """
        if len(cookie) > COOKIE_CHARS_MAX:
            return None
        now, key = _now(), digest(cookie)
        query = (
            sa.select(accounts, sessions.c.csrf, sessions.c.seen_at, sessions.c.agent)
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
        if not hmac.compare_digest(row.agent, digest(agent)):
            log.warning("session_moved", principal=f"person:{row.id}")
            self.close(key)
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

    def listed(self) -> list[Open]:
        """The sessions that have not ended, by account, the newest first."""
        now = _now()
        query = (
            sa.select(sessions.c.digest, sessions.c.account, sessions.c.created_at, sessions.c.seen_at)
            .where(sessions.c.expires_at > now, sessions.c.seen_at > now - IDLE_MS_MAX)
            .order_by(sessions.c.account, sessions.c.created_at.desc())
            .limit(LISTED_MAX)
        )
        with self._store.read() as connection:
            return [Open(row[0][:NAME_CHARS], *row[1:]) for row in connection.execute(query)]

    def end(self, *, name: str = "", account: str = "") -> list[str]:
        """End a session by its name in `listed`, or all of an account. Out: whose were ended, one each."""
        mine = sessions.c.digest.startswith(name, autoescape=True)
        if account:
            mine = sessions.c.account == account
        with self._store.write() as connection:
            gone = sessions.delete().where(mine).returning(sessions.c.account)
            return list(connection.execute(gone).scalars())

    def ended_elsewhere(self, issuer: str, subject: str | None, sid: str | None) -> list[str]:
        """End what the provider ended: one of its sessions, or all of a subject. Out: whose, one each."""
        theirs = sa.select(accounts.c.id).where(accounts.c.issuer == issuer)
        if subject is not None:
            theirs = theirs.where(accounts.c.subject == subject)
        mine = [sessions.c.account.in_(theirs), *([sessions.c.sid == sid] if sid is not None else [])]
        assert subject is not None or sid is not None, "else everybody would be signed out"
        with self._store.write() as connection:
            gone = sessions.delete().where(*mine).returning(sessions.c.account)
            return list(connection.execute(gone).scalars())


def cookie_name(secure: bool) -> str:
    """What the session's cookie is called where pages come by TLS, and where not."""
    return BOUND + COOKIE if secure else COOKIE


def _now() -> int:
    return time.time_ns() // 1_000_000
