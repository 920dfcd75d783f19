"""Who is connected to a live page, and when they are told. Bounded, and quickly over when the hub stops.

One look at each organisation's mark serves all its pages, and one question tells of everybody who is
connected whether they still may be: what a page costs while nothing happens is a comment now and then. Only
pages that a change may concern are drawn again, and what several of them need is found once.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from prometheus_client import Gauge
from starlette.types import Send

from schemas.errors import Unavailable

log = structlog.get_logger(__name__)

STREAMS_MAX: Final = 2_500
STREAMS_PER_ORGANISATION_MAX: Final = 1_000
PICTURES_MAX: Final = 8  # being drawn at the same time, of one process
LOOK_MS: Final = 400  # between two looks; what this process hears of is looked at once
BEHIND_MS_MAX: Final = 5_000  # between two tries to draw what could not be checked
REVIEW_MS: Final = 60_000  # between two pictures where nothing tells of a change: a time may have come
PING_MS: Final = 15_000  # so that whatever is in between does not think the connection dead
SIGNED_IN_MS: Final = 2_000  # so long after its end a session may go on listening
SEND_MS_MAX: Final = 5_000  # whoever takes nothing for so long is cut off, and comes back
RETRY_MS: Final = 2_000  # after which a browser connects again

_connected = Gauge("hub_live_streams", "Live pages connected to this process")

T = TypeVar("T")
Mark = Callable[[], Awaitable[str]]
Told = tuple[str, str]  # what to resume by, and the data
Picture = Callable[[str], AbstractAsyncContextManager[Told | None]]
Concerns = Callable[[str], Awaitable[bool]]
SignedIn = Callable[[frozenset[str]], Awaitable[frozenset[str]]]


def frame(event: str, mark: str, data: str) -> str:
    """One server-sent event (WHATWG HTML, 9.2). In: its name, what to resume by, its data, of any lines."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    resumed = f"id: {mark}\n" if mark else ""
    return f"event: {event}\n{resumed}{lines}\n"


class Stream(StreamingResponse):
    """A live page's answer. Whoever stops taking it is cut off: what was let out must leave soon or never."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send the frames, each within `SEND_MS_MAX`. Raises `TimeoutError` otherwise."""

        async def soon(message: Any) -> None:
            async with asyncio.timeout(SEND_MS_MAX / 1000):
                await send(message)

        try:
            await super().stream_response(soon)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]  # it is a generator of ours


class _Listener:
    """One page."""

    __slots__ = ("ended", "key", "woken")

    def __init__(self, key: str) -> None:
        self.key = key
        self.ended = False
        self.woken = asyncio.Event()


class _Watch:
    """One organisation's mark, looked at while somebody listens."""

    def __init__(self, ask: Mark) -> None:
        self.listeners: set[_Listener] = set()
        self.mark: str | None = None
        self.failing = False
        self.found: dict[Hashable, tuple[int, asyncio.Future[Any]]] = {}
        self.found_at: str | None = None
        self._soon = asyncio.Event()
        self.task = asyncio.create_task(self._run(ask))

    def look(self) -> None:
        """Look at once."""
        self._soon.set()

    def tell(self) -> None:
        """Wake every page."""
        for one in self.listeners:
            one.woken.set()

    async def _run(self, ask: Mark) -> None:
        while True:
            self._soon.clear()
            found, failing = self.mark, True
            try:
                found, failing = await ask(), False
            except Exception as error:
                log.error("live_mark_unread", error=type(error).__name__)
            if (found, failing) != (self.mark, self.failing):
                self.mark, self.failing = found, failing
                self.tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), LOOK_MS / 1000)


