"""Key-encryption keys: what wraps every other key, and the one secret that is not in the store.

There is one at a time, and while it is being replaced two (`hub/rewrapping.py`). Where they are kept is a
`KekSource`: a file of the hub's own, `HUB_KEK` or a file that somebody else keeps, or a hardware security
module (`hub/hsm.py`). Which of them is current stands in the store.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.errors import OperatorError
from schemas.errors import Unsealable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
FILE: Final = "kek"
KEKS_MAX: Final = 8  # in one place; two are enough for a change
_MEND: Final = "give 32 random bytes in base64, as `head -c 32 /dev/urandom | base64` makes them"


class KekInvalid(OperatorError):
    """The key-encryption key is missing, malformed, or readable by others."""


class KekGivenOnly(OperatorError):
    """The hub was given its key-encryption key, and can make no other one."""


class KeyWrapper(Protocol):
    """What the vault asks of one key-encryption key, wherever that is kept."""

    @property
    def id(self) -> str:
        """Tells one KEK from another, and nothing about it."""

    def wrap(self, context: bytes, key: bytes) -> bytes:
        """The key, to be opened only by this KEK and with the same context."""

    def unwrap(self, context: bytes, wrapped: bytes) -> bytes:
        """Raises `Unsealable` for another KEK, another context, or changed bytes."""


class KekSource(Protocol):
    """Where key-encryption keys are kept."""

    def keks(self) -> Mapping[str, KeyWrapper]:
        """Those that are there now, by their ids; the newest first. Raises `KekInvalid`."""

    def make(self, known: Iterable[str]) -> str:
        """One that is not `known`, made where there is none; out: its id. Raises `KekGivenOnly`."""

    def destroy(self, kek: str) -> bool:
        """Destroys one, if it is the hub's to destroy; out: whether it is gone."""


class LocalKek:
    """A KEK held in this process's memory: AES-256-GCM, a random 96-bit nonce before each wrapped key.

    By itself it is a source of one KEK, too.
    """

    def __init__(self, key: bytes) -> None:
        """In: 32 random bytes. Raises `KekInvalid` for another length."""
        if len(key) != KEY_BYTES:
            raise KekInvalid(f"the key-encryption key has {len(key)} bytes, not {KEY_BYTES}", _MEND)
        self._cipher = AESGCM(key)
        self.id = hashlib.blake2b(b"which kek", key=key, digest_size=8).hexdigest()

    def wrap(self, context: bytes, key: bytes) -> bytes:
        """See `KeyWrapper`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, context)

    def unwrap(self, context: bytes, wrapped: bytes) -> bytes:
        """See `KeyWrapper`."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise Unsealable("a wrapped key does not open under this key-encryption key") from None

    def keks(self) -> Mapping[str, KeyWrapper]:
        """See `KekSource`."""
        return {self.id: self}

    def make(self, known: Iterable[str]) -> str:
        """See `KekSource`."""
        return _given((self.id,), known, "the key-encryption key")

    def destroy(self, kek: str) -> bool:
        """See `KekSource`."""
        return kek != self.id


class GivenKeks:
    """KEKs that somebody else keeps: `HUB_KEK`, or the file that `HUB_KEK_FILE` names.

    Several are separated by white space, and the first is the newest. The hub reads them, and neither makes
    nor destroys any.
    """

    def __init__(self, text: str | None, path: Path | None) -> None:
        """In: the text of the variable, or else the file, which is read anew at each look."""
        self._text, self._path = text, path

    def keks(self) -> Mapping[str, KeyWrapper]:
        """See `KekSource`."""
        if self._text is not None:
            return _decoded(self._text, "`HUB_KEK`")
        assert self._path is not None
        return _read(self._path)

    def make(self, known: Iterable[str]) -> str:
        """See `KekSource`."""
        where = "`HUB_KEK`" if self._path is None else f"`{self._path}`"
        return _given(self.keks(), known, where)

    def destroy(self, kek: str) -> bool:
        """See `KekSource`."""
        return kek not in self.keks()


