"""Who needs somebody now: alerts for one of an organisation's people, opened at the moment they look.

Everybody sees the alerts of those they work with or cover for, what was handed to them, and those of people
whom nobody works with; their team's where a rule says so; and where they lead, or where nobody does, what
nobody took in time. What an alert says is sealed under the participant's key. A withdrawn one has nothing
left to say; one whose key was destroyed is not shown.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.standing import aad
from hub.caseloads import away, leaders, mine, of_teams, standing
from hub.casetables import caseloads, preferences
from hub.crosswalk import Crosswalk
from hub.store import Store
from hub.tables import accounts, alerts
from hub.vault import Vault
from schemas.errors import Erased, Unsealable

ALERTS_MAX: Final = 100  # on one page
TAKEN_MAX: Final = 20
APART_MAX: Final = 3  # of one person and rule; more of them are one line
TAKEN_MS: Final = 12 * 3_600_000  # for so long a page shows who has what
URGENCIES: Final = {"urgent": 0, "soon": 1, "information": 2}


class Alert(NamedTuple):
    """One alert as its organisation may see it. Times in epoch milliseconds; `view` as it was delivered.

    `own` says that it is about somebody they work with, `also` how many older ones of the same person and
    rule stand behind it, `fresh` that it came since they last looked, `desk` that no event stands behind it.
    """

    id: str
    participant: str
    rule: str
    urgency: str
    at: int
    view: Mapping[str, Any]
    acknowledged_at: int | None
    acknowledged_by: str | None
    version: int = 0
    own: bool = True
    escalated: bool = False
    due_at: int | None = None
    snoozed_until: int | None = None
    handed_to: str | None = None
    also: int = 0
    fresh: bool = False
    desk: bool = False


class Picture(NamedTuple):
    """What somebody sees now. `cursor` changes whenever it would look different.

    `more` are waiting beyond those listed; `counts` are all that wait, by urgency.
    """

    waiting: list[Alert]
    taken: list[Alert]
    more: int
    cursor: str
    snoozed: list[Alert] = []  # noqa: RUF012  never changed
    counts: Mapping[str, int] = {}
    looked_at: int | None = None

    @property
    def all(self) -> list[Alert]:
        """Whatever of it somebody sees, in its order."""
        return [*self.waiting, *self.taken, *self.snoozed]


_COLUMNS: Final = (
    alerts.c.id,
    alerts.c.participant,
    alerts.c.event,
    alerts.c.rule,
    alerts.c.urgency,
    alerts.c.at,
    alerts.c.sealed,
    alerts.c.facts,
    alerts.c.acknowledged_at,
    alerts.c.acknowledged_by,
    alerts.c.version,
    alerts.c.escalated_at,
    alerts.c.due_at,
    alerts.c.rung_at,
    alerts.c.snoozed_until,
    alerts.c.handed_to,
)
_RANK: Final = sa.case(URGENCIES, value=alerts.c.urgency, else_=len(URGENCIES))
_LINE: Final[sa.ColumnElement[str]] = sa.literal_column("''")  # written out: an index has to know it again
_CAME: Final = sa.func.coalesce(alerts.c.rung_at, alerts.c.at)


def cursor(store: Store, stakeholder: str) -> str:
    """A mark of an organisation's alerts as they are, the same in every process."""
    with store.read() as connection:
        return _cursor(connection, stakeholder)


def _cursor(connection: sa.Connection, stakeholder: str) -> str:
    newest = sa.select(sa.func.max(alerts.c.changed)).where(alerts.c.stakeholder == stakeholder)
    return str(connection.execute(newest).scalar() or 0)


def current(stakeholder: str) -> sa.ColumnElement[bool]:
    """Of `alerts`: those of an organisation that stand, and whose time has come."""
    return sa.and_(
        alerts.c.stakeholder == stakeholder,
        alerts.c.withdrawn_at.is_(None),
        alerts.c.rule != _LINE,
        sa.or_(alerts.c.due_at.is_(None), alerts.c.rung_at.is_not(None)),
    )


