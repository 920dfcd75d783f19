"""Alerts: one more adapter of the delivery engine, and the watch that takes them back.

An alert is a delivery that stays visible. So it is decided again whenever something narrows for its
participant, before the owner acknowledges that; and all of them at intervals, since consents also end by the
calendar.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import structlog

from connectors.adapter import Alert, AlertSink, Outcome, Outgoing, Share, Shown, Vault
from connectors.recheck import recheck
from consent import Governance, State
from schemas.errors import HubError

log = structlog.get_logger(__name__)

ADAPTER: Final = "alerts"
review_ms: Final = 60_000  # between two reviews of everything that is shown
review_pause_ms: Final = 1_000  # after one that failed


@dataclass(frozen=True, slots=True)
class Rule:
    """Which category makes which alert. `name` is the key of its sentence in the catalogues."""

    category: str
    name: str
    urgency: Literal["urgent", "soon", "information"]


RULES: Final = (Rule("contact.custody-booking", "booked-into-custody", "urgent"),)
_BY_CATEGORY: Final = {rule.category: rule for rule in RULES}


def aad(alert_id: str) -> bytes:
    """Associated data of an alert's seal."""
    return b"alert\0" + alert_id.encode()


class Still(NamedTuple):
    """What an alert rests on now."""

    event: str
    shares: tuple[Share, ...]


def still(shown: Shown, now_ms: int, state: State, governance: Governance, vault: Vault) -> Still | None:
    """What a shown alert rests on; None where nothing does, or it shows more than is permitted now."""
    try:
        body = json.loads(vault.sealer(shown.participant).open(aad(shown.id), shown.sealed))
    except HubError:
        return None
    verdict = recheck(body["envelope"], body["shares"], shown.stakeholder, ADAPTER, now_ms, state, governance)
    allowed = {compartment for share in verdict.shares for compartment in share.compartments}
    if not allowed or not allowed >= set(body["view"]["data"]):
        return None
    return Still(body["envelope"]["id"], verdict.shares)


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
        participant = outgoing.envelope["participant"]
        body = {
            "view": outgoing.view,
            "envelope": outgoing.envelope,
            "shares": [share.as_dict() for share in outgoing.shares],
        }
        sealed = self._vault.sealer(participant).seal(
            aad(outgoing.key), json.dumps(body, separators=(",", ":")).encode()
        )
        self._sink.insert(
            Alert(
                id=outgoing.key,
                stakeholder=outgoing.stakeholder,
                participant=participant,
                event=outgoing.envelope["id"],
                rule=rule.name,
                urgency=rule.urgency,
                at=self._now(),
                sealed=sealed,
            )
        )


class Watch:
    """Decides shown alerts again, and withdraws those that would not be shown now."""

    def __init__(self, sink: AlertSink, vault: Vault) -> None:
        self._sink = sink
        self._vault = vault
        self._whose: set[str] = set()
        self._all = True
        self._next_at = 0

    def narrowed(self, participant: str) -> None:
        """Something narrowed for this participant."""
        self._whose.add(participant)

    def everything(self) -> None:
        """Something changed that may concern any alert."""
        self._all = True

    def due(self, now_ms: int) -> bool:
        """Whether there is something to decide again."""
        return now_ms >= self._next_at or (self._next_at - now_ms > review_pause_ms and self._waits)

    @property
    def _waits(self) -> bool:
        return self._all or bool(self._whose)

    def review(
        self, now_ms: int, state_of: Callable[[str, str], State | None], governance: Governance
    ) -> bool:
        """Decide again what has to be.

        In: the time in epoch milliseconds; the state of (stakeholder, participant) where it is this worker's
        to decide, else None. Out: whether everything that must be withdrawn is; if not, nothing that follows
        from it may be acknowledged.
        """
        if not self.due(now_ms):
            return not self._waits
        try:
            whose = None if self._all or now_ms >= self._next_at else sorted(self._whose)
            shown = self._sink.shown(whose)
            gone = [one.id for one in shown if not self._stays(one, now_ms, state_of, governance)]
            if gone:
                self._sink.withdraw(gone)
        except Exception as error:
            log.error("alerts not reviewed", error=type(error).__name__)
            self._all = True
            self._next_at = now_ms + review_pause_ms
            return False
        self._whose.clear()
        self._all = False
        if whose is None:
            self._next_at = now_ms + review_ms
        return True

    def _stays(
        self,
        shown: Shown,
        now_ms: int,
        state_of: Callable[[str, str], State | None],
        governance: Governance,
    ) -> bool:
        state = state_of(shown.stakeholder, shown.participant)
        return state is None or still(shown, now_ms, state, governance, self._vault) is not None
