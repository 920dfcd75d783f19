"""Admit: whose event it is, about whom, told apart from its repeats, sealed by parts; or why not."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from consent import default_policy
from hub.vault import HUB_KEYS
from schemas import codec, topics
from schemas.errors import Unavailable
from schemas.topics import DAY_MS, partition_of
from streams import metrics, parking, topology
from streams.admit import Admit
from streams.errors import Corrupt
from streams.seen import Seen
from streams.trim import Trimmer
from tests.streams_kit import Cluster, until, working
from tests.streams_scene import PARTITIONS, Sink, World, cloud_event, governance, now_ms, record

STRUCTURED: list[tuple[str, bytes | None]] = [("content-type", b"application/cloudevents+json")]
PERSON = "p-1"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("vault"))


class Desk:
    """An admit step with its sink; what it writes to its own changelogs is kept for a successor."""

    def __init__(self, world: World, agency: str = "jail", linked: bool = True) -> None:
        self.world, self.agency = world, agency
        self.sink = Sink(positions={(f"inbox.{agency}", 0): 0})
        self.offset = -1
        self.later_ms = 0
        self.step = self._step()
        if linked:
            self.link("A-1", PERSON)

    def _step(self) -> Admit:
        step = self.world.admit(now=lambda: now_ms() + self.later_ms)
        for offset, change in enumerate(governance()):
            step.apply(record("governance", codec.encode("Governance", change), offset=offset))
        step.assigned([(f"inbox.{self.agency}", 0)])
        return step

    def link(self, local_id: str, participant: str, kind: str = "linked") -> None:
        value = self.world.link(self.agency, local_id, participant, kind)
        self.step.apply(record("identity", codec.encode("Identity", value), participant.encode()))

    def send(
        self, value: bytes | None, headers: list[tuple[str, bytes | None]] | None = STRUCTURED
    ) -> list[tuple[str, bytes | None, bytes | None, int]]:
        """Hands in one record; out: what was written because of it."""
        self.offset += 1
        before = len(self.sink.written)
        self.step.step([record(f"inbox.{self.agency}", value, None, self.offset, 0, headers)], self.sink)
        return self.sink.written[before:]

    def restart(self) -> None:
        """A successor that knows what the changelogs say, and the links, in whichever order they come."""
        self.step = self.rebuilt()
        self.link("A-1", PERSON)

    def rebuilt(self) -> Admit:
        """A successor that knows what the changelogs say, and no links."""
        step = self._step()
        for topic, key, value, partition in self.sink.written:
            if topic.split(".")[0] in ("seen", "parked"):
                step.apply(record(topic, value, key, partition=partition))
        return step

    def receipts(self) -> list[tuple[str, str | None]]:
        return [(one["status"], one["reason"]) for one in self.sink.of(f"receipts.{self.agency}")]


def test_an_event_is_admitted_under_ids_that_say_nothing_and_sealed_by_parts(world: World) -> None:
    desk = Desk(world)
    written = desk.send(cloud_event())
    topic, key, value, partition = written[0]
    assert (topic, key, partition) == ("contact", PERSON.encode(), partition_of(PERSON, PARTITIONS))
    admitted = codec.decode_as("Event", value or b"")
    assert admitted["envelope"] | {"admitted_at": 0} == {
        "id": world.hub_id("jail", "given-1"),
        "source": "urn:agency:jail",
        "type": "contact",
        "category": "contact.custody-booking",
        "labels": [],
        "discloser": "jail",
        "compartments": ["legal", "occurrence", "subject"],
        "participant": PERSON,
        "occurred_at": 1_795_168_800_000,
        "admitted_at": 0,
        "consent_at_least": None,
    }
    opened = world.open_event(admitted)
    assert opened["subject"] == {"local_id": "A-1"}
    assert opened["legal"] == {"booking_number": "B-1"}
    assert opened["occurrence"]["facility"] == "County Jail"
    for _, key, value, _ in written:  # what the agency says of a person stands nowhere in the clear
        for word in (b"A-1", b"County Jail", b"B-1"):
            assert word not in (key or b"") + (value or b"")
    assert desk.receipts() == [("admitted", None)]


def test_what_the_gateway_sealed_is_opened_and_waits_for_its_directives(world: World) -> None:
    desk = Desk(world)
    desk.send(world.inbound("jail", cloud_event(), consent_at_least=9), None)
    assert desk.sink.of("contact")[0]["envelope"]["consent_at_least"] == 9


def test_a_senders_own_id_is_repeated_to_who_reads_receipts_and_to_nobody_else(world: World) -> None:
    """It may be a case's number. Who sent by HTTP or file never reads them."""
    desk = Desk(world)
    desk.send(world.inbound("jail", cloud_event(number=1)), None)
    desk.send(world.inbound("jail", cloud_event(number=2, category="contact.unheard-of")), None)
    desk.send(cloud_event(number=3))
    sealed, refused, native = desk.sink.of("receipts.jail")
    assert (sealed["id"], refused["id"], native["id"]) == (None, None, "given-3")
    assert sealed["event"] == world.hub_id("jail", "given-1")
    for topic, key, value, _ in desk.sink.written:
        assert b"given-1" not in (key or b"") + (value or b""), topic


