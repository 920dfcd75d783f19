"""Tokens and certificates: by which a stakeholder's programs come in. Only their hashes are kept.

A token has 256 random bits, so one SHA-256 is as good as a slow hash: there is nothing to guess. A
stakeholder may hold several at once; a new one leaves the old ones good for a while, so that rotation
interrupts nothing. Of a certificate the hash is its fingerprint, as RFC 8705, 3 writes it: nobody has to
trust the names in it, and nobody else's certificate of the same authority opens anything.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import sqlalchemy as sa
from cryptography import x509

from hub.store import Store, chunks
from hub.tables import tokens

PREFIX: Final = "hub_"  # so that secret scanners and people can tell what it is
TOKEN_CHARS_MAX: Final = 128
LISTED_MAX: Final = 1_000
ROTATION_MS: Final = 24 * 3_600_000
SCOPES: Final = frozenset({"publish", "directives", "participants", "alerts", "receive"})
USED_MS: Final = 3_600_000  # how exactly the last use is remembered; fewer writes
CERTIFICATE: Final = "x5t#S256:"  # before a certificate's fingerprint; no hash of a token has it
AUDIT: Final = "audit"  # the transparency log; for auditors and witnesses, and no part of "all"


@dataclass(frozen=True, slots=True)
class Machine:
    """A stakeholder's program that showed a good token or certificate."""

    stakeholder: str
    scopes: frozenset[str]
    credential: str = field(default="", compare=False)  # its hash

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
    milliseconds, 0 to end them at once; certificates stay. Raises `ValueError` for an unknown scope.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    _keep(store, stakeholder, scopes, digest(token), rotation_ms=rotation_ms)
    return token


def bind(
    store: Store,
    stakeholder: str,
    certificate: bytes,
    scopes: Iterable[str] = SCOPES,
    *,
    rotation_ms: int = ROTATION_MS,
) -> str:
    """Let whoever holds a certificate's key be this stakeholder. Out: its fingerprint.

    In: the certificate in DER; for how long the stakeholder's older certificates stay good. It ends with the
    certificate's own last day. Raises `ValueError` for what is no certificate, is over, or is bound already.
    """
    found = x509.load_der_x509_certificate(certificate)
    ends = int(found.not_valid_after_utc.timestamp() * 1000)
    if ends <= time.time_ns() // 1_000_000:
        raise ValueError("this certificate is over")
    name = fingerprint(certificate)
    try:
        _keep(store, stakeholder, scopes, name, expires_at=ends, rotation_ms=rotation_ms)
    except sa.exc.IntegrityError:
        raise ValueError("this certificate is bound already, or was") from None
    return name


def _keep(
    store: Store,
    stakeholder: str,
    scopes: Iterable[str],
    hashed: str,
    *,
    expires_at: int | None = None,
    rotation_ms: int,
) -> None:
    """Keep a credential; older ones of its kind end. Raises `ValueError` for an unknown scope."""
    wanted = sorted(set(scopes))
    if not (SCOPES | {AUDIT}).issuperset(wanted):
        raise ValueError(f"a token's scopes are of {', '.join(sorted(SCOPES))}")
    now = time.time_ns() // 1_000_000
    alike = tokens.c.digest.startswith(CERTIFICATE, autoescape=True)
    older = sa.and_(
        tokens.c.stakeholder == stakeholder, alike if hashed.startswith(CERTIFICATE) else sa.not_(alike)
    )
    still = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now + rotation_ms)
    with store.write() as connection:
        connection.execute(tokens.update().where(older, still).values(expires_at=now + rotation_ms))
        connection.execute(
            tokens.insert().values(
                id=secrets.token_hex(8),
                stakeholder=stakeholder,
                scopes=wanted,
                digest=hashed,
                created_at=now,
                expires_at=expires_at,
            )
        )


def fingerprint(certificate: bytes) -> str:
    """What is kept of a certificate in DER: its SHA-256 in base64url (RFC 8705, 3.1), marked as such."""
    found = hashlib.sha256(certificate).digest()
    return CERTIFICATE + base64.urlsafe_b64encode(found).rstrip(b"=").decode()


class Kept(NamedTuple):
    """As `hub agency credentials` shows it. Times in epoch milliseconds, `used_at` to the hour."""

    id: str
    kind: str
    scopes: list[str]
    created_at: int
    used_at: int | None
    expires_at: int | None
    revoked_at: int | None


def listed(store: Store, stakeholder: str) -> list[Kept]:
    """A stakeholder's tokens and certificates, the newest first."""
    query = sa.select(tokens).where(tokens.c.stakeholder == stakeholder).order_by(tokens.c.created_at.desc())
    with store.read() as connection:
        rows = connection.execute(query.limit(LISTED_MAX)).all()
    return [
        Kept(
            row.id,
            "certificate" if row.digest.startswith(CERTIFICATE) else "token",
            row.scopes,
            row.created_at,
            row.used_at,
            row.expires_at,
            row.revoked_at,
        )
        for row in rows
    ]


def last_used(store: Store) -> dict[str, int]:
    """When each stakeholder last used any of its credentials, to the hour; who never did is missing."""
    query = sa.select(tokens.c.stakeholder, sa.func.max(tokens.c.used_at)).group_by(tokens.c.stakeholder)
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query) if row[1] is not None}


def end(store: Store, stakeholder: str, name: str) -> bool:
    """End one of a stakeholder's credentials at once, by its id in `listed`. Out: whether it was good."""
    one = sa.and_(tokens.c.stakeholder == stakeholder, tokens.c.id == name, tokens.c.revoked_at.is_(None))
    with store.write() as connection:
        ended = tokens.update().where(one).values(revoked_at=time.time_ns() // 1_000_000)
        return bool(connection.execute(ended).rowcount)


def revoke(store: Store, stakeholder: str) -> int:
    """End all tokens of a stakeholder at once. Out: how many were good until now."""
    now = time.time_ns() // 1_000_000
    mine = sa.and_(tokens.c.stakeholder == stakeholder, tokens.c.revoked_at.is_(None))
    with store.write() as connection:
        return connection.execute(tokens.update().where(mine).values(revoked_at=now)).rowcount


def check(store: Store, token: str) -> Machine | None:
    """Whose token this is, with its scopes; None where it is unknown, ended or too long to be one."""
    return check_all(store, (shown(token),))[0]


def shown(token: str) -> str:
    """The hash of what somebody showed as a token; empty, and so nobody's, where it is too long to be one."""
    return digest(token) if len(token) <= TOKEN_CHARS_MAX else ""


def check_all(store: Store, digests: Sequence[str]) -> list[Machine | None]:
    """Whose credentials these are, by their hashes, by one question to the store; and remembers their use."""
    now = time.time_ns() // 1_000_000
    with store.read() as connection:
        rows = connection.execute(_GOOD, {"digests": [one for one in digests if one], "now": now}).all()
    stale = [row.digest for row in rows if (row.used_at or 0) <= now - USED_MS]
    if stale:
        with store.write() as connection:
            used = tokens.update().where(tokens.c.digest.in_(stale))
            connection.execute(used.values(used_at=now - now % USED_MS))
    found = {row.digest: Machine(row.stakeholder, frozenset(row.scopes), row.digest) for row in rows}
    return [found.get(one) for one in digests]


_GOOD: Final = sa.select(tokens.c.digest, tokens.c.stakeholder, tokens.c.scopes, tokens.c.used_at).where(
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
