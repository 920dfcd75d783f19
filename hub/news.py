"""Whom it concerns that an organisation's alerts changed, so that all other pages need not be drawn again.

It says too much rather than too little. What it cannot know, as that a time has come or that somebody has
other people now, pages find when they look again by themselves (`hub/live.py`).
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub.caseloads import standing
from hub.casetables import caseloads, covers
from hub.store import Store
from hub.tables import alerts

NEWS_MAX: Final = 200  # more changed alerts concern everybody


class News(NamedTuple):
    """The ids of alerts that changed, and whose pages may show one of them now; None for everybody's."""

    alerts: frozenset[str]
    accounts: frozenset[str] | None

    def concerns(self, account: str | None, shown: Collection[str]) -> bool:
        """Whether somebody's page, or an organisation's (None), may look different.

        In: the ids of the alerts that it shows.
        """
        if not self.alerts:
            return False
        if self.accounts is None or account is None or account in self.accounts:
            return True
        return not self.alerts.isdisjoint(shown)


def since(store: Store, stakeholder: str, after: int, now_ms: int) -> News:
    """What changed of an organisation's alerts since a cursor of `hub.today`."""
    changed = sa.select(
        alerts.c.id, alerts.c.participant, alerts.c.handed_to, alerts.c.audience, alerts.c.escalated_at
    ).where(
        alerts.c.stakeholder == stakeholder,
        alerts.c.changed > after,
        alerts.c.rule != "",
        sa.or_(alerts.c.due_at.is_(None), alerts.c.rung_at.is_not(None)),
    )
    with store.read() as connection:
        rows = connection.execute(changed.limit(NEWS_MAX + 1)).all()
        ids = frozenset(row.id for row in rows)
        if len(rows) > NEWS_MAX or any(
            row.audience == "team" or row.escalated_at is not None for row in rows
        ):
            return News(ids, None)
        whose = {row.participant for row in rows if row.handed_to is None}
        with_them = sa.select(caseloads.c.participant, caseloads.c.account).where(
            standing(stakeholder), caseloads.c.participant.in_(whose)
        )
        found = connection.execute(with_them).all() if whose else []
        if whose - {row.participant for row in found}:  # nobody works with one of them
            return News(ids, None)
        theirs = {row.account for row in found} | {row.handed_to for row in rows if row.handed_to is not None}
        cover = sa.select(covers.c.cover).where(
            covers.c.stakeholder == stakeholder,
            covers.c.account.in_(theirs),
            covers.c.starts_at <= now_ms,
            covers.c.ends_at > now_ms,
        )
        standing_in = set(connection.execute(cover).scalars()) if theirs else set()
    return News(ids, frozenset(theirs | standing_in))
