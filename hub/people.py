"""One person, as one of an organisation's people may know them: their timeline, what they agreed to.

Everything here comes from deliveries that stand (`hub/shown.py`), and is shown only after an owner has let it
be shown (`connectors/viewer.py`). A page's address names a person by what this organisation calls them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors import projection
from hub.caseloads import PEOPLE_MAX, mine
from hub.casetables import caseloads
from hub.crosswalk import Crosswalk
from hub.store import Store
from hub.tables import accounts, alerts
from hub.today import concerning, current, view_of, waits
from hub.vault import Vault
from schemas import instant
from schemas.errors import BadTime

ENTRIES_MAX: Final = 100
FOUND_MAX: Final = 50
RESOLVED_MAX: Final = 20_000  # people of one organisation who can be told apart by their handle


class Entry(NamedTuple):
    """One line of a timeline. Times in epoch milliseconds; without a rule it never was an alert."""

    id: str
    participant: str
    at: int
    occurred_at: int
    rule: str
    urgency: str
    view: Mapping[str, Any]
    acknowledged_at: int | None
    acknowledged_by: str | None
    desk: bool


class Agreed(NamedTuple):
    """What the participant agreed that this organisation may know: for what, which parts, until when.

    `until` in epoch milliseconds, None where no date ends it; `said` is it as a sentence, by language.
    """

    purpose: str
    compartments: tuple[str, ...]
    until: int | None
    said: Mapping[str, str]


class Found(NamedTuple):
    """Somebody who was looked for. `name` came with the delivery `entry`, and is shown where that may be."""

    handle: str
    participant: str
    entry: str | None
    name: str | None
    local_id: str | None
    waiting: int


def handle(vault: Vault, stakeholder: str, participant: str) -> str:
    """What a page of this organisation calls somebody: of no use to anybody else."""
    return projection.name(vault, stakeholder, "participant", participant)


def resolve(store: Store, vault: Vault, stakeholder: str, account: str, now_ms: int, name: str) -> str | None:
    """Whom that means, where it is somebody this account may look at; None where not."""
    seen = sa.select(alerts.c.participant).where(
        alerts.c.stakeholder == stakeholder,
        alerts.c.withdrawn_at.is_(None),
        concerning(stakeholder, account, now_ms),
    )
    theirs = mine(stakeholder, account, now_ms)
    with store.read() as connection:
        people = connection.execute(sa.union(seen, theirs).limit(RESOLVED_MAX)).scalars()
        return next((one for one in people if one and handle(vault, stakeholder, one) == name), None)


def timeline(store: Store, vault: Vault, stakeholder: str, participant: str) -> list[Entry]:
    """What this organisation was told about somebody, newest first, at most `ENTRIES_MAX`.

    Reminders are left out: the event that they remind of is there.
    """
    query = (
        sa.select(alerts)
        .where(
            alerts.c.stakeholder == stakeholder,
            alerts.c.participant == participant,
            alerts.c.withdrawn_at.is_(None),
            alerts.c.due_at.is_(None),
        )
        .order_by(sa.func.coalesce(alerts.c.occurred_at, alerts.c.at).desc(), alerts.c.id)
        .limit(ENTRIES_MAX)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        names = {row.id: row.name for row in connection.execute(sa.select(accounts.c.id, accounts.c.name))}
    crosswalk = Crosswalk(store, vault)
    return [
        Entry(
            row.id,
            row.participant,
            row.at,
            row.occurred_at or row.at,
            row.rule,
            row.urgency,
            view,
            row.acknowledged_at,
            names.get(row.acknowledged_by, row.acknowledged_by),
            not row.event,
        )
        for row in rows
        if (view := view_of(vault, row, crosswalk, stakeholder)) is not None
    ]


def agreed(entries: Iterable[Entry]) -> list[Agreed]:
    """What they agreed to, as far as what stands here rests on it: each line once, the longest first."""
    found: dict[tuple[str, tuple[str, ...]], Agreed] = {}
    for entry in entries:
        for line in entry.view.get("consent_scope", ()):
            one = Agreed(
                line["purpose"], tuple(line["compartments"]), _until(line.get("until")), line.get("said", {})
            )
            found.setdefault((line.get("grant", ""), one.compartments), one)
    return sorted(found.values(), key=lambda one: (one.purpose, -len(one.compartments), one.compartments))


def _until(text: str | None) -> int | None:
    try:
        return None if text is None else instant.parse(text)
    except BadTime:
        return None


def search(
    store: Store,
    vault: Vault,
    crosswalk: Crosswalk,
    stakeholder: str,
    account: str,
    now_ms: int,
    text: str = "",
) -> list[Found]:
    """Those with whom somebody works, or for whom they cover, by name or local id; at most `FOUND_MAX`.

    In: a part of either, in any case; with nothing, everybody.
    """
    people = mine(stakeholder, account, now_ms).order_by(caseloads.c.participant).limit(PEOPLE_MAX).distinct()
    standing = sa.and_(
        alerts.c.stakeholder == stakeholder, alerts.c.withdrawn_at.is_(None), alerts.c.event != ""
    )
    with store.read() as connection:
        theirs = list(connection.execute(people).scalars())
        latest = (
            sa.select(
                *(alerts.c[name] for name in ("id", "participant", "event", "sealed", "facts")),
                sa.func.row_number()
                .over(partition_by=alerts.c.participant, order_by=(alerts.c.at.desc(), alerts.c.id))
                .label("place"),
            )
            .where(standing, alerts.c.participant.in_(theirs))
            .subquery()
        )
        rows = connection.execute(sa.select(latest).where(latest.c.place <= 5).order_by(latest.c.place)).all()
        counting = (
            sa.select(alerts.c.participant, sa.func.count())
            .where(current(stakeholder), waits(now_ms), alerts.c.participant.in_(theirs))
            .group_by(alerts.c.participant)
        )
        counts = {row[0]: row[1] for row in connection.execute(counting)}
    vault.prefetch(theirs)
    named: dict[str, tuple[str, str]] = {}
    for row in rows:
        view = view_of(vault, row) if row.participant not in named else None
        name = (view or {}).get("data", {}).get("subject", {}).get("name")
        if name:
            named[row.participant] = (row.id, name)
    found, wanted = [], text.strip().casefold()
    for one in theirs:
        entry, name = named.get(one, (None, None))
        local_id = crosswalk.local_id(stakeholder, one)
        if wanted in (name or "").casefold() or wanted in (local_id or "").casefold():
            shown = Found(handle(vault, stakeholder, one), one, entry, name, local_id, counts.get(one, 0))
            found.append(shown)
    return sorted(found, key=lambda one: (-one.waiting, (one.name or "~").casefold(), one.handle))[:FOUND_MAX]
