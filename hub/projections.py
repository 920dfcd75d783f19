"""What each record of the log means for the store's tables. Applying a record twice changes nothing more."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub import acts, caseloads, handling, letters, merging, publictables, requests, tables, watching
from hub.store import upsert
from schemas import codec

Row = dict[str, Any]
_CONCERNS: Final = {
    "consent-granted": ("consent", "id"),
    "consent-revoked": (None, "consent_id"),
    "restriction-placed": ("restriction", "id"),
    "restriction-lifted": (None, "restriction_id"),
    "order-filed": ("order", "id"),
    "order-vacated": (None, "order_id"),
    "emergency-declared": ("emergency", "id"),
}
_ABOUT: Final = ("about", "quarantine", "directive", "alert", "emergency", "event")


class Read(NamedTuple):
    """A record of the log with its place; `kind` and `value` as the codec gives them."""

    topic: str
    partition: int
    offset: int
    kind: str
    value: Mapping[str, Any]


def read(topic: str, partition: int, offset: int, value: bytes) -> Read:
    """Decodes a record. Raises `UnknownSchema` or `BrokenRecord`: only the hub writes what is read here."""
    kind, decoded = codec.decode(value)
    return Read(topic, partition, offset, kind, decoded)


def project(connection: sa.Connection, records: Iterable[Read]) -> None:
    """Applies records, in order, within the caller's transaction."""
    kinds: dict[str, list[Read]] = {}
    for record in records:
        kinds.setdefault(record.kind, []).append(record)
    for kind, found in kinds.items():
        if kind in _APPLY:
            _APPLY[kind](connection, found)


def _decisions(connection: sa.Connection, records: Sequence[Read]) -> None:
    heads: list[Row] = []
    outcomes: list[Row] = []
    for record in records:
        value, envelope = record.value, record.value["event"]
        heads.append(
            {
                "id": value["id"],
                "cause": value["cause"],
                "event": envelope["id"],
                "participant": envelope["participant"],
                "discloser": envelope["discloser"],
                "type": envelope["type"],
                "category": envelope["category"],
                "occurred_at": envelope["occurred_at"],
                "at": value["at"],
                "envelope": envelope,
                "position": value["position"],
                "consent_offset": value["consent_offset"],
                "governance_offset": value["governance_offset"],
                "partition": record.partition,
                "offset": record.offset,
            }
        )
        outcomes += [
            {
                **outcome,
                "decision": value["id"],
                "number": number,
                "event": envelope["id"],
                "participant": envelope["participant"],
                "at": value["at"],
            }
            for number, outcome in enumerate(value["outcomes"])
        ]
    for partition in sorted({record.partition for record in records}):
        mine = [record.value for record in records if record.partition == partition]
        watching.counted(connection, partition, mine)
    upsert(connection, tables.decisions, heads)
    upsert(connection, tables.outcomes, outcomes)


def _deliveries(connection: sa.Connection, records: Sequence[Read]) -> None:
    found: dict[str, list[Row]] = {}
    for part, table in (
        ("intent", tables.intents),
        ("receipt", tables.receipts),
        ("withheld", tables.withheld),
    ):
        columns = [column.name for column in table.columns]
        rows = []
        for record in records:
            if (body := record.value[part]) is not None:
                place = {"partition": record.partition, "offset": record.offset}
                rows.append({name: (body | place)[name] for name in columns})
        upsert(connection, table, rows)
        found[part] = rows
    watching.attempted(connection, found["intent"], found["receipt"])
    told = [record.value["acknowledgement"] for record in records]
    watching.acknowledgements(connection, [one for one in told if one is not None])


def _directives(connection: sa.Connection, records: Sequence[Read]) -> None:
    rows = []
    for record in records:
        value = record.value
        rows.append(
            {
                "partition": record.partition,
                "offset": record.offset,
                "id": value["id"],
                "participant": value["participant"],
                "sender": value["sender"],
                "recorded_at": value["recorded_at"],
                "type": value["type"],
                "concerns": _concerned(value["type"], json.loads(value["body"])),
                "body": value["body"],
            }
        )
    upsert(connection, tables.directives, rows)
    watching.directives(connection, [(record.offset, record.value) for record in records])


def _concerned(kind: str, body: Mapping[str, Any]) -> str | None:
    section, field = _CONCERNS.get(kind, (None, ""))
    found = (body.get(section) or {} if section else body).get(field)
    return found if isinstance(found, str) else None


