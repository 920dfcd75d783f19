"""Handing over: what has its intent committed is opened, projected and sent, each within the send deadline.

An asyncio loop in a thread of its own. Every attempt that was handed in ends in one receipt, also one that
was too late to begin; only a worker that dies leaves an attempt without.
"""

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram
from uvicorn.loops.auto import auto_loop_factory

from connectors import deliveries, gathering, projection
from connectors.adapter import (
    Adapter,
    Closing,
    Crosswalk,
    Log,
    Names,
    Outcome,
    Outgoing,
    Share,
    Vault,
    Who,
)
from connectors.deliveries import Parcel
from connectors.schedule import Schedule, awake_ms, together
from connectors.together import Together, each
from schemas import crash
from schemas.errors import Erased, HubError

log = structlog.get_logger(__name__)

NOT_BEGUN: Final = Outcome("failed", "not-begun")
ATTEMPTS: Final = Counter("hub_delivery_attempts", "Attempts at handing over", ("adapter", "outcome"))
SECONDS: Final = Histogram(
    "hub_delivery_seconds", "From the handing in of an attempt to its end", ("adapter",)
)
prepared_max: Final = 32  # at once, in one thread
receipt_tries_max: Final = 3
receipt_pause_ms: Final = 100


@dataclass(slots=True)
class Attempt:
    """One attempt whose intent is committed. `deadline_ms` is on the clock of `awake_ms`."""

    key: str
    stakeholder: str
    adapter: str
    partition: int
    offset: int
    number: int
    outbound: Mapping[str, Any]
    shares: tuple[Share, ...]
    scope: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    deadline_ms: int
    urgent: bool = False
    dropped: bool = False

    @property
    def participant(self) -> str:
        """Who it is about."""
        return str(self.outbound["envelope"]["participant"])

    @property
    def ref(self) -> tuple[str, int]:
        """What names this attempt: the idempotency key and its number."""
        return self.key, self.number

    @property
    def late(self) -> bool:
        """Whether it is too late to begin: the deadline passed, or somebody else owns the partition."""
        return self.dropped or awake_ms() >= self.deadline_ms


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended, and when the next one is due (None: there is none)."""

    ref: tuple[str, int]
    outcome: Outcome
    at: int
    next_at: int | None


class Sender:
    """Runs attempts concurrently. `results` is what has ended, for the engine to take."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        vault: Vault,
        crosswalk: Crosswalk,
        receipts: Log,
        schedule: Schedule,
        now: Callable[[], int],
        at_once_max: int = 32,
    ) -> None:
        """In: `at_once_max`, how many go to one recipient at once, where the adapter doesn't gather them."""
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._adapters = adapters
        self._vault = vault
        self._crosswalk = crosswalk
        self._receipts = receipts
        self._schedule = schedule
        self._now = now
        self._turns: defaultdict[tuple[str, str, bool], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once_max)
        )
        self._preparing = Together(self._prepare, prepared_max)
        self._chance = random.Random()  # noqa: S311 - jitter, not a secret
        self._flying: dict[tuple[str, int], Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = auto_loop_factory()()  # uvloop where there is one, as the web's
        self._thread = threading.Thread(target=self._loop.run_forever, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to take attempts."""
        self._thread.start()

    def stop(self, wait_ms_max: int) -> None:
        """Let what is on its way end, within the bound; what has not begun will not."""
        for attempt in list(self._flying.values()):
            attempt.dropped = True
        ended = asyncio.run_coroutine_threadsafe(self._end(wait_ms_max / 1000), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self, wait_s_max: float) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=wait_s_max)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for adapter in self._adapters.values():
            if isinstance(adapter, Closing):
                await adapter.aclose()

    def flying(self) -> set[tuple[str, int]]:
        """The attempts that have not ended."""
        return set(self._flying)

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Send these. Their intents must be committed."""
        for attempt in attempts:
            self._flying[attempt.ref] = attempt
        self._loop.call_soon_threadsafe(self._begin, attempts)

    def drop(self, stakeholder: str, partition: int) -> None:
        """Somebody else owns this outbox partition now: begin nothing of it any more."""
        for attempt in list(self._flying.values()):
            if (attempt.stakeholder, attempt.partition) == (stakeholder, partition):
                attempt.dropped = True

    def _begin(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            task = self._loop.create_task(self._run(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, attempt: Attempt) -> None:
        began = time.monotonic()
        outcome = await self._deliver(attempt)
        SECONDS.labels(attempt.adapter).observe(time.monotonic() - began)
        ATTEMPTS.labels(attempt.adapter, outcome.state).inc()
        crash.point("deliver.delivered")
        at = self._now()
        next_at = None
        if outcome.state == "failed":
            if outcome is NOT_BEGUN:
                next_at = at
            else:
                next_at = self._schedule.next_at(attempt.number, at, self._chance, outcome.retry_after_ms)
            if next_at is not None:
                next_at = together(attempt.settings, next_at)
            if next_at is None:
                outcome = Outcome("abandoned", outcome.code)
        await self._receipt(attempt, outcome, at, next_at)
        del self._flying[attempt.ref]
        self.results.put(Result(attempt.ref, outcome, at, next_at))

    async def _deliver(self, attempt: Attempt) -> Outcome:
        """Send within the deadline. Never raises."""
        waiting = False
        if attempt.late:
            return NOT_BEGUN
        try:
            async with asyncio.timeout((attempt.deadline_ms - awake_ms()) / 1000):
                outgoing = await self._preparing.ask(attempt)
                waiting = True
                async with self._turn(attempt):
                    waiting = False
                    if attempt.late:
                        return NOT_BEGUN
                    crash.point("deliver.sending")
                    return await self._adapters[attempt.adapter].deliver(outgoing)
        except (Exception, asyncio.CancelledError) as error:
            return NOT_BEGUN if waiting else _failure(error, attempt.adapter)

    def _turn(self, attempt: Attempt) -> contextlib.AbstractAsyncContextManager[object]:
        """Its turn among those to the same recipient, of which urgent ones have their own; at once where an
        adapter takes many together."""
        if attempt.adapter in gathering.TOGETHER:
            return contextlib.nullcontext()
        return self._turns[attempt.stakeholder, attempt.adapter, attempt.urgent]

    def _prepare(self, attempts: Sequence[Attempt]) -> list[Outgoing | Exception]:
        """Open what is permitted, and make the recipients' views of it, asking the store once for all."""
        people = {one.participant for one in attempts}
        self._vault.prefetch(people)
        known = {(one.stakeholder, one.participant) for one in attempts if projection.tells_who(one.shares)}
        names = _Found(self._crosswalk.local_ids(known) if known else {})
        return each(partial(self._view, names))(attempts)

    def _view(self, names: Names, attempt: Attempt) -> Outgoing:
        """Raises `Erased`, `Unsealable`."""
        seen = projection.seen(
            attempt.outbound, attempt.stakeholder, attempt.shares, attempt.scope, self._vault, names
        )
        return Outgoing(
            key=attempt.key,
            stakeholder=attempt.stakeholder,
            adapter=attempt.adapter,
            attempt=attempt.number,
            settings=attempt.settings,
            view=seen.view,
            envelope=attempt.outbound["envelope"],
            shares=attempt.shares,
            fields=seen.fields,
            deadline_ms=attempt.deadline_ms,
        )

    async def _receipt(self, attempt: Attempt, outcome: Outcome, at: int, next_at: int | None) -> None:
        envelope = attempt.outbound["envelope"]
        parcel = Parcel(
            attempt.key, attempt.stakeholder, attempt.adapter, envelope["id"], envelope["participant"]
        )
        value = deliveries.receipt(parcel, attempt.number, outcome, at, next_at)
        for left in reversed(range(receipt_tries_max)):
            try:
                self._receipts.append(deliveries.TOPIC, attempt.partition, parcel.participant.encode(), value)
            except HubError as error:
                log.error("receipt not stored", error=error.code)
                if left:
                    await asyncio.sleep(receipt_pause_ms / 1000)
            else:
                return


class _Found(dict[Who, str]):
    """What was found of agencies' own ids."""

    def local_id(self, agency: str, participant: str) -> str | None:
        return self.get((agency, participant))


def _failure(error: BaseException, adapter: str) -> Outcome:
    """What an attempt comes to that ended in an exception."""
    if isinstance(error, TimeoutError):
        return Outcome("failed", "timeout")
    if isinstance(error, asyncio.CancelledError):
        return Outcome("failed", "stopped")
    if isinstance(error, Erased):
        return Outcome("abandoned", error.code)
    code = error.code if isinstance(error, HubError) else "adapter-error"
    log.error("delivery failed", adapter=adapter, code=code, error=type(error).__name__)
    return Outcome("failed", code)
