"""What becomes an alert without a decision, and reminders: once each, moved with their hearing."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from connectors.adapter import Outgoing, Share
from connectors.alert_rules import default
from connectors.alerts import Alerts
from hub import shown
from hub.alerting import say
from hub.crosswalk import local_aad
from hub.desk import NEWS_MS_MAX, Desk
from hub.language import Tongue
from hub.projections import Read
from hub.shown import KEPT_MS_MAX, ShownAlerts
from hub.silence import EVERY_MS, Silence
from hub.store import upsert
from hub.tables import alerts, crosswalk, decisions
from hub.today import cursor
from schemas import instant
from tests import stores
from tests.office import HOUR, NOW, ORG, Alarms, Office

ANGELES = ZoneInfo("America/Los_Angeles")
DAY = 24 * HOUR


class Town(Office):
    """An office with the adapter that fills it, and the desk that rings in it."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.sink = ShownAlerts(store)
        self.desk = Desk(default(), "linkers", lambda: self.now)
        self.offset = 0

    def deliver(
        self, key: str, at: int, *, participant: str = "p-1", occurred_at: int = NOW, **hearing: Any
    ) -> None:
        """One court status, delivered as the engine does."""
        told = {"status": "set", "at": instant.format(at), "id": "h-1", **hearing}
        view = {
            "type": "court-status",
            "purposes": ["care-coordination"],
            "data": {"subject": {"name": "Rosa"}, "occurrence": {"hearing": told}},
        }
        envelope = {"id": f"e-{key}", "participant": participant, "occurred_at": occurred_at}
        share = Share("s", "care-coordination", "consent", ("c/g",), ("occurrence", "subject"), ())
        outgoing = Outgoing(key, ORG, "alerts", 1, {}, view, envelope, (share,))
        adapter = Alerts(self.sink, self.vault, lambda: self.now, default(), self.alarms, ANGELES)
        asyncio.run(adapter.deliver(outgoing))

    def read(self, kind: str, value: Mapping[str, Any], topic: str = "") -> None:
        self.offset += 1
        with self.store.write() as connection:
            self.desk.apply(connection, [Read(topic, 0, self.offset, kind, value)])

    def ring(self, kind: str, ref: str, due_at: int) -> None:
        self.read("Clock", {"participant": "p-1", "kind": kind, "ref": ref, "due_at": due_at}, "rings")

    def directive(self, type_: str, name: str = "d-1", at: int = NOW, sender: str = ORG, **body: Any) -> None:
        value = {
            "id": name,
            "participant": "p-1",
            "sender": f"stakeholder:{sender}",
            "recorded_at": at,
            "type": type_,
            "body": json.dumps({"type": type_, **body}).encode(),
            "sealed": None,
        }
        self.read("Directive", value)

    def rows(self, **where: Any) -> list[Any]:
        query = sa.select(alerts).where(*(alerts.c[name] == value for name, value in where.items()))
        with self.store.read() as connection:
            return list(connection.execute(query.order_by(alerts.c.due_at, alerts.c.id)).all())

    def ahead(self) -> list[int]:
        return [row.due_at for row in self.rows(rule="hearing-ahead") if row.withdrawn_at is None]

    def rings(self) -> dict[str, int]:
        """What the clock has been told, the last word on each."""
        return {ref: due for _, kind, ref, due in self.alarms.told if kind == "alert"}


@pytest.fixture
def town(tmp_path: Any) -> Iterator[Town]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        yield Town(store)


HEARING = NOW + 10 * DAY


def test_a_hearing_makes_one_alert_now_and_its_reminders_later(town: Town) -> None:
    town.deliver("d-1", HEARING)
    assert [(row.rule, row.urgency) for row in town.rows(due_at=None)] == [("hearing-set", "information")]
    assert town.ahead() == [HEARING - 3 * DAY, HEARING - DAY, HEARING - 2 * HOUR]
    assert town.sees("ana") == ["d-1"]
    assert sorted(town.rings().values()) == town.ahead()
    assert all(row.sealed and b"Rosa" not in row.sealed for row in town.rows())
    assert all("Rosa" not in ref and "h-1" not in ref for ref in town.rings())


