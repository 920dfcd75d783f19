"""Sends the notices that were planned: claimed, tried a few times, given up. A loop beside the auditor's.

A notice is claimed for a while before it is sent, so several processes share the work. Where one dies with a
claim in its hand, another follows: then a device may be nudged twice, with the same words.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import sqlalchemy as sa
import structlog
from prometheus_client import Counter

from hub.casetables import notifications
from hub.devices import Device, Devices
from hub.mail import Mail
from hub.notices import Notices
from hub.nudge import Kind, Sent
from hub.preferences import Preferences
from hub.store import Store, claim
from schemas import crash

EVERY_MS: Final = 1_000
ROUNDS_EVERY_MS: Final = 60_000
PAUSE_MS_MAX: Final = 30_000  # after rounds that failed
CLAIM_MS: Final = 60_000
AT_ONCE_MAX: Final = 20
ATTEMPTS_MAX: Final = 5
FIRST_PAUSE_MS: Final = 15_000
STALE_MS_MAX: Final = {"urgent": 3_600_000, "digest": 6 * 3_600_000}

_log = structlog.get_logger(__name__)
_sent = Counter("hub_notices_total", "Notices to case managers, by what came of them", ["channel", "outcome"])


class Pushing(Protocol):
    """`hub.webpush.Push`."""

    async def send(self, device: Device, kind: Kind) -> Sent: ...
    async def aclose(self) -> None: ...


class Notifier:
    """One worker. In: its parts, `now` in epoch milliseconds; what else is to be done in each `round`."""

    def __init__(
        self,
        store: Store,
        notices: Notices,
        wishes: Preferences,
        devices: Devices,
        push: Pushing | None,
        mail: Mail | None,
        now: Callable[[], int],
        rounds: tuple[Callable[[], object], ...] = (),
    ) -> None:
        self._store = store
        self._notices = notices
        self._wishes = wishes
        self._devices = devices
        self._push = push
        self._mail = mail
        self._now = now
        self._rounds = rounds
        self._rounds_at = 0

    async def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set. What fails is tried again, after pauses that grow."""
        pause_ms = EVERY_MS
        try:
            while not stop.is_set():
                try:
                    await self.once()
                except Exception as error:
                    _log.error("notices not sent", error=type(error).__name__)
                    pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
                else:
                    pause_ms = EVERY_MS
                await asyncio.to_thread(stop.wait, pause_ms / 1000)
        finally:
            if self._push is not None:
                await self._push.aclose()

    async def once(self) -> int:
        """One round. Out: how many notices were tried."""
        if self._now() >= self._rounds_at:
            for one in self._rounds:
                await asyncio.to_thread(one)
            self._rounds_at = self._now() + ROUNDS_EVERY_MS
        await asyncio.to_thread(self._notices.plan)
        crash.point("notices.planned")
        claimed = await asyncio.to_thread(
            claim, self._store, notifications, self._now(), AT_ONCE_MAX, CLAIM_MS
        )
        await asyncio.gather(*(self._try(row) for row in claimed))
        return len(claimed)

    async def _try(self, row: Any) -> None:
        sent = await self._send(row)
        crash.point("notices.sent")
        now, attempts = self._now(), row.attempts + 1
        next_at = None
        if sent.again and attempts < ATTEMPTS_MAX:
            next_at = now + (sent.after_ms or FIRST_PAUSE_MS << (attempts - 1))
            if next_at - row.at > STALE_MS_MAX[row.kind]:
                next_at = None
        outcome = "sent" if sent.ok else "again" if next_at is not None else "abandoned"
        _sent.labels(row.channel, outcome).inc()
        if not sent.ok:
            _log.warning("notice not taken", channel=row.channel, code=sent.code, outcome=outcome)

        def record() -> None:
            mine = sa.and_(notifications.c.id == row.id, notifications.c.attempts == attempts)
            with self._store.write() as connection:
                connection.execute(
                    notifications.update().where(mine).values(next_at=next_at, outcome=sent.code)
                )

        await asyncio.to_thread(record)

    async def _send(self, row: Any) -> Sent:
        if self._now() - max(row.at, row.next_at) > STALE_MS_MAX[row.kind]:
            return Sent(False, "stale")
        if row.channel == "push":
            device = await asyncio.to_thread(self._devices.find, row.device)
            if device is None or self._push is None:
                return Sent(False, "no-device")
            return await self._push.send(device, row.kind)
        wants = await asyncio.to_thread(self._wishes.of, row.account)
        if wants.mail is None or self._mail is None:
            return Sent(False, "no-address")
        return await asyncio.to_thread(self._mail.send, wants.mail, row.kind, wants.language)
