"""What waits for recipients who fetch it themselves.

The delivery engine puts it here, sealed; it is fetched in pages, and confirmed by the next cursor.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.adapter import Shown, Waiting
from connectors.pull import ADAPTER
from connectors.standing import aad
from hub.store import Store, next_number, upsert
from hub.tables import pulls
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Unsealable

WAITING_MAX: Final = 2_000  # of one recipient: all of it is decided again every minute, 0.15 ms each
DONE: Final = "~"  # before the key of one that is confirmed: it is a cursor, and nothing else
PAGE_EVENTS_MAX: Final = 100
PAGE_BYTES_MAX: Final = 2 * 1024 * 1024  # sealed; one event alone may be more


class Row(NamedTuple):
    """One delivery of a page."""

    key: str
    participant: str
    sealed: bytes


class Pulls:
    """`connectors.adapter.PullSink` over the store, and what the recipients' side asks of it."""

    def __init__(self, store: Store) -> None:
        """In: the store."""
        self._store = store

    # -- the engine's side

    def insert(self, waiting: Waiting) -> bool:
        """See `PullSink.insert`."""
        mine = pulls.c.stakeholder == waiting.stakeholder
        full = sa.select(sa.func.count()).where(mine, pulls.c.sealed.is_not(None))
        with self._store.write() as connection:
            standing = connection.execute(sa.select(pulls).where(pulls.c.key == waiting.key)).one_or_none()
            if standing is not None and standing.sealed is not None:
                return True
            if standing is not None:  # it was taken back after it had been fetched
                self._retire(connection, standing.number, mine, waiting.key)
            if connection.execute(full).scalar_one() >= WAITING_MAX:
                return False
            number = next_number(connection, f"pulls:{waiting.stakeholder}")
            upsert(connection, pulls, [asdict(waiting) | {"number": number, "fetched_at": None}])
        return True

    def shown(self, participants: Sequence[str] | None = None) -> Sequence[Shown]:
        """See `Standing.shown`."""
        query = sa.select(pulls).where(pulls.c.sealed.is_not(None))
        if participants is not None:
            query = query.where(pulls.c.participant.in_(participants))
        with self._store.read() as connection:
            return [
                Shown(
                    row.key,
                    row.stakeholder,
                    row.participant,
                    row.sealed,
                    ADAPTER,
                    row.event,
                    row.fetched_at is not None,
                )
                for row in connection.execute(query)
            ]

    def withdraw(self, ids: Sequence[str]) -> None:
        """See `Standing.withdraw`. What was fetched may still be named by a cursor; the rest is gone."""
        with self._store.write() as connection:
            for one in ids:
                mine = pulls.c.key == one
                connection.execute(pulls.delete().where(mine, pulls.c.fetched_at.is_(None)))
                connection.execute(pulls.update().where(mine).values(sealed=None))

    # -- the recipients' side

    def confirm(self, stakeholder: str, cursor: str) -> None:
        """The recipient has everything it fetched up to this one, and wants it no more.

        In: the id of a delivery that it fetched. Raises `Invalid` for another one, or an older one than it
        named before.
        """
        mine = pulls.c.stakeholder == stakeholder
        with self._store.write() as connection:
            fetched = sa.and_(mine, pulls.c.fetched_at.is_not(None))
            named = sa.select(pulls.c.number).where(fetched, pulls.c.key.in_((cursor, DONE + cursor)))
            found = connection.execute(named.order_by(pulls.c.number.desc()).limit(1)).scalar()
            if found is None:
                raise Invalid.one(
                    "/cursor",
                    "unknown-cursor",
                    "no such cursor stands any more; leave it out, and begin with the oldest that waits",
                )
            connection.execute(pulls.delete().where(fetched, pulls.c.number < found))
            self._retire(connection, found, mine, cursor)

    @staticmethod
    def _retire(connection: sa.Connection, number: int, mine: "sa.ColumnElement[bool]", key: str) -> None:
        """Leave of one row no more than a cursor, so that its key may come again."""
        this = pulls.c.number == number
        connection.execute(pulls.delete().where(mine, pulls.c.key == DONE + key, ~this))
        connection.execute(pulls.update().where(mine, this).values(key=DONE + key, sealed=None))

    def page(self, stakeholder: str) -> list[Row]:
        """The oldest that wait, as many as a page takes; among them what was fetched but not confirmed."""
        query = (
            sa.select(pulls.c.key, pulls.c.participant, pulls.c.sealed)
            .where(pulls.c.stakeholder == stakeholder, pulls.c.sealed.is_not(None))
            .order_by(pulls.c.number)
            .limit(PAGE_EVENTS_MAX)
        )
        found: list[Row] = []
        size = 0
        with self._store.read() as connection:
            for row in connection.execute(query):
                size += len(row.sealed)
                if found and size > PAGE_BYTES_MAX:
                    break
                found.append(Row(*row))
        return found

    def fetch(self, rows: Iterable[Row], vault: Vault) -> list[Mapping[str, Any]]:
        """Opens what is about to leave, and notes that it does.

        Out: `{"id", "event"}` for each, in order; those whose key was destroyed meanwhile are left out.
        """
        opened: list[Mapping[str, Any]] = []
        for row in rows:
            try:
                body = json.loads(vault.sealer(row.participant).open(aad(row.key), row.sealed))
            except (Erased, Unsealable):
                continue
            opened.append({"id": row.key, "event": body["view"]})
        now = time.time_ns() // 1_000_000
        with self._store.write() as connection:
            for one in opened:
                mine = sa.and_(pulls.c.key == one["id"], pulls.c.fetched_at.is_(None))
                connection.execute(pulls.update().where(mine).values(fetched_at=now))
        return opened