def test_delivered_again_after_a_crash_it_is_the_same_and_the_clock_is_told_again(town: Town) -> None:
    town.deliver("d-1", HEARING)
    rows, rings = town.rows(), town.rings()
    town.alarms = Alarms()
    town.now += 1_000
    town.deliver("d-1", HEARING)
    assert town.rows() == rows
    assert town.rings() == rings


def test_a_hearing_that_is_moved_moves_its_reminders(town: Town) -> None:
    town.deliver("d-1", HEARING)
    old = set(town.rings())
    town.deliver("d-2", HEARING + DAY, occurred_at=NOW + 1, status="moved")
    assert town.ahead() == [HEARING - 2 * DAY, HEARING, HEARING + DAY - 2 * HOUR]
    rings = town.rings()
    assert {ref for ref, due in rings.items() if due == 0} == old
    assert sorted(due for due in rings.values() if due) == town.ahead()
    assert [row.rule for row in town.rows(due_at=None)] == ["hearing-set", "hearing-moved"]


def test_a_hearing_that_is_cancelled_or_held_reminds_of_nothing(town: Town) -> None:
    for key, status in (("a", "cancelled"), ("b", "held")):
        town.deliver(f"d-{key}", HEARING, id=key)
        assert len(town.ahead()) == 3
        town.deliver(f"d-{key}-2", HEARING, id=key, status=status, occurred_at=NOW + 1)
        assert town.ahead() == []
    assert set(town.rings().values()) == {0}


def test_what_comes_late_does_not_move_it_back(town: Town) -> None:
    """A later consent brings earlier events: the hearing stays where it was moved to."""
    town.deliver("d-2", HEARING + DAY, occurred_at=NOW + 1, status="moved")
    ahead = town.ahead()
    town.deliver("d-1", HEARING, occurred_at=NOW)
    assert town.ahead() == ahead
    assert [row.rule for row in town.rows(due_at=None)] == ["hearing-set", "hearing-moved"], "both are told"
    town.deliver("d-3", HEARING, id="another", occurred_at=NOW)
    assert len(town.ahead()) == 6, "another hearing has its own"
    town.deliver("d-4", HEARING, participant="p-2", occurred_at=NOW)
    assert len(town.ahead()) == 9, "and so has another person's"


def test_how_near_it_is_is_said_at_once(town: Town) -> None:
    town.deliver("d-1", NOW + 90 * 60_000)
    (row,) = town.rows()
    assert (row.rule, row.urgency, row.due_at) == ("hearing-set", "urgent", None)


def test_a_bell_rings_once_at_its_time_and_for_nothing_else(town: Town) -> None:
    town.deliver("d-1", HEARING)
    (first, *_) = town.rows(rule="hearing-ahead")
    before = cursor(town.store, ORG)
    town.ring("alert", first.id, first.due_at - 1)
    assert town.sees("ana") == ["d-1"], "an alarm of before it moved"
    town.ring("alert", first.id, first.due_at)
    assert town.sees("ana")[0] in (first.id, "d-1")
    assert set(town.sees("ana")) == {first.id, "d-1"}
    after = cursor(town.store, ORG)
    assert int(after) > int(before), "live pages look again"
    town.ring("alert", first.id, first.due_at)
    assert cursor(town.store, ORG) == after
    assert town.one(first.id).rung_at == first.due_at


def test_a_bell_for_what_was_taken_back_is_heard_by_nobody(town: Town) -> None:
    town.deliver("d-1", HEARING)
    (first, *_) = town.rows(rule="hearing-ahead")
    assert {one.id for one in town.sink.shown(["p-1"])} == {row.id for row in town.rows()}, (
        "the fence sees it"
    )
    town.sink.withdraw([row.id for row in town.rows()])
    town.ring("alert", first.id, first.due_at)
    assert town.sees("ana") == []
    assert town.one(first.id).sealed == b""


