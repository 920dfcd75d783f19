"""Nobody was in touch: people in a caseload about whom nothing came for so many days.

Silence makes no event, so this looks for it, now and then. Being in touch is what the organisation published
itself, and what it was told of that was no alert. Each silence makes one alert, which goes when it ends.
"""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from connectors.alert_rules import Rule, Rules
from hub.caseloads import of_anybody
from hub.casetables import caseloads
from hub.desk import tell
from hub.store import Store, next_number
from hub.tables import alerts, decisions

EVERY_MS: Final = 10 * 60_000
PEOPLE_MAX: Final = 20_000  # looked at in one round
DAY_MS: Final = 24 * 3_600_000
TYPES: Final = ("contact", "service-engagement")


class Silence:
    """Looks for it, at most every `EVERY_MS`. In: the rules in force; the time in epoch milliseconds."""

    def __init__(self, store: Store, rules: Rules, now: Callable[[], int]) -> None:
        self._store = store
        self._rules = rules.on("silence")
        self._now = now
        self._next_at = 0

    def look(self) -> int:
        """One round, where it is time. Out: how many alerts it made or took away."""
        now = self._now()
        if now < self._next_at or not self._rules:
            return 0
        self._next_at = now + EVERY_MS
        with self._store.read() as connection:
            found = connection.execute(_last_seen()).all()
            standing = connection.execute(
                sa.select(alerts.c.id, alerts.c.stakeholder, alerts.c.participant, alerts.c.facts).where(
                    alerts.c.rule.in_([rule.name for rule in self._rules]), alerts.c.withdrawn_at.is_(None)
                )
            ).all()
        last = {(row.stakeholder, row.participant): _last(row) for row in found}
        over = [
            row.id for row in standing if last.get((row.stakeholder, row.participant)) != row.facts["since"]
        ]
        due = [
            (rule, days, who, since)
            for who, since in last.items()
            for rule in self._rules
            for days in rule.days
            if now - since >= days * DAY_MS
        ]
        made = self._write(over, due, now) if over or due else 0
        return len(over) + made

    def _write(self, over: list[str], due: list[tuple[Rule, int, tuple[str, str], int]], now: int) -> int:
        made = 0
        with self._store.write() as connection:
            for alert in over:
                gone = alerts.update().where(alerts.c.id == alert, alerts.c.withdrawn_at.is_(None))
                changed = next_number(connection, "alerts")
                connection.execute(gone.values(withdrawn_at=now, changed=changed))
            for rule, days, (stakeholder, participant), since in due:
                facts = {"days": days, "since": since}
                made += tell(
                    connection,
                    rule.name,
                    rule.urgency,
                    rule.audience,
                    stakeholder,
                    participant,
                    since + days * DAY_MS,
                    facts,
                )
        return made


def _last_seen() -> sa.Select[Any]:
    """Everybody in a caseload: since when, when last published about by the organisation, or told of."""
    here = caseloads.c
    own = (
        sa.select(sa.func.max(decisions.c.occurred_at))
        .where(
            decisions.c.participant == here.participant,
            decisions.c.discloser == here.stakeholder,
            decisions.c.type.in_(TYPES),
        )
        .scalar_subquery()
    )
    told = (
        sa.select(sa.func.max(alerts.c.occurred_at))
        .where(
            alerts.c.participant == here.participant,
            alerts.c.stakeholder == here.stakeholder,
            alerts.c.event != "",
            alerts.c.rule == "",
            alerts.c.withdrawn_at.is_(None),
        )
        .scalar_subquery()
    )
    since = sa.func.min(here.since).label("since")
    return (
        sa.select(here.stakeholder, here.participant, since, own.label("own"), told.label("told"))
        .where(of_anybody())
        .group_by(here.stakeholder, here.participant)
        .order_by(here.stakeholder, here.participant)
        .limit(PEOPLE_MAX)
    )


def _last(row: Any) -> int:
    return int(max(row.since, row.own or 0, row.told or 0))
