"""Secrets by which recipients know us: signing secrets, SSH keys, their own tokens. Sealed in the store.

What signs webhooks is a secret that the recipient has, too (HMAC), or a private key of which it has the
public one (Ed25519). Either is rotated without a gap: for a while both the new and the old one sign.
"""

import base64
import secrets as chance
import time
from collections.abc import Sequence
from typing import Final, Literal

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from hub.store import Store, upsert
from hub.tables import secrets
from hub.vault import Vault

Kind = Literal["hmac", "ed25519"]
PREFIX: Final = "whsec_"  # these three of Standard Webhooks
PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"
SECRET_BYTES: Final = 32
OVERLAP_MS: Final = 24 * 3_600_000
_NEW: Final = "webhook"
_OLD: Final = "webhook-old"
_SSH: Final = "ssh"
_BEARER: Final = "bearer"
BEARER_CHARS_MAX: Final = 8_000


class Signing:
    """The secrets of all recipients."""

    def __init__(self, store: Store, vault: Vault) -> None:
        """In: the store, and the vault whose key `secrets` seals them."""
        self._store = store
        self._sealer = vault.hub("secrets")

    def webhook(self, stakeholder: str) -> Sequence[str]:
        """The secrets to sign with, newest first; none where the stakeholder has no webhook."""
        with self._store.read() as connection:
            rows = connection.execute(
                sa.select(secrets)
                .where(secrets.c.stakeholder == stakeholder, secrets.c.name.in_((_NEW, _OLD)))
                .order_by(secrets.c.name)
            ).all()
        return [
            self._sealer.open(_aad(stakeholder, row.name), row.sealed).decode()
            for row in rows
            if row.name == _NEW or row.created_at > _now() - OVERLAP_MS
        ]

    def ensure(self, stakeholder: str, kind: Kind = "hmac") -> str | None:
        """Makes a secret where none of that kind signs; out: as `rotate`, None where there was one."""
        standing = self.webhook(stakeholder)
        if standing and _kind(standing[0]) == kind:
            return None
        return self.rotate(stakeholder, kind)

    def rotate(self, stakeholder: str, kind: Kind | None = None) -> str:
        """Makes a new secret, of the kind that signs now where none is named. The old one signs for a day.

        Out: what the recipient verifies with. A shared secret is never shown again; a public key is.
        """
        standing = self.webhook(stakeholder)
        kind = kind or (_kind(standing[0]) if standing else "hmac")
        fresh = (PRIVATE if kind == "ed25519" else PREFIX) + _base64(chance.token_bytes(SECRET_BYTES))
        rows = [self._row(stakeholder, _NEW, fresh)]
        if standing:
            rows.append(self._row(stakeholder, _OLD, standing[0]))
        self._keep(*rows)
        return _public(fresh) or fresh

    def webhook_public(self, stakeholder: str) -> str | None:
        """The public key to what signs now, `whpk_…`; None where that is a shared secret, or nothing."""
        standing = self.webhook(stakeholder)
        return _public(standing[0]) if standing else None

    def bearer(self, stakeholder: str) -> str | None:
        """The token that the stakeholder's FHIR server gave the hub; None where it gave none."""
        return self._one(stakeholder, _BEARER)

    def keep_bearer(self, stakeholder: str, token: str) -> None:
        """Keeps that token, in place of the one before. Raises `ValueError` for what cannot be one."""
        if (
            not (token.isascii() and token.isprintable() and 0 < len(token) <= BEARER_CHARS_MAX)
            or " " in token
        ):
            raise ValueError(f"a token is 1 to {BEARER_CHARS_MAX} printable characters without spaces")
        self._keep(self._row(stakeholder, _BEARER, token))

    def ssh(self, stakeholder: str) -> str | None:
        """The private key with which the hub signs in at the stakeholder's server, in OpenSSH's format."""
        return self._one(stakeholder, _SSH)

    def _one(self, stakeholder: str, name: str) -> str | None:
        mine = sa.and_(secrets.c.stakeholder == stakeholder, secrets.c.name == name)
        with self._store.read() as connection:
            sealed = connection.execute(sa.select(secrets.c.sealed).where(mine)).scalar()
        return None if sealed is None else self._sealer.open(_aad(stakeholder, name), sealed).decode()

    def ssh_public(self, stakeholder: str, renew: bool = False) -> str:
        """The public key to that, one line; makes both where there are none, or anew."""
        private = None if renew else self.ssh(stakeholder)
        if private is None:
            key = ed25519.Ed25519PrivateKey.generate()
            private = key.private_bytes(
                Encoding.PEM, PrivateFormat.OpenSSH, serialization.NoEncryption()
            ).decode()
            self._keep(self._row(stakeholder, _SSH, private))
        opened = serialization.load_ssh_private_key(private.encode(), None)
        return opened.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def _keep(self, *rows: dict[str, object]) -> None:
        """Write rows that are sealed already: sealing may write, too."""
        with self._store.write() as connection:
            upsert(connection, secrets, rows, update=("sealed", "created_at"))

    def _row(self, stakeholder: str, name: str, secret: str) -> dict[str, object]:
        return {
            "stakeholder": stakeholder,
            "name": name,
            "sealed": self._sealer.seal(_aad(stakeholder, name), secret.encode()),
            "created_at": _now(),
        }


def _kind(secret: str) -> Kind:
    return "ed25519" if secret.startswith(PRIVATE) else "hmac"


def _public(secret: str) -> str | None:
    if _kind(secret) == "hmac":
        return None
    private = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret.removeprefix(PRIVATE)))
    return PUBLIC + _base64(private.public_key().public_bytes_raw())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _aad(stakeholder: str, name: str) -> bytes:
    return f"secret\0{stakeholder}\0{name}".encode()


def _now() -> int:
    return time.time_ns() // 1_000_000
