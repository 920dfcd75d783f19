"""What people do to an alert: they have it, put it off, hand it over, undo that, and see it at all.

Each act is written to `work` with the version that it makes of the alert. Who comes first makes it: the store
lets one person reserve the next version, and only they write. Where that person's process dies in between,
the reservation runs out; should two records of one version get into the log that way, the first one counts,
in whichever order they are applied.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

import sqlalchemy as sa

from connectors.adapter import Alarm, Ringing
from hub import acts
from hub.appender import Appender
from hub.caseloads import Caseloads, Colleague
from hub.casetables import sightings
from hub.store import Store, next_number, upsert
from hub.tables import accounts, alerts
from schemas.bells import ALERT
from schemas.errors import Unavailable

SNOOZE_MS_MAX: Final = 7 * 24 * 3_600_000
UNDO_MS_MAX: Final = 10 * 60_000
RESERVED_MS_MAX: Final = 30_000  # longer than the log takes to answer or to fail
SEEN_MAX: Final = 200  # at a time

Kind = Literal["acknowledge", "snooze", "hand-over", "undo"]
Outcome = Literal["done", "lost", "gone", "refused"]
_STATE: Final = ("acknowledged_at", "acknowledged_by", "snoozed_until", "handed_to")
_WORK: Final[Mapping[Kind, str]] = {
    "acknowledge": acts.ACKNOWLEDGED,
    "snooze": acts.SNOOZED,
    "hand-over": acts.HANDED_OVER,
    "undo": acts.UNDONE,
}
KINDS: Final = frozenset(_WORK.values())


class Who(Protocol):
    """Somebody who signed in: `hub.sessions.Person`."""

    @property
    def account(self) -> str: ...
    @property
    def stakeholder(self) -> str | None: ...
    @property
    def principal(self) -> str: ...


class Act(NamedTuple):
    """What somebody wants to do to an alert, which they saw in that version.

    `until`, epoch milliseconds, is for snoozing; `to`, an account, for handing over.
    """

    kind: Kind
    version: int
    until: int | None = None
    to: str | None = None


class Result(NamedTuple):
    """What came of it. `by` is the name of who has it, `undo_until` how long it can be undone."""

    outcome: Outcome
    version: int = 0
    by: str | None = None
    undo_until: int | None = None


class Named(Protocol):
    """An alert, as far as seeing it goes."""

    @property
    def id(self) -> str: ...
    @property
    def participant(self) -> str: ...


def apply(connection: sa.Connection, work: Mapping[str, Any], offset: int) -> None:
    """What a decoded `Work` record at that offset means for its alert. Applying it again changes nothing."""
    body = json.loads(work["body"])
    if work["kind"] == acts.SEEN:
        rows = [{"alert": alert, "account": body["account"], "at": work["at"]} for alert in body["alerts"]]
        upsert(connection, sightings, rows)
        return
    if "version" not in body:
        return  # as acts were written before alerts had versions
    version, state = body["version"], body["state"]
    newer = sa.or_(
        alerts.c.version < version,
        sa.and_(alerts.c.version == version, alerts.c.act > offset),
    )
    here = sa.and_(alerts.c.id == body["alert"], newer)
    if connection.execute(sa.select(alerts.c.id).where(here)).scalar() is None:
        return
    connection.execute(
        alerts.update()
        .where(here)
        .values(
            version=version,
            reserved_at=None,
            act=offset,
            acted_at=work["at"],
            acted_by=body["account"],
            before=body["was"],
            changed=next_number(connection, "alerts"),
            **{name: state[name] for name in _STATE},
        )
    )


class Handling:
    """Acts on alerts, for people of the organisation that they were delivered to."""

    def __init__(
        self,
        store: Store,
        appender: Appender,
        caseloads: Caseloads,
        alarm: Alarm,
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._appender = appender
        self._caseloads = caseloads
        self._alarm = alarm
        self._clock = clock_ms

    def act(self, who: Who, alert: str, act: Act) -> Result:
        """Do it, if nobody was first. The same act of the same person with the same version is `done` again.

        Raises `Unavailable` where the log takes nothing: then nothing is shown to be done.
        """
        now = self._clock()
        if not self._sensible(who, act, now):
            return Result("refused")
        with self._store.write() as connection:
            row = _row(connection, who, alert)
            if row is None:
                return Result("gone")
            was = {name: getattr(row, name) for name in _STATE}
            state = _after(act, was, row, who.account, now)
            if row.version != act.version or (state is not None and not _reserve(connection, row, now)):
                return _late(connection, row, who, act)
        if state is None:
            return Result("refused", act.version)
        made = {"alert": alert, "account": who.account, "version": act.version + 1}
        about = f"{alert}/{act.version + 1}"
        work = acts.did(
            _WORK[act.kind], who.principal, row.participant, about, {**made, "state": state, "was": was}, now
        )
        try:
            if act.kind == "snooze" and act.until is not None:
                self._alarm.set_all([Ringing(row.participant, ALERT, alert, act.until)])
            place = acts.write(self._appender, work, row.participant)
        except Unavailable:
            self._release(row, now)
            raise
        with self._store.write() as connection:
            apply(connection, work, place.offset)
            return _late(connection, _row(connection, who, alert), who, act)

    def saw(self, who: Who, seen: Iterable[Named]) -> None:
        """Record which alerts somebody sees for the first time, once each. Raises `Unavailable`."""
        shown = {one.id: one.participant for one in seen}
        known = sa.select(sightings.c.alert).where(
            sightings.c.account == who.account, sightings.c.alert.in_(list(shown))
        )
        with self._store.read() as connection:
            new = shown.keys() - set(connection.execute(known).scalars())
        by_participant: dict[str, list[str]] = {}
        for alert in sorted(new)[:SEEN_MAX]:
            by_participant.setdefault(shown[alert], []).append(alert)
        if not by_participant:
            return
        account, now = who.account, self._clock()
        works = [
            acts.did(acts.SEEN, who.principal, one, ",".join(ids), {"account": account, "alerts": ids}, now)
            for one, ids in by_participant.items()
        ]
        places = acts.write_all(self._appender, works)
        with self._store.write() as connection:
            for work, place in zip(works, places, strict=True):
                apply(connection, work, place.offset)

    def seen_by(self, alert: str) -> list[tuple[str, int]]:
        """Who has seen an alert, by name, and when for the first time (epoch milliseconds)."""
        query = (
            sa.select(sa.func.coalesce(accounts.c.name, sightings.c.account), sightings.c.at)
            .select_from(sightings.outerjoin(accounts, accounts.c.id == sightings.c.account))
            .where(sightings.c.alert == alert)
            .order_by(sightings.c.at)
        )
        with self._store.read() as connection:
            return [(str(name), int(at)) for name, at in connection.execute(query)]

    def colleagues(self, who: Who) -> list[Colleague]:
        """To whom they can hand over."""
        return self._caseloads.colleagues(who.stakeholder or "", who.account)

    def _sensible(self, who: Who, act: Act, now: int) -> bool:
        if act.kind == "snooze":
            return act.until is not None and now < act.until <= now + SNOOZE_MS_MAX
        if act.kind == "hand-over":
            return any(one.account == act.to for one in self.colleagues(who))
        return act.kind in _WORK

    def _release(self, row: Any, reserved_at: int) -> None:
        """Give a reservation back."""
        mine = sa.and_(
            alerts.c.id == row.id, alerts.c.version == row.version, alerts.c.reserved_at == reserved_at
        )
        with self._store.write() as connection:
            connection.execute(alerts.update().where(mine).values(reserved_at=None))


def _row(connection: sa.Connection, who: Who, alert: str) -> Any:
    mine = sa.and_(
        alerts.c.id == alert,
        alerts.c.stakeholder == who.stakeholder,
        alerts.c.withdrawn_at.is_(None),
        alerts.c.rule != "",
    )
    return connection.execute(sa.select(alerts).where(mine)).one_or_none()


def _late(connection: sa.Connection, row: Any, who: Who, act: Act) -> Result:
    """What came of an act, by what the alert is like afterwards."""
    if row is None:
        return Result("gone")
    if row.version == act.version + 1 and row.acted_by == who.account and _same(row, act, who.account):
        return Result("done", row.version, None, None if act.kind == "undo" else row.acted_at + UNDO_MS_MAX)
    holder = row.acknowledged_by or row.handed_to
    name = connection.execute(sa.select(accounts.c.name).where(accounts.c.id == holder)).scalar()
    return Result("lost", row.version, name or holder)


def _reserve(connection: sa.Connection, row: Any, now: int) -> bool:
    """Take the next version for oneself. Whether nobody has."""
    free = sa.or_(alerts.c.reserved_at.is_(None), alerts.c.reserved_at < now - RESERVED_MS_MAX)
    mine = sa.and_(alerts.c.id == row.id, alerts.c.version == row.version, free)
    return bool(connection.execute(alerts.update().where(mine).values(reserved_at=now)).rowcount)


def _after(act: Act, was: Mapping[str, Any], row: Any, account: str, now: int) -> dict[str, Any] | None:
    """What an alert is like after an act; None where the act makes no sense now."""
    if act.kind == "acknowledge":
        return {**was, "acknowledged_at": now, "acknowledged_by": account, "snoozed_until": None}
    if act.kind == "snooze":
        return {**was, "snoozed_until": act.until}
    if act.kind == "hand-over":
        return dict.fromkeys(_STATE) | {"handed_to": act.to}
    late = row.acted_at is None or row.acted_at < now - UNDO_MS_MAX
    return None if late or row.acted_by != account else dict(row.before)


def _same(row: Any, act: Act, account: str) -> bool:
    """Whether an alert is as this act of this person leaves it."""
    if act.kind == "acknowledge":
        return bool(row.acknowledged_by == account)
    if act.kind == "snooze":
        return bool(row.snoozed_until == act.until)
    if act.kind == "hand-over":
        return bool(row.handed_to == act.to and row.acknowledged_at is None)
    return True