def test_what_nobody_takes_escalates_and_what_somebody_took_does_not(town: Town) -> None:
    for name in ("taken", "left"):
        town.alert(name, escalates_at=NOW + HOUR)
    with town.store.write() as connection:
        connection.execute(alerts.update().where(alerts.c.id == "taken").values(acknowledged_at=NOW))
    for name in ("taken", "left"):
        town.ring("escalation", name, NOW + HOUR)
    assert (town.one("taken").escalated_at, town.one("left").escalated_at) == (None, NOW + HOUR)


CONSENT = {"id": "c-1", "expires_at": instant.format(NOW + 30 * DAY)}


def test_the_consents_custodian_hears_that_it_changed_and_nobody_else(town: Town) -> None:
    town.directive("consent-granted", consent=CONSENT)
    town.directive("consent-granted", "d-x", sender="harbor", consent={**CONSENT, "id": "c-2"})
    assert town.rows() == []
    town.directive("consent-revoked", "d-2", sender="harbor", consent_id="c-1", recipients=["police"])
    town.directive("consent-revoked", "d-3", consent_id="c-1")
    town.directive("restriction-placed", "d-4", restriction={"id": "r-1"})
    told = [(row.rule, row.stakeholder, row.facts["consent"]) for row in town.rows()]
    assert sorted(told) == [
        ("consent-narrowed", ORG, "c-1"),
        ("consent-revoked", ORG, "c-1"),
        ("restriction-placed", "harbor", "c-2"),
    ]
    others = {row.rule: row.facts.get("agency") for row in town.rows()}
    assert others == {"consent-narrowed": "harbor", "consent-revoked": None, "restriction-placed": ORG}
    assert all(row.event == "" and row.sealed == b"" for row in town.rows())
    assert town.sink.shown() == [], "no disclosure: the fence need not wait for it"
    link = {"agency": ORG, "participant": "p-1", "local": "ab", "at": 0, "offset": 0}
    sealed = town.vault.sealer("p-1").seal(local_aad(ORG, "ab"), b"4711")
    with town.store.write() as connection:
        upsert(connection, crosswalk, [{**link, "sealed": sealed}])
    views = [one.view for one in town.picture("ana").waiting]
    assert [view["local_id"] for view in views] == ["4711"] * 2, "by their own id, and nobody else's"
    said = {one.rule: say(one, Tongue("en"), NOW) for one in town.picture("ana").waiting}
    assert said["consent-narrowed"].what.startswith("harbor says that "), "another's word is told as theirs"
    assert said["consent-narrowed"].next.startswith("Ask them if it was their wish.")
    assert said["consent-revoked"].what.endswith(" took a consent back.")


def test_a_consent_that_is_about_to_end_is_told_unless_it_ended_before(town: Town) -> None:
    town.directive("consent-granted", consent=CONSENT)
    town.ring("consent-expires-soon", "c-1/30", NOW)
    town.ring("consent-expires-soon", "c-1/30", NOW)
    town.ring("consent-expires-soon", "c-1/5", NOW)
    town.ring("consent-expires-soon", "c-unknown/30", NOW)
    (row,) = town.rows()
    assert (row.rule, row.facts) == (
        "consent-expires",
        {"consent": "c-1", "days": 30, "expires_at": NOW + 30 * DAY},
    )
    town.directive("consent-revoked", "d-2", consent_id="c-1")
    town.ring("consent-expires-soon", "c-1/7", NOW)
    assert [row.rule for row in town.rows()].count("consent-expires") == 1


