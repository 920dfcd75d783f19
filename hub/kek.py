"""The key-encryption key: what wraps every other key, and the one secret that is not in the store."""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.errors import OperatorError
from schemas.errors import Unsealable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
FILE: Final = "kek"
_MEND: Final = "give 32 random bytes in base64, as `head -c 32 /dev/urandom | base64` makes them"


class KekInvalid(OperatorError):
    """The key-encryption key is missing, malformed, or readable by others."""


class KeyWrapper(Protocol):
    """What the vault asks of a key-encryption key, wherever that is kept."""

    @property
    def id(self) -> str:
        """Tells one KEK from another, and nothing about it."""

    def wrap(self, context: bytes, key: bytes) -> bytes:
        """The key, to be opened only by this KEK and with the same context."""

    def unwrap(self, context: bytes, wrapped: bytes) -> bytes:
        """Raises `Unsealable` for another KEK, another context, or changed bytes."""


class LocalKek:
    """A KEK held in this process's memory: AES-256-GCM, a random 96-bit nonce before each wrapped key."""

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


def load(data: Path, environment: Mapping[str, str], *, create: bool) -> LocalKek:
    """The KEK of `HUB_KEK` (base64), else of the file that `HUB_KEK_FILE` names, else of the data folder.

    In: `create` says whether a missing file in the data folder may be made (not when the store holds wrapped
    keys already: a new KEK could open none of them). Raises `KekInvalid`.
    """
    if text := environment.get("HUB_KEK"):
        return LocalKek(_decoded(text, "`HUB_KEK`"))
    named = environment.get("HUB_KEK_FILE")
    path = Path(named) if named else data / FILE
    if not path.exists() and not named and create:
        _make(path)
    return LocalKek(_read(path))


def _make(path: Path) -> None:
    """A new KEK, complete before it has its name: of several processes one wins, and none reads half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another process was first; then its key is the key
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
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


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise KekInvalid(f"{where} is not base64", _MEND) from None
