"""What records mean for the tables that privacy officers watch by. Twice is the same as once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from consent.terms import Consent
from consent.untyped import NEVER_MS, moment, text, texts
from hub.store import chunks, upsert
from hub.tables import decisions, receipts
from hub.watchtables import acknowledged, ending, hourly, open_attempts, parked

HOUR_MS: Final = 3_600_000
SENDER, RECIPIENT = "sender", "recipient"

Value = Mapping[str, Any]


def directives(connection: sa.Connection, placed: Iterable[tuple[int, Value]]) -> None:
    """Directives with their offsets, in order: consents that begin, and that end before their day."""
    for offset, value in placed:
        body, who = json.loads(value["body"]), value["participant"]
        mine = sa.and_(ending.c.participant == who, ending.c.offset < offset)
        if value["type"] == "consent-granted":
            consent = Consent.of(body.get("consent"))
            if consent is not None:
                _begun(connection, who, consent, offset)
        elif value["type"] == "consent-revoked" and not (
            texts(body.get("recipients")) or texts(body.get("grants"))
        ):
            named = ending.c.consent == (text(body.get("consent_id")) or "")
            _ended(connection, sa.and_(mine, named), value["recorded_at"])
        elif value["type"] == "program-exited" and (left := moment(body.get("at"))) is not None:
            _ended(connection, sa.and_(mine, ending.c.on_exit), left)


def _begun(connection: sa.Connection, participant: str, consent: Consent, offset: int) -> None:
    row = {
        "participant": participant,
        "consent": consent.id,
        "offset": offset,
        "expires_at": consent.expires_at if consent.expires_at < NEVER_MS else None,
        "on_exit": consent.on_exit,
        "ended_at": None,
    }
    upsert(connection, ending, [row])


def _ended(connection: sa.Connection, which: "sa.ColumnElement[bool]", at: int) -> None:
    connection.execute(ending.update().where(which, ending.c.ended_at.is_(None)).values(ended_at=at))


def waiting(connection: sa.Connection, agency: str, values: Iterable[Value]) -> None:
    """Records of what an agency's events wait for, in order."""
    for value in values:
        if value["released"]:
            connection.execute(parked.delete().where(parked.c.event == value["event"]))
        else:
            row = {"event": value["event"], "agency": agency, "at": value["at"]}
            upsert(connection, parked, [row])


def acknowledgements(connection: sa.Connection, values: Iterable[Value]) -> None:
    """How far owners said that they had applied consent; the first time of each step counts."""
    names = ("partition", "consent_offset", "at")
    rows = [
        {"stakeholder": one} | {name: told[name] for name in names}
        for told in values
        for one in told["stakeholders"]
    ]
    upsert(connection, acknowledged, rows)


def attempted(connection: sa.Connection, begun: Iterable[Value], over: Iterable[Value]) -> None:
    """Intents with their places, and receipts, in any order: what has no receipt yet is open."""
    ended = {(one["key"], one["attempt"]) for one in over}
    names = ("key", "attempt", "participant", "partition", "offset")
    rows = {(one["key"], one["attempt"]): {name: one[name] for name in names} for one in begun}
    for some in chunks(sorted({key for key, _ in rows})):
        query = sa.select(receipts.c.key, receipts.c.attempt).where(receipts.c.key.in_(some))
        ended |= {(key, number) for key, number in connection.execute(query)}
    upsert(connection, open_attempts, [row for one, row in rows.items() if one not in ended])
    if gone := [{"its": key, "nth": number} for key, number in ended]:
        mine = sa.and_(
            open_attempts.c.key == sa.bindparam("its"), open_attempts.c.attempt == sa.bindparam("nth")
        )
        connection.execute(open_attempts.delete().where(mine), gone)


def counted(connection: sa.Connection, partition: int, values: Sequence[Value]) -> None:
    """Decisions of one partition that are about to be in the store: those that are there are counted already.

    What is decided again is nothing new of its sender; what it permits is something new for its recipient.
    """
    names = [value["id"] for value in values]
    known = {
        name
        for some in chunks(names)
        for name in connection.execute(sa.select(decisions.c.id).where(decisions.c.id.in_(some))).scalars()
    }
    sums: dict[tuple[int, str, str], list[int]] = {}
    for value in values:
        if value["id"] in known:
            continue
        known.add(value["id"])
        event, hour = value["event"], value["at"] // HOUR_MS
        told = [(SENDER, event["discloser"])] if value["cause"] == "first" else []
        told += [(RECIPIENT, one["stakeholder"]) for one in value["outcomes"] if one["effect"] == "permit"]
        for kind, who in told:
            found = sums.setdefault((hour, kind, who), [0, 0])
            found[0] += 1
            found[1] += bool(event["labels"])
    for (hour, kind, who), (count, labelled) in sorted(sums.items()):
        _add(connection, {"hour": hour, "kind": kind, "who": who, "partition": partition}, count, labelled)


def _add(connection: sa.Connection, key: Mapping[str, Any], count: int, labelled: int) -> None:
    upsert(connection, hourly, [{**key, "count": 0, "labelled": 0}])
    mine = sa.and_(*(hourly.c[name] == value for name, value in key.items()))
    connection.execute(
        hourly.update()
        .where(mine)
        .values(count=hourly.c.count + count, labelled=hourly.c.labelled + labelled)
    )
