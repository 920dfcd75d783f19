"""Why an event was, or was not, shared with somebody: the decisions about it, in a reader's words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from consent.explain import Explanation
from hub import grounds
from hub import outcomes as accounts
from hub.language import Tongue
from hub.parts import Parts
from hub.tables import decisions, outcomes
from schemas import instant

EXPLAINED_MAX: Final = 20


def explained(
    of: Parts, words: Tongue, event: str, stakeholder: str, purpose: str
) -> tuple[list[dict[str, Any]], str | None]:
    """What the page shows of each decision, newest first, and whom it is about; None where there is none.

    In: the hub's id of an event, a stakeholder's id, a purpose or nothing for all of them.
    """
    wanted = [outcomes.c.event == event, outcomes.c.stakeholder == stakeholder]
    if purpose:
        wanted.append(outcomes.c.purpose == purpose)
    query = (
        sa.select(outcomes, decisions)
        .join(decisions, decisions.c.id == outcomes.c.decision)
        .where(*wanted)
        .order_by(outcomes.c.at.desc(), outcomes.c.decision.desc(), outcomes.c.number)
        .limit(EXPLAINED_MAX)
        .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    register = of.register()
    with of.store.read() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        whys = [
            grounds.explained(connection, _of("outcomes", row), _of("decisions", row), register, words)
            for row in rows
        ]
    if not rows:
        return [], None
    ended = accounts.about(of.store, event, stakeholder)
    names, now = register.names(), of.clock_ms()
    shown = [_shown(row, why, ended, words, names, now) for row, why in zip(rows, whys, strict=True)]
    return shown, rows[0]["outcomes_participant"]


def _of(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """One table's columns of a row of two, by their own names."""
    return {key.removeprefix(f"{table}_"): value for key, value in row.items() if key.startswith(f"{table}_")}


def _shown(
    row: Mapping[str, Any],
    why: Explanation,
    ended: accounts.Deliveries,
    words: Tongue,
    names: Mapping[str, str],
    now: int,
) -> dict[str, Any]:
    permits = row["outcomes_effect"] == "permit"
    return {
        "effect": "permit" if permits else "held",
        "outcome": words.say("Shared") if permits else words.say("Not shared"),
        "sentence": why.sentence,
        "facts": _facts(row, why, ended, words, names, now),
        "proof": _proof(row, why, words),
    }


def _facts(
    row: Mapping[str, Any],
    why: Explanation,
    ended: accounts.Deliveries,
    words: Tongue,
    names: Mapping[str, str],
    now: int,
) -> list[tuple[str, str | Sequence[str]]]:
    discloser = row["decisions_discloser"]
    found: list[tuple[str, str | Sequence[str]]] = [
        (words.say("Decided"), f"{words.ago(row['outcomes_at'], now)}, {words.exact(row['outcomes_at'])}"),
        (words.say("What it was about"), words.term("category", row["decisions_category"])),
        (words.say("Who told the hub"), names.get(discloser, discloser)),
        (words.say("When it happened"), words.exact(row["decisions_occurred_at"])),
        (
            words.say("Rule that decided"),
            words.say("rule %(number)s: %(statement)s", number=why.rule, statement=why.statement),
        ),
    ]
    if why.missing:
        found.append((words.say("What the nearest consent or order did not cover"), list(why.missing)))
    if row["decisions_cause"] == "reconsider":
        found.append((words.say("Decided again"), words.say("because something was allowed since")))
    if row["outcomes_grants"]:
        found.append((words.say("What it rests on"), list(row["outcomes_grants"])))
    if row["outcomes_compartments"]:
        parts = [words.term("compartment", one) for one in row["outcomes_compartments"]]
        found.append((words.say("Parts that were shared"), words.listed(parts)))
    if row["outcomes_obligations"]:
        duties = [words.term("obligation", one) for one in row["outcomes_obligations"]]
        found.append((words.say("What had to go with it"), duties))
    if row["outcomes_effect"] == "permit":
        found.append((words.say("Delivery"), _course(ended, words)))
    return found


def _course(ended: accounts.Deliveries, words: Tongue) -> Sequence[str]:
    told = [
        words.say(
            "%(time)s: %(outcome)s",
            time=words.exact(one.at),
            outcome=words.term("receipt", one.outcome),
        )
        for one in ended.receipts
    ]
    told += [
        words.say(
            "%(time)s: held at the door, %(reasons)s",
            time=words.exact(one.at),
            reasons=words.listed(words.term("reason", reason["reason"]) for reason in one.reasons),
        )
        for one in ended.withheld
    ]
    return told or [words.say("not yet")]


def _proof(row: Mapping[str, Any], why: Explanation, words: Tongue) -> list[tuple[str, str]]:
    position = row["decisions_position"]
    return [
        (words.say("Event"), row["outcomes_event"]),
        (words.say("Event's place"), f"{position['topic']}/{position['partition']}@{position['offset']}"),
        (words.say("Decision"), row["outcomes_decision"]),
        (
            words.say("Decision's place"),
            f"decisions/{row['decisions_partition']}@{row['decisions_offset']}",
        ),
        (
            words.say("Consent applied up to"),
            f"consent/{row['decisions_partition']}@{row['decisions_consent_offset']}",
        ),
        (words.say("Governance applied up to"), f"governance/0@{row['decisions_governance_offset']}"),
        (words.say("Decided as of"), instant.format(row["outcomes_at"])),
        (words.say("Subscription"), row["outcomes_subscription"]),
        *(
            (
                words.term("kind", one.kind),
                f"{one.id} " + " ".join(f"consent/{row['decisions_partition']}@{at}" for at in one.offsets),
            )
            for one in why.cited
        ),
        *([(words.say("Nearest"), why.nearest.id)] if why.nearest else []),
    ]
