"""Counting people: each once, nobody who does not want to be or was erased; and what is published of it."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import default_policy, fold
from consent.counting import counted
from hub.kek import LocalKek
from hub.publictables import aggregates, publications
from hub.publishing import Publisher
from hub.store import Store, upsert
from hub.vault import Vault
from schemas import codec, compartments, instant, sealing
from schemas.errors import Invalid
from schemas.events import Published
from schemas.topics import partition_of
from streams import measures, tallies
from streams.aggregate import ANOTHER, KEY, Tables, aad, opened, values_max
from streams.cells import OTHER, Cell, Release, Rules
from streams.measures import Measures
from streams.person import NOT_STATED, SEVERAL, Person, facts_max
from streams.release import kinds, release
from streams.suppression import intervals
from tests.counted import CATEGORIES, DAY, MONTH, ROWS, envelope, everybody, fields
from tests.streams_kit import Cluster, Process, until
from tests.streams_scene import World, directive

NEVER: Final = {
    "type": "restriction-placed",
    "restriction": {"id": "r-1", "recipients": ["*"], "purposes": ["program-evaluation"], "categories": ["*"],
                    "labels": ["*"]},
}  # fmt: skip


def person(events: Iterable[tuple[str, int]], **more: Any) -> Person:
    found = Person()
    for category, day in events:
        found.apply(envelope("p", category, day), fields(**more), day)
    return found


EVENTS = st.lists(st.tuples(st.sampled_from(CATEGORIES), st.integers(DAY - 200, DAY + 200)), max_size=25)


@settings(max_examples=60)
@given(EVENTS, st.randoms())
def test_a_person_counts_once_in_whatever_order_and_however_often_events_come(
    events: list[tuple[str, int]], dice: random.Random
) -> None:
    again = [*events, *events]
    dice.shuffle(again)
    cells = person(events).cells(ROWS, everybody)
    assert person(again).cells(ROWS, everybody) == cells
    assert Person.load(person(events).dump()).cells(ROWS, everybody) == cells
    assert person(events).dump() == person(again).dump()
    for series, month, kind in {one[:3] for one in cells}:
        for dimension in measures.DIMENSIONS:
            assert sum(one[:4] == (series, month, kind, dimension) for one in cells) == 1


@settings(max_examples=40)
@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_what_is_said_to_add_up_does(people: list[list[tuple[str, int]]]) -> None:
    """The relations that disclosure control relies on are true of people, whatever happened to them."""
    counts: Counter[Cell] = Counter()
    for events in people:
        counts.update(person(events).cells(ROWS, everybody))
    for month in {one[1] for one in counts}:
        full: dict[Cell, int] = {}
        for row in ROWS.of(month):
            for kind in kinds(row, CATEGORIES):
                full[measures.cell(row.series, month, kind)] = 0
                for name in measures.DIMENSIONS:
                    values = {one[4] for one in counts if one[3] == name} | {OTHER}
                    full |= {measures.cell(row.series, month, kind, name, value): 0 for value in values}
        assert {one for one in counts if one[1] == month} <= full.keys()
        for one in measures.relations(ROWS.of(month), list(full)):
            whole, parts = (sum(counts[cell] for cell in side) for side in (one.whole, one.parts))
            assert whole == parts if one.exact else whole <= parts, one


def test_who_does_not_want_to_be_counted_is_not() -> None:
    state = fold([NEVER])
    assert not counted("service.housing", (), state)
    assert counted(
        "service.housing", (), fold([NEVER, {"type": "restriction-lifted", "restriction_id": "r-1"}])
    )
    only = {**NEVER["restriction"], "categories": ["service"], "labels": ["part2"]}
    some = fold([{"type": "restriction-placed", "restriction": only}])
    assert counted("service.housing", (), some)
    assert not counted("service.housing", ("part2",), some)
    assert counted("contact.outreach", ("part2",), some)
    police = {**NEVER["restriction"], "recipients": ["harbor-pd"]}
    assert counted("service.housing", (), fold([{"type": "restriction-placed", "restriction": police}]))


def test_tables_follow_what_people_say_about_being_counted() -> None:
    tables = Tables(ROWS, UTC, 2)
    for number in range(30):
        tables.event(envelope(f"p-{number}"), fields())
    total = measures.cell("referrals@1", MONTH, "community")

    def count() -> int:
        tables.settle()
        return sum(found[MONTH][total] for found in tables.counts.values())

    assert count() == 30
    assert tables.event(envelope("p-1"), fields()) is None, "said again it says nothing"
    tables.directive(directive("p-1", NEVER))
    assert count() == 29
    tables.event(envelope("p-1", "referral.community", DAY + 1), fields())
    assert count() == 29
    tables.directive(directive("p-1", {"type": "restriction-lifted", "restriction_id": "r-1"}))
    assert count() == 30
    tables.drop("p-2")
    assert count() == 29


def test_what_admit_notes_is_coarse_and_no_sender_can_write_it() -> None:
    born = {"subject": {"birth_date": "1990-03-11"}, "engagement": {"engaged": True}}
    at = instant.parse("2026-03-10T12:00:00Z")
    assert tallies.words(born, at) == ["age:35-44", "engaged:yes"]
    assert tallies.age("2008-03-11", at) == "0-17"
    assert tallies.age("2008-03-10", at) == "18-24"
    assert tallies.age("1930-01-01", at) == tallies.OLDEST
    legal = {"legal": {"warrant": {"status": "quashed"}, "disposition": "Declined to file"}}
    assert tallies.words(legal, at) == ["charge:not-filed", "warrant:quashed"]
    assert tallies.words({"legal": {"warrant": {"status": "issued"}, "disposition": "dismissed"}}, at) == []
    for ms, band in ((60_000, "within-1-hour"), (3 * 3_600_000, "within-1-day"), (30 * 86_400_000, "later")):
        assert tallies.words({"activity": {"handed_off_at": at + ms}}, at) == [f"handoff:{band}"]
    published = Published("1", "s", "referral", "referral.community", (), at, "l", {"subject": {"name": "A"}})
    assert tallies.noted(published) is published.compartments


def test_only_two_compartments_are_opened(store: Store) -> None:
    vault = Vault(store, LocalKek(bytes(32)))
    envelope_ = envelope("p-1", compartments=["equity", "legal", "narrative", "occurrence", "subject"])
    parts = {"equity": {"gender": "woman"}, "occurrence": {"occurred_at": 5}}
    sealed = dict.fromkeys(envelope_["compartments"], b"never opened")
    for name, values in parts.items():
        data = compartments.encode("referral", name, values)
        sealed[name] = vault.sealer("p-1").seal(sealing.aad(envelope_, name), data)
    assert opened(vault, {"envelope": envelope_, "sealed": sealed}) == parts


def test_two_races_are_counted_once_and_spellings_are_one() -> None:
    found = person([("referral.community", DAY)], race=("Black", "white"))
    assert {one[4] for one in found.cells(ROWS, everybody) if one[3] == "race"} == {SEVERAL}
    spelt = person([("referral.community", DAY)], race=("African-American",), district="  North_East ")
    values = {one[3]: one[4] for one in spelt.cells(ROWS, everybody)}
    assert (values["race"], values["district"]) == ("african american", "north east")
    blank = person([("referral.community", DAY)], race=(), district=" ")
    values = {one[3]: one[4] for one in blank.cells(ROWS, everybody)}
    assert (values["race"], values["district"]) == (NOT_STATED, NOT_STATED)


def test_before_and_after_and_until_are_of_the_first_event_of_the_month() -> None:
    happened = [("referral.community", DAY), ("contact.custody-booking", DAY - 90),
                ("contact.custody-booking", DAY + 91), ("service.housing", DAY + 8)]  # fmt: skip
    cells = person(happened).cells(ROWS, everybody)
    assert {one[2] for one in cells if one[0] == "bookings@1"} == {"before"}
    assert {one[2] for one in cells if one[0] == "first-service@1"} == {"within-30-days"}


def test_what_is_kept_of_a_person_is_bounded() -> None:
    found = Person()
    for number in range(facts_max + 50):
        found.apply(envelope("p"), fields(district=str(number)), DAY)
    assert len(found.facts) == facts_max
    found.apply(envelope("p", day=DAY + 600), fields(), DAY + 600)
    assert len(found.facts) == 1


def test_a_thousand_invented_districts_are_told_as_one() -> None:
    tables = Tables(ROWS, UTC, 1)
    for number in range(values_max + 100):
        tables.event(envelope(f"p-{number}"), fields(district=f"d{number:04d}"))
    tables.settle()
    rows = [row for row in tables.rows(0, MONTH) if row[:3] == ["referrals@1", "community", "district"]]
    assert len(rows) == values_max + 1
    assert [row[4] for row in rows if row[3] == ANOTHER] == [100]


def counts_of(people: Iterable[Person]) -> Counter[Cell]:
    found: Counter[Cell] = Counter()
    for one in people:
        found.update(one.cells(ROWS, everybody))
    return found


def _some(count: int, **more: Any) -> list[Person]:
    return [person([("referral.community", DAY), ("service.housing", DAY + 1)], **more) for _ in range(count)]


def test_one_in_a_district_is_neither_named_nor_to_be_found() -> None:
    counts = counts_of(
        [*_some(40, district="north"), *_some(30, district="south"), *_some(1, district="pier 4")]
    )
    by_id = {row.id: row for row in ROWS.of(MONTH)}
    earlier: dict[str, Release] = {}
    for name in ("referrals", "services", "first-service"):
        row = by_id[name]
        earlier[row.series] = release(row, MONTH, counts, CATEGORIES, ROWS.of(MONTH), earlier)
    made = earlier["referrals@1"]
    assert made.values["district"] == ["north", "south", OTHER, NOT_STATED]
    assert "pier" not in json.dumps(made.body(Rules()))
    shown = {cell: n for one in earlier.values() for cell, n in one.cells.items()}
    assert shown[measures.cell("referrals@1", MONTH, "community")] == 70
    known = intervals(shown, measures.relations(ROWS.of(MONTH), list(shown)))
    other = measures.cell("referrals@1", MONTH, "community", "district", OTHER)
    assert shown[other] is None
    assert all(high - low >= 10 for low, high in known.values())


def test_a_race_stated_by_two_is_told_with_the_others() -> None:
    counts = counts_of(
        [*_some(40, race=("white",)), *_some(20, race=("black",)), *_some(2, race=("samoan",))]
    )
    row = next(one for one in ROWS.of(MONTH) if one.id == "referrals")
    made = release(row, MONTH, counts, CATEGORIES, ROWS.of(MONTH), {})
    assert made.values["race"] == ["black", "white", OTHER, NOT_STATED]
    assert Release.of(row.series, MONTH, json.loads(json.dumps(made.body(Rules())))) == made


def test_a_measure_that_changes_its_definition_begins_a_new_series() -> None:
    old = next(one for one in ROWS.rows if one.id == "engaged")
    new = old.model_copy(update={"version": 2, "since": "2026-04", "events": ("contact",)})
    rows = Measures([old, new])
    found = person(
        [("contact.outreach", DAY), ("contact.case-management", DAY), ("contact.outreach", DAY + 31)]
    )
    told = {one[:2] for one in found.cells(rows, everybody)}
    assert told == {("engaged@1", "2026-03"), ("engaged@2", "2026-04")}
    with pytest.raises(Invalid):
        Measures([old, old.model_copy(update={"version": 2})])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('by = "one"\ntally = "engaged"', "has no"),
        ('by = "until"\nthen = ["service"]', "needs `bands`"),
        ('by = "sideways"', "Input should be"),
        ('by = "one"\ncolour = "blue"', "Extra inputs"),
    ],
)
def test_a_measure_that_makes_no_sense_is_named(change: str, said: str, tmp_path: Path) -> None:
    text = f"""[[measure]]
