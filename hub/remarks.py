"""What somebody writes beside an act of theirs: it may say anything about a participant, so it is sealed.

It stands in the record of the act (`access`) under the participant's key, and goes when that goes.
"""

import base64
from typing import Final

from hub.vault import Vault
from schemas.errors import Erased, Unsealable

CHARS_MAX: Final = 1_000


def sealed(vault: Vault, participant: str, kind: str, text: str) -> str:
    """The text, at most `CHARS_MAX` of it, for the body of an act of that kind. Raises `Erased`."""
    sealer = vault.sealer(participant)
    return base64.b64encode(sealer.seal(_aad(kind), text[:CHARS_MAX].encode())).decode()


def opened(vault: Vault, participant: str, kind: str, remark: str) -> str | None:
    """The text; None once the participant was erased, or where it is none of ours."""
    try:
        return vault.sealer(participant).open(_aad(kind), base64.b64decode(remark)).decode()
    except (Erased, Unsealable, ValueError):
        return None


def _aad(kind: str) -> bytes:
    return b"remark\0" + kind.encode()
