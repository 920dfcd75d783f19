"""The states of many participants: directives lie packed as bytes until somebody asks."""

from collections.abc import Iterator
from typing import Final

from consent.packed import Packed, Slice, add, chunks
from consent.record import Placed
from consent.state import EMPTY, State
from schemas.errors import BrokenRecord

compiled_max: Final = 4096


class States:
    """Participants' directives for one partition of `consent`, in the order in which they were written.

    Some compiled states are kept, those used last; the others are compiled again when asked for, or while
    there is time (`warm`).
    """

    __slots__ = ("_cold", "_compiled", "_compiled_max", "_packed")

    def __init__(self, compiled_max: int = compiled_max) -> None:
        self._packed: dict[str, Packed] = {}
        self._compiled: dict[str, State] = {}  # the one used last stands last
        self._compiled_max = compiled_max
        self._cold: list[str] = []  # whose state is to be compiled while there is time

    def apply(self, participant: str, offset: int, body: bytes, directive_id: str | None = None) -> None:
        """Add a directive, its body as JSON bytes. Offsets rise; a directive id seen before counts once."""
        known = self._packed.get(participant)
        self._packed[participant] = add(known or b"", offset, directive_id, body)
        changed = self._compiled.pop(participant, None) is not None
        if (changed or known is None) and len(self._cold) < self._compiled_max:
            self._cold.append(participant)

    def get(self, participant: str) -> State:
        """The participant's state. Raises `BrokenRecord` where a body applied isn't a JSON object."""
        state = self._compiled.pop(participant, None)
        if state is not None:
            self._compiled[participant] = state
            return state
        packed = self._packed.get(participant)
        if packed is None:
            return EMPTY
        state = self._compiled[participant] = State(Slice(packed))
        if len(self._compiled) > self._compiled_max:
            del self._compiled[next(iter(self._compiled))]
        return state

    def warm(self) -> bool:
        """Compile one state that nobody has asked for yet. False where there is none, or no room for it.

        What cannot be read is left to whoever asks for it.
        """
        while self._cold and len(self._compiled) < self._compiled_max:
            participant = self._cold.pop()
            if participant not in self._compiled:
                try:
                    self.get(participant)
                except BrokenRecord:
                    continue
                return True
        return False

    def offsets(self, participant: str) -> tuple[int, ...]:
        """The offsets of the participant's directives, in order."""
        packed = self._packed.get(participant)
        return () if packed is None else tuple([offset for offset, _ in chunks(packed, len(packed))])

    def directives(self, participant: str) -> Iterator[Placed]:
        """The participant's directives as they were applied, with their offsets."""
        packed = self._packed.get(participant)
        return iter(()) if packed is None else iter(Slice(packed))

    def drop(self) -> None:
        """Forget everything: the partition went to somebody else."""
        self._packed.clear()
        self._compiled.clear()
        self._cold.clear()

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, participant: object) -> bool:
        return participant in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)