def owned(stakeholder: str, account: str | None, now_ms: int) -> sa.ColumnElement[bool]:
    """Of `alerts`: about people somebody works with or covers for, or handed to them."""
    if account is None:
        return sa.true()
    theirs = alerts.c.participant.in_(mine(stakeholder, account, now_ms))
    nobody = alerts.c.handed_to.is_(None)  # said apart: what is null is neither own nor not
    to_them = sa.or_(
        alerts.c.handed_to == account, alerts.c.handed_to.in_(away(stakeholder, account, now_ms))
    )
    return sa.or_(sa.and_(sa.not_(nobody), to_them), sa.and_(theirs, nobody))


def concerning(stakeholder: str, account: str | None, now_ms: int) -> sa.ColumnElement[bool]:
    """Of `alerts`: those that somebody is to see."""
    if account is None:
        return sa.true()
    someones = sa.exists().where(standing(stakeholder), caseloads.c.participant == alerts.c.participant)
    nobodys = sa.and_(sa.not_(someones), alerts.c.handed_to.is_(None))
    led = alerts.c.participant.in_(of_teams(stakeholder, account, led=True))
    leaderless = sa.not_(sa.exists(leaders(stakeholder)))
    teams = alerts.c.participant.in_(of_teams(stakeholder, account, led=False))
    return sa.or_(
        owned(stakeholder, account, now_ms),
        nobodys,
        sa.and_(alerts.c.audience == "team", alerts.c.handed_to.is_(None), teams),
        sa.and_(alerts.c.escalated_at.is_not(None), sa.or_(led, leaderless)),
    )


def waits(now_ms: int) -> sa.ColumnElement[bool]:
    """Of `alerts`: nobody has it, and it is not put off."""
    ready = sa.or_(alerts.c.snoozed_until.is_(None), alerts.c.snoozed_until <= now_ms)
    return sa.and_(alerts.c.acknowledged_at.is_(None), ready)


class _Questions(NamedTuple):
    """What a picture asks the store, of `stakeholder`, `account`, `now_ms` and `taken_since`."""

    waiting: sa.Select[Any]
    counted: sa.Select[Any]
    taken: sa.Select[Any]
    off: sa.Select[Any]


@cache
def _questions(everybody: bool) -> _Questions:
    """Put together once: that takes longer than the answers. In: whether it is the whole organisation's."""
    stakeholder: Any = sa.bindparam("stakeholder", type_=sa.String)
    account: Any = None if everybody else sa.bindparam("account", type_=sa.String)
    now_ms: Any = sa.bindparam("now_ms", type_=sa.BigInteger)
    own = owned(stakeholder, account, now_ms)
    seen = sa.and_(current(stakeholder), concerning(stakeholder, account, now_ms))
    alike = [alerts.c.participant, alerts.c.rule]
    ranked = (
        sa.select(
            *_COLUMNS,
            own.label("own"),
            _RANK.label("rank"),
            _CAME.label("came"),
            sa.func.count().over(partition_by=alike).label("alike"),
            sa.func.row_number()
            .over(partition_by=alike, order_by=(_CAME.desc(), alerts.c.id))
            .label("place"),
        )
        .where(seen, waits(now_ms))
        .subquery()
    )
    line = sa.or_(ranked.c.alike <= APART_MAX, ranked.c.place == 1)
    order = (ranked.c.own.desc(), ranked.c.rank, ranked.c.came, ranked.c.id)
    waiting = sa.select(ranked).where(line).order_by(*order).limit(ALERTS_MAX)
    counted = sa.select(ranked.c.urgency, sa.func.count()).group_by(ranked.c.urgency)
    taken = (
        sa.select(*_COLUMNS, own.label("own"))
        .where(seen, alerts.c.acknowledged_at > sa.bindparam("taken_since", type_=sa.BigInteger))
        .order_by(alerts.c.acknowledged_at.desc(), alerts.c.id)
        .limit(TAKEN_MAX)
    )
    off = (
        sa.select(*_COLUMNS, own.label("own"))
        .where(seen, alerts.c.acknowledged_at.is_(None), alerts.c.snoozed_until > now_ms)
        .order_by(alerts.c.snoozed_until, alerts.c.id)
        .limit(TAKEN_MAX)
    )
    return _Questions(waiting, counted, taken, off)