class KekFile:
    """KEKs in a file of the hub's own, for its owner's eyes alone: one a line, the newest first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def there(self) -> bool:
        """Whether there is such a file."""
        return self._path.exists()

    def keks(self) -> Mapping[str, KeyWrapper]:
        """See `KekSource`."""
        return _read(self._path)

    def make(self, known: Iterable[str]) -> str:
        """See `KekSource`. One that an interrupted change had made is taken before another is made."""
        for kek in self.keks():
            if kek not in set(known):
                return kek
        line = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
        self._write([line, *self._path.read_text("ascii").split()])
        return next(iter(self.keks()))

    def destroy(self, kek: str) -> bool:
        """See `KekSource`. What stood there is overwritten in place first, as far as the disk does that."""
        lines = self._path.read_text("ascii").split()
        kept = [line for line in lines if LocalKek(base64.b64decode(line)).id != kek]
        if len(kept) < len(lines):
            self._write(kept)
        if not kept:  # they are kept elsewhere now
            self._path.unlink()
        return True

    def _write(self, lines: list[str]) -> None:
        """Puts other lines in their place at once, and nothing but zeros where the old ones stood."""
        old = os.open(self._path, os.O_WRONLY)
        try:
            draft = _draft(self._path, "".join(f"{line}\n" for line in lines))
            draft.replace(self._path)
            _settle(self._path.parent)
            os.pwrite(old, bytes(os.fstat(old).st_size), 0)
            os.fsync(old)
        finally:
            os.close(old)


class MovingKeks:
    """Two sources, while the keys move from the file of the hub's own to another place."""

    def __init__(self, new: KekSource, old: KekFile) -> None:
        self._new, self._old = new, old

    def keks(self) -> Mapping[str, KeyWrapper]:
        """See `KekSource`."""
        return {**self._new.keks(), **(self._old.keks() if self._old.there else {})}

    def make(self, known: Iterable[str]) -> str:
        """See `KekSource`."""
        return self._new.make(known)

    def destroy(self, kek: str) -> bool:
        """See `KekSource`."""
        return (not self._old.there or self._old.destroy(kek)) and self._new.destroy(kek)


def load(data: Path, environment: Mapping[str, str], *, create: bool) -> KekSource:
    """Where the KEKs are: `HUB_KEK_HSM`, `HUB_KEK` (base64), the file of `HUB_KEK_FILE`, the data folder.

    In: `create` says whether a missing one may be made (not when the store holds wrapped keys already: a new
    KEK could open none of them). Raises `KekInvalid`.
    """
    source: KekSource
    own = KekFile(data / FILE)
    if token := environment.get("HUB_KEK_HSM"):
        from hub.hsm import HsmKeks  # noqa: PLC0415  an extra, and slow to load

        source = MovingKeks(HsmKeks(token), own) if own.there else HsmKeks(token)
        if create and not source.keks():
            source.make(())
    elif text := environment.get("HUB_KEK"):
        source = GivenKeks(text, None)
    elif named := environment.get("HUB_KEK_FILE"):
        source = GivenKeks(None, Path(named))
    else:
        if not own.there and create:
            _make(data / FILE)
        source = own
    if not source.keks():
        raise KekInvalid("there is no key-encryption key", "Bring it back from its backup.")
    return source


def _given(there: Iterable[str], known: Iterable[str], where: str) -> str:
    for kek in there:
        if kek not in set(known):
            return kek
    raise KekGivenOnly(
        f"{where} holds no other key than the one in use",
        "Put a new one before it, parted by a space or a line's end; start every process anew; repeat this.",
    )


def _make(path: Path) -> None:
    """A new KEK, complete before it has its name: of several processes one wins, and none reads half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _draft(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii") + "\n")
    try:
        os.link(draft, path)  # fails where another process was first; then its key is the key
        _settle(path.parent)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _draft(path: Path, text: str) -> Path:
    """A file beside `path`, on the disk whole; for its owner alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _settle(folder: Path) -> None:
    """What has a name in this folder now has it also after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Mapping[str, KeyWrapper]:
    try:
        if path.stat().st_mode & 0o077:
            raise KekInvalid(f"others may read the key-encryption key `{path}`", f"Run `chmod 600 {path}`.")
        return _decoded(path.read_text("ascii"), f"`{path}`")
    except FileNotFoundError:
        raise KekInvalid(
            f"the key-encryption key `{path}` is missing, and the store's keys open under no other",
            "Bring it back from its backup.",
        ) from None
    except (OSError, UnicodeDecodeError):
        raise KekInvalid(f"the key-encryption key `{path}` cannot be read", _MEND) from None


def _decoded(text: str, where: str) -> Mapping[str, KeyWrapper]:
    words = text.split()
    if not 1 <= len(words) <= KEKS_MAX:
        raise KekInvalid(f"{where} holds {len(words)} keys, not one or two", _MEND)
    try:
        found = [LocalKek(base64.b64decode(word, validate=True)) for word in words]
    except (binascii.Error, ValueError):
        raise KekInvalid(f"{where} is not base64", _MEND) from None
    return {one.id: one for one in found}
