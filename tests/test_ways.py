"""The ways out, for the operator: what waits and why; paused, resumed, tried out; each of it recorded."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from connectors.adapter import Read
from connectors.pending import Item, Lane
from connectors.recheck import PAUSED
from connectors.sftp import Note
from connectors.views import Views
from consent import default_policy
from hub import bootstrap, connector, outcomes, pausing, tables, ways
from hub.governance import POLICY_ID, write
from hub.language import tongue
from hub.registration import described
from hub.rendering import _environment
from hub.routes import operator
from hub.sent import SentFiles
from hub.store import upsert
from schemas import codec
from schemas.errors import Unavailable
from tests import stores
from tests.delivery_scene import Keys, Receiver, granted, revoked
from tests.desk import Desk
from tests.test_agency import description
from tests.test_alerts import Sink
from tests.test_engine import OK, World
from tests.webside import Side

NOW = 1_790_000_000_000


# -- the engine


def test_while_paused_deliveries_wait_and_none_begins() -> None:
    world = World()
    world.direct(granted())
    world.subscribe("reach", settings={PAUSED: "moving house"})
    world.offer(1)
    world.rounds()
    assert world.begun() == []
    assert len(world.left()) == 1
    assert not world.engine.due(world.memory.now)
    world.subscribe("reach")
    world.rounds()
    assert world.begun() == ["e-1"]


def test_what_was_taken_back_meanwhile_is_not_delivered_on_resuming() -> None:
    world = World()
    world.direct(granted())
    world.subscribe("reach", settings={PAUSED: "moving house"})
    world.offer(1)
    world.rounds()
    world.direct(revoked())
    world.subscribe("reach")
    world.rounds()
    assert world.begun() == []
    assert [one["event"] for one in world.memory.told("withheld")] == ["e-1"]


def test_a_pause_is_for_one_recipient_alone() -> None:
    world = World()
    world.direct(granted())
    world.subscribe("reach", settings={PAUSED: "moving house"})
    world.offer(1)
    world.offer(2, who="shelter")
    world.rounds()
    assert world.begun() == ["e-2"]


def test_what_was_under_way_when_paused_ends_and_its_next_try_waits() -> None:
    world = World()
    world.direct(granted())
    world.offer(1)
    world.rounds()
    world.subscribe("reach", settings={PAUSED: "moving house"})
    world.sends.end(connector.Outcome("failed", "http-500"))
    world.wait(60_000)
    world.rounds()
    assert world.begun() == []
    world.subscribe("reach")
    world.rounds()
    assert world.begun() == ["e-1"]
    world.sends.end(OK)
    world.rounds()
    assert world.left() == {}


# -- once more


def again(world: World, offset: int = 0, **change: Any) -> None:
    asked = {"id": "d", "stakeholder": "reach", "adapter": "webhook", "participant": "p1", "at": NOW}
    value = codec.encode("Resend", {**asked, "outbox_offset": offset, **change})
    world.memory.write("views", b"p1", value)
    world.rounds()


@pytest.fixture
def had() -> World:
    """An engine whose recipient has had one event."""
    world = World(views=Views(Sink(), Keys()))
    world.direct(granted())
    world.offer(1)
    world.rounds()
    world.sends.end(OK)
    world.rounds()
    return world


def test_what_was_delivered_is_delivered_again_under_the_same_key(had: World) -> None:
    again(had)
    assert had.begun() == ["e-1"]
    first, second = had.memory.told("intent")
    assert first["key"] == second["key"]
    had.sends.end(OK)
    had.rounds()
    assert had.left() == {}


def test_decided_anew_it_is_withheld_where_it_was_taken_back(had: World) -> None:
    had.direct(revoked())
    again(had)
    assert had.begun() == []
    assert [one["event"] for one in had.memory.told("withheld")] == ["e-1"]


def test_what_still_waits_or_is_under_way_is_not_doubled(had: World) -> None:
    again(had)
    again(had)
    assert had.begun() == ["e-1"]
    had.sends.end(connector.Outcome("failed", "http-500"))
    again(had)
    had.wait(60_000)
    had.rounds()
    assert had.begun() == ["e-1"]


def test_what_is_asked_for_must_be_there_and_be_theirs(had: World) -> None:
    for change in (
        {"offset": 7},
        {"participant": "p2"},
        {"adapter": "feed"},
        {"stakeholder": "shelter"},
        {"stakeholder": "nobody-of-ours"},
    ):
        again(had, **change)  # type: ignore[arg-type]
    assert had.begun() == []
    had.govern("retired", "reach-webhook", {"kind": "subscription"})
    again(had)
    assert had.begun() == []


# -- what waits


class Past:
    """A log of `pending` in memory."""

    def __init__(self) -> None:
        self.records: list[Read] = []
        self.asked: list[int | None] = []
        self.closed = False

    def put(self, key: bytes, value: bytes | None, at: int) -> None:
        self.records.append(Read(ways.TOPIC, 0, len(self.records), key, value, at))

    def read(self, topic: str, partition: int, since_ms: int | None = None) -> Sequence[Read]:
        self.asked.append(since_ms)
        return [one for one in self.records if since_ms is None or one.timestamp >= since_ms]

    def close(self) -> None:
        self.closed = True


def item(offset: int, who: str = "harbor-house", next_at: int = NOW + 60_000) -> Item:
    lane = Lane(who, "webhook", f"p{offset}", "contact")
    return Item(lane, 0, offset, f"d-{offset}", attempt=3, next_at=next_at)


def test_the_backlog_is_read_once_and_then_only_what_is_new() -> None:
    past, clock = Past(), [NOW]
    backlog = ways.Backlog(lambda: past, 1, lambda: clock[0])
    for offset in (1, 2):
        past.put(item(offset).ref, item(offset).encode(), NOW)
    marker = Item.endpoint("harbor-house", "webhook", 0, NOW)
    past.put(marker.ref, marker.encode(), NOW)
    assert [one.offset for one in backlog.items()] == [1, 2]
    past.put(item(1).ref, None, NOW + 1)
    assert len(backlog.items()) == 2, "it is not asked all the time"
    clock[0] += ways.LOOK_MS
    assert [one.offset for one in backlog.items()] == [2]
    assert past.asked == [None, NOW - ways.SKEW_MS]
    backlog.close()
    assert past.closed


def test_after_hours_the_backlog_is_read_anew() -> None:
    """What was done meanwhile may be gone from the log, and that it was done, too."""
    past, clock = Past(), [NOW]
    backlog = ways.Backlog(lambda: past, 1, lambda: clock[0])
    for offset in (1, 2):
        past.put(item(offset).ref, item(offset).encode(), NOW)
    assert len(backlog.items()) == 2
    clock[0] += ways.ANEW_MS
    past.records.clear()
    past.put(item(3).ref, item(3).encode(), clock[0])
    assert [one.offset for one in backlog.items()] == [3]


# -- what an operator sees and does


class Office:
    """The commands, on a store, keys and a log in memory."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self.desk, self.past = desk, Past()
        self.hub = SimpleNamespace(
            register=desk.register,
            appender=desk.log,
            store=desk.store,
            signing=desk.signing,
            vault=desk.vault,
            alert_rules=None,
            alarms=None,
            zone=None,
            client={"bootstrap.servers": "127.0.0.1:1", "log_level": 0},
            settings=SimpleNamespace(
                partitions=1,
                send_ms_max=5_000,
                demo=True,
                private_webhooks=True,
                webhook_certificate=None,
            ),
        )

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(connector.app, list(words))

    def row(self, adapter: str = "webhook") -> dict[str, Any]:
        ran = self.run("list", "--json")
        assert ran.exit_code == 0, ran.output
        [found] = [one for one in json.loads(ran.stdout) if one["adapter"] == adapter]
        return dict(found)

    def receipt(self, number: int, outcome: str, code: str, at: int = NOW, adapter: str = "webhook") -> None:
        row = {
            "partition": 0,
            "offset": number,
            "key": f"d-{number}",
            "stakeholder": "harbor-house",
            "adapter": adapter,
            "event": f"e-{number}",
            "participant": f"p{number}",
            "at": at,
            "attempt": 1,
            "outcome": outcome,
            "code": code,
            "next_at": None,
        }
        with self.desk.store.write() as connection:
            upsert(connection, tables.receipts, [row])

    def acts(self) -> list[tuple[str, str]]:
        return [(one["kind"], json.loads(one["body"])["about"]) for one in self.desk.log.values("access")]


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        made = Office(tmp_path, registered(Desk(store)))

        @contextmanager
        def hub() -> Iterator[Any]:
            yield made.hub

        monkeypatch.setattr(connector, "_hub", hub)
        monkeypatch.setattr(connector, "KafkaHistory", lambda client: made.past)
        monkeypatch.setattr(bootstrap, "now_ms", lambda: NOW)
        yield made


