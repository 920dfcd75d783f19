"""What becomes an alert without a decision: a bell, a consent that changed, somebody unknown, a letter.

A bell rings for an alert that stands already. The others reach only the desk whose work they are: the
organisation that took the consent, and the one that links people. Part of the auditor's projections, in its
transaction with the positions, so each record counts once.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from connectors.alert_rules import Rules
from hub.acts import LETTER_RECEIVED
from hub.casetables import custody
from hub.projections import Read
from hub.store import next_number, upsert
from hub.tables import accounts, alerts
from schemas import instant
from schemas.bells import ALERT, ESCALATION, EXPIRES_SOON
from schemas.errors import BadTime

DAY_MS: Final = 24 * 3_600_000
NEWS_MS_MAX: Final = 7 * DAY_MS  # what is older is no news: projections may be built again
_FROM: Final = "stakeholder:"
_PERSON: Final = "person:"


class Desk:
    """Applies records. In: the rules in force; who links people, where anybody does; the time."""

    def __init__(self, rules: Rules, linking: str | None, now: Callable[[], int]) -> None:
        self._rules = rules
        self._linking = linking
        self._now = now

    def apply(self, connection: sa.Connection, records: Iterable[Read]) -> None:
        """What records mean for alerts, in order, within the caller's transaction."""
        for record in records:
            if record.topic == "rings":
                self._rung(connection, record.value)
            elif record.kind == "Directive":
                self._directed(connection, record.value)
            elif record.kind == "Parked":
                self._parked(connection, record.value)
            elif record.kind == "Work" and record.value["kind"] == LETTER_RECEIVED:
                self._written(connection, record.value)

    def _rung(self, connection: sa.Connection, bell: Mapping[str, Any]) -> None:
        if bell["kind"] == ALERT:
            _ring(connection, bell["ref"], bell["due_at"])
        elif bell["kind"] == ESCALATION:
            _escalate(connection, bell["ref"], bell["due_at"])
        elif bell["kind"] == EXPIRES_SOON:
            consent, _, days = bell["ref"].rpartition("/")
            query = sa.select(custody).where(custody.c.consent == consent, custody.c.ended_at.is_(None))
            kept = connection.execute(query).one_or_none()
            if kept is not None:
                facts = {"consent": consent, "days": int(days), "expires_at": kept.expires_at}
                self._tell(
                    connection, "consent-expires", kept.stakeholder, kept.participant, bell["due_at"], facts
                )

    def _directed(self, connection: sa.Connection, directive: Mapping[str, Any]) -> None:
        body, participant = json.loads(directive["body"]), directive["participant"]
        at, sender, kind = directive["recorded_at"], directive["sender"], directive["type"]
        keeper = _keeper(connection, sender) if kind == "consent-granted" else None
        if keeper is not None:
            consent = body.get("consent") or {}
            row = {
                "consent": consent.get("id"),
                "participant": participant,
                "stakeholder": keeper,
                "expires_at": _time(consent.get("expires_at")),
                "ended_at": None,
            }
            if isinstance(row["consent"], str):
                upsert(connection, custody, [row])
        elif kind == "consent-revoked":
            whole = not body.get("recipients") and not body.get("grants")
            mine = sa.and_(custody.c.consent == body.get("consent_id"), custody.c.participant == participant)
            self._keepers(connection, mine, "consent-revoked" if whole else "consent-narrowed", directive)
            if whole:
                connection.execute(custody.update().where(mine).values(ended_at=at))
        elif kind == "restriction-placed":
            mine = sa.and_(custody.c.participant == participant, custody.c.ended_at.is_(None))
            self._keepers(connection, mine, "restriction-placed", directive)

    def _keepers(
        self,
        connection: sa.Connection,
        whose: sa.ColumnElement[bool],
        rule: str,
        directive: Mapping[str, Any],
    ) -> None:
        """Tell those who look after these consents, each once, and who said it, where that is others."""
        at, by = directive["recorded_at"], _keeper(connection, directive["sender"])
        for kept in connection.execute(sa.select(custody).where(whose).order_by(custody.c.consent)).all():
            facts = {"consent": kept.consent, "directive": directive["id"]}
            name = _id(rule, kept.stakeholder, kept.participant, json.dumps(facts, sort_keys=True))
            if by not in (None, kept.stakeholder):
                facts["agency"] = by
            self._tell(connection, rule, kept.stakeholder, kept.participant, at, facts, name)

    def _parked(self, connection: sa.Connection, parked: Mapping[str, Any]) -> None:
        if self._linking is None:
            return
        name = _id("somebody-unknown", parked["agency"], parked["local"])
        if parked["released"]:
            standing = sa.and_(alerts.c.id == name, alerts.c.withdrawn_at.is_(None))
            changed = next_number(connection, "alerts")
            connection.execute(
                alerts.update().where(standing).values(withdrawn_at=parked["at"], changed=changed)
            )
            return
        self._tell(
            connection,
            "somebody-unknown",
            self._linking,
            "",
            parked["at"],
            {"agency": parked["agency"]},
            name,
        )

    def _written(self, connection: sa.Connection, work: Mapping[str, Any]) -> None:
        """Somebody of the community wrote: one alert a day and kind, however many letters come."""
        if self._linking is None:
            return
        letter, day = json.loads(work["body"])["letter"], work["at"] // DAY_MS
        name = _id("letter-waiting", letter, str(day))
        self._tell(connection, "letter-waiting", self._linking, "", work["at"], {"letter": letter}, name)

    def _tell(
        self,
        connection: sa.Connection,
        rule: str,
        stakeholder: str,
        participant: str,
        at: int,
        facts: Mapping[str, Any],
        name: str | None = None,
    ) -> None:
        row = self._rules.named(rule)
        if row is None or at < self._now() - NEWS_MS_MAX:
            return
        if rule == "consent-expires" and facts["days"] not in row.days:
            return
        tell(connection, row.name, row.urgency, row.audience, stakeholder, participant, at, facts, name)


