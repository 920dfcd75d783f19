"""The vault: every key of the hub, wrapped in the store. To destroy one makes what it sealed unreadable.

- One data key for each participant, one a day for originals, one for the hub's own secrets; 256 random bits
  each, wrapped by the key-encryption key (`hub/kek.py`), which is not in the store and is replaced by
  `hub/rewrapping.py` while everything runs.
- A participant's key has versions: the newest seals, every one opens what it sealed. A seal says which.
- Sealing is AES-256-GCM with a nonce of 96 random bits, from the kernel, for every seal anew. No process
  remembers or counts nonces, so a restart, a fork, a copy of a machine or two processes at once cannot bring
  one back; only chance can. Among n messages under one key two share a nonce with
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
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.kek import KEY_BYTES, NONCE_BYTES, KekInvalid, KekSource, KeyWrapper
from hub.store import Store, next_number, upsert
from hub.tables import erasures, keks, keys
from schemas.errors import Erased, Unsealable

DAY_MS: Final = 86_400_000
CACHE_KEYS_MAX: Final = 20_000
CACHE_MS_MAX: Final = 30_000  # for so long a process that hears nothing may go on with a destroyed key
ERASURES_KEPT_MS: Final = DAY_MS  # far longer than a key may be in memory
KEK_LOCK: Final = 0x6875_6232  # any number, as long as every process takes the same one
NEWEST: Final = 0  # the version under which the newest of a participant's keys stands in memory
ERASURES: Final = "erasures"
TRIES_MAX: Final = 5
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
    "letters": Rotation(DAY_MS, 180 * DAY_MS),  # of the community
    "counts": Rotation(None, None),  # of people, before it is known which may be published
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
        source: KekSource,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """In: the store with its tables, where key-encryption keys are, a clock in ms since 1970."""
        self._store = store
        self._source = source
        self._keks = source.keks()
        self._clock_ms = clock_ms
        self._cache: OrderedDict[KeyId, tuple[float, int, bytes]] = OrderedDict()  # until, version, key
        self._forgotten = 0  # how often something was: what was read before is not kept after
        self._guard = threading.Lock()
        self._keyed = lru_cache(maxsize=SUBKEYS_MAX)(self._derived)

    def sealer(self, participant: str) -> "Sealer":
        """Seals and opens under a participant's data key. Makes the key when it first seals."""
        return Sealer(self, KeyId("participant", participant, NEWEST), None)

    def hub(self, purpose: str) -> "Sealer":
        """Seals and opens under a key of the hub's own. Raises `KeyError` for one not in `HUB_KEYS`."""
        return Sealer(self, KeyId("hub", purpose, 0), HUB_KEYS[purpose])

    def mac(self, purpose: str, data: bytes) -> str:
        """HMAC-SHA256 under the purpose's own key, as 64 hexadecimal digits."""
        keyed = self._keyed(purpose).copy()  # for `hmac.digest` the thread would let go of the interpreter
        keyed.update(data)
        return keyed.hexdigest()

    def signing_seed(self, purpose: str) -> bytes:
        """The secret 32 bytes of the hub's Ed25519 key for a purpose (RFC 8032); made at first use."""
        return self._key(KeyId("sign", purpose, 1), create=True)

    def prefetch(self, participants: Iterable[str]) -> None:
        """Brings participants' keys into memory with few questions to the store; makes none."""
        with self._guard:
            now, seen = time.monotonic(), self._forgotten
            wanted = [
                participant
                for participant in set(participants)
                if self._cache.get(KeyId("participant", participant, NEWEST), (0.0,))[0] <= now
            ]
        for start in range(0, len(wanted), PREFETCH_KEYS_MAX):
            chunk = wanted[start : start + PREFETCH_KEYS_MAX]
            query = _STANDING.where(keys.c.kind == "participant", keys.c.subject.in_(chunk))
            with self._store.read() as connection:
                rows = connection.execute(query.order_by(keys.c.subject, keys.c.version)).all()
            for row in rows:  # of several versions the newest comes last, and stays
                key_id = KeyId("participant", row.subject, row.version)
                if row.wrapped is not None and row.kek in self._keks:
                    self._keep((key_id, key_id._replace(version=NEWEST)), self._unwrapped(key_id, row), seen)

    def renew(self, participant: str) -> int:
        """Makes a participant's next key, under which is sealed from now on; out: its version.

        What was sealed before opens as before. Other processes go on with the one before for `CACHE_MS_MAX`.
        Raises `Erased` where the keys were destroyed, `Unsealable` where there never was one.
        """
        mine = sa.and_(keys.c.kind == "participant", keys.c.subject == participant)
        with self._store.write() as connection:
            # the first version stands for all: who destroys them waits here, or we do
            first = sa.select(keys.c.destroyed_at).where(mine, keys.c.version == 1).with_for_update()
            row = connection.execute(first).one_or_none()
            if row is None:
                raise Unsealable("no key was ever made for this participant")
            if row.destroyed_at is not None:
                raise Erased("the key was destroyed")
            newest = connection.execute(sa.select(sa.func.max(keys.c.version)).where(mine)).scalar_one()
            key_id = KeyId("participant", participant, int(newest) + 1)
            upsert(connection, keys, [self._fresh(connection, key_id, None)])
        self.forget([participant])
        return key_id.version

    def destroy(self, participant: str) -> bool:
        """Destroys a participant's keys for good; out: whether there was one. No new one is ever made.

        Other processes are told by `erasures` (`hub/forgetting.py`).
        """
        now = self._clock_ms()
        gone = {"wrapped": None, "kek": "", "destroyed_at": now}
        key_id = KeyId("participant", participant, 1)
        tombstone = {**key_id._asdict(), **gone, "created_at": now, "expires_at": None}
        mine = sa.and_(keys.c.kind == key_id.kind, keys.c.subject == participant)
        with self._store.write() as connection:
            standing = connection.execute(sa.select(keys.c.wrapped).where(_is(key_id))).scalar()
            upsert(connection, keys, [tombstone], update=tuple(gone))
            connection.execute(keys.update().where(mine, keys.c.wrapped.is_not(None)).values(gone))
            number = next_number(connection, ERASURES)
            connection.execute(erasures.insert().values(number=number, subject=participant, at=now))
            connection.execute(erasures.delete().where(erasures.c.at < now - ERASURES_KEPT_MS))
        self.forget([participant])
        self._store.scrub(keys)
        return standing is not None

    def forget(self, participants: Iterable[str]) -> None:
        """Takes participants' keys out of memory; one that is being read just now is not kept either."""
        gone = set(participants)
        with self._guard:
            self._forgotten += 1
            for key_id in [one for one in self._cache if one.kind == "participant" and one.subject in gone]:
                del self._cache[key_id]

    def erased(self) -> frozenset[str]:
        """Every participant whose key was destroyed."""
        query = sa.select(keys.c.subject).where(
            keys.c.kind == "participant", keys.c.destroyed_at.is_not(None)
        )
        with self._store.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def gone(self, participant: str) -> bool:
        """Whether a participant's keys were destroyed."""
        mine = sa.and_(keys.c.kind == "participant", keys.c.subject == participant)
        query = sa.select(keys.c.subject).where(mine, keys.c.destroyed_at.is_not(None)).limit(1)
        with self._store.read() as connection:
            return connection.execute(query).scalar() is not None

    def destroy_expired(self) -> int:
        """Destroys the hub's keys whose time to open is over; out: how many."""
        now = self._clock_ms()
        expired = keys.update().where(keys.c.expires_at <= now, keys.c.destroyed_at.is_(None))
        with self._store.write() as connection:
            count = connection.execute(expired.values(wrapped=None, kek="", destroyed_at=now)).rowcount
        if count:
            with self._guard:
                self._cache.clear()
                self._forgotten += 1
        return count

    def _derived(self, purpose: str) -> hmac.HMAC:
        root = self._key(KeyId("mac", "root", 1), create=True)
        key = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"hub mac\0" + purpose.encode()).derive(root)
        return hmac.new(key, digestmod="sha256")

    def _key(self, key_id: KeyId, *, create: bool, rotation: Rotation | None = None) -> bytes:
        """The key itself. Raises `Erased` where it was destroyed, `Unsealable` where there never was one."""
        return self._versioned(key_id, create=create, rotation=rotation)[1]

    def _versioned(
        self, key_id: KeyId, *, create: bool, rotation: Rotation | None = None
    ) -> tuple[int, bytes]:
        """The key with its version, which tells where `NEWEST` was asked for. Raises as `_key`."""
        for _ in range(TRIES_MAX):
            with self._guard:
                until, version, key = self._cache.get(key_id, (0.0, 0, b""))
                if until > time.monotonic():
                    self._cache.move_to_end(key_id)
                    return version, key
                seen = self._forgotten
            row = self._stored(key_id)
            if row is None:
                if not create:
                    raise Unsealable("sealed under a key that the vault never had")
                row = self._make(key_id, rotation)
            if row.wrapped is None:
                raise Erased("the key was destroyed")
            found = key_id._replace(version=row.version)
            try:
                key = self._unwrapped(found, row)
            except _Unknown:
                continue  # it was wrapped anew between our look at the store and that at the keys
            if self._keep({key_id, found}, key, seen):
                return row.version, key
        raise Unsealable("a key was wrapped by a key-encryption key that is not here")

    def _stored(self, key_id: KeyId) -> "sa.Row[Any, Any, Any, Any] | None":
        query = _STANDING.where(keys.c.kind == key_id.kind, keys.c.subject == key_id.subject)
        if key_id.kind == "participant" and key_id.version == NEWEST:
            query = query.order_by(keys.c.version.desc()).limit(1)
        else:
            query = query.where(keys.c.version == key_id.version)
        with self._store.read() as connection:
            return connection.execute(query).one_or_none()

    def _make(self, key_id: KeyId, rotation: Rotation | None) -> "sa.Row[Any, Any, Any, Any]":
        """Makes a key unless another process did meanwhile; out: the row that stands."""
        if key_id.kind == "participant" and key_id.version == NEWEST:
            key_id = key_id._replace(version=1)
        with self._store.write() as connection:
            upsert(connection, keys, [self._fresh(connection, key_id, rotation)])
            return connection.execute(_STANDING.where(_is(key_id))).one()

    def _fresh(
        self, connection: sa.Connection, key_id: KeyId, rotation: Rotation | None
    ) -> dict[str, object]:
        """The row of a new key, wrapped by the key-encryption key that is current within the transaction."""
        expires_at = None
        if rotation and rotation.period_ms is not None and rotation.kept_ms is not None:
            expires_at = (key_id.version + 1) * rotation.period_ms + rotation.kept_ms
        kek = current_kek(connection, self._store, self._keks, self._clock_ms())
        try:
            wrapper = self._wrapper(kek)
        except _Unknown:
            raise KekInvalid(
                f"the key-encryption key {kek}, which is the current one, is not here",
                "Bring it back; where several processes are given theirs, give all of them the same.",
            ) from None
        return {
            **key_id._asdict(),
            "wrapped": wrapper.wrap(key_id.context(), secrets.token_bytes(KEY_BYTES)),
            "kek": kek,
            "created_at": self._clock_ms(),
            "expires_at": expires_at,
            "destroyed_at": None,
        }

    def _unwrapped(self, key_id: KeyId, row: "sa.Row[Any, Any, Any, Any]") -> bytes:
        return self._wrapper(row.kek).unwrap(key_id.context(), row.wrapped)

    def _wrapper(self, kek: str) -> KeyWrapper:
        """A key-encryption key. One that is not known may have come since: they are looked at again, and what
        has been destroyed there is dropped here. Raises `_Unknown`."""
        if kek not in self._keks:
            self._keks = self._source.keks()
        if kek not in self._keks:
            raise _Unknown
        return self._keks[kek]

    def _keep(self, names: Iterable[KeyId], key: bytes, seen: int) -> bool:
        """Keeps a key in memory for a while, unless something was forgotten since `seen`; out: whether so."""
        with self._guard:
            if self._forgotten != seen:
                return False
            version = max(one.version for one in names)
            for name in names:
                self._cache[name] = (time.monotonic() + CACHE_MS_MAX / 1000, version, key)
                self._cache.move_to_end(name)
            while len(self._cache) > CACHE_KEYS_MAX:
                self._cache.popitem(last=False)
        return True


