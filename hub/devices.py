"""What takes Web Push for somebody: their browsers' subscriptions, and the key by which those know the hub.

A subscription says at which address a device is reached and how to encrypt for it (RFC 8291): sealed. The key
is the hub's own (VAPID, RFC 8292), made at first use, its private half sealed.
"""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.casetables import devices
from hub.store import Store, upsert
from hub.tables import secrets
from hub.vault import Vault
from schemas.errors import Invalid

DEVICES_MAX: Final = 10  # of one person; the oldest goes
ENDPOINT_CHARS_MAX: Final = 2_000
POINT_BYTES: Final = 65  # an uncompressed point of P-256
AUTH_BYTES: Final = 16
_OWNER, _NAME = "hub", "vapid"


class Device(NamedTuple):
    """One subscription. `at` in epoch milliseconds; `keys` as the browser gave them (base64url)."""

    id: str
    account: str
    endpoint: str
    keys: Mapping[str, str]
    at: int


class Devices:
    """Everybody's devices, in the store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        """In: the vault, whose key `secrets` seals what is kept."""
        self._store = store
        self._vault = vault
        self._sealer = vault.hub("secrets")

    def add(self, account: str, subscription: Any) -> str:
        """Keep a subscription, as `PushSubscription.toJSON()` has it. Out: its id. Raises `Invalid`."""
        endpoint, keys = _checked(subscription)
        name, now = self._id(account, endpoint), time.time_ns() // 1_000_000
        body = json.dumps({"endpoint": endpoint, "keys": keys}).encode()
        row = {
            "id": name,
            "account": account,
            "sealed": self._sealer.seal(_aad(name), body),
            "created_at": now,
        }
        older = (
            sa.select(devices.c.id)
            .where(devices.c.account == account)
            .order_by(devices.c.created_at.desc(), devices.c.id)
            .offset(DEVICES_MAX)
        )
        with self._store.write() as connection:
            upsert(connection, devices, [row], update=("sealed", "created_at"))
            gone = list(connection.execute(older).scalars())
            connection.execute(devices.delete().where(devices.c.id.in_(gone)))
        return name

    def remove(self, account: str, endpoint: str) -> None:
        """Push nothing more to that address."""
        self.drop(self._id(account, endpoint))

    def drop(self, device: str) -> None:
        """Forget a device, by its id."""
        with self._store.write() as connection:
            connection.execute(devices.delete().where(devices.c.id == device))

    def of(self, account: str) -> list[Device]:
        """Somebody's devices, newest first."""
        query = sa.select(devices).where(devices.c.account == account)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(devices.c.created_at.desc(), devices.c.id)).all()
        return [self._opened(row) for row in rows]

    def find(self, device: str) -> Device | None:
        """One device, by its id."""
        with self._store.read() as connection:
            row = connection.execute(sa.select(devices).where(devices.c.id == device)).one_or_none()
        return None if row is None else self._opened(row)

    def _opened(self, row: Any) -> Device:
        body = json.loads(self._sealer.open(_aad(row.id), row.sealed))
        return Device(row.id, row.account, body["endpoint"], body["keys"], row.created_at)

    def public_key(self) -> str:
        """The key that browsers are to be given, as `applicationServerKey` (base64url)."""
        point = self.private_key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.urlsafe_b64encode(point).rstrip(b"=").decode()

    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs what is pushed (RFC 8292, 2); made once, whoever asks first."""
        mine = sa.and_(secrets.c.stakeholder == _OWNER, secrets.c.name == _NAME)
        with self._store.read() as connection:
            sealed = connection.execute(sa.select(secrets.c.sealed).where(mine)).scalar()
        if sealed is None:
            fresh = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            row = {
                "stakeholder": _OWNER,
                "name": _NAME,
                "sealed": self._sealer.seal(_aad(_NAME), fresh),
                "created_at": time.time_ns() // 1_000_000,
            }
            with self._store.write() as connection:
                upsert(connection, secrets, [row])
                sealed = connection.execute(sa.select(secrets.c.sealed).where(mine)).scalar_one()
        opened = serialization.load_der_private_key(self._sealer.open(_aad(_NAME), sealed), None)
        assert isinstance(opened, ec.EllipticCurvePrivateKey), "nothing else is kept there"
        return opened

    def _id(self, account: str, endpoint: str) -> str:
        return "w-" + self._vault.mac("device", f"{account}\0{endpoint}".encode())[:32]


def _checked(subscription: Any) -> tuple[str, dict[str, str]]:
    """Address and keys. Raises `Invalid`."""
    if not isinstance(subscription, Mapping) or not isinstance(subscription.get("keys"), Mapping):
        raise Invalid.one("", "subscription", "expected what a browser's `PushSubscription.toJSON()` gives")
    endpoint, keys = subscription.get("endpoint"), subscription["keys"]
    if not isinstance(endpoint, str) or not 0 < len(endpoint) <= ENDPOINT_CHARS_MAX:
        raise Invalid.one("/endpoint", "endpoint", "the address of a push service is missing, or too long")
    for name, length in (("p256dh", POINT_BYTES), ("auth", AUTH_BYTES)):
        if len(_bytes(keys.get(name))) != length:
            raise Invalid.one(f"/keys/{name}", "key", f"`{name}` is {length} bytes in base64url")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(keys["p256dh"]))
    except ValueError:
        raise Invalid.one("/keys/p256dh", "key", "`p256dh` is no point of P-256") from None
    return endpoint, {"p256dh": keys["p256dh"], "auth": keys["auth"]}


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > 200:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""


def _aad(name: str) -> bytes:
    return f"device\0{name}".encode()
