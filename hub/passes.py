"""Cards that open a participant's own page: a short code to carry, a PIN to know, and short visits.

Code and PIN are kept as hashes: the code as a keyed one, the PIN by argon2id (RFC 9106). Whatever is wrong is
answered alike and after the same work, so that nobody learns whether a code is anybody's. Wrong tries are
counted by the code that was tried; after five of them it rests, longer each time.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import argon2
import sqlalchemy as sa

from consent.record import Record
from hub import acts, helping
from hub.appender import Appender
from hub.codes import TYPED_CHARS_MAX, check_pin, new_code, plain
from hub.guesses import Guesses, Resting
from hub.owntables import attempts, passes, visits
from hub.store import Store, upsert
from hub.tokens import digest
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Unavailable, Unsealable

COOKIE: Final = "hub_visit"
LEFT: Final = "hub_left"  # set by the page that is left: it counts before the word of it has arrived
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
        return helping.principal(self.card) if self.helper else f"participant:{self.participant}"


class Card(NamedTuple):
    """A new card. The code is shown once; only its hash is kept."""

    id: str
    code: str


class Helper(NamedTuple):
    """Somebody whom a participant named to see, perhaps to act: their card, and the consent that says so.
    `until` in epoch milliseconds.
    """

    id: str
    name: str
    acts: bool
    until: int
    consent: str


class Asked(NamedTuple):
    """Whom a participant wants to name, for what, and until when (epoch milliseconds)."""

    name: str
    acts: bool
    until: int | None


class Passes:
    """Cards and visits, in the store. That one was made, used or ended is written to `access` first."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        appender: Appender,
        clock_ms: Callable[[], int],
        record: Callable[[str], Record],
    ) -> None:
        """In: the store, the keys, the way to the log, the time; what folds a participant's directives as the
        log has them now, and raises `Unavailable`.
        """
        self._record = record
        self._guesses = Guesses(store, appender)
        self._store = store
        self._vault = vault
        self._appender = appender
        self._clock = clock_ms
        self._hasher = argon2.PasswordHasher()
        self._room = threading.Semaphore(HASHES_MAX)
        self._nobody = ""

    def make(self, participant: str, pin: str, by: str) -> Card:
        """A card for a participant, which ends the one before.

        Raises `Invalid` for a PIN that is guessed soon, `Unavailable`.
        """
        check_pin(pin)
        now = self._clock()
        card, row = self._made(participant, pin, by, now)
        acts.access(self._appender, acts.CARD_MADE, by, {"card": card.id}, participant)
        with self._store.write() as connection:
            own = sa.and_(passes.c.participant == participant, passes.c.helper.is_(None))
            _end(connection, own, now)
            upsert(connection, passes, [row])
        return card

    def name(
        self, participant: str, pin: str, by: str, helper: Asked, agreed: Callable[[str, int], object]
    ) -> Card:
        """A card for a helper. It opens something as long as the consent stands that names them.

        In: `agreed`, which writes that consent, given the card's id and the time of naming (epoch ms); until
        it has, there is no card. Raises `Invalid` for a PIN that is guessed soon, a helper too many or for
        too long; `Erased` where the participant was erased; `Unavailable`.
        """
        check_pin(pin)
        now = self._clock()
        self._check_helper(participant, helper, now)
        card, row = self._made(participant, pin, by, now)
        row["helper"] = self._vault.sealer(participant).seal(_aad(card.id), helper.name.encode())
        row |= {"acts": helper.acts, "expires_at": helper.until}
        body = {"card": card.id, "acts": helper.acts, "until": helper.until}
        acts.access(self._appender, acts.HELPER_NAMED, by, body, participant)
        agreed(card.id, now)
        with self._store.write() as connection:
            upsert(connection, passes, [row])
        return card

    def _made(self, participant: str, pin: str, by: str, now: int) -> tuple[Card, dict[str, Any]]:
        card = Card("m-" + secrets.token_hex(13), new_code())
        row = {
            "id": card.id,
            "participant": participant,
            "code": self._hashed(card.code),
            "pin": self._slowly(lambda: self._hasher.hash(pin)),
            "helper": None,
            "acts": True,
            "made_by": by,
            "made_at": now,
            "expires_at": None,
            "ended_at": None,
        }
        return card, row

    def helpers(self, participant: str) -> list[Helper]:
        """Those whom a participant named, as long as it stands, in the order of being named.

        Raises `Unavailable`.
        """
        query = (
            sa.select(passes)
            .where(
                passes.c.participant == participant,
                passes.c.helper.is_not(None),
                passes.c.ended_at.is_(None),
            )
            .order_by(passes.c.made_at)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        record, now = self._record(participant) if rows else Record(), self._clock()
        return [
            Helper(row.id, _name(self._vault, row), found.acts, found.until, found.consent)
            for row in rows
            if (found := helping.stands(record, helping.principal(row.id), now)) is not None
        ]

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
        if (rests := self._guesses.rests(key, now)) is not None:
            raise Resting(rests)
        good = sa.and_(
            passes.c.code == key,
            passes.c.ended_at.is_(None),
            sa.or_(passes.c.expires_at.is_(None), passes.c.expires_at >= now),
        )
        with self._store.read() as connection:
            row = connection.execute(sa.select(passes).where(good)).one_or_none()
        right = self._right(row.pin if row is not None else dummy, pin)
        if row is None or not right or (row.helper is not None and self._help(row, now) is None):
            self._guesses.failed(key, now)
            return None
        own = row.helper is None
        who = f"participant:{row.participant}" if own else helping.principal(row.id)
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
        """Who holds this cookie; None where visit or card ended, or what lets a helper in was taken back.

        `used` says that somebody did something. Raises `Unavailable`.
        """
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
                sa.or_(passes.c.expires_at.is_(None), passes.c.expires_at >= now),
            )
        )
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        found = None if row.helper is None else self._help(row, now)
        if row.helper is not None and found is None:
            return None
        if used:
            with self._store.write() as connection:
                connection.execute(visits.update().where(visits.c.digest == key).values(seen_at=now))
        may = found is None or found.acts
        return Visitor(row.participant, row.id, row.helper is not None, may, key, row.csrf)

    def _help(self, row: Any, at: int) -> helping.Help | None:
        """What the log lets a helper do now: it is asked each time, for it alone opens their door."""
        return helping.stands(self._record(row.participant), helping.principal(row.id), at)

    def leave(self, session: str) -> None:
        """End a visit."""
        with self._store.write() as connection:
            connection.execute(visits.delete().where(visits.c.digest == session))

    def _check_helper(self, participant: str, helper: Asked, now: int) -> None:
        if not 0 < len(helper.name) <= 200 or not helper.name.isprintable():
            raise Invalid.one("/helper", "helper", "a helper has a name")
        if helper.until is None or not now < helper.until <= now + HELPS_MS_MAX:
            raise Invalid.one("/until", "until", "help lasts a year at most")
        if len(self.helpers(participant)) >= HELPERS_MAX:
            raise Invalid.one("/helper", "too-many", f"{HELPERS_MAX} helpers at a time")

    def _hashed(self, code: str) -> str:
        return self._vault.mac("cards", plain(code).encode())

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


def names(store: Store, vault: Vault, participant: str) -> dict[str, str]:
    """Everybody whom a participant ever named and whose card is known here, as records name them, by name."""
    query = sa.select(passes).where(passes.c.participant == participant, passes.c.helper.is_not(None))
    with store.read() as connection:
        rows = connection.execute(query).all()
    return {helping.principal(row.id): _name(vault, row) for row in rows}


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


def _name(vault: Vault, row: Any) -> str:
    try:
        return vault.sealer(row.participant).open(_aad(row.id), row.helper).decode()
    except (Erased, Unsealable):
        return "?"


def _aad(card: str) -> bytes:
    return b"helper\0" + card.encode()