id = "a-measure"
version = 1
from = "2026-01"
events = ["service"]
ripe_days = 3
title = {{ en = "A", es = "A" }}
says = {{ en = "A.", es = "A." }}
{change}
"""
    path = tmp_path / "measures.toml"
    path.write_text(text)
    with pytest.raises(Invalid, match=r".") as caught:
        measures.load(path)
    assert said in str(caught.value.detail) or said in str(caught.value.problems)


@pytest.mark.broker
def test_people_are_counted_across_a_kill_once_and_not_when_erased(empty_kafka: str, tmp_path: Path) -> None:
    partitions = 2
    cluster = Cluster(empty_kafka)
    cluster.equip(partitions)
    world = World(tmp_path)
    said = tmp_path / "health.json"
    args = (cluster.bootstrap, str(tmp_path), "aggregate-0", str(partitions))

    def publish(participant: str, category: str) -> None:
        made, key = envelope(participant, category), participant.encode()
        sealed = {
            name: world.vault.sealer(participant).seal(
                sealing.aad(made, name), compartments.encode(made["type"], name, values)
            )
            for name, values in fields().items()
        }
        value = codec.encode("Event", {"envelope": made, "sealed": sealed})
        cluster.write(made["type"], [(key, value)], partition_of(key, partitions))

    def restrict(participant: str) -> None:
        key = participant.encode()
        value = codec.encode("Directive", directive(participant, NEVER))
        cluster.write("consent", [(key, value)], partition_of(key, partitions))

    def people() -> int:
        found: dict[int, int] = {}
        for record in cluster.read("aggregates", partitions):
            value = codec.decode_as("Aggregate", record.value or b"")
            if value["month"] == MONTH:
                data = world.vault.hub(KEY).open(aad(value["partition"], MONTH), value["sealed"])
                found[value["partition"]] = sum(
                    row[4] for row in json.loads(data) if row[:3] == ["referrals@1", "community", "all"]
                )
        return sum(found.values())

    worker = Process("tests.aggregate_worker", *args)
    try:
        for number in range(12):
            publish(f"p-{number}", "referral.community")
            publish(f"p-{number}", "referral.community")
        restrict("p-3")
        until(lambda: people() == 11, "eleven people")
        worker.kill()
        said.unlink(missing_ok=True)
        publish("p-0", "referral.community")
        publish("p-12", "referral.community")
        world.vault.destroy("p-5")
        worker = Process("tests.aggregate_worker", *args)
        until(lambda: people() == 11, "one more, and one less")
        text = b"".join(one.value or b"" for one in cluster.read("tallied", partitions))
        assert b"latina" not in text
        assert b"woman" not in text
        until(lambda: said.exists() and "ready=True" in said.read_text(), "the successor to be ready")
        assert worker.stop() == 0
    finally:
        worker.kill()


class _Log:
    """Keeps what is appended, and projects it as the auditor does."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bodies: list[bytes] = []

    def append(self, topic: str, key: str | None, value: bytes) -> None:
        assert (topic, key) == ("publications", None)
        self.bodies.append(value)
        row = codec.decode_as("Publication", value)
        with self.store.write() as connection:
            upsert(connection, publications, [{**row, "body": json.loads(row["body"])}])


