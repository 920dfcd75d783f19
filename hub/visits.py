"""Who used which door: counted, and written to `access` before long, for everybody who is known.

What matters by itself (a sign-in, a refusal, a look behind a mask) is written before it happens, record by
record. This is the rest: that somebody was here. The first request of a while is told within a second, the
others as counts every five minutes ([why](../docs/adr/0023-visits-are-counted.md)).
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter as Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import acts
from hub.appender import Appender
from hub.passes import Visitor as Guest
from hub.sessions import Person
from hub.tokens import Machine
from schemas.errors import Unavailable

VISITED: Final = "visited"
TELL_MS: Final = 1_000  # who comes for the first time in a while is told of within this
COUNT_MS: Final = 300_000  # and so often the others
VISITORS_MAX: Final = 20_000
CREDENTIAL_CHARS: Final = 24  # of its hash, by which it is found again

_lost = Metric("hub_visits_lost_total", "Requests of known people and programs that left no record")
log = structlog.get_logger(__name__)


class Visitor(NamedTuple):
    """Somebody, by one credential: `principal` as records name them, and the beginning of a hash."""

    principal: str
    credential: str


class Visits:
    """Counts in memory until they are written. Thread-safe."""

    def __init__(self, appender: Appender, clock_ms: Callable[[], int]) -> None:
        """In: the way to the log; a clock in milliseconds since 1970."""
        self._appender = appender
        self._clock_ms = clock_ms
        self._guard = threading.Lock()
        self._counts: dict[Visitor, Counter[str]] = {}
        self._since: dict[Visitor, int] = {}
        self._told: dict[Visitor, int] = {}

    def saw(self, who: Machine | Person | Guest, door: str) -> None:
        """One request. In: the door as `METHOD /pattern status`, never an address with something in it."""
        credential = who.credential if isinstance(who, Machine) else who.session
        visitor = Visitor(who.principal, credential[:CREDENTIAL_CHARS])
        with self._guard:
            if visitor not in self._counts:
                if len(self._counts) >= VISITORS_MAX:
                    _lost.inc()
                    return
                self._counts[visitor] = Counter()
                self._since[visitor] = self._clock_ms()
            self._counts[visitor][door] += 1

    def write(self, *, everybody: bool = False) -> int:
        """Write what is due, or all. Out: records written. What the log does not take is kept for later."""
        now, written = self._clock_ms(), 0
        with self._guard:
            self._told = {who: at for who, at in self._told.items() if now - at < COUNT_MS}
            due = [who for who in self._counts if everybody or who not in self._told]
            taken = [(who, self._counts.pop(who), self._since.pop(who)) for who in due]
        for place, (who, counts, since) in enumerate(taken):
            body = {"credential": who.credential, "doors": dict(counts), "since": since, "until": now}
            try:
                acts.access(self._appender, VISITED, who.principal, body)
            except Unavailable:
                self._keep(taken[place:])
                log.warning("visits_not_recorded", visitors=len(taken) - place)
                break
            written += 1
            self._told[who] = now
        return written

    def _keep(self, taken: list[tuple[Visitor, Counter[str], int]]) -> None:
        with self._guard:
            for who, counts, since in taken:
                self._counts[who] = self._counts.get(who, Counter()) + counts
                self._since[who] = since

    async def run(self, stop: threading.Event) -> None:
        """Write until `stop` is set, and then the rest."""
        last = time.monotonic()
        while not stop.is_set():
            await asyncio.sleep(0.1)
            if time.monotonic() - last >= TELL_MS / 1000:
                last = time.monotonic()
                await asyncio.to_thread(self.write)
        await asyncio.to_thread(self.write, everybody=True)


class Counted:
    """ASGI middleware: tells `Visits` of each answer to somebody known."""

    def __init__(self, app: ASGIApp, *, visits: Visits) -> None:
        self.app = app
        self.visits = visits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                who = scope.get("state", {}).get("principal")
                if isinstance(who, Machine | Person | Guest):
                    path = getattr(scope.get("route"), "path", "unknown")
                    self.visits.saw(who, f"{scope['method']} {path} {message['status']}")
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)