def test_what_was_sealed_for_another_inbox_is_refused(world: World) -> None:
    desk = Desk(world)
    desk.send(world.inbound("harbor", cloud_event()), None)
    assert desk.receipts() == [("quarantined", "unsealable")]


def test_the_binary_binding_is_read_too(world: World) -> None:
    desk = Desk(world)
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"given-1"),
        ("ce_source", b"urn:agency:jail"),
        ("ce_type", b"contact"),
        ("ce_category", b"contact.custody-booking"),
        ("ce_subject", b"A-1"),
        ("ce_time", b"2026-11-20T10:00:00Z"),
        ("content-type", b"application/json"),
    ]
    desk.send(b'{"facility": "County Jail", "booking_number": "B-1"}', headers)
    assert desk.receipts() == [("admitted", None)]
    desk.send(cloud_event())  # the same event, said the other way
    avro = codec.encode("Contact", {"facility": "County Jail", "booking_number": "B-1", "needs": []})
    desk.send(avro, [*headers[:-1], ("content-type", b"application/avro")])  # and in registry wire format
    assert desk.receipts()[1:] == [("duplicate", None), ("duplicate", None)]


def test_a_repeat_is_dropped_also_by_a_successor(world: World) -> None:
    desk = Desk(world)
    desk.send(cloud_event())
    desk.send(cloud_event())
    desk.restart()
    desk.send(cloud_event())
    assert desk.receipts() == [("admitted", None), ("duplicate", None), ("duplicate", None)]
    assert len(desk.sink.of("contact")) == 1


def test_another_event_under_the_same_id_is_a_conflict_and_kept(world: World) -> None:
    desk = Desk(world)
    desk.send(cloud_event())
    desk.restart()
    other = cloud_event(time="2026-11-21T10:00:00Z")
    desk.send(other)
    assert desk.receipts() == [("admitted", None), ("conflict", "conflict")]
    (refused,) = desk.sink.of("quarantine")
    assert json.loads(world.open_quarantined(refused)) == json.loads(other) | {
        "datacontenttype": "application/json"
    }
    assert len(desk.sink.of("contact")) == 1


def test_the_window_for_repeats_is_seven_days_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    seen.add("e-" + "a" * 26, b"f" * 32, 0)
    assert seen.same("e-" + "a" * 26, b"f" * 32, 7 * DAY_MS) is True
    assert seen.same("e-" + "a" * 26, b"g" * 32, 7 * DAY_MS) is False
    assert seen.same("e-" + "a" * 26, b"f" * 32, 7 * DAY_MS + 1) is None
    seen.add("e-" + "b" * 26, b"f" * 32, 8 * DAY_MS)
    assert len(seen) == 1
    monkeypatch.setattr("streams.seen.events_max", 3)
    for letter in "cdef":
        seen.add("e-" + letter * 26, b"f" * 32, 8 * DAY_MS)
    assert len(seen) == 3
    assert seen.same("e-" + "b" * 26, b"f" * 32, 8 * DAY_MS) is None


