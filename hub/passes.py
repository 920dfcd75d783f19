"""Cards that open a participant's own page: a short code to carry, a PIN to know, and short visits.

Code and PIN are kept as hashes: the code as a keyed one, the PIN by argon2id (RFC 9106). Whatever is wrong is
answered alike and after the same work, so that nobody learns whether a code is anybody's. Wrong tries are
counted by the code that was tried; after five of them it rests, longer each time.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import argon2
import sqlalchemy as sa

from hub import acts
from hub.appender import Appender
from hub.owntables import attempts, passes, visits
from hub.store import Store, upsert
from hub.tokens import digest
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Unavailable, Unsealable

COOKIE: Final = "hub_visit"
LEFT: Final = "hub_left"  # set by the page that is left: it counts before the word of it has arrived
ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is read as something else
CODE_CHARS: Final = 10  # 49 bits
TYPED_CHARS_MAX: Final = 40
PIN_DIGITS_MIN: Final = 6
PIN_DIGITS_MAX: Final = 12
TRIES_MAX: Final = 5
REST_MS: Final = 15 * 60_000
REST_MS_MAX: Final = 24 * 3_600_000
COUNTED_MS_MAX: Final = 30 * 24 * 3_600_000  # then wrong tries are forgotten
IDLE_MS_MAX: Final = 5 * 60_000
VISIT_MS_MAX: Final = 30 * 60_000
HASHES_MAX: Final = 2  # at a time: each takes 64 MiB
HASH_WAIT_S: Final = 20
HELPERS_MAX: Final = 5
HELPS_MS_MAX: Final = 366 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who visits a participant's own page: themselves, or a helper they named, by the helper's card."""

    participant: str
    card: str
    helper: bool
    acts: bool
    session: str
    csrf: str

    @property
    def principal(self) -> str:
        """How records name whoever acts: a helper's acts are the helper's."""
        return f"helper:{self.card}" if self.helper else f"participant:{self.participant}"


class Card(NamedTuple):
    """A new card. The code is shown once; only its hash is kept."""

    id: str
    code: str


class Helper(NamedTuple):
    """Somebody whom a participant named to see, perhaps to act. `until` in epoch milliseconds."""

    id: str
    name: str
    acts: bool
    until: int


class Resting(Exception):
    """Too many wrong tries: this code opens nothing until then (epoch milliseconds)."""

    def __init__(self, until: int) -> None:
        super().__init__("this code rests")
        self.until = until