class _Unknown(Unsealable):
    """A key-encryption key that is not here."""

    def __init__(self) -> None:
        super().__init__("a key was wrapped by a key-encryption key that is not here")


def current_kek(connection: sa.Connection, store: Store, there: Iterable[str], now: int) -> str:
    """The id of the current key-encryption key; it stays current until the transaction ends.

    In: a transaction that writes. Where a store has none yet, the first of those that are `there` becomes it.
    """
    store.share(connection, KEK_LOCK)
    query = sa.select(keks.c.id).where(keks.c.until.is_(None)).order_by(keks.c.since)
    found: str | None = connection.execute(query.limit(1)).scalar()
    if found is None:
        found = next(iter(there))
        new = {"id": found, "since": now, "until": None, "destroyed_at": None}
        upsert(connection, keks, [new])
    return found


class Sealer:
    """Seals and opens under one key, or for a rotating one under that of the day."""

    def __init__(self, vault: Vault, key_id: KeyId, rotation: Rotation | None) -> None:
        """Made by `Vault.sealer` and `Vault.hub`."""
        self._vault = vault
        self._id = key_id
        self._rotation = rotation

    def _current(self) -> KeyId:
        """The key that seals now."""
        if self._rotation is None or self._rotation.period_ms is None:
            return self._id
        return self._id._replace(version=self._vault._clock_ms() // self._rotation.period_ms)

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Seals; out: `OVERHEAD_BYTES` more than went in. Raises `Erased` where the key was destroyed."""
        return self.seal_all(((aad, plaintext),))[0]

    def seal_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Seals each by itself, under a nonce of its own; the key is fetched once. Raises as `seal`.

        In: associated data and plaintext of each.
        """
        key_id = self._current()
        version, key = self._vault._versioned(key_id, create=True, rotation=self._rotation)
        key_id, encrypt = key_id._replace(version=version), AESGCM(key).encrypt
        header, bound = _HEADER.pack(_LAYOUT, key_id.version), key_id.context()
        random = secrets.token_bytes(NONCE_BYTES * len(pairs))
        nonces = (random[at : at + NONCE_BYTES] for at in range(0, len(random), NONCE_BYTES))
        return [
            header + nonce + encrypt(nonce, plaintext, bound + aad)
            for nonce, (aad, plaintext) in zip(nonces, pairs, strict=True)
        ]

    def at_hand(self) -> bool:
        """Whether sealing is a matter of this process's memory alone, for the next second at least."""
        with self._vault._guard:
            until, _, _ = self._vault._cache.get(self._current(), (0.0, 0, b""))
        return until > time.monotonic() + 1

    def derive(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that nothing but this key makes of `data`. Raises as `deriver`."""
        return self.deriver(purpose)(data)

    def deriver(self, purpose: str) -> Callable[[bytes], bytes]:
        """What makes of data 32 bytes that nothing but this key makes of it: HMAC-SHA256 under a key of the
        purpose's own, by HKDF-Expand (RFC 5869, 2.3; the key is random, so nothing need be extracted first).

        A participant's is made of the first version, so that it stays what it is when the key is renewed. For
        use at once: it knows nothing of the key's end. Makes the key where there was none. Raises `Erased`
        where it was destroyed.
        """
        assert self._rotation is None or self._rotation.period_ms is None, "what rotates derives nothing"
        kind, subject, _ = self._id
        first = KeyId(kind, subject, 1) if kind == "participant" else self._id
        key = self._vault._key(first, create=True, rotation=self._rotation)
        own = hmac.digest(key, b"hub derive\0" + purpose.encode() + b"\1", "sha256")
        return lambda data: hmac.digest(own, data, "sha256")

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """Opens. Raises `Erased` where the key was destroyed, `Unsealable` where anything differs."""
        if len(sealed) < OVERHEAD_BYTES or sealed[0] != _LAYOUT:
            raise Unsealable("not a seal of this vault")
        kind, subject, _ = self._id
        key_id = KeyId(kind, subject, _HEADER.unpack_from(sealed)[1])
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


_STANDING: Final = sa.select(keys.c.subject, keys.c.version, keys.c.wrapped, keys.c.kek)
