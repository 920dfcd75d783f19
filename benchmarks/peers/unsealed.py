"""A stage of the hub with sealing taken out: `python -m benchmarks.peers.unsealed STAGE`.

The same program, by the same settings; only what it would seal or open under a participant's key, or under
the day's key for originals, passes as it is, and no such key is looked up. Recipients' secrets stay sealed.
"""

import sys
from collections.abc import Iterable, Sequence

from hub import bootstrap
from hub.cli import main
from hub.vault import Sealer, Vault


class Open:
    """Takes the place of a sealer."""

    def seal(self, _aad: bytes, plaintext: bytes) -> bytes:
        """As it is."""
        return plaintext

    def seal_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """As they are."""
        return [plaintext for _, plaintext in pairs]

    def open(self, _aad: bytes, sealed: bytes) -> bytes:
        """As it is."""
        return sealed


class Unsealed(Vault):
    """The vault, whose keyed hashes and secrets are the real ones."""

    def sealer(self, _participant: str) -> Sealer:
        """No key at all."""
        return Open()  # type: ignore[return-value]

    def hub(self, purpose: str) -> Sealer:
        """No key for originals."""
        return super().hub(purpose) if purpose == "secrets" else Open()  # type: ignore[return-value]

    def prefetch(self, _participants: Iterable[str]) -> None:
        """There is nothing to fetch."""


if __name__ == "__main__":
    bootstrap.Vault = Unsealed  # type: ignore[misc]
    sys.argv[1:1] = ["run"]
    main()
