"""A way out that stands still is paused by the hub itself, with a word to its operator.

Some failures nobody mends by trying again: the recipient wants nothing more, another server answers, or the
server does not take the hub's key for an hour. Others are tried at shorter and then longer pauses; when only
the daily tries are left and not one has gone through, it is the operator's to say when they go on. Paused,
nothing is given up: deliveries wait as positions, 30 days.
"""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from prometheus_client import Gauge

from connectors.schedule import HOUR_MS, Schedule
from hub import pausing
from hub.appender import Appender
from hub.governance import Register
from hub.store import Store
from hub.tables import receipts
from schemas.errors import HubError

BY: Final = "hub"
LOOK_MS: Final = 15_000
AWAY: Final = frozenset({"webhook", "sftp", "fhir"})  # by the others nothing leaves for another's system
FOR_GOOD: Final = frozenset({"http-410", "host-key"})
LOGIN: Final = "login"
LOGIN_MS: Final = HOUR_MS  # a server whose people were just given the hub's key has so long to take it
OURS: Final = frozenset({"not-begun", "erased", "stopped", "outbox-expired"})  # says nothing of a recipient
FAILURES_MIN: Final = 5
QUICK_MS: Final = sum(pause for pause in Schedule().pauses_ms if pause < 24 * HOUR_MS)  # 22.7 hours

log = structlog.get_logger(__name__)

_paused = Gauge("hub_ways_paused_by_hub", "Ways out that the hub paused by itself and nobody resumed yet")


class Run(NamedTuple):
    """The failures of a way since anything went through, or its subscription was written.

    `code` is of the last one, `since` and `last` when the first and the last were (epoch milliseconds).
    """

    code: str
    failures: int
    since: int
    last: int


def verdict(run: Run | None) -> str | None:
    """Why a way is to be paused, as a constant; None where it is not."""
    if run is None:
        return None
    if run.code in FOR_GOOD:
        return run.code
    if run.code == LOGIN and run.last - run.since >= LOGIN_MS:
        return run.code
    return run.code if run.failures >= FAILURES_MIN and run.last - run.since >= QUICK_MS else None


def failing(connection: sa.Connection, stakeholder: str, adapter: str, after_ms: int) -> Run | None:
    """How a way has failed since `after_ms`; None where the last that is told of it is no failure."""
    mine = sa.and_(
        receipts.c.stakeholder == stakeholder,
        receipts.c.adapter == adapter,
        receipts.c.at > after_ms,
        receipts.c.code.not_in(OURS),
    )
    newest = sa.select(receipts.c.at, receipts.c.code, receipts.c.outcome).where(mine)
    last = connection.execute(newest.order_by(receipts.c.at.desc()).limit(1)).one_or_none()
    if last is None or (last.outcome not in ("failed", "abandoned") and last.code not in FOR_GOOD):
        return None
    answered = sa.and_(
        mine, receipts.c.outcome.in_(("delivered", "refused")), receipts.c.code.not_in(FOR_GOOD)
    )
    good = connection.execute(sa.select(sa.func.max(receipts.c.at)).where(answered)).scalar() or after_ms
    count, since = connection.execute(
        sa.select(sa.func.count(), sa.func.min(receipts.c.at)).where(mine, receipts.c.at > good)
    ).one()
    return Run(last.code, int(count), int(since or last.at), int(last.at))


class Standstill:
    """Looks for ways that stand still. Repeatable: one that is paused is not paused again."""

    def __init__(
        self,
        store: Store,
        register: Callable[[], Register],
        appender: Appender,
        now: Callable[[], int],
    ) -> None:
        """In: the store with the receipts, the register as of now, the log, the time in epoch ms."""
        self._store = store
        self._register = register
        self._appender = appender
        self._now = now

    def look(self) -> list[tuple[str, str]]:
        """Pauses what stands still; out: which ways. Raises `HubError` where it cannot look, or not write."""
        register = self._register()
        held = pausing.held(register)
        written: dict[tuple[str, str], int] = {}
        for name, one in tuple(register.subscriptions.items()):
            if one["adapter"] in AWAY:
                way = (one["stakeholder"], one["adapter"])
                written[way] = max(written.get(way, 0), register.written_at.get(name, 0))
        with self._store.read() as connection:
            found = {
                way: why
                for way, at in sorted(written.items())
                if way not in held and (why := verdict(failing(connection, *way, at)))
            }
        for (stakeholder, adapter), why in found.items():
            pausing.pause(self._appender, register, stakeholder, adapter, why, BY, self._now())
            log.error("recipient paused", stakeholder=stakeholder, adapter=adapter, code=why)
        _paused.set(sum(one.by == BY for one in held.values()) + len(found))
        return list(found)

    def run(self, stop: threading.Event) -> None:
        """Looks again and again, until told to stop."""
        while not stop.wait(LOOK_MS / 1000):
            try:
                self.look()
            except (HubError, sa.exc.SQLAlchemyError) as error:
                log.warning("ways out not looked at", error=type(error).__name__)
