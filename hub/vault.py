"""The vault: every key of the hub, wrapped in the store. To destroy one makes what it sealed unreadable.

- One data key for each participant, one a day for originals, one for the hub's own secrets; 256 random bits
  each, wrapped by the key-encryption key (`hub/kek.py`), which is not in the store.
- Sealing is AES-256-GCM with a nonce of 96 random bits. Among n messages under one key two share a nonce with
  a probability below n²/2⁹⁷: a participant's key seals thousands (2⁻⁷⁰), a day's key at the very most some
  hundred millions (2⁻⁴³). NIST SP 800-38D, 8.3 asks for less than 2⁻³² and at most 2³² messages.
- A seal is bound to the key's kind, subject and version and to the caller's associated data; it opens under
  the same alone.
- What is derived from a participant's key (the salts of the transparency log) is gone when that key is.
- Keyed hashes stand on one root key, of which HKDF makes one for each purpose: a hash made for one purpose
  says nothing about another's.
"""

import hmac
import secrets
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.kek import KEY_BYTES, NONCE_BYTES, KeyWrapper
from hub.store import Store, upsert
from hub.tables import keys
from schemas.errors import Erased, Unsealable

DAY_MS: Final = 86_400_000
CACHE_KEYS_MAX: Final = 20_000
CACHE_MS_MAX: Final = 30_000  # for so long another process may go on with a key that was destroyed here
SUBKEYS_MAX: Final = 4_096
PREFETCH_KEYS_MAX: Final = 500

_LAYOUT: Final = 1
_HEADER: Final = struct.Struct(">BI")  # layout, key version; then nonce, ciphertext, tag
OVERHEAD_BYTES: Final = _HEADER.size + NONCE_BYTES + 16


class Rotation(NamedTuple):
    """How long one of the hub's keys seals, and how long after that it still opens; None for ever."""

    period_ms: int | None
    kept_ms: int | None


HUB_KEYS: Final = {
    "originals": Rotation(DAY_MS, 90 * DAY_MS),  # what came in: inbox, quarantine, parked
    "secrets": Rotation(None, None),  # recipients' signing secrets, orders that wait for their second officer
}


class KeyId(NamedTuple):
    """One key: `kind` is participant, hub, mac or sign; `version`, where it rotates, counts its periods."""

    kind: str
    subject: str
    version: int

    def context(self) -> bytes:
        """What binds a seal, and the wrapping of the key itself, to this key."""
        kind, subject = self.kind.encode(), self.subject.encode()
        return struct.pack(">BHI", len(kind), len(subject), self.version) + kind + subject


class Vault:
    """Keys by participant and purpose, made at first use, whichever process comes first. Thread-safe."""

    def __init__(
        self,
        store: Store,
        wrapper: KeyWrapper,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """In: the store with its tables, what wraps keys, and a clock in milliseconds since 1970."""
        self._store = store
        self._wrapper = wrapper
        self._clock_ms = clock_ms
        self._cache: OrderedDict[KeyId, tuple[float, bytes | None]] = OrderedDict()
        self._guard = threading.Lock()
        self._subkey = lru_cache(maxsize=SUBKEYS_MAX)(self._derived)

    def sealer(self, participant: str) -> "Sealer":
        """Seals and opens under a participant's data key. Makes the key when it first seals."""
        return Sealer(self, KeyId("participant", participant, 1), None)

    def hub(self, purpose: str) -> "Sealer":
        """Seals and opens under a key of the hub's own. Raises `KeyError` for one not in `HUB_KEYS`."""
        return Sealer(self, KeyId("hub", purpose, 0), HUB_KEYS[purpose])

    def mac(self, purpose: str, data: bytes) -> str:
        """HMAC-SHA256 under the purpose's own key, as 64 hexadecimal digits."""
        return hmac.digest(self._subkey(purpose), data, "sha256").hex()

    def signing_seed(self, purpose: str) -> bytes:
        """The secret 32 bytes of the hub's Ed25519 key for a purpose (RFC 8032); made at first use."""
        return self._key(KeyId("sign", purpose, 1), create=True)

    def prefetch(self, participants: Iterable[str]) -> None:
        """Brings participants' keys into memory with few questions to the store; makes none."""
        with self._guard:
            now = time.monotonic()
            wanted = [
                participant
                for participant in set(participants)
                if self._cache.get(KeyId("participant", participant, 1), (0.0, None))[0] <= now
            ]
        for start in range(0, len(wanted), PREFETCH_KEYS_MAX):
            chunk = wanted[start : start + PREFETCH_KEYS_MAX]
            query = sa.select(keys.c.subject, keys.c.wrapped).where(
                keys.c.kind == "participant", keys.c.subject.in_(chunk), keys.c.version == 1
            )
            with self._store.read() as connection:
                rows = connection.execute(query).all()
            for subject, wrapped in rows:
                self._keep(KeyId("participant", subject, 1), wrapped)

    def destroy(self, participant: str) -> bool:
        """Destroys a participant's key for good; out: whether there was one. No new one is ever made."""
        key_id, now = KeyId("participant", participant, 1), self._clock_ms()
        tombstone = {
            **key_id._asdict(),
            "wrapped": None,
            "kek": "",
            "created_at": now,
            "expires_at": None,
            "destroyed_at": now,
        }
        with self._store.write() as connection:
            standing = connection.execute(sa.select(keys.c.wrapped).where(_is(key_id))).scalar()
            upsert(connection, keys, [tombstone], update=("wrapped", "kek", "destroyed_at"))
        with self._guard:
            self._cache.pop(key_id, None)
        return standing is not None

    def destroy_expired(self) -> int:
        """Destroys the hub's keys whose time to open is over; out: how many."""
        now = self._clock_ms()
        expired = keys.update().where(keys.c.expires_at <= now, keys.c.destroyed_at.is_(None))
        with self._store.write() as connection:
            count = connection.execute(expired.values(wrapped=None, kek="", destroyed_at=now)).rowcount
        if count:
            with self._guard:
                self._cache.clear()
        return count

    def _derived(self, purpose: str) -> bytes:
        root = self._key(KeyId("mac", "root", 1), create=True)
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"hub mac\0" + purpose.encode()).derive(root)

    def _key(self, key_id: KeyId, *, create: bool, rotation: Rotation | None = None) -> bytes:
        """The key itself. Raises `Erased` where it was destroyed, `Unsealable` where there never was one."""
        with self._guard:
            until, key = self._cache.get(key_id, (0.0, None))
            if until > time.monotonic() and key is not None:
                self._cache.move_to_end(key_id)
                return key
        with self._store.read() as connection:
            row = connection.execute(sa.select(keys.c.wrapped).where(_is(key_id))).one_or_none()
        if row is None and not create:
            raise Unsealable("sealed under a key that the vault never had")
        key = self._keep(key_id, self._make(key_id, rotation) if row is None else row[0])
        if key is None:
            raise Erased("the key was destroyed")
        return key

    def _make(self, key_id: KeyId, rotation: Rotation | None) -> bytes | None:
        """Makes a key unless another process did meanwhile; out: the wrapped one that stands."""
        expires_at = None
        if rotation and rotation.period_ms is not None and rotation.kept_ms is not None:
            expires_at = (key_id.version + 1) * rotation.period_ms + rotation.kept_ms
        new = {
            **key_id._asdict(),
            "wrapped": self._wrapper.wrap(key_id.context(), secrets.token_bytes(KEY_BYTES)),
            "kek": self._wrapper.id,
            "created_at": self._clock_ms(),
            "expires_at": expires_at,
            "destroyed_at": None,
        }
        with self._store.write() as connection:
            upsert(connection, keys, [new])
            standing: bytes | None = connection.execute(
                sa.select(keys.c.wrapped).where(_is(key_id))
            ).scalar_one()
        return standing

    def _keep(self, key_id: KeyId, wrapped: bytes | None) -> bytes | None:
        key = None if wrapped is None else self._wrapper.unwrap(key_id.context(), wrapped)
        with self._guard:
            if key is None:
                self._cache.pop(key_id, None)
            else:
                self._cache[key_id] = (time.monotonic() + CACHE_MS_MAX / 1000, key)
                self._cache.move_to_end(key_id)
                while len(self._cache) > CACHE_KEYS_MAX:
                    self._cache.popitem(last=False)
        return key


