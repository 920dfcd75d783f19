"""Alerts: one more adapter of the delivery engine.

An alert is a delivery that stays visible, so it is decided again for as long as it stands
(`connectors/standing.py`). Reminders stand from the moment at which their event came, unseen: what takes a
consent back takes them back, too. The clock is told an id and a time, nothing else.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final

from connectors.adapter import Alarm, Alert, AlertSink, Outcome, Outgoing, Vault
from connectors.alert_rules import MINUTE_MS, URGENCIES, Rule, Rules, default, dues, flat, time_of
from connectors.standing import seal
from schemas import crash
from schemas.bells import ALERT, ESCALATION

ADAPTER: Final = "alerts"
NOBODY: Final = ""  # the rule of what is told on a person's page alone


class Unset:
    """A clock that is told nothing: for where there is none."""

    def set(self, participant: str, kind: str, ref: str, due_at: int) -> None:
        """See `Alarm.set`."""


@dataclass(frozen=True, slots=True)
class Made:
    """What one event makes: its alert or entry, its reminders, and the threads that it replaces."""

    alerts: tuple[Alert, ...]
    threads: tuple[str, ...]


class Alerts:
    """The adapter. What the page may show is sealed under the participant's key before the sink sees it."""

    def __init__(
        self,
        sink: AlertSink,
        vault: Vault,
        now: Callable[[], int],
        rules: Rules | None = None,
        alarm: Alarm | None = None,
        zone: tzinfo = UTC,
    ) -> None:
        """In: `now` in epoch milliseconds; the rules, else the defaults; where the people's clocks are."""
        self._sink = sink
        self._vault = vault
        self._now = now
        self._rules = rules or default()
        self._alarm = alarm or Unset()
        self._zone = zone

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Show the alert that a rule asks for, and have its reminders rung; else keep it for the timeline."""
        made = self.made(outgoing)
        await asyncio.to_thread(self._keep, made)
        return Outcome("delivered", "shown" if made.alerts[0].rule else "kept")

    def _keep(self, made: Made) -> None:
        rings = self._sink.insert(made.alerts, made.threads)
        crash.point("alerts.kept")
        participant = made.alerts[0].participant
        for alert, due_at in rings.wanted:
            self._alarm.set(participant, ALERT, alert, due_at)
        for alert in rings.unwanted:
            self._alarm.set(participant, ALERT, alert, 0)
        first = made.alerts[0]
        if first.escalates_at is not None:
            self._alarm.set(participant, ESCALATION, first.id, first.escalates_at)
        crash.point("alerts.rung")

    def made(self, outgoing: Outgoing) -> Made:
        """What an event makes, by what its reader may see of it. Touches nothing."""
        view, fields, now = outgoing.view, flat(outgoing.view), self._now()
        rule = self._rules.first(view, fields)
        urgencies = [rule.urgency] if rule else []
        reminders, threads = [], []
        for other, makes in self._rules.touching(view, fields):
            assert other.reminders is not None
            thread = self._thread(outgoing, other, fields.get(other.reminders.thread or ""))
            threads.append(thread)
            if makes:
                ahead, already = dues(other.reminders, fields, now, self._zone)
                urgencies += [already] if already and rule else []
                reminders += [self._reminder(outgoing, other, due.mark, due.at, thread, now) for due in ahead]
        first = self._alert(
            outgoing,
            outgoing.key,
            now,
            rule=rule.name if rule else NOBODY,
            urgency=min(urgencies, key=URGENCIES.index, default="information"),
            audience=rule.audience if rule else "caseload",
            escalates_at=_escalates_at(rule, fields, now),
        )
        return Made((first, *reminders), tuple(threads))

    def _reminder(self, outgoing: Outgoing, rule: Rule, mark: Any, at: int, thread: str, now: int) -> Alert:
        name = self._vault.mac("reminder", f"{outgoing.key}\0{rule.name}\0{mark.name}".encode())
        return self._alert(
            outgoing,
            "r-" + name[:32],
            now,
            rule=rule.name,
            urgency=mark.urgency,
            audience=rule.audience,
            thread=thread,
            due_at=at,
        )

    def _alert(self, outgoing: Outgoing, name: str, now: int, **more: Any) -> Alert:
        return Alert(
            id=name,
            stakeholder=outgoing.stakeholder,
            participant=outgoing.envelope["participant"],
            event=outgoing.envelope["id"],
            at=now,
            sealed=seal(outgoing, self._vault, name),
            occurred_at=outgoing.envelope.get("occurred_at"),
            **more,
        )

    def _thread(self, outgoing: Outgoing, rule: Rule, matter: object) -> str:
        parts = (outgoing.stakeholder, outgoing.envelope["participant"], rule.name, str(matter or ""))
        return "t-" + self._vault.mac("thread", "\0".join(parts).encode())[:32]


def _escalates_at(rule: Rule | None, fields: Any, now_ms: int) -> int | None:
    if rule is None or rule.escalates is None:
        return None
    told = time_of(fields, rule.escalates.field)
    return max(told, now_ms) if told is not None else now_ms + rule.escalates.minutes * MINUTE_MS
