"""Signed notes, checkpoints and cosignatures, as C2SP specifies them (c2sp.org/signed-note, tlog-checkpoint,
tlog-cosignature), with Ed25519. Pure.

A note is a text that ends in a newline, an empty line, and signature lines: `— NAME BASE64`, of a key's id
and what it signed. A checkpoint is a note whose text says origin, size and root of a log; a cosignature is a
witness's signature over that text with a time before it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.ledger.merkle import HASH_BYTES
from schemas.errors import HubError

SIGNATURE: Final = 1
COSIGNATURE: Final = 4
NOTE_BYTES_MAX: Final = 65_536
SIGNATURES_MAX: Final = 64
NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,200}")
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteInvalid(HubError):
    """A note is malformed, or not signed by whom it should be."""

    code = "note-invalid"


class Verifier(NamedTuple):
    """Whose signatures count: a key's name, its kind (`SIGNATURE` or `COSIGNATURE`), and its 32 bytes."""

    name: str
    kind: int
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature line names the key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:4]

    def __str__(self) -> str:
        """The key as verifiers take it: `NAME+ID+BASE64`."""
        encoded = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    @classmethod
    def of(cls, text: str) -> "Verifier":
        """Reads what `str` gives. Raises `NoteInvalid`."""
        name, _, rest = text.strip().partition("+")
        ident, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise NoteInvalid("a verifier key is `NAME+ID+BASE64`") from None
        if not NAME.fullmatch(name) or len(data) != 33 or data[0] not in (SIGNATURE, COSIGNATURE):
            raise NoteInvalid("a verifier key is of Ed25519, for notes or for cosignatures")
        found = cls(name, data[0], data[1:])
        if found.id.hex() != ident:
            raise NoteInvalid("a verifier key does not have the id that it names")
        return found

    def check(self, text: str, signature: bytes) -> int | None:
        """Raises `NoteInvalid` unless these bytes sign the text. Out: a cosignature's time, in seconds."""
        at, message = None, text.encode()
        if self.kind == COSIGNATURE:
            at = int.from_bytes(signature[:_TIME_BYTES], "big")
            message, signature = _cosigned(text, at), signature[_TIME_BYTES:]
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature:
            raise NoteInvalid(f"the signature of `{self.name}` is not over this text") from None
        return at

    def checkpoint(self, note: str) -> "Checkpoint":
        """What this log says in a checkpoint of its own. Raises `NoteInvalid`, also for another log's."""
        text, _ = opened(note, [self])
        head = Checkpoint.of(text)
        if head.origin != self.name:
            raise NoteInvalid("the checkpoint is of another log")
        return head


class Signer:
    """Signs notes under a name."""

    def __init__(self, name: str, seed: bytes) -> None:
        """In: the key's name; its 32 secret bytes (RFC 8032). Raises `ValueError` for a name with a space,
        a plus or nothing in it.
        """
        if not NAME.fullmatch(name):
            raise ValueError("a key's name has no space and no plus in it")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, SIGNATURE, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The note. In: a text that ends in a newline."""
        return f"{text}\n{line(self.verifier, self._key.sign(text.encode()))}"


def line(verifier: Verifier, signature: bytes) -> str:
    """One signature line. In: whose it is; what follows the key's id."""
    return f"— {verifier.name} {base64.b64encode(verifier.id + signature).decode()}\n"


def cosign(name: str, seed: bytes, text: str, at: int) -> str:
    """The line with which a witness countersigns a checkpoint's text, at a time in seconds since 1970."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    verifier = Verifier(name, COSIGNATURE, key.public_key().public_bytes_raw())
    return line(verifier, at.to_bytes(_TIME_BYTES, "big") + key.sign(_cosigned(text, at)))


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """A note's text, and of each signature the name, the key's id, and the rest. Raises `NoteInvalid`."""
    if len(note) > NOTE_BYTES_MAX or any(ord(char) < 32 and char != "\n" for char in note):
        raise NoteInvalid("a note has at most 64 KiB, and no control characters")
    text, gap, signed = note.rpartition("\n\n")
    if not gap or not signed.endswith("\n"):
        raise NoteInvalid("a note is a text, an empty line, and signatures")
    found = []
    for row in signed[:-1].split("\n"):
        dash, _, rest = row.partition(" ")
        name, _, encoded = rest.partition(" ")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if dash != "—" or not NAME.fullmatch(name) or len(data) < 5:
            raise NoteInvalid("a signature is a dash, a name and base64")
        found.append((name, data[:4], data[4:]))
    if len(found) > SIGNATURES_MAX:
        raise NoteInvalid(f"a note has at most {SIGNATURES_MAX} signatures")
    return text + "\n", found


def opened(note: str, verifiers: Iterable[Verifier]) -> tuple[str, set[Verifier]]:
    """A note's text, and who of these signed it. Raises `NoteInvalid` where nobody did, or one falsely."""
    text, signatures = split(note)
    signers = set()
    for verifier in verifiers:
        for name, ident, signature in signatures:
            if name == verifier.name and ident == verifier.id:
                verifier.check(text, signature)
                signers.add(verifier)
    if not signers:
        raise NoteInvalid("the note is signed by none of the keys that count")
    return text, signers


class Checkpoint(NamedTuple):
    """The head of a log: whose it is, how many leaves it has, and the tree's root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def of(cls, text: str) -> "Checkpoint":
        """Reads what `text` says; lines after the third are ignored. Raises `NoteInvalid`."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise NoteInvalid("a checkpoint says origin, size and root")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (binascii.Error, ValueError):
            root = b""
        if len(root) != HASH_BYTES:
            raise NoteInvalid("a checkpoint's root is 32 bytes in base64")
        return cls(lines[0], int(lines[1]), root)
