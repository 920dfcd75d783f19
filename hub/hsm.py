"""Key-encryption keys in a hardware security module, by PKCS#11: they are used there, and never leave it.

Where they are is a URI (RFC 7512): the token, the label that its KEKs share, the vendor's module, and the
file that the PIN stands in. Tested against SoftHSM.
"""

import secrets
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hub.kek import KEKS_MAX, NONCE_BYTES, KekInvalid, KeyWrapper
from schemas.errors import Unavailable, Unsealable

SCHEME: Final = "pkcs11"
ID_BYTES: Final = 8
KEY_BITS: Final = 256
TAG_BITS: Final = 128
_EXAMPLE: Final = (
    "Write pkcs11:token=NAME;object=LABEL?module-path=/path/to/module.so&pin-source=file:/path/to/pin."
)
_WRONG: Final = (
    pkcs11.exceptions.EncryptedDataInvalid,
    pkcs11.exceptions.EncryptedDataLenRange,
    pkcs11.exceptions.GeneralError,  # SoftHSM says so of a tag that does not fit
    pkcs11.exceptions.DataInvalid,
    pkcs11.exceptions.DataLenRange,
    pkcs11.exceptions.FunctionFailed,
)


class HsmKeks:
    """The KEKs of one token that share a label; told apart by their ids. Thread-safe, one call at a time."""

    def __init__(self, uri: str) -> None:
        """In: the URI. Raises `KekInvalid` where it is none, or the token is not there or lets nobody in."""
        where = _parsed(uri)
        try:
            self._session, self._guard = _session(
                where["module-path"], where["token"], _pin(where["pin-source"])
            )
        except (PKCS11Error, RuntimeError) as error:
            raise KekInvalid(
                f"the token of `HUB_KEK_HSM` cannot be used: {type(error).__name__}",
                "Is the module there, the token's name right, and its PIN?",
            ) from None
        self._label = where["object"]

    def keks(self) -> Mapping[str, KeyWrapper]:
        """See `KekSource`."""
        with self._guard:
            found = [_HsmKek(one, self._guard) for one in self._objects()]
        if len(found) > KEKS_MAX:
            raise KekInvalid(f"the token holds {len(found)} keys of this label, not one or two")
        return {one.id: one for one in found}

    def make(self, known: Iterable[str]) -> str:
        """See `KekSource`. The key is made in the module, and cannot be read out of it."""
        for kek in self.keks():
            if kek not in set(known):
                return kek
        name = secrets.token_bytes(ID_BYTES)
        with self._guard:
            self._session.generate_key(
                pkcs11.KeyType.AES, KEY_BITS, id=name, label=self._label, store=True,
                template={pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True},
            )  # fmt: skip
        return name.hex()

    def destroy(self, kek: str) -> bool:
        """See `KekSource`."""
        with self._guard:
            for one in self._objects():
                if bytes(one.id).hex() == kek:
                    one.destroy()
        return True

    def _objects(self) -> list[Any]:
        asked = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.LABEL: self._label}
        return list(self._session.get_objects(asked))


class _HsmKek:
    """One of them: AES-256-GCM in the module, under a random 96-bit nonce of ours."""

    def __init__(self, key: Any, guard: threading.Lock) -> None:
        self._key = key
        self._guard = guard  # a session does one thing at a time
        self.id = bytes(key.id).hex()

    def wrap(self, context: bytes, key: bytes) -> bytes:
        """See `KeyWrapper`. Raises `Unavailable` where the module is away."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            with self._guard:
                sealed = self._key.encrypt(key, **_gcm(nonce, context))
        except PKCS11Error as error:
            raise Unavailable(f"the hardware security module failed: {type(error).__name__}") from None
        return nonce + bytes(sealed)

    def unwrap(self, context: bytes, wrapped: bytes) -> bytes:
        """See `KeyWrapper`. Raises `Unavailable` where the module is away."""
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            with self._guard:
                return bytes(self._key.decrypt(sealed, **_gcm(nonce, context)))
        except _WRONG:
            raise Unsealable("a wrapped key does not open under this key-encryption key") from None
        except PKCS11Error as error:
            raise Unavailable(f"the hardware security module failed: {type(error).__name__}") from None


@cache
def _session(module: str, token: str, pin: str) -> tuple[Any, threading.Lock]:
    """The one session of this process with a token, which lets it in once; and who may use it."""
    found = pkcs11.lib(module).get_token(token_label=token)
    return found.open(rw=True, user_pin=pin), threading.Lock()


def _gcm(nonce: bytes, context: bytes) -> dict[str, Any]:
    parameters = pkcs11.GCMParams(nonce, aad=context, tag_bits=TAG_BITS)
    return {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": parameters}


def _parsed(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    path = dict(pair.split("=", 1) for pair in parts.path.split(";") if "=" in pair)
    where = {name: unquote(text) for name, text in path.items()} | dict(parse_qsl(parts.query))
    if parts.scheme != SCHEME or not {"token", "object", "module-path", "pin-source"} <= where.keys():
        raise KekInvalid("`HUB_KEK_HSM` does not say where the key is", _EXAMPLE)
    return where


def _pin(source: str) -> str:
    path = Path(source.removeprefix("file:"))
    try:
        if path.stat().st_mode & 0o077:
            raise KekInvalid(f"others may read the PIN in `{path}`", f"Run `chmod 600 {path}`.")
        return path.read_text("utf-8").strip()
    except OSError:
        raise KekInvalid(f"the PIN in `{path}` cannot be read", _EXAMPLE) from None