def registered(desk: Desk, **change: Any) -> Desk:
    if desk.register().policy is None:
        write(desk.log, "policy", POLICY_ID, default_policy(), "hub")  # type: ignore[arg-type]
    desk.registration.register([described(description(**change))], "test")
    return desk


def test_the_list_says_what_waits_what_went_and_what_is_wrong(office: Office) -> None:
    assert office.row()["state"] == "flows"
    office.past.put(item(1).ref, item(1).encode(), NOW)
    office.receipt(1, "delivered", "http-200", NOW - 3)
    office.receipt(2, "refused", "http-422", NOW - 2)
    office.receipt(3, "failed", "http-500", NOW - 1)
    office.receipt(4, "delivered", "http-200", NOW - 8 * 24 * 3_600_000)
    row = office.row()
    assert (row["state"], row["code"], row["waits"]) == ("fails", "http-500", 1)
    assert (row["delivered"], row["failed"], row["refused"]) == (1, 1, 1), "of a week"
    assert row["next_at"] == "2026-09-21T14:14:20.000Z"
    office.receipt(5, "refused", "http-410")
    assert office.row()["state"] == "ended"
    assert "p1" not in office.run("list").stdout


def test_what_waits_to_be_fetched_waits_and_is_not_delivered(office: Office) -> None:
    registered(
        office.desk, subscriptions=[{"purpose": "treatment", "categories": ["service"], "adapter": "pull"}]
    )
    waiting = {"stakeholder": "harbor-house", "participant": "p", "event": "e", "sealed": b"x", "at": NOW}
    with office.desk.store.write() as connection:
        rows = [waiting | {"number": n, "key": f"d-{n}", "fetched_at": n or None} for n in (0, 1)]
        upsert(connection, tables.pulls, rows)
    office.receipt(1, "delivered", "waits", adapter="pull")
    office.receipt(2, "delivered", "shown", adapter="pull")
    row = office.row("pull")
    assert (row["waits"], row["delivered"]) == (1, 1)
    assert outcomes.counts(office.desk.store, outcomes.Choice(NOW - 1, NOW + 1)).delivered == 1


