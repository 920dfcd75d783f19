"""What would have been decided about an event, had the participant said something else. Never recorded as a
decision; that somebody asked is in `access`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from consent import Decision, Event, Governance, Policy, State, decide
from consent.explain import Explanation, explain
from consent.record import Placed
from consent.supposing import Supposed, supposing
from consent.words import Words
from hub import acts
from hub.appender import Appender
from hub.governance import Register
from hub.store import Store
from hub.tables import decisions, directives, outcomes

ASKED: Final = "supposition-asked"
DIRECTIVES_MAX: Final = 10_000  # of one participant
AsOf = Literal["then", "now"]


@dataclass(frozen=True, slots=True)
class Ground:
    """All that a decision about an event is made from, at an instant in epoch milliseconds.

    `applied` are the directives that count then, `every` those that there are now; `recorded` is what was
    decided for the recipient and purpose, None where nothing was.
    """

    participant: str
    event: Event
    stakeholder: str
    purpose: str
    at: int
    applied: Sequence[Placed]
    every: Sequence[Placed]
    governance: Governance
    recorded: Decision | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is decided about it, and why, with nothing supposed and with the hypothesis."""

    before: Decision
    after: Decision
    why_before: Explanation
    why_after: Explanation

    @property
    def changes(self) -> bool:
        """Whether the hypothesis makes a difference."""
        return self.before != self.after


def ground(
    store: Store, register: Register, event: str, stakeholder: str, purpose: str, as_of: AsOf, now: int
) -> Ground | None:
    """From what it was decided, or would be now; None where nothing was ever decided about the event.

    Without a purpose it is that of the newest decision for the recipient.
    """
    heads = sa.select(decisions).where(decisions.c.event == event).order_by(decisions.c.at.desc())
    theirs = (
        sa.select(outcomes)
        .where(outcomes.c.event == event, outcomes.c.stakeholder == stakeholder)
        .order_by(outcomes.c.at.desc(), outcomes.c.decision, outcomes.c.number)
    )
    if purpose:
        theirs = theirs.where(outcomes.c.purpose == purpose)
    with store.read() as connection:
        outcome = connection.execute(theirs.limit(1)).mappings().first()
        if outcome is not None:
            heads = heads.where(decisions.c.id == outcome["decision"])
        head = connection.execute(heads.limit(1)).mappings().first()
        if head is None:
            return None
        rows = connection.execute(
            sa.select(directives.c.offset, directives.c.id, directives.c.body)
            .where(directives.c.participant == head["participant"])
            .order_by(directives.c.offset)
            .limit(DIRECTIVES_MAX)
        ).all()
    every = [Placed(row.offset, row.id, json.loads(row.body)) for row in rows]
    then = as_of == "then"
    envelope = head["envelope"]
    return Ground(
        participant=head["participant"],
        event=Event(**{name: envelope[name] for name in Event._fields}),
        stakeholder=stakeholder,
        purpose=purpose or (outcome["purpose"] if outcome else ""),
        at=(outcome or head)["at"] if then else now,
        applied=[one for one in every if one.offset <= head["consent_offset"]] if then else every,
        every=every,
        governance=register.at(head["governance_offset"] if then else register.offset),
        recorded=_decision(dict(outcome)) if outcome else None,
    )


def _decision(row: Mapping[str, Any]) -> Decision:
    lists = {name: tuple(row[name]) for name in ("grants", "compartments", "obligations")}
    return Decision(effect=row["effect"], reason=row["reason"], basis=row["basis"], **lists)


def answered(of: Ground, supposed: Supposed, words: Words, names: Mapping[str, str]) -> Answer:
    """What the same function decides with the hypothesis. Raises `consent.supposing.NotOnRecord`."""
    told = supposing(of.applied, of.every, supposed, of.event, of.purpose, of.at)
    policy, stakeholders = of.governance.policy or Policy.of({}), of.governance.stakeholders
    found = []
    for directives_ in (of.applied, told):
        state = State(directives_)
        asked = (of.event, of.stakeholder, of.purpose, of.at, state, policy, stakeholders)
        decision = decide(*asked)
        found.append((decision, explain(decision, *asked, words=words, names=names)))
    (before, why_before), (after, why_after) = found
    return Answer(before, after, why_before, why_after)


def recorded(appender: Appender, principal: str, of: Ground, supposed: Supposed, as_of: AsOf) -> None:
    """Writes that somebody asked, and what. Raises `Unavailable`."""
    body = {
        "event": of.event.id,
        "stakeholder": of.stakeholder,
        "purpose": of.purpose,
        "as_of": as_of,
        "supposed": supposed._asdict(),
    }
    acts.access(appender, ASKED, principal, body, of.participant)


def consents(of: Ground) -> list[tuple[str, Any]]:
    """The consents that were ever signed, with their directives' bodies, oldest first."""
    found: dict[str, Any] = {}
    for one in of.every:
        body = one.body if isinstance(one.body, Mapping) else {}
        if body.get("type") == "consent-granted":
            found.setdefault(str(body["consent"].get("id")), body)
    return list(found.items())
