"""What privacy officers watch by: built from the log, in any pace, and the same when it is built again."""

import importlib
import json
import random
from typing import Any

import pytest
import sqlalchemy as sa

from hub import awaiting, closings
from hub.closings import Closing, histogram, percentile
from hub.projections import Read, project
from hub.store import Store
from hub.tables import acts
from hub.watchtables import WATCHED, acknowledged, ending, hourly, open_attempts, parked
from schemas import codec, instant
from tests.test_auditor import decision, parcel

NOW = 1_795_000_000_000
DAY = 24 * 3_600_000
OFFSETS = {"consent_offset": 1, "governance_offset": 2}


def record(topic: str, kind: str, offset: int, value: dict[str, Any], partition: int = 0) -> Read:
    return Read(topic, partition, offset, kind, codec.decode(codec.encode(kind, value))[1])


def directive(offset: int, body: dict[str, Any], at: int = NOW, participant: str = "p-1") -> Read:
    value = {"id": f"d-{offset}", "participant": participant, "sender": "s", "recorded_at": at}
    value |= {"type": body["type"], "body": json.dumps(body).encode()}
    return record("consent", "Directive", offset, value)


def consent(name: str, days: int | None, **more: Any) -> dict[str, Any]:
    grant = {"id": "g", "disclosers": ["*"], "recipients": ["clinic"], "purposes": ["treatment"]}
    grant |= {"categories": ["service"], "labels": [], "compartments": ["subject"]}
    body = {
        "id": name,
        "signed_at": instant.format(NOW - DAY),
        "starts_at": instant.format(NOW - DAY),
        "signature": {"method": "paper", "reference": "x"},
        "statements": ["right-to-revoke", "redisclosure", "refusal"],
        "grants": [grant],
        **({"expires_at": instant.format(NOW + days * DAY)} if days is not None else {}),
        **more,
    }
    return {"type": "consent-granted", "consent": body}


def told(offset: int, stakeholder: str, consent_offset: int, at: int) -> Read:
    value = {"stakeholders": [stakeholder], "partition": 0, "owner": "o", "at": at}
    value |= {"consent_offset": consent_offset, "governance_offset": 1}
    return record("deliveries", "Delivery", offset, {"acknowledgement": value})


def attempt(offset: int, number: int, ended_at: int | None, stakeholder: str = "clinic") -> list[Read]:
    mine = parcel(number) | {"stakeholder": stakeholder, "attempt": 1}
    share = {"subscription": "s", "purpose": "treatment", "basis": "consent", "grants": ["c-1/g"]}
    share |= {"compartments": ["subject"], "obligations": []}
    intent = mine | OFFSETS | {"outbox_partition": 0, "outbox_offset": 1, "at": NOW - 50, "shares": [share]}
    found = [record("deliveries", "Delivery", offset, {"intent": intent})]
    if ended_at is not None:
        over = mine | {"outcome": "delivered", "code": "http-200", "at": ended_at, "next_at": None}
        found.append(record("deliveries", "Delivery", offset + 1, {"receipt": over}))
    return found


def parking(offset: int, event: str, *, released: bool = False) -> Read:
    value = {"agency": "jail", "local": "ab", "event": event, "at": NOW + offset, "released": released}
    return record("parked.jail", "Parked", offset, value | {"sealed": b""})


