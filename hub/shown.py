"""Alerts that people can see: where the delivery engine puts them, and takes them away again."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from connectors.adapter import Alert, Shown
from hub.store import Store, next_number, upsert
from hub.tables import alerts


class ShownAlerts:
    """`connectors.adapter.AlertSink` over the store. What an alert says is sealed before it comes here."""

    def __init__(self, store: Store) -> None:
        """In: the store."""
        self._store = store

    def insert(self, alert: Alert) -> None:
        """See `AlertSink.insert`."""
        with self._store.write() as connection:
            standing = connection.execute(sa.select(alerts.c.id).where(alerts.c.id == alert.id)).scalar()
            if standing is None:
                row = asdict(alert) | {"changed": next_number(connection, "alerts")}
                upsert(connection, alerts, [row])

    def shown(self, participants: Sequence[str] | None = None) -> Sequence[Shown]:
        """See `AlertSink.shown`."""
        query = sa.select(alerts.c.id, alerts.c.stakeholder, alerts.c.participant, alerts.c.sealed).where(
            alerts.c.withdrawn_at.is_(None)
        )
        if participants is not None:
            query = query.where(alerts.c.participant.in_(participants))
        with self._store.read() as connection:
            return [Shown(*row) for row in connection.execute(query)]

    def withdraw(self, ids: Sequence[str]) -> None:
        """See `AlertSink.withdraw`."""
        now = time.time_ns() // 1_000_000
        with self._store.write() as connection:
            for one in ids:
                mine = sa.and_(alerts.c.id == one, alerts.c.withdrawn_at.is_(None))
                changed = next_number(connection, "alerts")
                connection.execute(
                    alerts.update().where(mine).values(withdrawn_at=now, sealed=b"", changed=changed)
                )