def _identity(connection: sa.Connection, records: Sequence[Read]) -> None:
    """As `hub.crosswalk.Links` folds it: the first claim of a local id counts until it is ended."""
    table = tables.crosswalk
    for record in records:
        value = record.value
        if value["kind"] == "unlinked":
            connection.execute(
                table.delete().where(
                    table.c.agency == value["agency"],
                    table.c.local == value["local"],
                    table.c.participant == value["participant"],
                )
            )
        elif value["kind"] == "linked":
            row = {name: value[name] for name in ("agency", "local", "participant", "sealed", "at")}
            upsert(
                connection,
                table,
                [row | {"offset": record.offset}],
                update=("participant", "sealed", "at", "offset"),
                where=_claimed,
            )


def _claimed(new: Any) -> sa.ColumnElement[bool]:
    """Whether a link is to stand where another does: the same one, placed; or one that was made earlier."""
    table = tables.crosswalk
    return sa.or_(
        sa.and_(table.c.participant == new["participant"], table.c.offset.is_(None)),
        sa.and_(table.c.participant != new["participant"], table.c.at > new["at"]),
    )


def _quarantined(connection: sa.Connection, records: Sequence[Read]) -> None:
    names = ("id", "stage", "agency", "reason", "detail", "path", "at", "position")
    upsert(
        connection,
        tables.quarantine,
        [
            {name: record.value[name] for name in names}
            | {"partition": record.partition, "offset": record.offset}
            for record in records
        ],
    )


def _receipted(connection: sa.Connection, records: Sequence[Read]) -> None:
    """What became of each event: once admitted it stays so; repeats and conflicts are counted beside it."""
    table = tables.event_status
    events = {event for record in records if (event := record.value["event"]) is not None}
    query = sa.select(table).where(table.c.event.in_(events))
    known = {row.event: dict(row._mapping) for row in connection.execute(query)}
    for record in records:
        value, event = record.value, record.value["event"]
        if event is None:
            continue
        agency = record.topic.partition(".")[2]
        row = known.setdefault(
            event,
            {"event": event, "agency": agency, "status": "", "at": 0, "duplicates": 0, "conflicts": 0},
        )
        row.setdefault("reason", None)
        if value["status"] in ("duplicate", "conflict") and row["status"]:
            row[value["status"] + "s"] += 1
        elif row["status"] != "admitted":
            row |= {"status": value["status"], "reason": value["reason"], "at": value["at"]}
    upsert(
        connection,
        table,
        known.values(),
        update=("status", "reason", "at", "duplicates", "conflicts"),
    )


def _parked(connection: sa.Connection, records: Sequence[Read]) -> None:
    for record in records:
        watching.waiting(connection, record.topic.partition(".")[2], [record.value])


def _acts(connection: sa.Connection, records: Sequence[Read]) -> None:
    rows = []
    for record in records:
        value = record.value
        detail = json.loads(value["body"])
        if record.kind == "Work" and value["kind"] in caseloads.KINDS:
            caseloads.apply(connection, value, record.offset)
        elif record.kind == "Work" and value["kind"] in handling.KINDS | {acts.SEEN}:
            handling.apply(connection, value, record.offset)
        elif record.kind == "Work" and value["kind"] in requests.KINDS:
            requests.apply(connection, value, record.offset)
        elif record.kind == "Work" and value["kind"] in letters.ACTS:
            letters.apply(connection, value, record.offset)
        elif record.kind == "Work" and value["kind"] in merging.KINDS:
            merging.apply(connection, value, record.offset)
        rows.append(
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "at": value["at"],
                "id": value["id"],
                "who": value["by"] if record.kind == "Work" else value["principal"],
                "what": value["kind"],
                "participant": value["participant"] or None,
                "about": next((str(detail[name]) for name in _ABOUT if name in detail), None),
                "detail": detail,
            }
        )
    upsert(connection, tables.acts, rows)


def _aggregates(connection: sa.Connection, records: Sequence[Read]) -> None:
    last = {(one.value["partition"], one.value["month"]): one.value for one in records}
    upsert(connection, publictables.aggregates, last.values(), update=("at", "sealed"))


def _publications(connection: sa.Connection, records: Sequence[Read]) -> None:
    """The first of each stays: what was published is final."""
    for record in records:
        row = {**record.value, "body": json.loads(record.value["body"])}
        upsert(connection, publictables.publications, [row])


_APPLY: Final[dict[str, Callable[[sa.Connection, Sequence[Read]], None]]] = {
    "Decision": _decisions,
    "Delivery": _deliveries,
    "Directive": _directives,
    "Identity": _identity,
    "Parked": _parked,
    "Quarantined": _quarantined,
    "Receipted": _receipted,
    "Work": _acts,
    "Access": _acts,
    "Aggregate": _aggregates,
    "Publication": _publications,
}