def _keeper(connection: sa.Connection, sender: str) -> str | None:
    """The organisation that looks after what a sender took: its program's, or one of its people's."""
    if sender.startswith(_FROM):
        return sender.removeprefix(_FROM)
    query = sa.select(accounts.c.stakeholder).where(accounts.c.id == sender.removeprefix(_PERSON))
    return connection.execute(query).scalar() if sender.startswith(_PERSON) else None


def tell(
    connection: sa.Connection,
    rule: str,
    urgency: str,
    audience: str,
    stakeholder: str,
    participant: str,
    at: int,
    facts: Mapping[str, Any],
    name: str | None = None,
) -> bool:
    """Write an alert that no event stands behind. Its id is made from what it says, unless given.

    Out: whether it is new; what stood already, withdrawn or not, stays as it was.
    """
    name = name or _id(rule, stakeholder, participant, json.dumps(facts, sort_keys=True))
    row = {
        "id": name,
        "stakeholder": stakeholder,
        "participant": participant,
        "event": "",
        "rule": rule,
        "urgency": urgency,
        "audience": audience,
        "sealed": b"",
        "facts": dict(facts),
        "at": at,
    }
    if connection.execute(sa.select(alerts.c.id).where(alerts.c.id == name)).scalar() is not None:
        return False
    upsert(connection, alerts, [row | {"changed": next_number(connection, "alerts")}])
    return True


def _ring(connection: sa.Connection, alert: str, due_at: int) -> None:
    """A reminder's time has come, or that until which somebody put an alert off."""
    here = sa.and_(alerts.c.id == alert, alerts.c.withdrawn_at.is_(None), alerts.c.acknowledged_at.is_(None))
    reminder = sa.and_(here, alerts.c.due_at == due_at, alerts.c.rung_at.is_(None))
    again = sa.and_(here, alerts.c.snoozed_until == due_at)
    changed = next_number(connection, "alerts")
    rung = connection.execute(
        alerts.update().where(reminder).values(rung_at=due_at, changed=changed)
    ).rowcount
    if not rung:
        connection.execute(alerts.update().where(again).values(changed=changed, notified_at=None))


def _escalate(connection: sa.Connection, alert: str, at: int) -> None:
    """Nobody took it in time."""
    late = sa.and_(
        alerts.c.id == alert,
        alerts.c.withdrawn_at.is_(None),
        alerts.c.acknowledged_at.is_(None),
        alerts.c.escalated_at.is_(None),
    )
    changed = next_number(connection, "alerts")
    connection.execute(alerts.update().where(late).values(escalated_at=at, changed=changed))


def _time(text: Any) -> int | None:
    try:
        return instant.parse(text)
    except BadTime:
        return None


def _id(*parts: str) -> str:
    return "k-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
