"""`hub explain`: why an event was, or was not, shared with somebody; from what was decided and on what."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

import sqlalchemy as sa
import typer

from consent.supposing import NotOnRecord, Supposed
from consent.words import Words, words_in
from hub import bootstrap, grounds, settings, supposing
from hub.errors import OperatorError
from hub.governance import Register
from hub.language import DEFAULT, LANGUAGES
from hub.store import Store
from hub.supposing import AsOf
from hub.tables import decisions, outcomes, receipts, withheld
from schemas import instant

BY: Final = "operator"
DECISIONS_MAX: Final = 20
DIRECTIVES_MAX: Final = 100
DELIVERIES_MAX: Final = 100


class NothingDecided(OperatorError):
    """No decision about this event and stakeholder is in the store."""


class NoSuchConsent(OperatorError):
    """The participant had not signed it."""


def explanations(
    store: Store,
    register: Register,
    event: str,
    stakeholder: str,
    purpose: str | None = None,
    words: Words | None = None,
) -> list[dict[str, Any]]:
    """Every decision about an event for a stakeholder, newest first, with all that led to it.

    In: the hub's id of the event, and the language to say it in. Out: JSON objects; `directives` are those of
    the participant that had been applied, `deliveries` those by the same adapter.
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
            decisions.c.envelope,
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
        return [_explained(connection, row, register, words or words_in(DEFAULT)) for row in rows]


