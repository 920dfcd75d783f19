"""What records mean for the tables: the same on both kinds of store, once or twice, in one batch or many."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from hub import tables
from hub.projections import Read, project, read
from hub.publictables import PUBLIC
from hub.store import Store
from schemas import codec
from schemas.errors import BrokenRecord, UnknownSchema
from tests.test_auditor import act, decision, parcel
from tests.test_watching import consent

APPLIED = {"consent_offset": 1, "governance_offset": 2}


def log() -> list[Read]:
    """Some of everything that is projected, with places of its own."""
    rule = json.dumps({"type": "order-filed", "order": {"id": "o-1"}}).encode()
    signed = json.dumps(consent("c-1", 30)).encode()
    link = {"participant": "p-1", "agency": "reach", "local": "ab" * 32, "sealed": b"s", "by": "x"}
    refused = {"id": "q-1", "stage": "admit", "agency": None, "reason": "not-json", "detail": "d", "at": 5}
    intent = parcel(1) | APPLIED | {"outbox_partition": 0, "outbox_offset": 4, "attempt": 1, "at": 10}
    ended = parcel(1) | {"attempt": 1, "outcome": "delivered", "code": "http-200", "at": 11, "next_at": None}
    held = parcel(2) | APPLIED | {"at": 12, "reasons": [{"subscription": "x", "reason": "revoked"}]}
    told = APPLIED | {"stakeholders": ["s-1"], "partition": 0, "at": 13, "owner": "o"}
    directive = {"id": "d-1", "participant": "p-1", "sender": "s", "recorded_at": 1, "type": "order-filed"}
    came = {"id": "x", "event": "e-1", "reason": None}
    records: list[tuple[str, str, dict[str, Any]]] = [
        *(("decisions", "Decision", decision(number, 9)) for number in range(40)),
        ("deliveries", "Delivery", {"intent": intent}),
        ("deliveries", "Delivery", {"receipt": ended}),
        ("deliveries", "Delivery", {"withheld": held}),
        ("deliveries", "Delivery", {"acknowledgement": told}),
        ("consent", "Directive", directive | {"body": rule}),
        ("consent", "Directive", directive | {"id": "d-2", "type": "consent-granted", "body": signed}),
        ("parked.reach", "Parked", {"agency": "reach", "local": "ab", "event": "e", "at": 1, "sealed": b""}),
        ("identity", "Identity", link | {"kind": "linked", "at": 1}),
        ("identity", "Identity", link | {"kind": "linked", "at": 2, "local": "cd" * 32}),
        ("identity", "Identity", link | {"kind": "unlinked", "at": 3}),
        ("quarantine", "Quarantined", refused | {"sealed": b"z"}),
        ("work", "Work", act("alert-acknowledged", alert="a-1") | {"by": "me", "participant": "p-1"}),
        *(
            (
                "work",
                "Work",
                act(kind, stakeholder="reach", account="ana", **more) | {"by": "me", "participant": whom},
            )
            for kind, whom, more in (
                ("caseload-assigned", "p-1", {}),
                ("team-joined", "", {"team": "night", "lead": True}),
                ("cover-arranged", "", {"cover": "ben", "starts_at": 1, "ends_at": 2}),
                ("alert-seen", "p-1", {"alerts": ["a-1", "a-2"]}),
            )
        ),
        (
            "work",
            "Work",
            act("request-filed", about="r-1", asks="copy", due_at=9) | {"by": "me", "participant": "p-1"},
        ),
        (
            "work",
            "Work",
            act("participants-merged", into="p-1", links=[["reach", "ab" * 32]])
            | {"by": "me", "participant": "p-2"},
        ),
        (
            "access",
            "Access",
            act("order-approved", directive="d-1") | {"principal": "o", "participant": None},
        ),
        ("receipts.reach", "Receipted", came | {"status": "parked", "at": 1}),
        ("receipts.reach", "Receipted", came | {"status": "admitted", "at": 2}),
        ("receipts.reach", "Receipted", {"id": None, "event": None, "status": "quarantined", "at": 3}),
        ("governance", "Governance", {"kind": "policy", "id": "policy", "at": 1, "by": "x", "body": b"{}"}),
    ]
    return [
        read(topic, 1, offset, codec.encode(name, value))
        for offset, (topic, name, value) in enumerate(records)
    ]


def everything(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in tables.PROJECTED
        }


def test_everything_gets_to_its_table(store: Store) -> None:
    with store.write() as connection:
        project(connection, log())
    counts = {name: len(rows) for name, rows in everything(store).items()}
    published = {table.name for table in PUBLIC}  # of which `tests/test_aggregates.py` sees that they fill
    assert {name: count for name, count in counts.items() if name not in published} == {
        "outcomes": 360,
        "decisions": 40,
        "directives": 2,
        "ending": 1,
        "parked": 1,
        "acknowledged": 1,
        "open_attempts": 0,  # its receipt has come
        "hourly": 5,
        "intents": 1,
        "receipts": 1,
        "withheld": 1,
        "quarantine": 1,
        "event_status": 1,
        "acts": 8,
        "caseloads": 1,
        "teams": 1,
        "covers": 1,
        "sightings": 2,
        "petitions": 1,
        "crosswalk": 1,
        "merges": 1,
    }
    with store.read() as connection:
        concerned = sa.select(tables.directives.c.concerns).order_by(tables.directives.c.offset)
        assert connection.execute(concerned).scalars().all() == ["o-1", "c-1"]
        assert connection.execute(sa.select(tables.event_status.c.status)).scalar() == "admitted"


def test_record_by_record_it_is_the_same_as_in_one_batch(store: Store) -> None:
    with store.write() as connection:
        project(connection, log())
    at_once = everything(store)
    with store.write() as connection:
        for table in tables.PROJECTED:
            connection.execute(table.delete())
    for record in log():
        with store.write() as connection:
            project(connection, [record])
    assert everything(store) == at_once


def test_what_is_projected_twice_stands_once(store: Store) -> None:
    once = [record for record in log() if record.kind not in ("Receipted", "Identity")]
    for _ in range(2):
        with store.write() as connection:
            project(connection, once)
    counts = {name: len(rows) for name, rows in everything(store).items()}
    assert (counts["decisions"], counts["outcomes"], counts["intents"], counts["acts"]) == (40, 360, 1, 8)


def test_a_directive_without_its_matter_is_kept_all_the_same(store: Store) -> None:
    for offset, body in enumerate((b"{}", b'{"consent": null}', b'{"consent": {"id": 5}}')):
        value = {"id": f"d-{offset}", "participant": "p", "sender": "s", "recorded_at": 1, "body": body}
        record = Read("consent", 0, offset, "Directive", value | {"type": "consent-granted"})
        with store.write() as connection:
            project(connection, [record])
    with store.read() as connection:
        assert connection.execute(sa.select(tables.directives.c.concerns)).scalars().all() == [None] * 3


def test_what_cannot_be_read_is_said_by_its_place_in_the_code() -> None:
    with pytest.raises(UnknownSchema):
        read("decisions", 0, 0, b"\0\x7f\xff\xff\xff")
    with pytest.raises(BrokenRecord):
        read("decisions", 0, 0, codec.encode("Decision", decision(1))[:-1])