def test_old_news_is_none(town: Town) -> None:
    """Projections are built again from the beginning, years later."""
    town.directive("consent-granted", consent=CONSENT)
    town.directive("consent-revoked", "d-2", at=NOW - NEWS_MS_MAX - 1, consent_id="c-1")
    assert town.rows() == []


def test_somebody_unknown_reaches_the_desk_that_links_people_until_it_is_done(town: Town) -> None:
    parked = {"agency": "jail", "local": "ab", "event": "e-1", "at": NOW, "released": False, "sealed": b"x"}
    town.read("Parked", parked)
    town.read("Parked", {**parked, "event": "e-2"})
    (row,) = town.rows()
    assert (row.rule, row.stakeholder, row.participant, row.facts) == (
        "somebody-unknown",
        "linkers",
        "",
        {"agency": "jail"},
    )
    town.read("Parked", {**parked, "released": True})
    assert town.rows()[0].withdrawn_at is not None
    town.desk = Desk(default(), None, lambda: NOW)
    town.read("Parked", {**parked, "local": "cd"})
    assert len(town.rows()) == 1, "nobody links people here"


def test_letters_of_the_community_reach_the_same_desk_as_one_alert_a_day(town: Town) -> None:
    for number in range(3):
        body = json.dumps({"about": f"l-{number}", "letter": "harm"}).encode()
        work = {"kind": "letter-received", "at": NOW, "by": "public", "participant": "", "body": body}
        town.read("Work", {"id": f"a-{number}", "sealed": b"x", **work})
    (row,) = town.rows()
    assert (row.rule, row.stakeholder, row.facts) == ("letter-waiting", "linkers", {"letter": "harm"})


def test_what_stood_for_too_long_goes(town: Town) -> None:
    town.alert("a")
    town.alert("ahead", "p-2", due_at=NOW + DAY)
    assert town.sink.expire(NOW + KEPT_MS_MAX) == 0
    assert town.sink.expire(NOW + KEPT_MS_MAX + 1) == 1
    assert town.one("a").sealed == b""
    assert town.one("ahead").withdrawn_at is None


def test_a_timeline_is_bounded_and_alerts_are_not_its_lines(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "LINES_MAX", 2)
    for n in range(4):
        town.now = NOW + n
        town.alert(f"line-{n}", rule="")
        town.alert(f"alert-{n}")
    town.alert("others", "p-2", rule="")
    assert town.sink.expire(town.now) == 2
    gone = {row.id for row in town.rows() if row.withdrawn_at is not None}
    assert gone == {"line-0", "line-1"}


def test_silence_makes_one_alert_and_contact_ends_it(town: Town) -> None:
    silence = Silence(town.store, default(), lambda: town.now)

    def look() -> list[tuple[int, bool]]:
        town.now += EVERY_MS
        silence.look()
        found = town.rows(rule="no-contact")
        return [
            (row.facts["days"], row.withdrawn_at is None) for row in sorted(found, key=lambda row: row.at)
        ]

    town.caseloads.assign("person:lead", ORG, "p-1", "ana")
    assert look() == []
    town.now = NOW + 14 * DAY
    assert look() == [(14, True)]
    assert look() == [(14, True)], "once"
    assert len(town.sees("ana")) == 1
    place = {"partition": 0, "offset": 1}
    contact = {
        "id": "x-1",
        "cause": "first",
        "event": "e-9",
        "participant": "p-1",
        "discloser": ORG,
        "type": "contact",
        "category": "contact.outreach",
        "occurred_at": town.now,
        "at": town.now,
        "envelope": {},
        "position": {},
        "consent_offset": 0,
        "governance_offset": 0,
        **place,
    }
    with town.store.write() as connection:
        upsert(connection, decisions, [contact])
    assert look() == [(14, False)]
    town.now += 14 * DAY
    assert look() == [(14, False), (14, True)], "another silence"
    town.caseloads.unassign("person:lead", ORG, "p-1", "ana")
    assert look() == [(14, False), (14, False)], "nobody's to look after any more"