class Passes:
    """Cards and visits, in the store. That one was made, used or ended is written to `access` first."""

    def __init__(self, store: Store, vault: Vault, appender: Appender, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._vault = vault
        self._appender = appender
        self._clock = clock_ms
        self._hasher = argon2.PasswordHasher()
        self._room = threading.Semaphore(HASHES_MAX)
        self._nobody = ""

    def make(
        self,
        participant: str,
        pin: str,
        by: str,
        *,
        helper: str | None = None,
        acts_too: bool = True,
        until: int | None = None,
    ) -> Card:
        """A card for a participant, which ends the one before; or one for a helper, by that name, until then.

        Raises `Invalid` for a PIN that is guessed soon, a helper too many or for too long; `Erased` where the
        participant was erased; `Unavailable`.
        """
        check_pin(pin)
        now, name, code = self._clock(), "m-" + secrets.token_hex(13), new_code()
        sealed = None
        if helper is not None:
            self._check_helper(participant, helper, until, now)
            sealed = self._vault.sealer(participant).seal(_aad(name), helper.encode())
        row = {
            "id": name,
            "participant": participant,
            "code": self._hashed(code),
            "pin": self._slowly(lambda: self._hasher.hash(pin)),
            "helper": sealed,
            "acts": acts_too,
            "made_by": by,
            "made_at": now,
            "expires_at": until,
            "ended_at": None,
        }
        kind = acts.CARD_MADE if helper is None else acts.HELPER_NAMED
        acts.access(self._appender, kind, by, {"card": name, "acts": acts_too, "until": until}, participant)
        with self._store.write() as connection:
            if helper is None:
                own = sa.and_(passes.c.participant == participant, passes.c.helper.is_(None))
                _end(connection, own, now)
            upsert(connection, passes, [row])
        return Card(name, code)

    def end(self, participant: str, card: str, by: str) -> bool:
        """A card opens nothing any more. Out: whether there was one. Raises `Unavailable`."""
        mine = sa.and_(passes.c.id == card, passes.c.participant == participant, passes.c.ended_at.is_(None))
        with self._store.read() as connection:
            if connection.execute(sa.select(passes.c.id).where(mine)).scalar() is None:
                return False
        acts.access(self._appender, acts.CARD_ENDED, by, {"card": card}, participant)
        with self._store.write() as connection:
            _end(connection, mine, self._clock())
        return True

    def helpers(self, participant: str) -> list[Helper]:
        """Those whom a participant named, as long as it lasts, in the order of being named."""
        query = (
            sa.select(passes)
            .where(
                passes.c.participant == participant,
                passes.c.helper.is_not(None),
                passes.c.ended_at.is_(None),
                passes.c.expires_at > self._clock(),
            )
            .order_by(passes.c.made_at)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [Helper(row.id, self._name(row), row.acts, row.expires_at) for row in rows]

    def has(self, participant: str) -> bool:
        """Whether a participant has a card of their own."""
        mine = sa.and_(
            passes.c.participant == participant, passes.c.helper.is_(None), passes.c.ended_at.is_(None)
        )
        with self._store.read() as connection:
            return connection.execute(sa.select(passes.c.id).where(mine)).scalar() is not None

    def enter(self, code: str, pin: str) -> str | None:
        """Begin a visit. Out: its cookie; None where code and PIN do not belong together.

        Raises `Resting` after too many wrong tries, `Unavailable`.
        """
        now, key, dummy = self._clock(), self._hashed(code), self._dummy()
        if (rests := self._rests(key, now)) is not None:
            raise Resting(rests)
        good = sa.and_(
            passes.c.code == key,
            passes.c.ended_at.is_(None),
            sa.or_(passes.c.expires_at.is_(None), passes.c.expires_at > now),
        )
        with self._store.read() as connection:
            row = connection.execute(sa.select(passes).where(good)).one_or_none()
        right = self._right(row.pin if row is not None else dummy, pin)
        if row is None or not right:
            self._failed(key, now)
            return None
        who = f"helper:{row.id}" if row.helper is not None else f"participant:{row.participant}"
        acts.access(self._appender, acts.SIGNED_IN, who, {"role": "participant"}, row.participant)
        cookie = secrets.token_urlsafe(32)
        visit = {"digest": digest(cookie), "pass": row.id, "csrf": secrets.token_urlsafe(32)}
        visit |= {"created_at": now, "seen_at": now, "expires_at": now + VISIT_MS_MAX}
        with self._store.write() as connection:
            connection.execute(attempts.delete().where(attempts.c.code == key))
            connection.execute(visits.delete().where(visits.c.expires_at <= now))
            upsert(connection, visits, [visit])
        return cookie

    def find(self, cookie: str, *, used: bool) -> Visitor | None:
        """Who holds this cookie; None where visit or card ended. `used` says that somebody did something."""
        if len(cookie) > TYPED_CHARS_MAX * 4:
            return None
        now, key = self._clock(), digest(cookie)
        query = (
            sa.select(passes, visits.c.csrf)
            .join(visits, visits.c["pass"] == passes.c.id)
            .where(
                visits.c.digest == key,
                visits.c.expires_at > now,
                visits.c.seen_at > now - IDLE_MS_MAX,
                passes.c.ended_at.is_(None),
                sa.or_(passes.c.expires_at.is_(None), passes.c.expires_at > now),
            )
        )
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if used:
            with self._store.write() as connection:
                connection.execute(visits.update().where(visits.c.digest == key).values(seen_at=now))
        return Visitor(row.participant, row.id, row.helper is not None, row.acts, key, row.csrf)

    def leave(self, session: str) -> None:
        """End a visit."""
        with self._store.write() as connection:
            connection.execute(visits.delete().where(visits.c.digest == session))

    def _check_helper(self, participant: str, helper: str, until: int | None, now: int) -> None:
        if not 0 < len(helper) <= 200 or not helper.isprintable():
            raise Invalid.one("/helper", "helper", "a helper has a name")
        if until is None or not now < until <= now + HELPS_MS_MAX:
            raise Invalid.one("/until", "until", "help lasts a year at most")
        if len(self.helpers(participant)) >= HELPERS_MAX:
            raise Invalid.one("/helper", "too-many", f"{HELPERS_MAX} helpers at a time")

    def _name(self, row: Any) -> str:
        try:
            return self._vault.sealer(row.participant).open(_aad(row.id), row.helper).decode()
        except (Erased, Unsealable):
            return "?"

    def _hashed(self, code: str) -> str:
        return self._vault.mac("cards", plain(code).encode())

    def _rests(self, key: str, now: int) -> int | None:
        with self._store.read() as connection:
            row = connection.execute(sa.select(attempts).where(attempts.c.code == key)).one_or_none()
        if row is None or row.failures < TRIES_MAX or row.failures % TRIES_MAX:
            return None
        times = row.failures // TRIES_MAX - 1
        until: int = row.at + min(REST_MS << min(times, 20), REST_MS_MAX)
        return until if now < until else None

    def _failed(self, key: str, now: int) -> None:
        """Counts a wrong try, in the same way whether the code is anybody's or not."""
        mine = attempts.c.code == key
        with self._store.write() as connection:
            connection.execute(attempts.delete().where(attempts.c.at < now - COUNTED_MS_MAX))
            upsert(connection, attempts, [{"code": key, "failures": 0, "at": now}])
            more = attempts.update().where(mine).values(failures=attempts.c.failures + 1, at=now)
            failures = connection.execute(more.returning(attempts.c.failures)).scalar_one()
        if failures % TRIES_MAX == 0:
            acts.access(self._appender, acts.CARD_RESTS, "nobody", {"tries": failures})

    def _right(self, hashed: str, pin: str) -> bool:
        try:
            return bool(self._slowly(lambda: self._hasher.verify(hashed, pin[:TYPED_CHARS_MAX])))
        except argon2.exceptions.VerificationError:
            return False

    def _dummy(self) -> str:
        """The hash of a PIN that nobody has, so that a code of nobody's costs the same."""
        if not self._nobody:
            self._nobody = self._slowly(lambda: self._hasher.hash(secrets.token_urlsafe(16)))
        return self._nobody

    def _slowly(self, work: Callable[[], Any]) -> Any:
        if not self._room.acquire(timeout=HASH_WAIT_S):
            raise Unavailable("too many people are signing in; wait a moment")
        try:
            return work()
        finally:
            self._room.release()


def plain(code: str) -> str:
    """A code as it is compared: capitals, and nothing between them."""
    return "".join(char for char in code[:TYPED_CHARS_MAX].upper() if char.isalnum())


def new_code() -> str:
    """A code as it stands on a card, in two halves."""
    chars = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))
    return f"{chars[:5]}-{chars[5:]}"


