"""Credentials that were good a moment ago, so that who asks often is not looked up for every request.

Only what is good is remembered, and never for longer than `recent_ms_max`: so long after its end a credential
may still hand something in. Only rules that say so ask here (`hub/access.py`); whatever gives something out
asks the store each time.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from hub.tokens import Machine

recent_ms_max: Final = 250
credentials_max: Final = 10_000


class Recent:
    """For one event loop."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Machine | None]],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """In: what says whose credential this is, by its hash; a clock that never goes back, in seconds."""
        self._ask = ask
        self._clock_s = clock_s
        self._known: dict[str, tuple[float, Machine]] = {}  # until when

    async def ask(self, digest: str) -> Machine | None:
        """Whose credential this is, or was `recent_ms_max` ago at the most; None for nobody's."""
        now = self._clock_s()
        until, machine = self._known.get(digest, (0.0, None))
        if machine is not None and now < until:
            return machine
        found = await self._ask(digest)
        if found is None:
            self._known.pop(digest, None)
            return None
        if len(self._known) >= credentials_max:
            self._known.clear()
        self._known[digest] = (now + recent_ms_max / 1000, found)  # from before it was asked
        return found
