"""What the privacy officers' pages call a participant, so that no address holds the id that the log has.

A handle is the id sealed deterministically (AES-SIV, RFC 5297) under a key of the hub: the same for every
officer, who may pass a page on to another; of no use to whoever reads a history or a server's log; and found
again without a table, however many participants there are.
"""

import base64
import binascii
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

HANDLE_CHARS_MAX: Final = 200
_BOUND: Final = [b"participant"]


class Hashes(Protocol):
    """What makes keyed hashes: the vault."""

    def mac(self, purpose: str, data: bytes) -> str:
        """64 hexadecimal digits, the same for the same purpose and data."""


def handle(vault: Hashes, participant: str) -> str:
    """The handle of a participant's id: letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(_cipher(vault).encrypt(participant.encode(), _BOUND)).decode().rstrip("=")


def participant(vault: Hashes, name: str) -> str | None:
    """Whose handle it is; None for what is no handle of this hub."""
    if not name or len(name) > HANDLE_CHARS_MAX:
        return None
    try:
        sealed = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
        return _cipher(vault).decrypt(sealed, _BOUND).decode()
    except (binascii.Error, InvalidTag, ValueError):
        return None


def masked(participant: str) -> str:
    """The end of a participant's id: enough to tell rows apart, too little to look anybody up."""
    return "…" + participant[-4:]


def _cipher(vault: Hashes) -> AESSIV:
    return AESSIV(bytes.fromhex(vault.mac("officer-pages", b"handles")))
