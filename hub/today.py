"""Who needs somebody now: an organisation's alerts, opened for its own people at the moment they look.

What an alert says is sealed under the participant's key. A withdrawn one has nothing left to say; one whose
key was destroyed is not shown.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.standing import aad
from hub.store import Store, next_number
from hub.tables import accounts, alerts
from hub.vault import Vault
from schemas.errors import Erased, Unsealable

ALERTS_MAX: Final = 100  # on one page
TAKEN_MAX: Final = 20
TAKEN_MS: Final = 12 * 3_600_000  # for so long a page shows who has what
URGENCIES: Final = {"urgent": 0, "soon": 1, "information": 2}


class Alert(NamedTuple):
    """One alert as its organisation may see it. Times in epoch milliseconds; `view` as it was delivered."""

    id: str
    participant: str
    rule: str
    urgency: str
    at: int
    view: Mapping[str, Any]
    acknowledged_at: int | None
    acknowledged_by: str | None


class Picture(NamedTuple):
    """What one organisation sees now. `cursor` changes whenever it would look different."""

    waiting: list[Alert]
    taken: list[Alert]
    more: bool
    cursor: str


_COLUMNS: Final = (
    alerts.c.id,
    alerts.c.participant,
    alerts.c.rule,
    alerts.c.urgency,
    alerts.c.at,
    alerts.c.sealed,
    alerts.c.acknowledged_at,
    alerts.c.acknowledged_by,
)
_RANK: Final = sa.case(URGENCIES, value=alerts.c.urgency, else_=len(URGENCIES))


def cursor(store: Store, stakeholder: str) -> str:
    """A mark of an organisation's alerts as they are, the same in every process."""
    query = sa.select(sa.func.max(alerts.c.changed)).where(alerts.c.stakeholder == stakeholder)
    with store.read() as connection:
        return _cursor(connection.execute(query).scalar())


def _cursor(changed: int | None) -> str:
    return str(changed or 0)


def picture(store: Store, vault: Vault, stakeholder: str, now_ms: int) -> Picture:
    """An organisation's alerts: those that wait, urgent and oldest first; then who has which."""
    mine = sa.and_(alerts.c.stakeholder == stakeholder, alerts.c.withdrawn_at.is_(None))
    waiting = (
        sa.select(*_COLUMNS)
        .where(mine, alerts.c.acknowledged_at.is_(None))
        .order_by(_RANK, alerts.c.at, alerts.c.id)
        .limit(ALERTS_MAX + 1)
    )
    taken = (
        sa.select(*_COLUMNS)
        .where(mine, alerts.c.acknowledged_at > now_ms - TAKEN_MS)
        .order_by(alerts.c.acknowledged_at.desc(), alerts.c.id)
        .limit(TAKEN_MAX)
    )
    newest = sa.select(sa.func.max(alerts.c.changed)).where(alerts.c.stakeholder == stakeholder)
    with store.read() as connection:
        changed = connection.execute(newest).scalar()
        rows = connection.execute(waiting).all()
        had = connection.execute(taken).all()
        names = {row.id: row.name for row in connection.execute(sa.select(accounts.c.id, accounts.c.name))}
    opened = [alert for row in rows[:ALERTS_MAX] if (alert := _opened(vault, row, names))]
    return Picture(
        opened,
        [alert for row in had if (alert := _opened(vault, row, names))],
        len(rows) > ALERTS_MAX,
        _cursor(changed),
    )


def _opened(vault: Vault, row: Any, names: Mapping[str, str]) -> Alert | None:
    try:
        body = json.loads(vault.sealer(row.participant).open(aad(row.id), row.sealed))
    except (Erased, Unsealable):
        return None
    by = row.acknowledged_by
    return Alert(
        row.id,
        row.participant,
        row.rule,
        row.urgency,
        row.at,
        body["view"],
        row.acknowledged_at,
        names.get(by, by) if by else None,
    )


def find(store: Store, stakeholder: str, alert: str) -> str | None:
    """The participant of an alert that an organisation can see now; None where it can't."""
    query = sa.select(alerts.c.participant).where(
        alerts.c.id == alert, alerts.c.stakeholder == stakeholder, alerts.c.withdrawn_at.is_(None)
    )
    with store.read() as connection:
        return connection.execute(query).scalar()


def acknowledge(store: Store, alert: str, account: str, at_ms: int) -> bool:
    """Somebody has this. Out: whether they are the first; who was first stays."""
    open_still = sa.and_(
        alerts.c.id == alert, alerts.c.acknowledged_at.is_(None), alerts.c.withdrawn_at.is_(None)
    )
    with store.write() as connection:
        changed = next_number(connection, "alerts")
        taken = alerts.update().where(open_still)
        return bool(
            connection.execute(
                taken.values(acknowledged_at=at_ms, acknowledged_by=account, changed=changed)
            ).rowcount
        )


def fingerprint(alert: Alert) -> str:
    """What tells whether a page has an alert as it is now."""
    return hashlib.sha256(f"{alert.id}\0{alert.acknowledged_at}".encode()).hexdigest()[:16]