def picture(store: Store, vault: Vault, stakeholder: str, now_ms: int, account: str | None = None) -> Picture:
    """What somebody sees: what waits, own first, then urgent and oldest; who has which; what is put off.

    In: their account; None for the whole organisation.
    """
    ask = _questions(account is None)
    known = {
        "stakeholder": stakeholder,
        "now_ms": now_ms,
        **({} if account is None else {"account": account}),
    }
    last = sa.select(preferences.c.looked_at).where(preferences.c.account == account)
    with store.read() as connection:
        mark = _cursor(connection, stakeholder)
        rows = connection.execute(ask.waiting, known).all()
        counts = {row[0]: row[1] for row in connection.execute(ask.counted, known)}
        had = connection.execute(ask.taken, {**known, "taken_since": now_ms - TAKEN_MS}).all()
        later = connection.execute(ask.off, known).all()
        looked_at = connection.execute(last).scalar() if account else None
        named = {one for row in (*rows, *had, *later) for one in (row.acknowledged_by, row.handed_to) if one}
        people = sa.select(accounts.c.id, accounts.c.name).where(accounts.c.id.in_(named))
        names = {row.id: row.name for row in connection.execute(people)} if named else {}
    vault.prefetch({row.participant for row in (*rows, *had, *later)})
    shown = sum(row.alike if row.alike > APART_MAX else 1 for row in rows)
    crosswalk = Crosswalk(store, vault)

    def opened(found: Any) -> list[Alert]:
        views = ((row, view_of(vault, row, crosswalk, stakeholder)) for row in found)
        return [_opened(row, view, names, looked_at) for row, view in views if view is not None]

    return Picture(
        opened(rows), opened(had), sum(counts.values()) - shown, mark, opened(later), counts, looked_at
    )


def _opened(row: Any, view: Mapping[str, Any], names: Mapping[str, str], looked_at: int | None) -> Alert:
    by, to = row.acknowledged_by, row.handed_to
    came = row.rung_at or row.at
    alike = getattr(row, "alike", 0)
    return Alert(
        row.id,
        row.participant,
        row.rule,
        row.urgency,
        came,
        view,
        row.acknowledged_at,
        names.get(by, by) if by else None,
        row.version,
        bool(row.own),
        row.escalated_at is not None,
        row.due_at,
        row.snoozed_until,
        names.get(to, to) if to else None,
        alike - 1 if alike > APART_MAX else 0,
        looked_at is not None and came > looked_at,
        not row.event,
    )


def view_of(
    vault: Vault, row: Any, crosswalk: Crosswalk | None = None, stakeholder: str = ""
) -> Mapping[str, Any] | None:
    """What a row of `alerts` says; None where its participant's key was destroyed.

    Where no event stands behind it, it says whom it is about by the organisation's own id alone.
    """
    if not row.event:
        known = crosswalk.local_id(stakeholder, row.participant) if crosswalk and row.participant else None
        return {**(row.facts or {}), **({"local_id": known} if known else {})}
    try:
        body = json.loads(vault.sealer(row.participant).open(aad(row.id), row.sealed))
    except (Erased, Unsealable):
        return None
    view: Mapping[str, Any] = body["view"]
    return view


def find(store: Store, stakeholder: str, alert: str) -> str | None:
    """The participant of an alert that an organisation can see now; None where it can't."""
    query = sa.select(alerts.c.participant).where(
        alerts.c.id == alert, alerts.c.stakeholder == stakeholder, alerts.c.withdrawn_at.is_(None)
    )
    with store.read() as connection:
        return connection.execute(query).scalar()
