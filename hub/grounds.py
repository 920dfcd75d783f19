"""The grounds of a decision that was made: everything it was made from, read back, and explained."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from consent.decision import Decision
from consent.event import Event
from consent.explain import Address, Explanation, explain
from consent.policy import Policy
from consent.record import Placed
from consent.state import State
from consent.words import Words
from hub.governance import Register
from hub.tables import directives


def applied(connection: sa.Connection, participant: str, offset: int) -> Sequence["sa.Row[Any]"]:
    """The participant's directives up to that offset of their partition, in order."""
    query = (
        sa.select(directives)
        .where(directives.c.participant == participant, directives.c.offset <= offset)
        .order_by(directives.c.offset)
    )
    return connection.execute(query).all()


def explained(
    connection: sa.Connection,
    outcome: Mapping[str, Any],
    decision: Mapping[str, Any],
    register: Register,
    words: Words,
    to: Address = "officer",
) -> Explanation:
    """Explains an outcome by the consent and the governance that were applied when it was decided.

    In: a row of `outcomes` and its row of `decisions`, by their columns' names.
    """
    rows = applied(connection, outcome["participant"], decision["consent_offset"])
    state = State([Placed(row.offset, row.id, json.loads(row.body)) for row in rows])
    governance = register.at(decision["governance_offset"])
    envelope = decision["envelope"]
    event = Event(**{name: envelope[name] for name in Event._fields})
    return explain(
        Decision(
            effect=outcome["effect"],
            reason=outcome["reason"],
            basis=outcome["basis"],
            grants=tuple(outcome["grants"]),
            compartments=tuple(outcome["compartments"]),
            obligations=tuple(outcome["obligations"]),
        ),
        event,
        outcome["stakeholder"],
        outcome["purpose"],
        outcome["at"],
        state,
        governance.policy or Policy.of({}),
        governance.stakeholders,
        words=words,
        names=register.names(),
        to=to,
    )
