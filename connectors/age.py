"""Files encrypted by age, for recipients that gave public keys of theirs. An extra: it needs `pyrage`.

Source: https://age-encryption.org/v1, recipient type X25519 (`age1…`). Each key opens the file by itself.
"""

from collections.abc import Sequence
from typing import Any, Final

from schemas.errors import Refused

SUFFIX: Final = ".age"
keys_max: Final = 10
MISSING: Final = "encryption by age needs `pyrage` where the hub runs: pip install pyrage"


class NoAge(Refused):
    """What encrypts is not installed: nothing is written in the clear instead."""

    code = "age-missing"


class NoKey(Refused):
    """A public key is none."""

    code = "age-key"


def encrypted(content: bytes, keys: Sequence[str]) -> bytes:
    """The file for the holders of these keys alone, in age's binary format.

    Raises `NoAge`, and `NoKey` for a key that is none, or no key at all.
    """
    sealed: bytes = _pyrage().encrypt(content, _recipients(keys))
    return sealed


def check(keys: Sequence[str]) -> None:
    """Whether files can be encrypted for these keys. Raises as `encrypted` does."""
    _recipients(keys)


def _recipients(keys: Sequence[str]) -> list[Any]:
    pyrage = _pyrage()
    if not 0 < len(keys) <= keys_max:
        raise NoKey(f"1 to {keys_max} keys are needed")
    try:
        return [pyrage.x25519.Recipient.from_str(key) for key in keys]
    except (pyrage.RecipientError, TypeError):
        raise NoKey("a public key of age begins with `age1`, as `age-keygen` prints it") from None


def _pyrage() -> Any:
    try:
        import pyrage  # noqa: PLC0415  an extra
    except ImportError:
        raise NoAge(MISSING) from None
    return pyrage