def test_an_unknown_person_waits_and_the_sender_cannot_tell(world: World) -> None:
    known, unknown = Desk(world), Desk(world, linked=False)
    said_of_known = known.send(cloud_event())
    said_of_unknown = unknown.send(cloud_event())

    def receipt(written: list[tuple[str, bytes | None, bytes | None, int]]) -> dict[str, Any]:
        return next(
            codec.decode(value)[1] | {"at": 0}
            for topic, _, value, _ in written
            if topic == "receipts.jail" and value
        )

    assert receipt(said_of_known) == receipt(said_of_unknown)
    assert unknown.sink.of("contact") == []
    (waiting,) = unknown.sink.of("parked.jail")
    assert b"A-1" not in waiting["sealed"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_waited_is_admitted_in_its_order_before_what_comes_later(world: World, restarted: bool) -> None:
    desk = Desk(world, linked=False)
    for number in (1, 2, 3):
        desk.send(cloud_event(number=number))
    desk.send(cloud_event(number=9, subject="A-2"))
    if restarted:
        desk.restart()
    else:
        desk.link("A-1", PERSON)
    assert desk.step.due(0)
    desk.send(cloud_event(number=4))
    order = [one["envelope"]["id"] for one in desk.sink.of("contact")]
    assert order == [world.hub_id("jail", f"given-{n}") for n in (1, 2, 3, 4)]
    assert not desk.step.due(0)
    assert [one["event"] for one in desk.sink.of("parked.jail") if one["released"]] == order[:3]
    desk.restart()  # what was released does not wait again
    assert not desk.step.due(0)
    desk.send(cloud_event(number=2))
    assert desk.receipts()[-1] == ("duplicate", None)


def test_a_link_that_ended_lets_later_events_wait(world: World) -> None:
    desk = Desk(world)
    desk.link("A-1", PERSON, kind="unlinked")
    desk.send(cloud_event())
    assert desk.sink.of("contact") == []
    assert len(desk.sink.of("parked.jail")) == 1


def test_what_may_wait_is_bounded_and_the_rest_is_kept_aside(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "events_max", 2)
    desk = Desk(world, linked=False)
    for number in (1, 2, 3):
        desk.send(cloud_event(number=number))
    (aside,) = desk.sink.of("quarantine")
    assert aside["reason"] == "parking-full"
    assert json.loads(world.open_quarantined(aside))["id"] == "given-3"
    assert {status for status, _ in desk.receipts()} == {"admitted"}


@pytest.mark.parametrize("restarted", [False, True])
def test_what_nobody_links_in_time_is_given_up_and_recorded_while_its_key_still_lives(
    world: World, restarted: bool
) -> None:
    desk = Desk(world, linked=False)
    desk.send(cloud_event(number=1))
    desk.later_ms = 1_000
    desk.send(cloud_event(number=2))
    if restarted:
        desk.step.revoked([("inbox.jail", 0)])
        desk.step = desk.rebuilt()
    assert not desk.step.due(now_ms())
    desk.later_ms = parking.waits_ms_max + 500
    assert desk.step.due(now_ms() + desk.later_ms)
    desk.step.step([], desk.sink)
    (given_up,) = desk.sink.of("quarantine")
    assert (given_up["reason"], given_up["agency"], given_up["size"]) == ("never-linked", "jail", 0)
    assert given_up["id"] == "q-" + world.hub_id("jail", "given-1")
    assert metrics.PARKED.labels("jail")._value.get() == 1
    assert metrics.PARKED_AGE.labels("jail")._value.get() * 1000 >= parking.waits_ms_max - 1_000
    assert not desk.step.due(now_ms() + desk.later_ms), "looked at again at once"
    desk.link("A-1", PERSON)  # late, and the younger one is still there to be admitted
    desk.send(cloud_event(number=3))
    order = [one["envelope"]["id"] for one in desk.sink.of("contact")]
    assert order == [world.hub_id("jail", f"given-{n}") for n in (2, 3)]
    assert len(desk.sink.of("quarantine")) == 1


def test_what_waits_is_given_up_before_its_key_dies_and_known_until_long_after() -> None:
    kept_ms = HUB_KEYS["originals"].kept_ms
    assert kept_ms is not None
    assert parking.waits_ms_max + 7 * DAY_MS <= kept_ms
    assert topics.find("parked.jail").retention_ms >= 4 * parking.waits_ms_max


@pytest.mark.parametrize(
    ("agency", "category", "sent", "expected"),
    [
        ("jail", "service.substance-use", None, ["part2"]),
        ("jail", "service.housing", None, []),
        ("jail", "service.housing", "hiv", ["hiv"]),
        ("jail", "service.substance-use", "hiv,part2", ["hiv", "part2"]),
        ("clinic", "service.housing", None, ["part2"]),
        ("clinic", "service.housing", "mental-health", ["mental-health", "part2"]),
    ],
)
def test_labels_are_only_ever_added(
    world: World, agency: str, category: str, sent: str | None, expected: list[str]
) -> None:
    desk = Desk(world, agency)
    event = cloud_event(
        agency, type="service-engagement", category=category, labels=sent, data={"step": "started"}
    )
    desk.send(event)
    assert desk.sink.of("service-engagement")[0]["envelope"]["labels"] == expected


def test_nothing_more_is_written_about_somebody_who_was_erased(world: World) -> None:
    desk = Desk(world, linked=False)
    desk.link("A-9", "p-erased")
    desk.send(cloud_event(subject="A-9"))
    world.vault.destroy("p-erased")
    desk.send(cloud_event(number=2, subject="A-9"))
    assert len(desk.sink.of("contact")) == 1
    (aside,) = desk.sink.of("quarantine")
    assert (aside["reason"], aside["size"]) == ("erased", 0)
    assert desk.receipts() == [("admitted", None), ("admitted", None)]


BAD: list[tuple[str, bytes | None, list[tuple[str, bytes | None]] | None, str]] = [
    ("a tombstone", None, None, "tombstone"),
    ("an empty value", b"", None, "empty-value"),
    ("no event at all", b"hello", None, "not-an-event"),
    ("broken JSON", b"{", STRUCTURED, "not-json"),
    ("an unknown category", cloud_event(category="contact.unheard-of"), STRUCTURED, "unknown-category"),
    ("another type's category", cloud_event(category="court.charge"), STRUCTURED, "category-not-of-type"),
    ("a failure", cloud_event(data={"no_show": True}), STRUCTURED, "failure-has-no-place"),
    ("another's name", cloud_event(source="urn:agency:harbor"), STRUCTURED, "source-not-yours"),
    ("no time", cloud_event(time=None), STRUCTURED, "missing"),
    ("a time without an offset", cloud_event(time="2026-11-20T10:00:00"), STRUCTURED, "bad-time"),
    ("nobody", cloud_event(subject=None), STRUCTURED, "missing"),
    ("10 MB", cloud_event(data={"narrative": "x" * 10_000_000}), STRUCTURED, "too-large"),
    (
        "a schema from the future",
        b"\0\0\0\xff\xff\x02",
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"i"),
            ("ce_source", b"urn:agency:jail"),
            ("ce_type", b"contact"),
            ("content-type", b"application/avro"),
        ],
        "unknown-schema",
    ),
]


