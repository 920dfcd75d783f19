"""`hub explain`: why an event was, or was not, shared with somebody; from what was decided and on what."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import sqlalchemy as sa
import typer

from hub import bootstrap, settings
from hub.errors import OperatorError
from hub.explaining import RULES
from hub.language import DEFAULT, Tongue
from hub.store import Store
from hub.tables import decisions, directives, outcomes, receipts, withheld
from schemas import instant

DECISIONS_MAX: Final = 20
DIRECTIVES_MAX: Final = 100
DELIVERIES_MAX: Final = 100


class NothingDecided(OperatorError):
    """No decision about this event and stakeholder is in the store."""


def explanations(
    store: Store,
    event: str,
    stakeholder: str,
    purpose: str | None = None,
    names: Mapping[str, str] | None = None,
    adapters: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Every decision about an event for a stakeholder, newest first, with all that led to it.

    In: the hub's id of the event; stakeholders' names and subscriptions' adapters, by id. Out: JSON objects;
    `directives` are those of the participant that had been applied, `deliveries` those by the same adapter.
    """
    wanted = [outcomes.c.event == event, outcomes.c.stakeholder == stakeholder]
    if purpose is not None:
        wanted.append(outcomes.c.purpose == purpose)
    query = (
        sa.select(
            outcomes,
            decisions.c.cause,
            decisions.c.category,
            decisions.c.discloser,
            decisions.c.position,
            decisions.c.consent_offset,
            decisions.c.governance_offset,
            decisions.c.partition,
            decisions.c.offset,
        )
        .join(decisions, decisions.c.id == outcomes.c.decision)
        .where(*wanted)
        .order_by(outcomes.c.at.desc(), outcomes.c.decision, outcomes.c.number)
        .limit(DECISIONS_MAX)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        return [_explained(connection, row, names or {}, adapters or {}) for row in rows]


def _explained(
    connection: sa.Connection, row: Any, names: Mapping[str, str], adapters: Mapping[str, str]
) -> dict[str, Any]:
    applied = (
        sa.select(directives)
        .where(directives.c.participant == row.participant, directives.c.offset <= row.consent_offset)
        .order_by(directives.c.offset)
        .limit(DIRECTIVES_MAX)
    )
    places = [
        {
            "type": one.type,
            "concerns": one.concerns,
            "place": f"consent/{one.partition}@{one.offset}",
            "recorded_at": instant.format(one.recorded_at),
        }
        for one in connection.execute(applied)
    ]
    return {
        "event": row.event,
        "stakeholder": row.stakeholder,
        "purpose": row.purpose,
        "sentence": _sentence(row, names),
        "effect": row.effect,
        "reason": row.reason,
        "rule": RULES.get(row.reason),
        "basis": row.basis,
        "grants": row.grants,
        "compartments": row.compartments,
        "obligations": row.obligations,
        "subscription": row.subscription,
        "decided_at": instant.format(row.at),
        "cause": row.cause,
        "places": {
            "event": f"{row.position['topic']}/{row.position['partition']}@{row.position['offset']}",
            "decision": f"decisions/{row.partition}@{row.offset}",
            "consent": f"consent/{row.partition}@{row.consent_offset}",
            "governance": f"governance/0@{row.governance_offset}",
        },
        "directives": places,
        "deliveries": _deliveries(connection, row, adapters.get(row.subscription)),
    }


def _deliveries(connection: sa.Connection, row: Any, adapter: str | None) -> list[dict[str, Any]]:
    ended, held = (
        sa.select(table)
        .where(
            table.c.event == row.event,
            table.c.stakeholder == row.stakeholder,
            sa.true() if adapter is None else table.c.adapter == adapter,
        )
        .order_by(table.c.at)
        .limit(DELIVERIES_MAX)
        for table in (receipts, withheld)
    )
    told = [
        {"at": instant.format(one.at), "adapter": one.adapter, "outcome": one.outcome, "code": one.code}
        for one in connection.execute(ended)
    ]
    told += [
        {
            "at": instant.format(one.at),
            "adapter": one.adapter,
            "outcome": "withheld",
            "code": ", ".join(reason["reason"] for reason in one.reasons),
        }
        for one in connection.execute(held)
    ]
    return told


def _sentence(row: Any, names: Mapping[str, str]) -> str:
    words = Tongue(DEFAULT)
    said = {
        "recipient": names.get(row.stakeholder, row.stakeholder),
        "purpose": words.term("purpose", row.purpose),
        "reason": words.term("reason", row.reason),
    }
    if row.effect == "permit":
        return words.say("Shared with %(recipient)s for %(purpose)s: %(reason)s.", **said)
    return words.say("Not shared with %(recipient)s for %(purpose)s: %(reason)s.", **said)


def explain(
    event: Annotated[str, typer.Argument(help="The hub's id of the event.", show_default=False)],
    stakeholder: Annotated[str, typer.Argument(help="The recipient's id.", show_default=False)],
    purpose: Annotated[str | None, typer.Option(help="Only for this purpose.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Why an event was, or was not, shared: one sentence, then the rule, the consent and the offsets."""
    hub = bootstrap.bootstrap(settings.load())
    try:
        known = hub.register()
        names = {key: str(body["name"]) for key, body in known.stakeholders.items()}
        adapters = {key: body["adapter"] for key, body in known.subscriptions.items()}
        found = explanations(hub.store, event, stakeholder, purpose, names, adapters)
    finally:
        hub.close()
    if not found:
        raise NothingDecided(
            f"nothing was decided about `{event}` for `{stakeholder}`",
            "Is the id the hub's own (it begins with `e-`)? Does a subscription want it?",
        )
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        typer.echo(_told(one))


def _told(one: Mapping[str, Any]) -> str:
    lines = [
        one["sentence"],
        f"  rule        {one['rule']} ({one['reason']}), decided {one['decided_at']}, {one['cause']}",
        f"  rests on    {', '.join(one['grants']) or 'nothing'}",
        f"  shared      {', '.join(one['compartments']) or 'nothing'}",
        *(f"  {name:<11} {place}" for name, place in one["places"].items()),
        *(
            f"  directive   {each['type']} {each['concerns'] or ''} {each['place']}"
            for each in one["directives"]
        ),
        *(f"  delivery    {each['outcome']} ({each['code']}) {each['at']}" for each in one["deliveries"]),
    ]
    return "\n".join(lines)