def test_one_delivery_is_shown_whole_without_what_it_said(office: Office) -> None:
    office.receipt(1, "failed", "http-500")
    ran = office.run("show", "harbor-house", "webhook", "--delivery", "d-1", "--json")
    [row] = json.loads(ran.stdout)
    assert (row["record"], row["attempt"], row["code"], row["event"]) == ("receipt", 1, "http-500", "e-1")
    assert (
        json.loads(office.run("show", "harbor-house", "webhook", "--delivery", "d-2", "--json").stdout) == []
    )
    assert "http-500" in office.run("show", "harbor-house", "webhook").stdout


def test_pausing_and_resuming_are_recorded_and_a_new_description_changes_neither(office: Office) -> None:
    before = dict(office.desk.register().subscriptions)
    assert office.run("pause", "harbor-house", "webhook", "--reason", "moving house").exit_code == 0
    row = office.row()
    assert (row["state"], row["by"], row["why"]) == ("paused", "operator", "moving house")
    registered(office.desk, name="Harbour House")
    assert office.row()["state"] == "paused", "whoever describes it anew does not end the pause"
    assert office.run("resume", "harbor-house", "webhook").exit_code == 0
    assert office.row()["state"] == "flows"
    assert office.desk.register().subscriptions == before
    about = "harbor-house/webhook"
    assert office.acts() == [(pausing.PAUSE, about), (pausing.RESUME, about)]


@pytest.mark.parametrize("command", ["pause", "resume", "show", "test"])
def test_a_way_that_is_none_is_a_wrong_call(office: Office, command: str) -> None:
    ran = office.run(command, "harbor-house", "sftp")
    assert isinstance(ran.exception, connector.NoSuchWay)
    assert ran.exception.exit_status == 2
    assert office.acts() == []


def test_a_sample_arrives_and_says_that_it_is_one(office: Office) -> None:
    receiver = Receiver()
    registered(office.desk, webhook=receiver.url)
    ran = office.run("test", "harbor-house", "webhook")
    receiver.close()
    assert (ran.exit_code, ran.stdout.strip()) == (0, "delivered (http-204)"), ran.output
    [(_, key, body, headers)] = receiver.got
    assert body["sample"] is True
    assert key.startswith("sample-")
    assert headers["webhook-signature"]
    assert office.acts() == [(connector.TESTED, "harbor-house/webhook")]


def test_a_sample_that_does_not_arrive_is_said(office: Office) -> None:
    registered(office.desk, webhook="http://127.0.0.1:1/in")
    ran = office.run("test", "harbor-house", "webhook", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)) == (1, {"outcome": "failed", "code": "connect"})


def test_where_nothing_is_sent_there_is_nothing_to_try(office: Office) -> None:
    assert isinstance(office.run("test", "harbor-house", "pull").exception, connector.NoSuchWay)


