"""Who is to be told that an alert waits, and how: rows of `notifications`, made once for each alert.

A burst is one notice. Quiet hours put a notice off until they end, but for urgent alerts about the people of
one's own caseload; and one that all whom it concerns would sleep through is told to all of them.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub.casetables import devices, notifications, preferences
from hub.preferences import Preference, Preferences
from hub.store import Store, upsert
from hub.tables import accounts, alerts
from hub.today import concerning, current, owned, waits
from schemas.calendar import days_before, last_at, within

ALERTS_MAX: Final = 1_000  # looked at in one round
DIGEST_LATE_MS_MAX: Final = 3 * 3_600_000  # a hub that was away does not send yesterday's
KEPT_MS_MAX: Final = 7 * 24 * 3_600_000


class Reader(NamedTuple):
    """Somebody who can be told. `channels`: ("push", device) or ("mail", None)."""

    account: str
    stakeholder: str
    wants: Preference
    channels: tuple[tuple[str, str | None], ...]

    def quiet(self, now_ms: int, zone: tzinfo) -> bool:
        """Whether they want no notice now."""
        start, end = self.wants.quiet_from, self.wants.quiet_until
        return start is not None and end is not None and within(now_ms, start, end, zone)

    def awake_at(self, now_ms: int, zone: tzinfo) -> int:
        """When their quiet hours end, epoch milliseconds."""
        assert self.wants.quiet_until is not None
        return days_before(last_at(now_ms, self.wants.quiet_until, zone), -1, zone)


class Notices:
    """Plans notices. In: the zone of the people's clocks; `mail` says whether there is a server for it."""

    def __init__(
        self,
        store: Store,
        wishes: Preferences,
        zone: tzinfo,
        now: Callable[[], int],
        *,
        push: bool,
        mail: bool,
    ) -> None:
        self._store = store
        self._wishes = wishes
        self._zone = zone
        self._now = now
        self._push = push
        self._mail = mail

    def plan(self) -> int:
        """One round: what has become urgent or escalated, and digests that are due. Out: notices planned."""
        if not self._push and not self._mail:
            return 0
        readers, now = self._readers(), self._now()
        with self._store.read() as connection:
            anew = [again for again in (False, True) if connection.execute(self._fresh(again, 1)).all()]
        digests = [reader for reader in readers if self._digest_due(reader, now) is not None]
        if not anew and not digests:
            return 0
        by_organisation: dict[str, list[Reader]] = {}
        for reader in readers:
            by_organisation.setdefault(reader.stakeholder, []).append(reader)
        rows: dict[str, dict[str, Any]] = {}
        with self._store.write() as connection:
            for again in anew:
                for stakeholder, ids in self._new(connection, again).items():
                    mine = by_organisation.get(stakeholder, [])
                    for row in self._urgent(connection, stakeholder, ids, mine, now):
                        rows[row["id"]] = row
            for reader in digests:
                rows |= {row["id"]: row for row in self._digest(connection, reader, now)}
            upsert(connection, notifications, rows.values())
            old = sa.and_(notifications.c.next_at.is_(None), notifications.c.at < now - KEPT_MS_MAX)
            connection.execute(notifications.delete().where(old))
        return len(rows)

    def _fresh(self, again: bool, count: int) -> sa.Select[Any]:
        """Alerts of which nobody was told yet, or nobody again since they escalated."""
        news = sa.and_(
            alerts.c.urgency == "urgent",
            alerts.c.rule != "",
            alerts.c.withdrawn_at.is_(None),
            sa.or_(alerts.c.due_at.is_(None), alerts.c.rung_at.is_not(None)),
            waits(self._now()),
        )
        told: sa.ColumnElement[bool] = alerts.c.notified_at.is_(None)
        if again:
            told = sa.and_(alerts.c.notified_again_at.is_(None), alerts.c.escalated_at.is_not(None))
        query = sa.select(alerts.c.id, alerts.c.stakeholder).where(told, news)
        return query.order_by(alerts.c.changed).limit(count)

    def _new(self, connection: sa.Connection, again: bool) -> dict[str, list[str]]:
        """Those alerts, by organisation; from now on somebody was told."""
        told = alerts.c.notified_again_at if again else alerts.c.notified_at
        found: dict[str, list[str]] = {}
        query = self._fresh(again, ALERTS_MAX).with_for_update(skip_locked=True)
        for name, stakeholder in connection.execute(query):
            found.setdefault(stakeholder, []).append(name)
        ids = [name for some in found.values() for name in some]
        connection.execute(alerts.update().where(alerts.c.id.in_(ids)).values({told.name: self._now()}))
        return found

    def _urgent(
        self, connection: sa.Connection, stakeholder: str, ids: list[str], readers: list[Reader], now: int
    ) -> Iterable[dict[str, Any]]:
        theirs: dict[str, list[tuple[Reader, bool]]] = {name: [] for name in ids}
        for reader in readers:
            own = owned(stakeholder, reader.account, now)
            seen = sa.and_(
                alerts.c.id.in_(ids), current(stakeholder), concerning(stakeholder, reader.account, now)
            )
            for name, is_own in connection.execute(sa.select(alerts.c.id, own).where(seen)):
                theirs[name].append((reader, bool(is_own)))
        for name, concerned in theirs.items():
            quiet = [reader for reader, is_own in concerned if not is_own and reader.quiet(now, self._zone)]
            if len(quiet) == len(concerned):
                quiet = []
            for reader, _ in concerned:
                late = reader in quiet
                at = reader.awake_at(now, self._zone) if late else now
                yield from self._rows(
                    reader, "digest" if late else "urgent", f"{at // 60_000 if late else name}", at
                )

    def _digest_due(self, reader: Reader, now: int) -> int | None:
        """When a digest was last due that they have not had; None where they have had it, or want none."""
        if reader.wants.digest_at is None:
            return None
        due = last_at(now, reader.wants.digest_at, self._zone)
        had = reader.wants.digested_at
        return None if had is not None and had >= due else due

    def _digest(self, connection: sa.Connection, reader: Reader, now: int) -> list[dict[str, Any]]:
        due = self._digest_due(reader, now)
        mine = preferences.c.account == reader.account
        connection.execute(preferences.update().where(mine).values(digested_at=due))
        if due is None or now - due > DIGEST_LATE_MS_MAX:
            return []
        seen = sa.and_(
            current(reader.stakeholder), concerning(reader.stakeholder, reader.account, now), waits(now)
        )
        if connection.execute(sa.select(alerts.c.id).where(seen).limit(1)).scalar() is None:
            return []
        return list(self._rows(reader, "digest", str(due), now))

    def _rows(self, reader: Reader, kind: str, about: str, at: int) -> Iterable[dict[str, Any]]:
        """One row for each way to somebody; what is planned in one round for one time is one row."""
        mark = str(self._now()) if kind == "urgent" else about
        for channel, device in reader.channels:
            parts = (reader.account, channel, device or "", kind, mark)
            yield {
                "id": "n-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32],
                "account": reader.account,
                "channel": channel,
                "device": device,
                "kind": kind,
                "attempts": 0,
                "next_at": at,
                "outcome": None,
                "at": self._now(),
            }

    def _readers(self) -> list[Reader]:
        people = sa.select(accounts.c.id, accounts.c.stakeholder).where(
            accounts.c.role == "case-manager",
            accounts.c.stakeholder.is_not(None),
            accounts.c.disabled_at.is_(None),
            sa.or_(
                accounts.c.id.in_(sa.select(devices.c.account)),
                accounts.c.id.in_(sa.select(preferences.c.account).where(preferences.c.mail.is_not(None))),
            ),
        )
        with self._store.read() as connection:
            rows = connection.execute(people.order_by(accounts.c.id)).all()
            held: dict[str, list[str]] = {}
            for device, account in connection.execute(sa.select(devices.c.id, devices.c.account)):
                held.setdefault(account, []).append(device)
        found = []
        for row in rows:
            wants = self._wishes.of(row.id)
            ways: list[tuple[str, str | None]] = []
            if self._push:
                ways += [("push", device) for device in sorted(held.get(row.id, ()))]
            if self._mail and wants.mail is not None:
                ways.append(("mail", None))
            if ways:
                found.append(Reader(row.id, row.stakeholder, wants, tuple(ways)))
        return found
