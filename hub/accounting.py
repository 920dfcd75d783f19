"""The accounting of disclosures: who learned what about a participant, when, for what, and by whose leave.

What counts is what left, or may have left. An intent whose receipt says that it was taken is a disclosure;
one without a receipt, or that ended in a way that does not rule out that the recipient read it, is in doubt
and listed as such. What only stands at the hub, waiting for somebody to look, is none until they look.
Disclosures of one event to one recipient are one entry with its first and last time and their number, as
45 CFR 164.528(b)(3) allows. So are the visits of a helper to the participant's own page: an entry without an
event.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors.alerts import ADAPTER as ALERTS
from connectors.pull import WAITS
from connectors.sender import NOT_BEGUN
from hub import acts, helping
from hub.errors import OperatorError
from hub.merging import everyone
from hub.store import Store, chunks
from hub.tables import acts as acted
from hub.tables import crosswalk, decisions, directives, intents, receipts

ATTEMPTS_MAX: Final = 100_000  # of one accounting; narrower periods are asked for separately
STAYED: Final = frozenset(  # codes of attempts that ended before anything was sent
    {NOT_BEGUN.code, "url-unfit", "no-secret", "no-resource", "invalid-resource", "queue-full", "full"}
    | {"host-key", "login", "too-large", "outbox-expired", "erased"}
)
EXPORTS_MAX: Final = 1_000  # of one accounting
EXPORT: Final = "export"
_SHARED: Final = ("basis", "grants", "compartments")
_ENDS: Final = {  # how an export ended, as attempts end
    acts.EXPORT_WRITTEN: ("delivered", "written"),
    acts.EXPORT_DROPPED: ("failed", NOT_BEGUN.code),
    None: (None, None),
}
CONNECTS: Final = frozenset({"webhook", "fhir"})  # whose `connect` says that there never was a connection


class TooMuch(OperatorError):
    """More attempts than one accounting holds."""


class Attempt(NamedTuple):
    """One intent and how it ended. Times in epoch milliseconds; no `outcome` while there is no receipt."""

    event: str
    stakeholder: str
    adapter: str
    at: int
    shares: Sequence[Mapping[str, Any]]
    outcome: str | None
    code: str | None
    ended_at: int | None


class Disclosure(NamedTuple):
    """One event as one recipient has it; without an event, what a helper saw. `first_at` and `last_at` in
    epoch milliseconds.

    `times` counts the disclosures that are certain, `doubts` those that may have happened; where `times` is 0
    the whole entry is in doubt. The rest is what all of them together carried and rested on, sorted.
    """

    event: str
    stakeholder: str
    first_at: int
    last_at: int
    times: int
    doubts: int
    ways: tuple[str, ...]
    purposes: tuple[str, ...]
    bases: tuple[str, ...]
    grants: tuple[str, ...]
    compartments: tuple[str, ...]

    @property
    def visited(self) -> bool:
        """Whether it is a helper who looked at the participant's own page."""
        return not self.event

    @property
    def certain(self) -> bool:
        """Whether it happened; else it may have."""
        return self.times > 0


class About(NamedTuple):
    """What an event was, in its envelope's terms."""

    category: str
    discloser: str
    occurred_at: int


class Account(NamedTuple):
    """A participant's disclosures of a period, newest first; their events, and when consents were signed."""

    participant: str
    since: int
    until: int
    disclosures: Sequence[Disclosure]
    events: Mapping[str, About]
    signed: Mapping[str, str]  # by consent id, as the form says it (RFC 3339)
    helpers: Mapping[str, str] = MappingProxyType({})  # names, by how records call them, as far as known


def gone(attempt: Attempt) -> bool | None:
    """Whether an attempt disclosed something: True, False, or None where it may have."""
    if attempt.outcome is None:
        return None
    if attempt.outcome == "delivered":
        return attempt.adapter != ALERTS and attempt.code != WAITS.code
    if attempt.code in STAYED or (attempt.code == "connect" and attempt.adapter in CONNECTS):
        return False
    return None


def disclosed(attempts: Iterable[Attempt]) -> list[Disclosure]:
    """What attempts, in any order, amount to; newest first."""
    found: dict[tuple[str, str], list[tuple[Attempt, bool]]] = {}
    for attempt in attempts:
        if (certain := gone(attempt)) is not False:
            found.setdefault((attempt.event, attempt.stakeholder), []).append((attempt, certain is True))
    entries = [_entry(event, stakeholder, some) for (event, stakeholder), some in found.items()]
    return sorted(entries, key=lambda one: (-one.last_at, one.event, one.stakeholder))


def _entry(event: str, stakeholder: str, some: Sequence[tuple[Attempt, bool]]) -> Disclosure:
    """Certain ones alone make the entry, where there is any; doubts beside them are counted."""
    certain = [attempt for attempt, is_certain in some if is_certain]
    counted = certain or [attempt for attempt, _ in some]
    shares = [share for attempt in counted for share in attempt.shares]
    times = [attempt.at if attempt.ended_at is None else attempt.ended_at for attempt in counted]
    return Disclosure(
        event,
        stakeholder,
        min(times),
        max(times),
        len(certain),
        len(some) - len(certain),
        tuple(sorted({attempt.adapter for attempt in counted})),
        tuple(sorted({share["purpose"] for share in shares})),
        tuple(sorted({share["basis"] for share in shares})),
        tuple(sorted({grant for share in shares for grant in share["grants"]})),
        tuple(sorted({part for share in shares for part in share["compartments"]})),
    )


