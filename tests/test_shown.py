"""Alerts that people see: shown once, taken away for good, and every change noticed by whoever looks on."""

import sqlalchemy as sa

from connectors.adapter import Alert, Made
from hub.shown import ShownAlerts
from hub.store import Store
from hub.tables import alerts


def alert(name: str = "a-1", participant: str = "p-1") -> Alert:
    return Alert(
        id=name,
        stakeholder="reach",
        participant=participant,
        event="e-1",
        rule="booked-into-custody",
        urgency="urgent",
        at=5,
        sealed=b"sealed",
    )


def changes(store: Store) -> list[int]:
    with store.read() as connection:
        return list(connection.execute(sa.select(alerts.c.changed).order_by(alerts.c.changed)).scalars())


def test_an_alert_is_shown_once_to_whom_it_is_for(store: Store) -> None:
    shown = ShownAlerts(store)
    shown.insert_all([Made((alert(),))])
    shown.insert_all([Made((alert(),))])
    (one,) = shown.shown()
    assert (one.id, one.stakeholder, one.participant, one.sealed) == ("a-1", "reach", "p-1", b"sealed")
    assert changes(store) == [1]


def test_it_is_found_by_its_participant(store: Store) -> None:
    shown = ShownAlerts(store)
    shown.insert_all([Made((alert("a-1", "p-1"),))])
    shown.insert_all([Made((alert("a-2", "p-2"),))])
    assert [one.id for one in shown.shown(["p-2", "p-3"])] == ["a-2"]
    assert shown.shown([]) == []


def test_what_was_withdrawn_says_nothing_any_more_and_never_comes_back(store: Store) -> None:
    shown = ShownAlerts(store)
    shown.insert_all([Made((alert(),))])
    shown.withdraw(["a-1", "a-unknown"])
    shown.insert_all([Made((alert(),))])
    assert shown.shown() == []
    with store.read() as connection:
        row = connection.execute(sa.select(alerts)).one()
    assert row.sealed == b""
    withdrawn_at, changed = row.withdrawn_at, row.changed
    assert changed > 1
    shown.withdraw(["a-1"])
    with store.read() as connection:
        row = connection.execute(sa.select(alerts)).one()
    assert (row.withdrawn_at, row.changed) == (withdrawn_at, changed)
