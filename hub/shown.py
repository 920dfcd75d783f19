"""Alerts that people can see: where the delivery engine puts them, and takes them away again."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import sqlalchemy as sa

from connectors.adapter import Alert, Made, Rings, Shown
from hub.casetables import threads as matters
from hub.store import Store, chunks, next_number, upsert
from hub.tables import alerts

KEPT_MS_MAX: Final = 90 * 24 * 3_600_000  # then even what nobody took back is no longer told
LINES_MAX: Final = 100  # of one person's timeline that never were alerts; older ones go
EXPIRED_MAX: Final = 1_000  # at a time
DROPPED_MAX: Final = 100  # reminders of one matter whose alarms are taken back


class ShownAlerts:
    """`connectors.adapter.AlertSink` over the store. What an alert says is sealed before it comes here."""

    def __init__(self, store: Store) -> None:
        """In: the store."""
        self._store = store

    def insert_all(self, made: Sequence[Made]) -> list[Rings]:
        """See `AlertSink.insert_all`."""
        plain = [one for some in made if not some.threads for one in some.alerts if one.thread is None]
        with self._store.write() as connection:
            _keep(connection, plain)
            return [_replaced(connection, one) if one.threads else Rings((), ()) for one in made]

    def shown(self, participants: Sequence[str] | None = None) -> Sequence[Shown]:
        """See `AlertSink.shown`. What no event stands behind is no disclosure, and not decided again."""
        query = sa.select(alerts.c.id, alerts.c.stakeholder, alerts.c.participant, alerts.c.sealed).where(
            alerts.c.withdrawn_at.is_(None), alerts.c.event != ""
        )
        if participants is not None:
            query = query.where(alerts.c.participant.in_(participants))
        with self._store.read() as connection:
            return [Shown(*row) for row in connection.execute(query)]

    def withdraw(self, ids: Sequence[str]) -> None:
        """See `AlertSink.withdraw`."""
        with self._store.write() as connection:
            for one in ids:
                _withdraw(connection, one)

    def expire(self, now_ms: int) -> int:
        """Withdraw what has stood for too long, or behind too much. Out: how many, at most `EXPIRED_MAX`."""
        standing = alerts.c.withdrawn_at.is_(None)
        came = sa.func.coalesce(alerts.c.due_at, alerts.c.at)
        place = sa.func.row_number().over(
            partition_by=(alerts.c.stakeholder, alerts.c.participant), order_by=(came.desc(), alerts.c.id)
        )
        lines = sa.select(alerts.c.id, place.label("place")).where(standing, alerts.c.rule == "").subquery()
        old = sa.select(alerts.c.id).where(standing, came < now_ms - KEPT_MS_MAX)
        many = sa.select(lines.c.id).where(lines.c.place > LINES_MAX)
        with self._store.read() as connection:
            ids = list(connection.execute(sa.union(old, many).limit(EXPIRED_MAX)).scalars())
        if ids:
            self.withdraw(ids)
        return len(ids)


def _keep(connection: sa.Connection, new: Sequence[Alert]) -> None:
    """Keeps alerts of which none has the id yet: many of them with few statements."""
    by_id = {one.id: one for one in new}
    known: set[str] = set()
    for ids in chunks(list(by_id)):
        known |= set(connection.execute(sa.select(alerts.c.id).where(alerts.c.id.in_(ids))).scalars())
    wanted = [one for name, one in by_id.items() if name not in known]
    if wanted:
        first = next_number(connection, "alerts", len(wanted)) - len(wanted) + 1
        upsert(connection, alerts, [asdict(one) | {"changed": at} for at, one in enumerate(wanted, first)])


def _replaced(connection: sa.Connection, made: Made) -> Rings:
    """Keeps what one event makes that replaces something. Out: what the clock has to be told."""
    new, threads, ids = made.alerts, made.threads, [one.id for one in made.alerts]
    current = {thread for thread in threads if _newest(connection, thread, new[0].occurred_at or 0)}
    _keep(connection, [one for one in new if one.thread is None or one.thread in current])
    earlier = sa.and_(
        alerts.c.thread.in_(sorted(current)),
        alerts.c.id.not_in(ids),
        alerts.c.rung_at.is_(None),
        alerts.c.withdrawn_at.is_(None),
    )
    for name in connection.execute(sa.select(alerts.c.id).where(earlier)).scalars().all():
        _withdraw(connection, name)
    unrung = sa.select(alerts.c.id, alerts.c.due_at, alerts.c.withdrawn_at).where(
        alerts.c.thread.in_(threads), alerts.c.rung_at.is_(None)
    )
    rows = connection.execute(unrung.order_by(alerts.c.due_at.desc()).limit(DROPPED_MAX)).all()
    return Rings(
        tuple((row.id, row.due_at) for row in rows if row.withdrawn_at is None and row.id in ids),
        tuple(row.id for row in rows if row.withdrawn_at is not None),
    )


def _newest(connection: sa.Connection, thread: str, occurred_at: int) -> bool:
    """Whether nothing later has been told about this matter; what is told now is then the latest."""
    row = {"id": thread, "occurred_at": occurred_at}
    upsert(connection, matters, [row], update=("occurred_at",), newer="occurred_at")
    known = connection.execute(sa.select(matters.c.occurred_at).where(matters.c.id == thread)).scalar_one()
    return bool(known == occurred_at)


def _withdraw(connection: sa.Connection, alert: str) -> None:
    mine = sa.and_(alerts.c.id == alert, alerts.c.withdrawn_at.is_(None))
    changed = next_number(connection, "alerts")
    now = time.time_ns() // 1_000_000
    connection.execute(alerts.update().where(mine).values(withdrawn_at=now, sealed=b"", changed=changed))
