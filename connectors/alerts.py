"""Alerts: one more adapter of the delivery engine.

An alert is a delivery that stays visible, so it is decided again for as long as it stands
(`connectors/standing.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from connectors.adapter import Alert, AlertSink, Outcome, Outgoing, Vault
from connectors.standing import seal

ADAPTER: Final = "alerts"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which category makes which alert. `name` is the key of its sentence in the catalogues."""

    category: str
    name: str
    urgency: Literal["urgent", "soon", "information"]


RULES: Final = (Rule("contact.custody-booking", "booked-into-custody", "urgent"),)
_BY_CATEGORY: Final = {rule.category: rule for rule in RULES}


class Alerts:
    """The adapter. What the page may show is sealed under the participant's key before the sink sees it."""

    def __init__(self, sink: AlertSink, vault: Vault, now: Callable[[], int]) -> None:
        self._sink = sink
        self._vault = vault
        self._now = now

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Show an alert, where a rule asks for one."""
        rule = _BY_CATEGORY.get(outgoing.envelope["category"])
        if rule is None:
            return Outcome("refused", "no-rule")
        await asyncio.to_thread(self._insert, rule, outgoing)
        return Outcome("delivered", "shown")

    def _insert(self, rule: Rule, outgoing: Outgoing) -> None:
        self._sink.insert(
            Alert(
                id=outgoing.key,
                stakeholder=outgoing.stakeholder,
                participant=outgoing.envelope["participant"],
                event=outgoing.envelope["id"],
                rule=rule.name,
                urgency=rule.urgency,
                at=self._now(),
                sealed=seal(outgoing, self._vault),
            )
        )
