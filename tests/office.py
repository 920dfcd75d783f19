"""An organisation with people and alerts, on a store, with a log and a clock in memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connectors.adapter import Alert, Made, Ringing
from connectors.standing import aad
from hub import today
from hub.caseloads import Caseloads
from hub.handling import Handling
from hub.kek import LocalKek
from hub.projections import project, read
from hub.shown import ShownAlerts
from hub.store import Store, upsert
from hub.tables import accounts, alerts
from hub.vault import Vault
from tests.desk import Log

NOW = 1_795_000_000_000
HOUR = 3_600_000
ORG = "reach"
SCOPE = {"grant": "g", "purpose": "care-coordination", "compartments": ["subject"], "said": {"en": "x"}}


@dataclass
class Who:
    """Somebody who signed in."""

    account: str
    stakeholder: str | None = ORG

    @property
    def principal(self) -> str:
        return f"person:{self.account}"


class Alarms:
    """A clock that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, int]] = []

    def set_all(self, ringing: Sequence[Ringing]) -> None:
        self.told += ringing


class Office:
    """An organisation with people, on a store and a log in memory."""

    def __init__(self, store: Store) -> None:
        self.store, self.log, self.now, self.alarms = store, Log(), NOW, Alarms()
        self.vault = Vault(store, LocalKek(bytes(range(32))))
        self.caseloads = Caseloads(store, self.log, lambda: self.now)  # type: ignore[arg-type]
        self.handling = self.another()
        rows = [
            {
                "id": name,
                "stakeholder": organisation,
                "role": "case-manager",
                "name": name.title(),
                "password": None,
                "demo": True,
                "created_at": 0,
                "disabled_at": None,
            }
            for name, organisation in (("ana", ORG), ("ben", ORG), ("cleo", ORG), ("zoe", "elsewhere"))
        ]
        with store.write() as connection:
            upsert(connection, accounts, rows)

    def another(self) -> Handling:
        """The same in another web process."""
        return Handling(self.store, self.log, self.caseloads, self.alarms, lambda: self.now)  # type: ignore[arg-type]

    def alert(self, name: str, participant: str = "p-1", rule: str = "crisis", **more: Any) -> str:
        subject = {"name": f"Person {participant}"}
        view = {"type": "contact", "data": {"subject": subject}, "consent_scope": [SCOPE]}
        body = {"view": view, "envelope": {}, "shares": []}
        sealed = self.vault.sealer(participant).seal(aad(name), json.dumps(body).encode())
        fields = {"urgency": "urgent", "at": self.now, "sealed": sealed, "event": f"e-{name}", **more}
        made = Alert(id=name, stakeholder=ORG, participant=participant, rule=rule, **fields)
        ShownAlerts(self.store).insert_all([Made((made,))])
        return name

    def sees(self, account: str | None) -> list[str]:
        return [one.id for one in self.picture(account).waiting]

    def picture(self, account: str | None) -> today.Picture:
        return today.picture(self.store, self.vault, ORG, self.now, account)

    def one(self, name: str) -> Any:
        with self.store.read() as connection:
            return connection.execute(sa.select(alerts).where(alerts.c.id == name)).one()

    def replay(self) -> None:
        """What the auditor does with all of `work`."""
        with self.store.write() as connection:
            for (topic, partition), records in self.log.records.items():
                if topic == "work":
                    found = [read(topic, partition, n, value) for n, (_, value) in enumerate(records)]
                    project(connection, found)