def test_a_month_is_published_when_it_is_complete_and_never_again(store: Store) -> None:
    vault, log = Vault(store, LocalKek(bytes(32))), _Log(store)
    now = [0]
    register = type("Register", (), {"policy": default_policy()})()
    publisher = Publisher(  # type: ignore[arg-type]
        {}, store, vault, log, lambda: register, ROWS, UTC, 2, lambda: now[0], 1_000
    )
    publisher._knows_all = lambda: True  # type: ignore[method-assign]

    def tell(partition: int, month: str, rows: list[Any], day: int) -> None:
        sealed = vault.hub(KEY).seal(aad(partition, month), json.dumps(rows).encode())
        row = {"partition": partition, "month": month, "at": day * measures.DAY_MS, "sealed": sealed}
        with store.write() as connection:
            upsert(connection, aggregates, [row], update=("at", "sealed"))

    tables = Tables(ROWS, UTC, 2)
    for number in range(60):
        tables.event(envelope(f"p-{number}"), fields())
    tables.settle()
    end = measures.day(instant.parse("2026-04-01T12:00:00Z"), UTC)
    for partition in range(2):
        tell(partition, MONTH, tables.rows(partition, MONTH), end)
    tell(0, "", [], end + 20)
    assert publisher.look() == 0, "one partition has not said how far it is"
    tell(1, "", [], end + 5)
    assert publisher.look() == 0, "the month is not over long enough"
    tell(1, "", [], end + 20)
    now[0] = end * measures.DAY_MS + 999
    assert publisher.look() == 0, "somebody was added a moment ago"
    now[0] += 2
    assert publisher.look() == 6, "what takes longer waits"
    assert publisher.look() == 0
    tell(1, "", [], end + 200)
    tell(0, "", [], end + 200)
    for number in range(60, 90):
        tables.event(envelope(f"p-{number}"), fields())
    tables.settle()
    for partition in range(2):
        tell(partition, MONTH, tables.rows(partition, MONTH), end + 200)
    assert publisher.look() == 0, "it moves again"
    now[0] = (end + 200) * measures.DAY_MS + 1_001
    assert publisher.look() == 2
    assert publisher.look() == 0
    shown = publisher.published(MONTH)
    assert shown["referrals@1"].cells[measures.cell("referrals@1", MONTH, "community")] == 60, "final"
    assert len(log.bodies) == 8


