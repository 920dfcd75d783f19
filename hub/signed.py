"""Signed forms: everything that stood on one and how it was signed, hashed, sealed and kept in the log.

The form is written to `work` before the consent that points to it, sealed under the participant's key; the
consent's reference is the form's SHA-256. So nothing is signed without its form, and a form whose signature
was cut off is of no effect.
"""

import base64
import binascii
import hashlib
import json
import secrets
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hub import acts
from hub.appender import Appender
from hub.governance import canonical
from hub.vault import Vault
from schemas.errors import Invalid

PICTURE_BYTES_MAX: Final = 600 * 1024
PREFIX: Final = "sha256:"
TYPES: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF-": "application/pdf"}
_HEAD: Final = struct.Struct(">I")  # how long the body is, which comes before the picture


class Form(NamedTuple):
    """A signed form: `body` is what stood on it, as JSON; `picture` the drawing or the scan, if any."""

    body: Mapping[str, Any]
    picture: bytes | None

    @property
    def sha256(self) -> str:
        """Of the canonical body, which holds the picture's own: 64 hexadecimal digits."""
        return hashlib.sha256(canonical(self.body)).hexdigest()

    @property
    def reference(self) -> str:
        """What the consent's signature points to it by."""
        return PREFIX + self.sha256


def form(body: Mapping[str, Any], picture: bytes | None) -> Form:
    """A form with its picture's hash in it."""
    digest = None if picture is None else hashlib.sha256(picture).hexdigest()
    return Form({**body, "picture": digest}, picture)


def picture(content: bytes) -> bytes:
    """A drawing or a scan as it came, checked. Raises `Invalid` for what is none, or too large."""
    if len(content) > PICTURE_BYTES_MAX:
        raise Invalid.one("/scan", "too-large", f"at most {PICTURE_BYTES_MAX // 1024} KiB")
    if kind(content) is None:
        raise Invalid.one("/scan", "not-a-picture", "a PNG, a JPEG or a PDF")
    return content


def kind(content: bytes) -> str | None:
    """The media type of a drawing or a scan, by how it begins; None for anything else."""
    return next((found for start, found in TYPES.items() if content.startswith(start)), None)


def from_url(url: str) -> bytes:
    """The bytes of a `data:` URL (RFC 2397) in base64. Raises `Invalid`."""
    head, _, data = url.partition(",")
    try:
        if not (head.startswith("data:") and head.endswith(";base64")):
            raise ValueError
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        raise Invalid.one("/drawing", "not-a-picture", "a drawing as the page makes it") from None


def keep(
    appender: Appender, vault: Vault, participant: str, by: str, made: Form, clock_ms: Callable[[], int]
) -> None:
    """Writes a form to `work`. May be repeated. Raises `Erased`, `Unavailable`."""
    body = canonical(made.body)
    packed = _HEAD.pack(len(body)) + body + (made.picture or b"")
    sealed = vault.sealer(participant).seal(_aad(made.sha256), packed)
    about = {"about": made.sha256}
    work = acts.did(acts.FORM_KEPT, by, participant, made.sha256, about, clock_ms(), sealed)
    acts.write(appender, work, participant)


def opened(vault: Vault, work: Mapping[str, Any]) -> Form:
    """A form out of its record of `work`. Raises `Erased`, `Unsealable`."""
    aad = _aad(json.loads(work["body"])["about"])
    packed = vault.sealer(work["participant"]).open(aad, work["sealed"])
    end = _HEAD.size + _HEAD.unpack_from(packed)[0]
    return Form(json.loads(packed[_HEAD.size : end]), packed[end:] or None)


def _aad(sha256: str) -> bytes:
    return b"form\0" + sha256.encode()


def new_id() -> str:
    """An id for a form that is about to be filled in."""
    return secrets.token_hex(16)
