"""What waits for privacy officers, and what is not as it should be: counts, reasons, ages; no content."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub import acts, remarks
from hub.appender import Appender
from hub.quarantine import DISCARDED, RETRIED
from hub.store import Store
from hub.tables import acts as acted
from hub.tables import directives, intents, quarantine, withheld
from hub.vault import Vault
from hub.watchtables import ending, parked
from schemas.errors import Refused

REVIEWED: Final = "emergency-reviewed"
FINDINGS: Final = ("in-order", "not-in-order", "looked-into")
EMERGENCIES_MAX: Final = 100
ATTEMPTS_MAX: Final = 10_000  # that rest on an emergency
WITHHELD_READ_MAX: Final = 2_000
LINES_MAX: Final = 100
ENDING_MAX: Final = 50
DAY_MS: Final = 24 * 3_600_000
ENDS_IN_DAYS: Final = (1, 7, 30)
KEPT_MS: Final = 90 * DAY_MS  # then the key of what was refused is destroyed


class Review(NamedTuple):
    """Who reviewed an emergency, when (epoch milliseconds), and what they found."""

    by: str
    at: int
    finding: str


class Emergency(NamedTuple):
    """A declared emergency: when, for whom, how many attempts rest on it, and its reviews, oldest first."""

    id: str
    participant: str
    recipient: str
    at: int
    attempts: int
    reviews: Sequence[Review]


class Line(NamedTuple):
    """So many of one kind at one place; when the first and the last came, in epoch milliseconds."""

    who: str
    reason: str
    records: int
    first_at: int
    last_at: int


class Ending(NamedTuple):
    """Consents that end by themselves: how many within each of `ENDS_IN_DAYS`, and the next of them."""

    counts: Mapping[int, int]
    next: Sequence[tuple[str, str, int]]  # participant, consent, epoch milliseconds


def emergencies(store: Store) -> list[Emergency]:
    """The newest emergencies, those without a review first."""
    query = (
        sa.select(directives)
        .where(directives.c.type == "emergency-declared")
        .order_by(directives.c.recorded_at.desc())
        .limit(EMERGENCIES_MAX)
    )
    with store.read() as connection:
        rows = [row for row in connection.execute(query) if row.concerns is not None]
        names = [row.concerns for row in rows]
        reviews: dict[str, list[Review]] = {}
        for act in connection.execute(
            sa.select(acted).where(acted.c.what == REVIEWED, acted.c.about.in_(names)).order_by(acted.c.at)
        ):
            one = Review(act.who, act.at, str(act.detail.get("finding")))
            reviews.setdefault(act.about, []).append(one)
        theirs = sa.select(intents.c.shares).where(
            intents.c.participant.in_({row.participant for row in rows}),
            sa.cast(intents.c.shares, sa.Text).contains('"emergency"'),
        )
        shares = connection.execute(theirs.limit(ATTEMPTS_MAX)).scalars()
        resting = Counter(
            grant
            for some in shares
            for grant in {one for share in some if share["basis"] == "emergency" for one in share["grants"]}
        )
    found = [
        Emergency(
            row.concerns,
            row.participant,
            str((json.loads(row.body).get("emergency") or {}).get("recipient")),
            row.recorded_at,
            resting[row.concerns],
            tuple(reviews.get(row.concerns, ())),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (bool(each.reviews), -each.at))


def review(
    store: Store, vault: Vault, appender: Appender, by: str, emergency: str, finding: str, remark: str
) -> None:
    """Writes that somebody reviewed an emergency; the remark is sealed. Raises `Refused`, `Unavailable`, and
    `Erased` where a remark cannot be kept any more."""
    if finding not in FINDINGS:
        raise Refused("say what you found", path="/finding", code="not-found")
    query = sa.select(directives.c.participant).where(
        directives.c.concerns == emergency, directives.c.type == "emergency-declared"
    )
    with store.read() as connection:
        participant = connection.execute(query.limit(1)).scalar()
    if participant is None:
        raise Refused("there is no such emergency", code="not-found")
    body = {"emergency": emergency, "finding": finding}
    if remark:
        body["remark"] = remarks.sealed(vault, participant, REVIEWED, remark)
    acts.access(appender, REVIEWED, by, body, participant)


def held(store: Store, since: int) -> list[Line]:
    """What was held at the door since then, by recipient and reason; of the newest `WITHHELD_READ_MAX`."""
    query = (
        sa.select(withheld.c.stakeholder, withheld.c.reasons, withheld.c.at)
        .where(withheld.c.at >= since)
        .order_by(withheld.c.at.desc())
        .limit(WITHHELD_READ_MAX)
    )
    found: dict[tuple[str, str], list[int]] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            for reason in sorted({one["reason"] for one in row.reasons}):
                found.setdefault((row.stakeholder, reason), []).append(row.at)
    lines = [Line(who, reason, len(at), min(at), max(at)) for (who, reason), at in found.items()]
    return sorted(lines, key=lambda one: (-one.records, one.who, one.reason))[:LINES_MAX]


def refused(store: Store, now: int) -> list[Line]:
    """What is in quarantine and was neither tried again nor discarded, by agency and reason."""
    settled = (
        sa.select(sa.literal(1))
        .where(acted.c.about == quarantine.c.id, acted.c.what.in_((RETRIED, DISCARDED)))
        .exists()
    )
    agency = sa.func.coalesce(quarantine.c.agency, sa.literal_column("''"))
    query = (
        sa.select(
            agency,
            quarantine.c.reason,
            sa.func.count(),
            sa.func.min(quarantine.c.at),
            sa.func.max(quarantine.c.at),
        )
        .where(quarantine.c.at > now - KEPT_MS, ~settled)
        .group_by(agency, quarantine.c.reason)
        .order_by(sa.func.min(quarantine.c.at))
        .limit(LINES_MAX)
    )
    with store.read() as connection:
        return [Line(*row) for row in connection.execute(query)]


def unlinked(store: Store) -> list[Line]:
    """What waits until somebody says who it is about, by agency."""
    query = (
        sa.select(parked.c.agency, sa.func.count(), sa.func.min(parked.c.at), sa.func.max(parked.c.at))
        .group_by(parked.c.agency)
        .order_by(sa.func.min(parked.c.at))
        .limit(LINES_MAX)
    )
    with store.read() as connection:
        return [Line(row[0], "", *row[1:]) for row in connection.execute(query)]


def expiring(store: Store, now: int) -> Ending:
    """Consents that stand, and end by themselves within 30 days."""
    stands = [ending.c.ended_at.is_(None), ending.c.expires_at > now]
    counts = {}
    with store.read() as connection:
        for days in ENDS_IN_DAYS:
            within = sa.select(sa.func.count()).where(*stands, ending.c.expires_at <= now + days * DAY_MS)
            counts[days] = int(connection.execute(within.select_from(ending)).scalar_one())
        soon = (
            sa.select(ending.c.participant, ending.c.consent, ending.c.expires_at)
            .where(*stands, ending.c.expires_at <= now + max(ENDS_IN_DAYS) * DAY_MS)
            .order_by(ending.c.expires_at, ending.c.participant)
            .limit(ENDING_MAX)
        )
        following: list[Any] = [tuple(row) for row in connection.execute(soon)]
    return Ending(counts, following)
