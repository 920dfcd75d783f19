"""Who is connected to a live page, and when they look again. Bounded, and quickly over when the hub stops."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from prometheus_client import Gauge

from schemas.errors import Unavailable

STREAMS_MAX: Final = 500
STREAMS_PER_ORGANISATION_MAX: Final = 50
LOOK_MS: Final = 400  # between two looks; what happens in this very process is looked at once
PING_MS: Final = 15_000  # so that whatever is in between does not think the connection dead
SIGNED_IN_MS: Final = 2_000  # so long after its end a session may go on listening
RETRY_MS: Final = 2_000  # after which a browser connects again

_connected = Gauge("hub_live_streams", "Live pages connected to this process")


def frame(event: str, mark: str, data: str) -> str:
    """One server-sent event. In: its name, what to resume by, its data on one line."""
    return f"event: {event}\nid: {mark}\ndata: {data}\n\n"


class Streams:
    """The live pages of this process."""

    def __init__(self) -> None:
        self._connected: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._looks: dict[str, tuple[float, asyncio.Task[str]]] = {}
        self._closing = False

    def room(self, organisation: str) -> bool:
        """Whether one more may connect."""
        mine = self._connected[organisation]
        return (
            not self._closing
            and mine < STREAMS_PER_ORGANISATION_MAX
            and self._connected.total() < STREAMS_MAX
        )

    async def follow(
        self,
        organisation: str,
        seen: str,
        mark: Callable[[], Awaitable[str]],
        picture: Callable[[], AbstractAsyncContextManager[tuple[str, str]]],
        signed_in: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[str]:
        """The stream of one page: an event whenever its organisation's mark is not the one it has seen.

        In: how to get the mark; how to get mark and data together, which have left when the block ends;
        whether whoever listens still may.
        """
        self._connected[organisation] += 1
        _connected.inc()
        try:
            yield f"retry: {RETRY_MS}\n: connected\n\n"
            spoke = checked = _now_ms()
            while not self._closing:
                now = _now_ms()
                if now - checked >= SIGNED_IN_MS:
                    if not await signed_in():
                        return
                    checked = now
                if await self._look(organisation, mark) != seen:
                    with contextlib.suppress(Unavailable):  # the next look comes soon
                        async with picture() as (now_seen, data):
                            yield frame("changed", now_seen, data)
                        seen, spoke = now_seen, now
                elif now - spoke >= PING_MS:
                    yield ": still here\n\n"
                    spoke = now
                await self._pause()
        finally:
            self._connected[organisation] -= 1
            _connected.dec()

    @property
    def closing(self) -> bool:
        """Whether the hub stops: whoever waits should answer now."""
        return self._closing

    def wake(self) -> None:
        """Something happened here: everybody looks at once."""
        self._looks.clear()
        self._woken.set()
        self._woken = asyncio.Event()

    def close(self) -> None:
        """The hub stops: every stream ends."""
        self._closing = True
        self.wake()

    async def _look(self, organisation: str, mark: Callable[[], Awaitable[str]]) -> str:
        """The organisation's mark; those who look at the same time share one look."""
        until, task = self._looks.get(organisation, (0.0, None))
        if task is None or until < time.monotonic():
            task = asyncio.ensure_future(_await(mark))
            self._looks[organisation] = (time.monotonic() + LOOK_MS / 2000, task)
        return await asyncio.shield(task)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), LOOK_MS / 1000)
        except TimeoutError:
            return


async def _await(ask: Callable[[], Awaitable[str]]) -> str:
    return await ask()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