@pytest.mark.parametrize(
    ("value", "headers", "reason"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD]
)
def test_bad_input_is_refused_with_its_original_and_the_next_goes_on(
    world: World, value: bytes | None, headers: list[tuple[str, bytes | None]] | None, reason: str
) -> None:
    desk = Desk(world)
    desk.send(value, headers)
    desk.send(cloud_event())
    (refused,) = desk.sink.of("quarantine")
    assert (refused["stage"], refused["agency"], refused["reason"]) == ("admit", "jail", reason)
    assert refused["position"] == {"topic": "inbox.jail", "partition": 0, "offset": 0}
    assert world.open_quarantined(refused) == (value or b"")
    assert refused["size"] == len(value or b"")
    assert desk.receipts() == [("quarantined", reason), ("admitted", None)]
    for word in ("A-1", "unheard-of", "harbor", "xxx"):  # what was sent is not repeated
        assert word not in refused["detail"]


def test_a_broken_record_of_our_own_connectors_is_refused_as_well(world: World) -> None:
    desk = Desk(world)
    desk.send(world.inbound("jail", cloud_event())[:-1], None)
    desk.send(world.inbound("jail", cloud_event()) + b"x", None)
    assert {reason for _, reason in desk.receipts()} == {"broken-record"}


def test_the_headers_of_what_was_refused_are_sealed_with_it(world: World) -> None:
    desk = Desk(world)
    desk.send(b"{", [*STRUCTURED, ("trace", b"about A-1")])
    (refused,) = desk.sink.of("quarantine")
    assert b"A-1" not in refused["headers"]
    aad = b"quarantine\0" + refused["id"].encode() + b"\0headers"
    assert b"A-1" in world.vault.hub("originals").open(aad, refused["headers"])


def test_who_is_not_registered_is_refused(world: World) -> None:
    desk = Desk(world, agency="stranger")
    desk.send(cloud_event("stranger"))
    assert desk.receipts() == [("quarantined", "unregistered")]


def test_without_a_policy_nothing_is_admitted(world: World) -> None:
    step = world.admit()
    step.assigned([("inbox.jail", 0)])
    with pytest.raises(Unavailable):
        step.step([record("inbox.jail", cloud_event(), headers=STRUCTURED)], Sink())


