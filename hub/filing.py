"""The process that takes files: each source by itself, so that one that is stuck stops no other."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from connectors.sources import Source
from hub import locks
from hub.health import Pulse
from hub.settings import Settings
from schemas.errors import HubError, Refused

STAGE: Final = "files"
UNREGISTERED: Final = "not-registered"
PAUSE_S: Final = 0.5
STANDBY_S: Final = 1.0
PAUSE_S_MAX: Final = 30.0
BEAT_S: Final = 0.2

log = structlog.get_logger()


class Place(Protocol):
    """Where files come from: `connectors.taking.Watched`, `connectors.account.Polled`."""

    async def once(self, stopping: Callable[[], bool]) -> bool:
        """Take the next file. Out: whether there was one."""


def run(
    settings: Settings,
    places: Sequence[tuple[Source, Place]],
    registered: Callable[[str], bool],
    stop: threading.Event,
) -> None:
    """Take files until `stop`. In: each source with its place; whether a stakeholder is registered."""
    pulse = Pulse(settings.run_dir, STAGE)
    pulse.beat("starting")
    try:
        asyncio.run(_run(settings, places, registered, stop, pulse))
    finally:
        pulse.close()


async def _run(
    settings: Settings,
    places: Sequence[tuple[Source, Place]],
    registered: Callable[[str], bool],
    stop: threading.Event,
    pulse: Pulse,
) -> None:
    stuck: set[str] = set()
    ending = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for source, place in places:
            group.create_task(_source(settings, source, place, registered, ending, stuck))
        while not stop.is_set():
            pulse.beat("running", sorted(stuck))
            await asyncio.sleep(BEAT_S)
        ending.set()
        pulse.beat("stopping")


async def _source(
    settings: Settings,
    source: Source,
    place: Place,
    registered: Callable[[str], bool],
    ending: asyncio.Event,
    stuck: set[str],
) -> None:
    """Take the files of one source, unless another process here does."""
    lock = await _locked(settings, source, ending)
    if lock is None:
        return
    named, pause_s = f"{STAGE}/{source.name}", PAUSE_S
    try:
        while not ending.is_set():
            try:
                if not await asyncio.to_thread(registered, source.agency):
                    raise Refused("the agency is not registered", code=UNREGISTERED)
                more = await place.once(ending.is_set)
            except Exception as error:
                code = error.code if isinstance(error, HubError) else type(error).__name__
                known = isinstance(error, HubError | OSError)
                log.warning("files are not taken", source=source.name, code=code, exc_info=not known)
                if code != UNREGISTERED:  # a hub has to be up for an agency to be registered
                    stuck.add(named)
                await _pause(ending, pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            stuck.discard(named)
            pause_s = PAUSE_S
            if not more:
                await _pause(ending, PAUSE_S)
    finally:
        os.close(lock)


async def _locked(settings: Settings, source: Source, ending: asyncio.Event) -> int | None:
    """The lock on a source, waited for; None when the process is to end."""
    path = settings.run_dir / f"{STAGE}-{source.key}.lock"
    while not ending.is_set():
        try:
            return await asyncio.to_thread(locks.take, path)
        except BlockingIOError:
            await _pause(ending, STANDBY_S)
    return None


async def _pause(ending: asyncio.Event, seconds: float) -> None:
    """Sleep so long, or until the process is to end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ending.wait(), seconds)