def account(
    store: Store, participant: str, since: int, until: int, helpers: Mapping[str, str] | None = None
) -> Account:
    """A participant's accounting for a period, both ends included, in epoch milliseconds.

    In: the names of helpers, where they may be told. Of somebody who was merged it has what was disclosed
    under any of their ids.
    Raises `TooMuch` where more was attempted than `ATTEMPTS_MAX`; nothing is left out silently.
    """
    ids = everyone(store, participant)
    ended = sa.and_(receipts.c.key == intents.c.key, receipts.c.attempt == intents.c.attempt)
    columns = (intents.c.event, intents.c.stakeholder, intents.c.adapter, intents.c.at, intents.c.shares)
    query = (
        sa.select(*columns, receipts.c.outcome, receipts.c.code, receipts.c.at)
        .join_from(intents, receipts, ended, isouter=True)
        .where(intents.c.participant.in_(ids), intents.c.at >= since, intents.c.at <= until)
        .limit(ATTEMPTS_MAX + 1)
    )
    with store.read() as connection:
        attempts = [Attempt(*row) for row in connection.execute(query)]
        if len(attempts) > ATTEMPTS_MAX:
            raise TooMuch(
                f"more than {ATTEMPTS_MAX:,} attempts to disclose something in this period",
                "Ask for shorter periods, with --from and --to.",
            )
        attempts += _exports(connection, ids, since, until)
        told = disclosed(attempts)
        found = sorted([*told, *_visits(connection, ids, since, until)], key=lambda one: -one.last_at)
        return Account(
            participant,
            since,
            until,
            found,
            _events(connection, sorted({one.event for one in told})),
            _signed(connection, ids),
            helpers or {},
        )


def _visits(connection: sa.Connection, ids: Sequence[str], since: int, until: int) -> Iterable[Disclosure]:
    """What helpers saw: an entry for each, by the consent that named them."""
    granted = sa.select(directives.c.body).where(
        directives.c.participant.in_(ids), directives.c.type == "consent-granted"
    )
    bodies = [json.loads(body) for body in connection.execute(granted).scalars()]
    named = {who: body["consent"] for body in bodies for who in helping.named(body)}
    query = (
        sa.select(acted.c.who, sa.func.min(acted.c.at), sa.func.max(acted.c.at), sa.func.count())
        .where(
            acted.c.participant.in_(ids),
            acted.c.what == acts.SIGNED_IN,
            acted.c.who.in_(list(named)),
            acted.c.at >= since,
            acted.c.at <= until,
        )
        .group_by(acted.c.who)
    )
    for who, first_at, last_at, times in connection.execute(query) if named else ():
        (grant,) = named[who]["grants"]
        purposes, leave = tuple(sorted(grant["purposes"])), f"{named[who]['id']}/{grant['id']}"
        yield Disclosure(
            *("", who, first_at, last_at, times, 0, (helping.WAY,)), purposes, ("consent",), (leave,), ()
        )


def _exports(connection: sa.Connection, ids: Sequence[str], since: int, until: int) -> Iterable[Attempt]:
    """What was exported: certain once the file was written, in doubt where nobody knows."""
    made = sa.and_(acted.c.participant.in_(ids), acted.c.what == acts.EXPORTED)
    ended = acted.alias("ended")
    query = (
        sa.select(acted.c.at, acted.c.detail, ended.c.what, ended.c.at)
        .join_from(
            acted,
            ended,
            sa.and_(
                ended.c.participant == acted.c.participant,
                ended.c.about == acted.c.about,
                ended.c.what.in_((acts.EXPORT_WRITTEN, acts.EXPORT_DROPPED)),
            ),
            isouter=True,
        )
        .where(made, acted.c.at >= since, acted.c.at <= until)
        .order_by(acted.c.at)
        .limit(EXPORTS_MAX + 1)
    )
    rows = connection.execute(query).all()
    if len(rows) > EXPORTS_MAX:
        raise TooMuch(f"more than {EXPORTS_MAX:,} exports in this period", "Ask for shorter periods.")
    for at, said, what, ended_at in rows:
        outcome, code = _ENDS[what]
        for one in said["events"]:
            share = {"purpose": said["purpose"], **{name: one[name] for name in _SHARED}}
            yield Attempt(one["event"], said["recipient"], EXPORT, at, [share], outcome, code, ended_at)


def known(store: Store, participant: str) -> bool:
    """Whether the log ever spoke of this participant; also where every key and link of theirs is gone."""
    ids = everyone(store, participant)
    with store.read() as connection:
        return any(
            connection.execute(sa.select(sa.literal(1)).where(table.c.participant.in_(ids)).limit(1)).scalar()
            for table in (crosswalk, directives, decisions, intents)
        )


def _events(connection: sa.Connection, names: Sequence[str]) -> dict[str, About]:
    columns = (decisions.c.event, decisions.c.category, decisions.c.discloser, decisions.c.occurred_at)
    return {
        row.event: About(row.category, row.discloser, row.occurred_at)
        for some in chunks(names)
        for row in connection.execute(sa.select(*columns).where(decisions.c.event.in_(some)))
    }


def _signed(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str]:
    query = sa.select(directives.c.concerns, directives.c.body).where(
        directives.c.participant.in_(ids), directives.c.type == "consent-granted"
    )
    return {
        row.concerns: str(json.loads(row.body)["consent"].get("signed_at", ""))
        for row in connection.execute(query)
        if row.concerns is not None
    }