def check_pin(pin: str) -> None:
    """Raises `Invalid` for what is no PIN, or is guessed first: one digit again and again, or a run."""
    if not (pin.isascii() and pin.isdigit() and PIN_DIGITS_MIN <= len(pin) <= PIN_DIGITS_MAX):
        raise Invalid.one("/pin", "pin", f"a PIN has {PIN_DIGITS_MIN} to {PIN_DIGITS_MAX} digits")
    steps = {int(after) - int(before) for before, after in pairwise(pin)}
    if steps in ({0}, {1}, {-1}):
        raise Invalid.one("/pin", "easy-pin", "this PIN is guessed first")


def forget(store: Store, participant: str) -> None:
    """Every card of a participant, and of their helpers, is gone: they were erased."""
    with store.write() as connection:
        theirs = sa.select(passes.c.id).where(passes.c.participant == participant)
        connection.execute(visits.delete().where(visits.c["pass"].in_(theirs)))
        connection.execute(passes.delete().where(passes.c.participant == participant))


def _end(connection: sa.Connection, which: sa.ColumnElement[bool], now: int) -> None:
    ended = sa.select(passes.c.id).where(which)
    connection.execute(visits.delete().where(visits.c["pass"].in_(ended)))
    connection.execute(passes.update().where(which, passes.c.ended_at.is_(None)).values(ended_at=now))


def _aad(card: str) -> bytes:
    return b"helper\0" + card.encode()