def test_a_month_spends_its_budget_and_then_publishes_nothing_with_noise_across_restarts(
    store: Store,
) -> None:
    vault, log = Vault(store, LocalKek(bytes(32))), _Log(store)
    register = type("Register", (), {"policy": default_policy()})()
    noisy = [
        row.model_copy(update={"epsilon": 0.4})
        for row in ROWS.rows
        if row.id in ("engaged", "referrals", "services")
    ]
    tables = Tables(ROWS, UTC, 1)
    for number in range(60):
        tables.event(envelope(f"p-{number}"), fields())
    tables.settle()
    end = measures.day(instant.parse("2026-04-20T12:00:00Z"), UTC)
    for month, rows in ((MONTH, tables.rows(0, MONTH)), ("", [])):
        sealed = vault.hub(KEY).seal(aad(0, month), json.dumps(rows).encode())
        row = {"partition": 0, "month": month, "at": end * measures.DAY_MS, "sealed": sealed}
        with store.write() as connection:
            upsert(connection, aggregates, [row], update=("at", "sealed"))

    def started(budget: float | None) -> Publisher:
        made = Publisher(  # type: ignore[arg-type]
            {}, store, vault, log, lambda: register, measures.Measures(noisy), UTC, 1,
            lambda: (end + 1) * measures.DAY_MS, 1_000, budget,
        )  # fmt: skip
        made._knows_all = lambda: True  # type: ignore[method-assign]
        return made

    assert started(None).look() == 0, "no budget, nothing spent"
    assert started(1.0).look() == 2, "0.8 of 1.0, and the third does not fit"
    assert started(1.0).look() == 0, "what was spent is known after a restart, by what was published"
    first = list(log.bodies)
    assert started(1.2).look() == 1
    assert log.bodies[:2] == first, "what was published stands"
    spent = [
        json.loads(codec.decode_as("Publication", one)["body"])["noise"]["epsilon"] for one in log.bodies
    ]
    assert spent == [0.4] * 3
