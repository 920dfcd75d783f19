"""The directives of many participants as they were read, for deciding about any time in the past.

Where `States` keeps what was said in little memory for as long as a worker runs, this is for going through a
whole history once: nothing is packed, and of consents by the same form only what differs is read.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

from consent.blanks import Blanks
from consent.packed import read
from consent.record import Placed
from consent.state import EMPTY, State

Said = tuple[int, str, bytes]  # a directive's offset, its id, its body as JSON

SOLE_MAX: Final = 64
GRANTED: Final = "consent-granted"
_offset: Final = itemgetter(0)


class History:
    """All directives of one partition of `consent`, and participants' states as of any offset in it."""

    __slots__ = ("_blanks", "_compiled", "_compiled_max", "_said", "_sole")

    def __init__(self, compiled_max: int) -> None:
        """In: how many states are kept at most, of different participants; those used last."""
        self._said: dict[str, list[Said]] = {}
        self._compiled: dict[str, State] = {}  # the one used last stands last
        self._compiled_max = compiled_max
        self._blanks = Blanks()
        self._sole: dict[tuple[bytes, bool], State] = {}  # by form, of somebody who said nothing else

    def add(self, participant: str, offset: int, directive_id: str, body: bytes) -> None:
        """One more directive; offsets rise. Nothing in it is read."""
        self._said.setdefault(participant, []).append((offset, directive_id, body))

    def state(self, participant: str, offset: int) -> State:
        """The participant's state when consent had been applied up to this offset.

        Raises `BrokenRecord` where a body up to there isn't a JSON object.
        """
        said = self._said.get(participant)
        if said is None or said[0][0] > offset:
            return EMPTY
        count = len(said) if said[-1][0] <= offset else bisect_right(said, offset, key=_offset)
        state = self._compiled.pop(participant, None)
        if state is None or state.offset != said[count - 1][0]:
            state = self._state(said, count)
            if len(self._compiled) >= self._compiled_max:
                del self._compiled[next(iter(self._compiled))]
        self._compiled[participant] = state
        return state

    def _state(self, said: Sequence[Said], count: int) -> State:
        source = _Until(said, count, self._blanks)
        consent = self._blanks.consent(said[0][2]) if count == 1 else None
        if consent is None:
            return State(source)
        form = consent.form.key, consent.on_exit
        known = self._sole.get(form)
        if known is not None:
            return known.by(consent, said[0][0], source)
        state = State(source)
        if consent.form.key and len(state.blocks) == 1:
            if len(self._sole) >= SOLE_MAX:
                self._sole.clear()
            self._sole[form] = state
        return state


class _Until:
    """The first so many of a participant's directives."""

    __slots__ = ("_blanks", "_count", "_said")

    def __init__(self, said: Sequence[Said], count: int, blanks: Blanks) -> None:
        self._said = said
        self._count = count
        self._blanks = blanks

    def __iter__(self) -> Iterator[Placed]:
        for offset, name, body in self._said[: self._count]:
            consent = self._blanks.consent(body)
            given = read(offset, body) if consent is None else {"type": GRANTED, "consent": consent}
            yield Placed(offset, name, given)