@pytest.mark.parametrize("topic", ["governance", "identity", "seen.jail", "parked.jail"])
def test_what_only_the_hub_writes_has_to_make_sense(world: World, topic: str) -> None:
    step = world.admit()
    step.assigned([("inbox.jail", 0)])
    with pytest.raises(Corrupt):
        step.apply(record(topic, b"\0\0\0\xff\xff"))


def test_another_policy_means_other_categories(world: World) -> None:
    desk = Desk(world)
    policy = {**default_policy(), "categories": ["contact.custody-booking", "contact.unheard-of"]}
    change = {"kind": "policy", "id": "policy", "at": 0, "by": "test", "body": json.dumps(policy).encode()}
    desk.step.apply(record("governance", codec.encode("Governance", change), offset=99))
    desk.send(cloud_event(category="contact.unheard-of"))
    assert desk.receipts() == [("admitted", None)]


# -- on a real broker ------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(emptying: Callable[[], str]) -> Cluster:
    made = Cluster(emptying())
    topology.ensure(made.admin, PARTITIONS, 1, ["jail"])
    made.write("governance", [(b"k", codec.encode("Governance", change)) for change in governance()])
    return made


def admitting(cluster: Cluster, world: World) -> tuple[Any, ...]:
    settings = topology.runner(
        "admit",
        "admit-0",
        PARTITIONS,
        session_timeout_ms=3_000,
        transaction_timeout_ms=6_000,
        topics_refresh_ms=300,
    )
    return settings, world.admit(Trimmer(cluster.admin)), cluster.client


def headed(cluster: Cluster, agency: str, values: list[bytes]) -> None:
    producer = cluster.producer()
    for value in values:
        producer.produce(f"inbox.{agency}", value, partition=0, headers=dict(STRUCTURED))  # type: ignore[arg-type]
    assert producer.flush(20) == 0


def statuses(cluster: Cluster, agency: str) -> list[str]:
    found = cluster.read(f"receipts.{agency}")
    return [codec.decode_as("Receipted", one.value or b"")["status"] for one in found]


@pytest.mark.broker
def test_repeats_are_known_after_a_restart_new_agencies_are_found_and_inboxes_emptied(
    cluster: Cluster, world: World
) -> None:
    link = codec.encode("Identity", world.link("jail", "A-1", PERSON))
    cluster.write("identity", [(PERSON.encode(), link)], partition_of(PERSON, PARTITIONS))
    headed(cluster, "jail", [cloud_event(number=n) for n in range(20)])
    with working(*admitting(cluster, world)):
        until(lambda: len(statuses(cluster, "jail")) == 20, "the receipts")
    headed(cluster, "jail", [cloud_event(number=n) for n in range(30)])
    with working(*admitting(cluster, world)) as worker:
        until(lambda: len(statuses(cluster, "jail")) == 50, "the receipts of the repeats")
        topology.ensure(cluster.admin, PARTITIONS, 1, ["clinic"])
        headed(cluster, "clinic", [cloud_event("clinic", subject="C-1")])
        until(lambda: statuses(cluster, "clinic") == ["admitted"], "the new agency's receipt")
        late = codec.encode("Identity", world.link("clinic", "C-1", PERSON))
        before = len(cluster.read("contact", PARTITIONS))
        cluster.write("identity", [(PERSON.encode(), late)], partition_of(PERSON, PARTITIONS))
        until(lambda: len(cluster.read("contact", PARTITIONS)) == before + 1, "what waited for the link")
        assert worker.ready()
    assert statuses(cluster, "jail") == ["admitted"] * 20 + ["duplicate"] * 20 + ["admitted"] * 10
    events = [codec.decode_as("Event", one.value or b"") for one in cluster.read("contact", PARTITIONS)]
    assert len({one["envelope"]["id"] for one in events}) == len(events) == 31
    until(lambda: first_offset(cluster, "inbox.jail") > 0, "the inbox to be emptied behind admit")


def first_offset(cluster: Cluster, topic: str) -> int:
    return cluster.beginnings(topic)[0]


@pytest.mark.broker
def test_ten_megabytes_do_not_even_enter_an_inbox(cluster: Cluster) -> None:
    failures: list[Any] = []
    producer = Producer({**cluster.client, "message.max.bytes": 20_000_000})
    producer.produce(
        "inbox.jail", b"x" * 10_000_000, partition=0, on_delivery=lambda error, _: failures.append(error)
    )
    producer.flush(20)
    assert failures[0].name() == "MSG_SIZE_TOO_LARGE"