def intent(office: Office, number: int, at: int, key: str = "") -> None:
    row = {
        "partition": 0,
        "offset": number,
        "key": key or f"d-{number}",
        "stakeholder": "harbor-house",
        "adapter": "webhook",
        "event": f"e-{number}",
        "participant": f"p{number}",
        "at": at,
        "attempt": 1,
        "outbox_partition": 0,
        "outbox_offset": number,
        "consent_offset": 0,
        "governance_offset": 0,
        "shares": [],
    }
    with office.desk.store.write() as connection:
        upsert(connection, tables.intents, [row])


def test_asking_once_more_names_positions_and_is_recorded(office: Office) -> None:
    for number, at in ((1, NOW - 10), (2, NOW), (3, NOW + 10)):
        intent(office, number, at)
    intent(office, 4, NOW + 20, key="v-page/d-3")
    since = "2026-09-21T14:13:20Z"
    ran = office.run("resend", "harbor-house", "webhook", "--since", since, "--json")
    assert json.loads(ran.stdout) == {"deliveries": 2, "more": False}
    asked = office.desk.log.values("views")
    assert sorted((one["outbox_offset"], one["participant"]) for one in asked) == [(2, "p2"), (3, "p3")]
    assert office.acts() == [(connector.RESENT, "harbor-house/webhook")]
    office.run("resend", "harbor-house", "webhook", "--delivery", "d-1")
    assert {one["outbox_offset"] for one in office.desk.log.values("views")} == {1, 2, 3}
    assert office.run("resend", "harbor-house", "webhook", "--delivery", "d-9").exit_code == 1


@pytest.mark.parametrize(
    "words", [[], ["--delivery", "d-1", "--since", "2026-09-21T14:13:20Z"], ["--since", "yesterday"]]
)
def test_what_to_send_once_more_has_to_be_said(office: Office, words: list[str]) -> None:
    ran = office.run("resend", "harbor-house", "webhook", *words)
    assert isinstance(ran.exception, connector.WrongCall)
    assert office.acts() == []


def test_files_are_not_found_again_when_they_are_wanted_once_more(office: Office) -> None:
    sent = SentFiles(office.desk.store)
    sent.note("harbor-house", Note("a.csv", None, frozenset({"d-1", "d-2"}), NOW))
    sent.note("harbor-house", Note("b.csv", ".b.csv.part", frozenset({"d-1"}), NOW))
    sent.again("harbor-house", ["d-1"])
    found = {one.name: one.keys for one in sent.of("harbor-house")}
    assert found == {"a.csv": {"d-2"}, "b.csv": {"d-1"}}, "what is in doubt is looked for all the same"


def test_the_page_has_a_line_for_each_what_is_wrong_first(office: Office) -> None:
    registered(
        office.desk,
        subscriptions=[
            {"purpose": "treatment", "categories": ["service"], "adapter": "feed"},
            {"purpose": "treatment", "categories": ["service"]},
        ],
    )
    office.past.put(item(1).ref, item(1).encode(), NOW)
    office.receipt(1, "failed", "http-500")
    backlog = ways.Backlog(lambda: office.past, 1, lambda: NOW)
    of = SimpleNamespace(store=office.desk.store, register=office.desk.register, backlog=backlog)
    words = tongue("es", "UTC")
    rows = operator._ways(of, words, {"harbor-house": "Harbor House"}, NOW)  # type: ignore[arg-type]
    assert rows is not None
    assert [(row["adapter"], row["state"], row["urgency"]) for row in rows] == [
        ("Webhook", "Falla", "urgent"),
        ("Flujo de Kafka", "Fluye", "permit"),
    ]
    assert (rows[0]["waits"], rows[0]["failed"], rows[0]["code"]) == ("1", "1", "http-500")
    template = _environment("es").get_template("_stages.html")
    page = template.render(stages=[], ways=rows, refused=[], as_of="", tongue=words)
    assert page.index("Webhook") < page.index("Flujo de Kafka")
    assert "p1" not in page


def test_the_page_says_when_the_log_does_not_answer(office: Office) -> None:
    def away() -> Past:
        raise Unavailable("the log does not answer")

    backlog = ways.Backlog(away, 1, lambda: NOW)
    of = SimpleNamespace(store=office.desk.store, register=office.desk.register, backlog=backlog)
    assert operator._ways(of, tongue("en", "UTC"), {}, NOW) is None  # type: ignore[arg-type]


@pytest.mark.broker
def test_an_operator_sees_them_on_the_page_that_is_served(side: Side) -> None:
    with side.person("operator") as client:
        page = client.get("/operator")
    assert page.status_code == 200
    assert "What goes out" in page.text
    assert "What waits cannot be read now" not in page.text
