"""What admit needs of the vault and of the crosswalk. The hub hands over what fulfils these."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class Sealer(Protocol):
    """Seals and opens under one key, bound to associated data."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Sealed bytes. Raises `Erased` where the key was destroyed."""

    def seal_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """As `seal` of several, each with its associated data. Raises as that."""

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """What was sealed. Raises `Erased` or `Unsealable`."""


class Vault(Protocol):
    """Keys by participant and purpose, and keyed hashes."""

    def sealer(self, participant: str) -> Sealer:
        """Under the participant's data key."""

    def hub(self, purpose: str) -> Sealer:
        """Under a key of the hub's own."""

    def mac(self, purpose: str, data: bytes) -> str:
        """A keyed hash, 64 hexadecimal digits."""

    def prefetch(self, participants: Iterable[str]) -> None:
        """Brings the keys of these into memory together."""


class Links(Protocol):
    """The fold of `identity`: whom an agency's local id means."""

    def apply(self, record: Mapping[str, Any]) -> None:
        """One decoded `Identity` record, in order within its partition."""

    def participant(self, local: str) -> str | None:
        """Whom the keyed hash of a local id means; None for nobody known."""
