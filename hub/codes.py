"""Codes of cards, and the PINs that go with them: made, compared, refused where they are guessed first."""

import secrets
from itertools import pairwise
from typing import Final

from schemas.errors import Invalid

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is read as something else
CODE_CHARS: Final = 10  # 49 bits
TYPED_CHARS_MAX: Final = 40
PIN_DIGITS_MIN: Final = 6
PIN_DIGITS_MAX: Final = 12


def plain(code: str) -> str:
    """A code as it is compared: capitals, and nothing between them."""
    return "".join(char for char in code[:TYPED_CHARS_MAX].upper() if char.isalnum())


def new_code() -> str:
    """A code as it stands on a card, in two halves."""
    chars = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))
    return f"{chars[:5]}-{chars[5:]}"


def check_pin(pin: str) -> None:
    """Raises `Invalid` for what is no PIN, or is guessed first: one digit again and again, or a run."""
    if not (pin.isascii() and pin.isdigit() and PIN_DIGITS_MIN <= len(pin) <= PIN_DIGITS_MAX):
        raise Invalid.one("/pin", "pin", f"a PIN has {PIN_DIGITS_MIN} to {PIN_DIGITS_MAX} digits")
    steps = {int(after) - int(before) for before, after in pairwise(pin)}
    if steps in ({0}, {1}, {-1}):
        raise Invalid.one("/pin", "easy-pin", "this PIN is guessed first")