def some_of_everything() -> list[Read]:
    return [
        directive(1, consent("c-1", 1)),
        directive(2, consent("c-2", 20)),
        directive(3, consent("c-3", 6, expires_on="program-exit")),
        directive(4, consent("c-4", 5), participant="p-2"),
        directive(5, {"type": "consent-revoked", "consent_id": "c-2"}),
        directive(6, {"type": "consent-revoked", "consent_id": "c-1", "recipients": ["clinic"]}),
        directive(7, {"type": "program-exited", "at": instant.format(NOW)}),
        directive(8, consent("c-5", 3, expires_on="program-exit")),
        *(told(number, "clinic", 5 + number // 2, NOW + number) for number in range(6)),
        *attempt(20, 1, NOW + 5),
        *attempt(22, 2, None),
        *(parking(number, f"e-{number}") for number in range(3)),
        parking(3, "e-1", released=True),
        *(record("decisions", "Decision", number, decision(number)) for number in range(5)),
        record("decisions", "Decision", 9, decision(9) | {"cause": "reconsider"}),
    ]


def content(store: Store) -> list[list[Any]]:
    with store.read() as connection:
        return [sorted(tuple(row) for row in connection.execute(sa.select(table))) for table in WATCHED]


def applied(store: Store, records: list[Read]) -> None:
    with store.write() as connection:
        project(connection, records)


def test_it_says_what_ends_waits_was_heard_and_how_much_there_was(store: Store) -> None:
    applied(store, some_of_everything())
    with store.read() as connection:
        ended = {row.consent: row.ended_at for row in connection.execute(sa.select(ending))}
        waits = [row.event for row in connection.execute(sa.select(parked).order_by(parked.c.event))]
        heard = [(row.consent_offset, row.at) for row in connection.execute(sa.select(acknowledged))]
        volumes = {
            (row.kind, row.who): (row.count, row.labelled) for row in connection.execute(sa.select(hourly))
        }
    assert ended == {"c-1": None, "c-2": NOW, "c-3": NOW, "c-4": None, "c-5": None}
    assert waits == ["e-0", "e-2"]
    assert sorted(heard) == [(5, NOW), (6, NOW + 2), (7, NOW + 4)], "the first time of each step"
    assert volumes == {("sender", "reach"): (5, 5), ("recipient", "s-1"): (6, 6)}, (
        "once decided, twice not sent"
    )
    soon = awaiting.expiring(store, NOW)
    assert dict(soon.counts) == {1: 1, 7: 3, 30: 3}
    assert [one[1] for one in soon.next] == ["c-1", "c-5", "c-4"]
    (line,) = awaiting.unlinked(store)
    assert (line.who, line.records, line.first_at) == ("jail", 2, NOW)


def test_twice_and_one_by_one_it_is_the_same(store: Store) -> None:
    everything = some_of_everything()
    for one in everything:
        applied(store, [one])
    once = content(store)
    applied(store, everything)
    assert content(store) == once
    assert all(once)


def test_open_is_what_has_no_receipt_in_whatever_order_and_batch_it_came(store: Store) -> None:
    chance = random.Random(7)
    ends = {number: chance.choice([None, NOW + number]) for number in range(1, 31)}
    pieces = [one for number, end in ends.items() for one in attempt(number * 2, number, end)]
    pieces += chance.sample(pieces, 20)
    chance.shuffle(pieces)
    while pieces:
        size = chance.randint(1, 6)
        applied(store, pieces[:size])
        del pieces[:size]
    rows = sa.select(open_attempts).order_by(open_attempts.c.offset)
    with store.read() as connection:
        kept = connection.execute(rows).all()
    assert [row.offset for row in kept] == [number * 2 for number, end in ends.items() if end is None]
    step = importlib.import_module("hub.migrations.versions.0014_open_attempts")
    with store.write() as connection:
        connection.execute(open_attempts.delete())
        connection.exec_driver_sql(step.OPEN)
        assert connection.execute(rows).all() == kept, "a store of before gets the same"


# ---- fences ---------------------------------------------------------------------------------------------

REVOKED = {"type": "consent-revoked", "consent_id": "c-1", "recipients": ["clinic"]}
SINCE = {"clinic": 0, "reach": 0}


def closed(store: Store, registered: dict[str, int] | None = None, overdue: int = NOW + DAY) -> list[Closing]:
    known = SINCE if registered is None else registered
    return closings.closings(store, NOW - DAY, NOW + DAY, known, overdue).closings


@pytest.mark.parametrize("backwards", [False, True])
def test_a_fence_is_closed_by_the_last_of_those_it_waits_for(store: Store, backwards: bool) -> None:
    everything = [
        directive(4, REVOKED),
        told(1, "clinic", 3, NOW + 20),
        told(2, "clinic", 9, NOW + 70),
        told(3, "reach", 4, NOW + 900),  # is not concerned
        *attempt(10, 1, NOW + 200),
        *attempt(12, 2, NOW + 800, "reach"),  # nothing of the clinic's
    ]
    for one in reversed(everything) if backwards else everything:
        applied(store, [one])
    (found,) = closed(store)
    assert (found.took_ms, found.doubts, found.type) == (200, 0, "consent-revoked")


def test_one_that_somebody_has_not_passed_or_that_is_in_doubt_is_not_closed(store: Store) -> None:
    whole = {"type": "consent-revoked", "consent_id": "c-1"}
    applied(store, [directive(4, REVOKED), directive(5, whole), told(1, "clinic", 5, NOW + 70)])
    by_offset = {one.offset: one.took_ms for one in closed(store)}
    assert by_offset == {4: 70, 5: None}, "reach has not passed what concerns everybody"
    assert {one.offset: one.took_ms for one in closed(store, SINCE | {"reach": NOW + 1})}[5] == 70
    applied(store, attempt(10, 1, None))
    assert [(one.took_ms, one.doubts) for one in closed(store)] == [(None, 1), (None, 1)]
    assert [one.doubts for one in closed(store, overdue=NOW - 60)] == [0, 0], "it may still be under way"
    assert closings.closings(store, NOW + 1, NOW + DAY, SINCE, NOW) == ([], True)


def test_of_too_many_some_are_taken_from_all_of_the_period_and_it_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [NOW + place for place in (1, 2, 3, 4, 5, 6, 40, 70, 89)]
    applied(store, [directive(4 + n, REVOKED, at) for n, at in enumerate(times)])
    applied(store, [told(1, "clinic", 20, NOW + 100)])
    monkeypatch.setattr(closings, "AT_ONCE_MAX", 2)
    everything = closings.closings(store, NOW, NOW + 89, SINCE, NOW)
    assert everything.whole
    assert [one.started_at - NOW for one in everything.closings] == [89, 70, 40, 6, 5, 4, 3, 2, 1]
    assert all(one.took_ms == NOW + 100 - one.started_at for one in everything.closings)
    monkeypatch.setattr(closings, "NARROWINGS_MAX", 6)
    monkeypatch.setattr(closings, "PARTS", 3)
    some = closings.closings(store, NOW, NOW + 89, SINCE, NOW)
    assert [one.started_at - NOW for one in some.closings] == [89, 70, 40, 6, 5]
    assert not some.whole


def test_times_are_counted_in_bins_and_none_is_lost() -> None:
    took = [0, 99, 100, 700, 59_999, 60_000, 9_000_000]
    bins = histogram(took)
    assert sum(one.fences for one in bins) == len(took)
    assert [one.fences for one in bins if one.fences] == [2, 1, 1, 1, 1, 1]
    assert (percentile(took, 0.5), percentile(took, 0.99), percentile([], 0.5)) == (700, 9_000_000, None)


# ---- what is held, refused, declared --------------------------------------------------------------------


def test_what_is_held_and_refused_is_counted_with_its_age(store: Store) -> None:
    held = [
        parcel(n) | OFFSETS | {"at": NOW + n, "reasons": [{"subscription": "x", "reason": "revoked"}]}
        for n in range(3)
    ]
    refused = {"stage": "admit", "agency": "jail", "reason": "not-json", "detail": "d", "sealed": b"z"}
    applied(
        store,
        [
            *(record("deliveries", "Delivery", n, {"withheld": one}) for n, one in enumerate(held)),
            *(
                record("quarantine", "Quarantined", n, refused | {"id": f"q-{n}", "at": NOW + n})
                for n in range(3)
            ),
        ],
    )
    assert [tuple(one) for one in awaiting.held(store, NOW)] == [("s-1", "revoked", 3, NOW, NOW + 2)]
    assert awaiting.held(store, NOW + 10) == []
    assert [one.records for one in awaiting.refused(store, NOW + 5)] == [3]
    row = {
        "topic": "access",
        "partition": 0,
        "offset": 1,
        "at": NOW,
        "id": "a",
        "who": "o",
        "participant": None,
    }
    with store.write() as connection:
        connection.execute(
            acts.insert().values(row | {"what": "quarantine-discarded", "about": "q-1", "detail": {}})
        )
    assert [one.records for one in awaiting.refused(store, NOW + 5)] == [2]
