"""Alerts: one more adapter of the delivery engine.

An alert is a delivery that stays visible, so it is decided again for as long as it stands
(`connectors/standing.py`). Reminders stand from the moment at which their event came, unseen: what takes a
consent back takes them back, too. The clock is told an id and a time, nothing else.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final

from connectors.adapter import Alarm, Alert, AlertSink, Made, Outcome, Outgoing, Ringing, Vault
from connectors.alert_rules import MINUTE_MS, URGENCIES, Rule, Rules, default, dues, flat, time_of
from connectors.standing import seal
from connectors.together import Together, each
from schemas import crash
from schemas.bells import ALERT, ESCALATION

ADAPTER: Final = "alerts"
kept_max: Final = 128  # events, whose alerts are kept at once: the store commits many as quickly as one
NOBODY: Final = ""  # the rule of what is told on a person's page alone


class Unset:
    """A clock that is told nothing: for where there is none."""

    def set_all(self, ringing: Sequence[Ringing]) -> None:
        """See `Alarm.set_all`."""


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
        self._keeping = Together(self._keep, kept_max)

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Show the alert that a rule asks for, and have its reminders rung; else keep it for the timeline."""
        made = self.made(outgoing)
        await self._keeping.ask(made)
        return Outcome("delivered", "shown" if made.alerts[0].rule else "kept")

    def _keep(self, made: Sequence[Made]) -> Sequence[Exception | None]:
        """Keep what several events make, and have the clock told. Out: what went wrong with each."""
        try:
            self._keep_all(made)
        except Exception:
            if len(made) > 1:  # what one of them cannot have done is not the others' trouble
                return each(self._keep_one)(made)
            raise
        return [None] * len(made)

    def _keep_one(self, made: Made) -> None:
        self._keep_all([made])

    def _keep_all(self, made: Sequence[Made]) -> None:
        found = self._sink.insert_all(made)
        crash.point("alerts.kept")
        ringing = []
        for one, rings in zip(made, found, strict=True):
            first = one.alerts[0]
            ringing += [Ringing(first.participant, ALERT, *wanted) for wanted in rings.wanted]
            ringing += [Ringing(first.participant, ALERT, alert, 0) for alert in rings.unwanted]
            if first.escalates_at is not None:
                ringing.append(Ringing(first.participant, ESCALATION, first.id, first.escalates_at))
        self._alarm.set_all(ringing)
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