def _explained(connection: sa.Connection, row: Any, register: Register, words: Words) -> dict[str, Any]:
    why = grounds.explained(connection, row._mapping, row._mapping, register, words)
    applied = grounds.applied(connection, row.participant, row.consent_offset)
    subscription = register.subscriptions.get(row.subscription, {})
    places = [
        {
            "type": one.type,
            "concerns": one.concerns,
            "place": f"consent/{one.partition}@{one.offset}",
            "recorded_at": instant.format(one.recorded_at),
        }
        for one in applied[:DIRECTIVES_MAX]
    ]
    return {
        "event": row.event,
        "stakeholder": row.stakeholder,
        "purpose": row.purpose,
        **why.as_json(),
        "effect": row.effect,
        "reason": row.reason,
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
        "deliveries": _deliveries(connection, row, subscription.get("adapter")),
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


def explain(
    event: Annotated[str, typer.Argument(help="The hub's id of the event.", show_default=False)],
    stakeholder: Annotated[str, typer.Argument(help="The recipient's id.", show_default=False)],
    purpose: Annotated[str | None, typer.Option(help="Only for this purpose.")] = None,
    language: Annotated[str, typer.Option(help="`en` or `es`.")] = DEFAULT,
    if_revoked: Annotated[
        str | None,
        typer.Option(
            metavar="CONSENT[:RECIPIENT]", help="What if this consent had been taken back, perhaps of one?"
        ),
    ] = None,
    if_restricted: Annotated[
        bool, typer.Option("--if-restricted", help="What if they had said never, for this stakeholder?")
    ] = False,
    if_granted: Annotated[
        bool, typer.Option("--if-granted", help="What if they had agreed to just this?")
    ] = False,
    if_stood: Annotated[
        str | None, typer.Option(metavar="CONSENT", help="What if this consent had stood, as it was signed?")
    ] = None,
    as_of: Annotated[str, typer.Option(help="Suppose it `then`, when it was decided, or `now`.")] = "then",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Why an event was, or was not, shared: one sentence, then the rule, the consent and the offsets.

    With one of the --if options: what would be decided, had the participant said that. Nothing is decided by
    it; that you asked is recorded.
    """
    if language not in LANGUAGES:
        raise typer.BadParameter(f"expected one of {', '.join(LANGUAGES)}", param_hint="--language")
    supposed = _supposed(stakeholder, if_revoked, if_stood, restricted=if_restricted, granted=if_granted)
    if as_of not in ("then", "now"):
        raise typer.BadParameter("expected `then` or `now`", param_hint="--as-of")
    if supposed is not None:
        _suppose(event, stakeholder, purpose or "", supposed, cast(AsOf, as_of), language, as_json=as_json)
        return
    with bootstrap.bootstrap(settings.load()) as hub:
        found = explanations(hub.store, hub.register(), event, stakeholder, purpose, words_in(language))
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


def _supposed(
    stakeholder: str, revoked: str | None, stood: str | None, *, restricted: bool, granted: bool
) -> Supposed | None:
    """The hypothesis; None for none. Raises `typer.BadParameter` for more than one."""
    found: list[Supposed] = []
    if revoked is not None:
        consent, _, recipient = revoked.partition(":")
        found.append(Supposed("revoked", consent, recipient))
    if stood is not None:
        found.append(Supposed("stood", stood))
    if restricted:
        found.append(Supposed("restricted", recipient=stakeholder))
    if granted:
        found.append(Supposed("granted", recipient=stakeholder))
    if len(found) > 1:
        raise typer.BadParameter("suppose one thing at a time", param_hint="--if-…")
    return found[0] if found else None


def _suppose(
    event: str,
    stakeholder: str,
    purpose: str,
    supposed: Supposed,
    as_of: AsOf,
    language: str,
    *,
    as_json: bool,
) -> None:
    with bootstrap.bootstrap(settings.load()) as hub:
        register = hub.register()
        ground = supposing.ground(
            hub.store, register, event, stakeholder, purpose, as_of, time.time_ns() // 1_000_000
        )
        if ground is None:
            raise NothingDecided(
                f"nothing was decided about `{event}`", "Is the id the hub's own (it begins with `e-`)?"
            )
        if not ground.purpose:
            raise typer.BadParameter(
                f"`{stakeholder}` did not ask for it: say for which purpose", param_hint="--purpose"
            )
        supposing.recorded(hub.appender, BY, ground, supposed, as_of)
        try:
            answer = supposing.answered(ground, supposed, words_in(language), register.names())
        except NotOnRecord:
            raise NoSuchConsent(
                f"`{supposed.consent}` was not on record then", "See `hub explain` for those that count."
            ) from None
    told = {
        name: {"effect": decision.effect, "reason": decision.reason, **why.as_json()}
        for name, decision, why in (
            ("as_it_is", answer.before, answer.why_before),
            ("as_it_would_be", answer.after, answer.why_after),
        )
    }
    if as_json:
        said = {"supposed": supposed._asdict(), "as_of": as_of, "at": instant.format(ground.at)}
        typer.echo(json.dumps(said | {"changes": answer.changes} | told))
        return
    for title, one in (("as it is", told["as_it_is"]), ("as it would be", told["as_it_would_be"])):
        typer.echo(f"{title:<15} {one['sentence']}")
        typer.echo(f"{'':<15} rule {one['rule']}: {one['statement']}")
    typer.echo("It would make a difference." if answer.changes else "It would make no difference.")


def _told(one: Mapping[str, Any]) -> str:
    lines = [
        one["sentence"],
        f"  rule        {one['rule']}: {one['statement']}",
        f"  decided     {one['decided_at']}, {one['cause']}, {one['reason']}",
        f"  rests on    {', '.join(one['grants']) or 'nothing'}",
        f"  shared      {', '.join(one['compartments']) or 'nothing'}",
        *(
            f"  {each['kind']:<11} {each['id']} {', '.join(f'@{at}' for at in each['offsets'])}".rstrip()
            for each in one["cited"]
        ),
        *_missed(one["nearest"]),
        *(f"  {name:<11} {place}" for name, place in one["places"].items()),
        *(
            f"  directive   {each['type']} {each['concerns'] or ''} {each['place']}"
            for each in one["directives"]
        ),
        *(f"  delivery    {each['outcome']} ({each['code']}) {each['at']}" for each in one["deliveries"]),
    ]
    return "\n".join(lines)


def _missed(nearest: Mapping[str, Any] | None) -> list[str]:
    """What came nearest to a permit, and what it did not cover."""
    if nearest is None:
        return []
    return [f"  nearest     {nearest['id']}, but for: {'; '.join(nearest['missing'])}"]
