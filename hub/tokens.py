"""Bearer tokens: by which a stakeholder's programs come in. Only their hashes are kept.

A token has 256 random bits, so one SHA-256 is as good as a slow hash: there is nothing to guess. A
stakeholder may hold several at once; a new one leaves the old ones good for a while, so that rotation
interrupts nothing.
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from hub.store import Store, chunks
from hub.tables import tokens

PREFIX: Final = "hub_"  # so that secret scanners and people can tell what it is
TOKEN_CHARS_MAX: Final = 128
ROTATION_MS: Final = 24 * 3_600_000
SCOPES: Final = frozenset({"publish", "directives", "participants", "alerts", "receive"})
AUDIT: Final = "audit"  # the transparency log; for auditors and witnesses, and no part of "all"


@dataclass(frozen=True, slots=True)
class Machine:
    """A stakeholder's program that showed a good token."""

    stakeholder: str
    scopes: frozenset[str]

    @property
    def principal(self) -> str:
        """How records of access name it."""
        return f"stakeholder:{self.stakeholder}"


def digest(token: str) -> str:
    """What is kept of a token: SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def mint(
    store: Store, stakeholder: str, scopes: Iterable[str] = SCOPES, *, rotation_ms: int = ROTATION_MS
) -> str:
    """Make a token for a stakeholder; the only time that it is seen.

    In: what it may be used for (`SCOPES`, `AUDIT`); for how long the stakeholder's older tokens stay good, in
    milliseconds, 0 to end them at once. Raises `ValueError` for an unknown scope.
    """
    wanted = sorted(set(scopes))
    if not (SCOPES | {AUDIT}).issuperset(wanted):
        raise ValueError(f"a token's scopes are of {', '.join(sorted(SCOPES))}")
    token = PREFIX + secrets.token_urlsafe(32)
    now = time.time_ns() // 1_000_000
    older = tokens.c.stakeholder == stakeholder
    still = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now + rotation_ms)
    with store.write() as connection:
        connection.execute(tokens.update().where(older, still).values(expires_at=now + rotation_ms))
        connection.execute(
            tokens.insert().values(
                id=secrets.token_hex(8),
                stakeholder=stakeholder,
                scopes=wanted,
                digest=digest(token),
                created_at=now,
            )
        )
    return token


def revoke(store: Store, stakeholder: str) -> int:
    """End all tokens of a stakeholder at once. Out: how many were good until now."""
    now = time.time_ns() // 1_000_000
    mine = sa.and_(tokens.c.stakeholder == stakeholder, tokens.c.revoked_at.is_(None))
    with store.write() as connection:
        return connection.execute(tokens.update().where(mine).values(revoked_at=now)).rowcount


def check(store: Store, token: str) -> Machine | None:
    """Whose token this is, with its scopes; None where it is unknown, ended or too long to be one."""
    return check_all(store, (token,))[0]


def check_all(store: Store, shown: Sequence[str]) -> list[Machine | None]:
    """The same of several, by one question to the store."""
    digests = [digest(token) if len(token) <= TOKEN_CHARS_MAX else "" for token in shown]
    asked = {"digests": [one for one in digests if one], "now": time.time_ns() // 1_000_000}
    with store.read() as connection:
        rows = connection.execute(_GOOD, asked).all()
    found = {row.digest: Machine(row.stakeholder, frozenset(row.scopes)) for row in rows}
    return [found.get(one) for one in digests]


_GOOD: Final = sa.select(tokens.c.digest, tokens.c.stakeholder, tokens.c.scopes).where(
    tokens.c.digest.in_(sa.bindparam("digests", expanding=True)),
    tokens.c.revoked_at.is_(None),
    sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > sa.bindparam("now")),
)


def standing(store: Store, digests: Iterable[str]) -> frozenset[str]:
    """Which of these tokens, by their hashes, are still good."""
    now, found = time.time_ns() // 1_000_000, set()
    query = sa.select(tokens.c.digest).where(
        tokens.c.revoked_at.is_(None), sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    )
    with store.read() as connection:
        for some in chunks(sorted(digests)):
            found |= set(connection.execute(query.where(tokens.c.digest.in_(some))).scalars())
    return frozenset(found)
