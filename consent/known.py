"""What many participants have in common is made once: a bounded table of it."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

entries_max: Final = 1 << 10
entries_min: Final = 1 << 6
asked_an_entry: Final = 1 << 7

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Known(Generic[_K, _V]):
    """Values by their keys. The table grows with how often it is asked, up to a bound, so that it stays a
    small part of what those who ask take themselves; once full, it begins anew.
    """

    __slots__ = ("_asked", "_entries")

    def __init__(self) -> None:
        self._entries: dict[_K, _V] = {}
        self._asked = 0

    def get(self, key: _K) -> _V | None:
        """The value, None where it isn't known."""
        self._asked += 1
        return self._entries.get(key)

    def put(self, key: _K, value: _V) -> _V:
        """Knows a value from now on, and gives it back."""
        if len(self._entries) >= min(entries_max, entries_min + self._asked // asked_an_entry):
            self._entries.clear()
        self._entries[key] = value
        return value

    def __len__(self) -> int:
        return len(self._entries)