class Sealer:
    """Seals and opens under one key, or for a rotating one under that of the day."""

    def __init__(self, vault: Vault, key_id: KeyId, rotation: Rotation | None) -> None:
        """Made by `Vault.sealer` and `Vault.hub`."""
        self._vault = vault
        self._id = key_id
        self._rotation = rotation

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Seals; out: `OVERHEAD_BYTES` more than went in. Raises `Erased` where the key was destroyed."""
        return self.seal_all(aad, (plaintext,))[0]

    def seal_all(self, aad: bytes, plaintexts: Sequence[bytes]) -> list[bytes]:
        """Seals each by itself, under a nonce of its own; the key is fetched once. Raises as `seal`."""
        key_id = self._id
        if self._rotation is not None and self._rotation.period_ms is not None:
            key_id = key_id._replace(version=self._vault._clock_ms() // self._rotation.period_ms)
        encrypt = AESGCM(self._vault._key(key_id, create=True, rotation=self._rotation)).encrypt
        header, bound = _HEADER.pack(_LAYOUT, key_id.version), key_id.context() + aad
        random = secrets.token_bytes(NONCE_BYTES * len(plaintexts))
        nonces = (random[at : at + NONCE_BYTES] for at in range(0, len(random), NONCE_BYTES))
        return [
            header + nonce + encrypt(nonce, plaintext, bound)
            for nonce, plaintext in zip(nonces, plaintexts, strict=True)
        ]

    def derive(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that nothing but this key makes of `data`: HMAC-SHA256 under a key of the purpose's own,
        by HKDF-Expand (RFC 5869, 2.3; the key is random, so nothing has to be extracted first).

        Makes the key where there was none. Raises `Erased` where it was destroyed.
        """
        assert self._rotation is None or self._rotation.period_ms is None, "what rotates derives nothing"
        key = self._vault._key(self._id, create=True, rotation=self._rotation)
        own = hmac.digest(key, b"hub derive\0" + purpose.encode() + b"\1", "sha256")
        return hmac.digest(own, data, "sha256")

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """Opens. Raises `Erased` where the key was destroyed, `Unsealable` where anything differs."""
        if len(sealed) < OVERHEAD_BYTES or sealed[0] != _LAYOUT:
            raise Unsealable("not a seal of this vault")
        key_id = self._id._replace(version=_HEADER.unpack_from(sealed)[1])
        key = self._vault._key(key_id, create=False)
        start = _HEADER.size
        nonce, body = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
        try:
            return AESGCM(key).decrypt(nonce, body, key_id.context() + aad)
        except InvalidTag:
            raise Unsealable("sealed elsewhere, or changed since") from None


def _is(key_id: KeyId) -> "sa.ColumnElement[bool]":
    return sa.and_(
        keys.c.kind == key_id.kind, keys.c.subject == key_id.subject, keys.c.version == key_id.version
    )
