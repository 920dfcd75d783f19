"""The law of alerts: what matches a rule and is permitted makes exactly one, whatever is killed and where."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from confluent_kafka.admin import NewTopic

from connectors.projection import idempotency_key
from hub.store import Store
from hub.tables import alerts
from schemas import codec
from tests.delivery_scene import Keys, Scene, event, granted, now_ms, revoked, scene, share_of, until

pytestmark = pytest.mark.broker

POINTS = ("alerts.kept:kill:1", "alerts.rung:kill:1", "deliver.delivered:kill:3")
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("contact.custody-booking", "booked-into-custody", {"booked_at": 1_780_000_000_000}),
    ("contact.outreach", "", {}),
    ("contact.custody-booking", "booked-into-custody", {"booked_at": 1, "release_expected_at": 0}),
    ("contact.law-enforcement", "police-contact", {}),
)
DAY_MS = 86_400_000


@pytest.fixture
def town(empty_kafka: str) -> Iterator[Scene]:
    with scene(empty_kafka) as made:
        made._admin.create_topics([NewTopic("alarms", 1, 1)])["alarms"].result()
        yield made


def test_one_alert_for_each_event_and_addressee_whatever_is_killed(town: Scene, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'hub.db'}"
    Store(address).migrate()
    store = Store(address)
    release = now_ms() + 10 * DAY_MS
    town.subscribe("reach", "alerts")
    expected: dict[str, str] = {}
    number = 0
    for point in (*POINTS, ""):
        worker = town.worker("only", crash=point, store=address, alarms=True)
        for category, rule, fields in KINDS:
            number += 1
            ahead = {"release_expected_at": release} if "release_expected_at" in fields else {}
            made = event(number, f"p{number}", category, **(fields | ahead))
            town.direct(f"p{number}", granted())
            town.offer("reach", made, share_of("reach-alerts"))
            expected[idempotency_key(Keys(), "reach", "alerts", f"e-{number}")] = rule
        if point:
            until(lambda worker=worker: worker.code() is not None, why=f"for {point}")
    until(lambda: _delivered(town) == set(expected), why="for everything to be delivered")
    rows = _rows(store)
    assert {row.id: row.rule for row in rows if row.due_at is None} == expected, "one each, the right one"
    reminded = Counter(row.event for row in rows if row.due_at is not None)
    releases = {f"e-{n}" for n in range(1, number + 1) if n % len(KINDS) == 3}
    assert reminded == dict.fromkeys(releases, 2)
    told = {(one["kind"], one["ref"], one["due_at"]) for one in _alarms(town)}
    assert {(ref, due) for kind, ref, due in told if kind == "alert"} == {
        (row.id, row.due_at) for row in rows if row.due_at is not None
    }, "the clock knows each, at one time"
    escalating = {name for name, rule in expected.items() if rule == "booked-into-custody"}
    assert {ref for kind, ref, _ in told if kind == "escalation"} == escalating
    town.direct("p3", revoked())
    until(
        lambda: all(row.withdrawn_at for row in _rows(store) if row.participant == "p3"), why="for the fence"
    )
    left = [row for row in _rows(store) if row.withdrawn_at is None]
    assert len(left) == len(rows) - 3, "its reminders went with it, and nobody else's"
    store.close()


def _delivered(town: Scene) -> set[str]:
    return {one["key"] for one in town.told("receipt") if one["outcome"] == "delivered"}


def _rows(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(sa.select(alerts)).all())


def _alarms(town: Scene) -> list[Any]:
    return [codec.decode(value)[1] for _, _, value in town.read("alarms") if value is not None]
