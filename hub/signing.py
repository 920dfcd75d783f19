"""Secrets by which recipients know us: signing secrets, SSH keys, their own tokens. Sealed in the store.

A signing secret is rotated without a gap: for a while both the new and the old one sign.
"""

import base64
import secrets as chance
import time
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from hub.store import Store, upsert
from hub.tables import secrets
from hub.vault import Vault

PREFIX: Final = "whsec_"  # of Standard Webhooks
SECRET_BYTES: Final = 32
SECRET_CHARS_MAX: Final = 128
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

    def ensure(self, stakeholder: str) -> str | None:
        """Makes a secret where there is none; out: the new one, None where there was one."""
        return None if self.webhook(stakeholder) else self.rotate(stakeholder)

    def rotate(self, stakeholder: str) -> str:
        """Makes a new secret; out: the only time that it is shown. The old one goes on signing for a day."""
        fresh = PREFIX + base64.b64encode(chance.token_bytes(SECRET_BYTES)).decode("ascii")
        standing = self.webhook(stakeholder)
        rows = [self._row(stakeholder, _NEW, fresh)]
        if standing:
            rows.append(self._row(stakeholder, _OLD, standing[0]))
        self._keep(*rows)
        return fresh

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


def _aad(stakeholder: str, name: str) -> bytes:
    return f"secret\0{stakeholder}\0{name}".encode()


def _now() -> int:
    return time.time_ns() // 1_000_000