class Streams:
    """The live pages of this process. In: what tells which keys of sessions and tokens are still good."""

    def __init__(self, signed_in: SignedIn) -> None:
        self._signed_in = signed_in
        self._watches: dict[str, _Watch] = {}
        self._keeper: asyncio.Task[None] | None = None
        self.drawing = asyncio.Semaphore(PICTURES_MAX)
        """Held while a picture is drawn, and not while it leaves: who takes slowly holds nobody up."""
        self._behind: set[asyncio.Task[None]] = set()
        self._closing = False

    def room(self, organisation: str) -> bool:
        """Whether one more may connect."""
        mine = self._watches.get(organisation)
        return (
            not self._closing
            and (mine is None or len(mine.listeners) < STREAMS_PER_ORGANISATION_MAX)
            and sum(len(one.listeners) for one in self._watches.values()) < STREAMS_MAX
        )

    async def follow(
        self,
        organisation: str,
        key: str,
        seen: str,
        mark: Mark,
        picture: Picture,
        concerns: Concerns | None = None,
    ) -> AsyncIterator[str]:
        """The stream of one page.

        `changed` has what it shows, whenever that is not what it has seen; `behind` says that it can't be
        checked now, `checked` that it can again, `here` that nothing is new; `ended` that whoever listens may
        not any more.

        In: the key of who listens; by what to resume; how to get the organisation's mark, which changes
        whenever a picture of its may; how to get mark and data together, which have left when the block ends,
        or None where what was seen is still true; whether what changed since an earlier mark of the
        organisation may show on this page, where it can be known.
        """
        watch, listener = self._join(organisation, key, mark)
        try:
            yield f"retry: {RETRY_MS}\n: connected\n\n"
            drawn, behind_ms, spoke = seen.partition(".")[0], 0, _now_ms()
            looked = spoke
            while not self._closing:
                listener.woken.clear()
                if listener.ended:
                    yield frame("ended", "", "")
                    return
                behind, told = watch.failing, None
                review = _now_ms() - looked >= REVIEW_MS
                due = watch.mark is not None and (watch.mark != drawn or review)
                if due and not behind and not review and concerns is not None:
                    wanted = str(watch.mark)
                    due = await concerns(drawn)
                    drawn = drawn if due else wanted
                if due and not behind:
                    wanted = str(watch.mark)
                    try:
                        async with picture(seen) as told:
                            if told is not None:
                                yield frame("changed", *told)
                        drawn, looked = wanted, _now_ms()
                    except Unavailable:
                        behind = True
                if behind:
                    behind_ms = min(BEHIND_MS_MAX, max(LOOK_MS, behind_ms * 2))
                    yield frame("behind", "", "")
                elif told is not None:
                    seen, behind_ms = told[0], 0
                elif behind_ms:  # what could not be checked can be again, and nothing had changed
                    behind_ms = 0
                    yield frame("checked", "", "")
                elif _now_ms() - spoke >= PING_MS:
                    yield frame("here", "", "")
                else:
                    await _woken(listener, PING_MS)
                    continue
                spoke = _now_ms()
                await _woken(listener, behind_ms or PING_MS)
        finally:
            self._leave(organisation, listener)

    async def once(self, organisation: str, what: Hashable, ask: Callable[[], T]) -> T:
        """What `ask` finds in a thread, found once for all pages that want it while nothing changes.

        In: the organisation, one of whose pages wants it; a name for what is wanted. What was found counts
        for `LOOK_MS` at most, as time passes also where nothing changes.
        """
        watch, now = self._watches[organisation], _now_ms()
        if watch.found_at != watch.mark:
            watch.found, watch.found_at = {}, watch.mark
        since, found = watch.found.get(what, (0, None))
        if found is None or now - since > LOOK_MS or (found.done() and found.exception() is not None):
            found = asyncio.ensure_future(run_in_threadpool(ask))
            watch.found[what] = (now, found)
        result: T = await asyncio.shield(found)
        return result

    def behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Has something done while a page goes on, and also when it ends. What goes wrong is logged, and
        raised for whoever waits for it."""
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("left_undone_behind_a_page", error=type(error).__name__)

    @property
    def closing(self) -> bool:
        """Whether the hub stops: whoever waits should answer now."""
        return self._closing

    def wake(self, organisation: str) -> None:
        """Something happened to an organisation: it is looked at once."""
        if organisation in self._watches:
            self._watches[organisation].look()

    def heard(self, record: Mapping[str, Any]) -> None:
        """A record of `deliveries`: an alert was shown, or what no longer stands was taken back."""
        if record["receipt"] is not None and record["receipt"]["adapter"] == "alerts":
            self.wake(record["receipt"]["stakeholder"])
        elif record["acknowledgement"] is not None:
            for one in record["acknowledgement"]["stakeholders"]:
                self.wake(one)

    def close(self) -> None:
        """The hub stops: every stream ends."""
        self._closing = True
        for watch in self._watches.values():
            watch.tell()

    def _join(self, organisation: str, key: str, mark: Mark) -> tuple[_Watch, _Listener]:
        if organisation not in self._watches:
            self._watches[organisation] = _Watch(mark)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        watch, listener = self._watches[organisation], _Listener(key)
        watch.listeners.add(listener)
        _connected.inc()
        return watch, listener

    def _leave(self, organisation: str, listener: _Listener) -> None:
        watch = self._watches[organisation]
        watch.listeners.discard(listener)
        _connected.dec()
        if not watch.listeners:
            watch.task.cancel()
            del self._watches[organisation]
        if not self._watches and self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    async def _keep(self) -> None:
        """End the streams of those who are not signed in any more."""
        while True:
            await asyncio.sleep(SIGNED_IN_MS / 1000)
            listening = [one for watch in self._watches.values() for one in watch.listeners]
            try:
                good = await self._signed_in(frozenset(one.key for one in listening))
            except Exception as error:
                log.error("sessions_unread", error=type(error).__name__)
                continue
            for one in listening:
                if one.key not in good:
                    one.ended = True
                    one.woken.set()


async def _woken(listener: _Listener, wait_ms: int) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(listener.woken.wait(), wait_ms / 1000)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
