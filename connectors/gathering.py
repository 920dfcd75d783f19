"""Gathering: deliveries that leave together, in a file for each hour or day.

They wait in the engine's table like any other, as positions, until their hour is over
(`connectors.schedule.first_at`); then each is decided, has its intent, and what comes within a moment leaves
together. When it may leave no longer for one of them, it does for none: they are all tried again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from connectors.adapter import Outcome, Outgoing
from connectors.schedule import awake_ms

ADAPTERS: Final = frozenset({"sftp"})  # of these everything leaves in files
TOGETHER: Final = ADAPTERS | {"alerts"}  # of these none waits its turn: the store keeps many as one
in_flight_max: Final = 500  # to one recipient; as many can be in a file
quiet_ms: Final = 150  # with nothing more coming, the file is complete
gather_ms_max: Final = 1_000
margin_ms: Final = 100  # before the deadline of the first one everything has ended

Send = Callable[[Sequence[Outgoing]], Awaitable[Mapping[str, Outcome]]]


@dataclass(slots=True)
class _File:
    members: list[tuple[Outgoing, "asyncio.Future[Outcome]"]] = field(default_factory=list)
    newest: float = 0.0
    task: "asyncio.Task[None] | None" = None


class Gathering:
    """Brings deliveries of one recipient and type together that come within a moment. For one event loop."""

    def __init__(self, send: Send) -> None:
        """In: what sends a file; it answers for each delivery by its key."""
        self._send = send
        self._open: dict[tuple[str, str], _File] = {}

    async def add(self, outgoing: Outgoing) -> Outcome:
        """One delivery; out: how the file ended that it was in. Cancelled, it takes the file with it."""
        kind = (outgoing.stakeholder, outgoing.view["type"])
        file = self._open.get(kind)
        if file is None or len(file.members) >= in_flight_max:
            file = self._open[kind] = _File()
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        file.members.append((outgoing, ended))
        file.newest = time.monotonic()
        if file.task is None:
            file.task = asyncio.create_task(self._run(kind, file))
        try:
            return await ended
        except asyncio.CancelledError:
            file.task.cancel()
            raise

    async def _run(self, kind: tuple[str, str], file: _File) -> None:
        outcomes: Mapping[str, Outcome] = {}
        otherwise: Outcome | BaseException = Outcome("failed", "stopped")
        try:
            await self._complete(file)
            if self._open.get(kind) is file:
                del self._open[kind]
            several = [outgoing for outgoing, _ in file.members]
            left_ms = min(one.deadline_ms for one in several) - margin_ms - awake_ms()
            async with asyncio.timeout(max(0, left_ms) / 1000):
                outcomes = await self._send(several)
        except TimeoutError:
            otherwise = Outcome("failed", "timeout")
        except Exception as error:
            otherwise = error
        finally:
            if self._open.get(kind) is file:
                del self._open[kind]
            for outgoing, ended in file.members:
                if ended.done():
                    continue
                outcome = outcomes.get(outgoing.key, otherwise)
                if isinstance(outcome, BaseException):
                    ended.set_exception(outcome)
                else:
                    ended.set_result(outcome)

    @staticmethod
    async def _complete(file: _File) -> None:
        """Wait until nothing more seems to come."""
        until = time.monotonic() + gather_ms_max / 1000
        while time.monotonic() < until and len(file.members) < in_flight_max:
            quiet = file.newest + quiet_ms / 1000 - time.monotonic()
            if quiet <= 0:
                return
            await asyncio.sleep(quiet)
