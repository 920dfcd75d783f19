"""When a fence is closed, and that it is never said too early."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import deliveries, fence, follower
from connectors.adapter import Outcome, Share
from connectors.deliveries import Applied, Parcel
from connectors.fence import Fence, Narrowing
from connectors.follower import Follower
from schemas import codec
from tests.delivery_scene import Scene, now_ms, revoked, scene

EVERYBODY = ("reach", "shelter")
SEND_MS = 1_000
GRACE_MS = 500
SHARE = Share("s", "care-coordination", "consent", ("c1/g1",), ("subject",), ())
UP_TO = {"offset": 0, "last": -1, "digest": b""}
TAKEN = Narrowing.of_directive(0, 10, "p1", revoked())


def parcel(key: str = "k1", who: str = "reach", participant: str = "p1") -> Parcel:
    return Parcel(key, who, "webhook", "e-1", participant)


def intent(consent: int = 5, at: int = 0, attempt: int = 1, share: Share = SHARE, **more: Any) -> bytes:
    return deliveries.intent(parcel(**more), (0, 0), attempt, at, Applied(consent, 0), [share])


def receipt(attempt: int = 1, **more: Any) -> bytes:
    return deliveries.receipt(parcel(**more), attempt, Outcome("delivered", "http-200"), 0, None)


def told(consent: int, governance: int = 0, partition: int = 0, who: tuple[str, ...] = EVERYBODY) -> bytes:
    return deliveries.acknowledgement(who, partition, Applied(consent, governance), 0, "w")


def after(*records: bytes, partitions: int = 1) -> Fence:
    made = Fence(partitions, SEND_MS, GRACE_MS)
    for record in records:
        value = deliveries.decode(record)
        ack = value["acknowledgement"]
        made.apply(ack["partition"] if ack else 0, value)
    return made


def state(*records: bytes, narrowing: Narrowing = TAKEN, now: int = 100) -> str:
    return after(*records).answer(narrowing, EVERYBODY, now).state


def test_nobody_has_said_anything() -> None:
    assert state() == "closing"


def test_everybody_is_past_it() -> None:
    assert state(told(10)) == "closed"
    assert state(told(9)) == "closing"
    assert state(told(10, who=("reach",))) == "closing", "each outbox counts"


def test_an_older_intent_holds_it_open_until_its_receipt() -> None:
    assert state(intent(), told(10)) == "closing"
    assert state(intent(), told(10), receipt()) == "closed"


def test_a_receipt_closes_its_own_attempt_only() -> None:
    assert state(intent(), intent(attempt=2), told(10), receipt(attempt=2)) == "closing"
    assert state(intent(), intent(attempt=2), told(10), receipt(attempt=2), receipt()) == "closed"


def test_a_later_delivery_by_the_same_key_closes_no_older_doubt() -> None:
    """Its worker died; it was taken back, agreed to again, and delivered: that says nothing of the first."""
    again = (intent(at=0), told(10), intent(consent=12, at=50), receipt())
    assert state(*again, now=100_000) == "closed-in-doubt"
    kept = after(*again[:-1]).state(0)
    assert kept is not None
    taken_up = Fence(1, SEND_MS, GRACE_MS)
    taken_up.restore(0, kept)
    taken_up.apply(0, deliveries.decode(receipt()))
    answer = taken_up.answer(TAKEN, EVERYBODY, 100_000)
    assert [one.at for one in answer.in_doubt] == [0]
    assert len(taken_up) == 1
    assert state(intent(), intent(), told(10), receipt()) == "closed", "the same record twice is one"


def test_an_intent_that_knew_does_not_count() -> None:
    assert state(told(10), intent(consent=10)) == "closed"


def test_an_overdue_intent_is_in_doubt_and_listed() -> None:
    answer = after(intent(), told(10)).answer(TAKEN, EVERYBODY, SEND_MS + GRACE_MS)
    assert answer.state == "closed-in-doubt"
    assert [(one.event, one.stakeholder, one.attempt) for one in answer.in_doubt] == [("e-1", "reach", 1)]
    assert state(intent(), told(9), now=10**9) == "closing", "age never stands in for an acknowledgement"
    assert state(intent(), told(10), now=10**15) == "closed-in-doubt", "and is never ruled away"


def test_only_what_was_taken_back_counts() -> None:
    other = SHARE._replace(grants=("c2/g1",))
    assert state(intent(participant="p2"), told(10)) == "closed"
    assert state(intent(share=other), told(10)) == "closed"
    by_party = Narrowing.of_directive(0, 10, "p1", revoked(recipients=["shelter"]))
    assert state(intent(), told(10), narrowing=by_party) == "closed"
    assert state(intent(who="shelter"), told(10), narrowing=by_party) == "closing"
    by_grant = Narrowing.of_directive(0, 10, "p1", revoked(grants=["g2"]))
    assert state(intent(), told(10), narrowing=by_grant) == "closed"
    both = Narrowing.of_directive(0, 10, "p1", revoked(grants=["g1"], recipients=["shelter"]))
    assert state(intent(), told(10), narrowing=both) == "closing"


@pytest.mark.parametrize(
    "body",
    [
        {"type": "program-exited", "at": "2026-01-01T00:00:00Z"},
        {"type": "order-vacated", "order_id": "o"},
        {"type": "restriction-placed", "restriction": {"id": "r", "recipients": ["*"]}},
        {"type": "restriction-placed", "restriction": {"id": "r", "recipients": ["class:treating-provider"]}},
        {"type": "restriction-placed", "restriction": "?"},
        {"type": "consent-revoked", "consent_id": "c1", "recipients": ["class:treating-provider"]},
        {"type": "consent-revoked", "consent_id": 7},
        {"type": "consent-revoked", "consent_id": "c1", "recipients": []},
    ],
)
def test_in_doubt_about_its_reach_a_narrowing_concerns_everything(body: dict[str, Any]) -> None:
    narrowing = Narrowing.of_directive(0, 10, "p1", body)
    assert state(intent(), told(10), narrowing=narrowing) == "closing"


def test_a_restriction_that_names_somebody_concerns_them() -> None:
    body = {"type": "restriction-placed", "restriction": {"id": "r", "recipients": ["shelter"]}}
    narrowing = Narrowing.of_directive(0, 10, "p1", body)
    assert state(intent(), told(10), narrowing=narrowing) == "closed"
    assert state(intent(who="shelter"), told(10), narrowing=narrowing) == "closing"


def test_governance_narrows_in_every_partition() -> None:
    narrowing = Narrowing.of_governance(3, "policy")
    one = after(told(0, 3), partitions=2)
    assert one.answer(narrowing, EVERYBODY, 0).state == "closing"
    both = after(told(0, 3), told(0, 3, partition=1), partitions=2)
    assert both.answer(narrowing, EVERYBODY, 0).state == "closed"
    assert after(intent(), told(0, 3)).answer(narrowing, EVERYBODY, 0).state == "closing"
    theirs = Narrowing.of_governance(3, "subscription", "shelter")
    assert after(intent(), told(0, 3)).answer(theirs, EVERYBODY, 0).state == "closed"
    assert Narrowing.of_governance(3, "stakeholder", "shelter").recipients is None, (
        "they disclose to others too"
    )


def test_too_many_open_intents_close_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "open_intents_max", 2)
    made = after(intent(key="a"), intent(key="b"), intent(key="c", participant="p2"), told(10))
    assert made.answer(TAKEN, EVERYBODY, 10**9).state == "closing"


def test_memory_is_let_go() -> None:
    made = after(
        *[intent(key=f"k{n}") for n in range(50)], *[receipt(key=f"k{n}") for n in range(50)], told(10)
    )
    assert len(made) == 0


class Owner:
    """A worker as the rules have it: it knows consent up to somewhere and has attempts open."""

    def __init__(self) -> None:
        self.applied = 0
        self.open: list[tuple[int, int]] = []


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(["apply", "intent", "receipt", "tell", "replace"]), max_size=60),
    st.integers(1, 8),
)
def test_closed_means_that_nothing_older_can_begin(plan: list[str], offset: int) -> None:
    """Against a model of owners: where `closed` is said, every open attempt knew of it."""
    narrowing = Narrowing.of_directive(0, offset, "p1", revoked())
    made, log_end, owner, attempts = Fence(1, SEND_MS, GRACE_MS), 0, Owner(), 0
    still_able: list[int] = []
    for what in plan:
        record: bytes | None = None
        if what == "apply":
            log_end += 1
            owner.applied = log_end
        elif what == "intent":
            attempts += 1
            owner.open.append((attempts, owner.applied))
            record = intent(consent=owner.applied, attempt=attempts)
        elif what == "receipt" and owner.open:
            attempt, _ = owner.open.pop(0)
            record = receipt(attempt=attempt)
        elif what == "tell":
            record = told(owner.applied)
        elif what == "replace":
            still_able += [applied for _, applied in owner.open]  # it may thaw and send
            owner = Owner()
            owner.applied = log_end
        if record is not None:
            made.apply(0, deliveries.decode(record))
        if made.answer(narrowing, EVERYBODY, 10**9).state == "closed":
            assert all(applied >= offset for applied in (*still_able, *[at for _, at in owner.open]))
            assert owner.applied >= offset


def test_an_acknowledgement_counts_only_where_the_intents_stand() -> None:
    """Elsewhere it could be seen before an older intent that is still to be committed."""
    made = Fence(2, SEND_MS, GRACE_MS)
    made.apply(1, deliveries.decode(told(10, partition=0)))
    for narrowing in (TAKEN, replace(TAKEN, partition=1)):
        assert made.answer(narrowing, EVERYBODY, 100).state == "closing"
    made.apply(0, deliveries.decode(told(10, partition=0)))
    assert made.answer(TAKEN, EVERYBODY, 100).state == "closed"


lives = st.lists(
    st.one_of(
        st.builds(intent, st.integers(0, 12), at=st.integers(0, 50), attempt=st.integers(1, 3)),
        st.builds(intent, st.integers(0, 12), key=st.just("k2"), participant=st.just("p2")),
        st.builds(receipt, st.integers(1, 3)),
        st.builds(told, st.integers(0, 12), who=st.sampled_from([("reach",), ("shelter",), EVERYBODY])),
    ),
    max_size=12,
)


@given(lives, st.integers(0, 12), st.integers(0, 12))
def test_what_a_fence_adds_up_to_is_all_that_a_successor_needs(
    records: list[bytes], at: int, to: int
) -> None:
    """Wherever the log is cut in two, and though the successor hears of some records for the second time."""
    whole = after(*records)
    state = codec.encode("FenceState", {**UP_TO, **(after(*records[:at]).state(0) or {})})
    heir = Fence(1, SEND_MS, GRACE_MS)
    heir.restore(0, codec.decode_as("FenceState", state))
    for record in records[at:]:
        heir.apply(0, deliveries.decode(record))
    for participant in ("p1", "p2"):
        narrowing = Narrowing.of_directive(0, to, participant, revoked())
        for now in (10, SEND_MS + GRACE_MS + 100):
            assert heir.answer(narrowing, EVERYBODY, now) == whole.answer(narrowing, EVERYBODY, now)


def test_a_fence_that_lost_count_hands_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "open_intents_max", 1)
    assert after(intent()).state(0) is not None
    assert after(intent(), intent(attempt=2)).state(0) is None


@pytest.fixture
def town(empty_kafka: str) -> Iterator[Scene]:
    with scene(empty_kafka) as made:
        yield made


class Stored(NamedTuple):
    """A record, as the follower's client hands it over."""

    offset: int
    value: bytes


def test_a_listener_that_fails_does_not_hold_the_fence_up() -> None:
    """Pages listen, too. Were the record taken in again and again instead, nothing would ever be closed."""
    kept = Fence(1, 5_000)
    following = Follower({}, kept, 1)
    heard: list[int] = []
    following.listen(lambda partition: None)  # type: ignore[arg-type,misc]  # this is its fault
    following.listen(lambda partition, record: heard.append(partition))
    place = TopicPartition(deliveries.TOPIC, 0)
    told = deliveries.acknowledgement(["reach"], 0, Applied(7, 3), 1, "w")
    following._take(place, Stored(4, told))
    assert kept.offsets("reach", 0) == (7, 3)
    assert following._next[place] == 5
    assert heard == [0]


@pytest.mark.broker
async def test_the_follower_sees_what_is_committed_and_waits_for_the_rest(town: Scene) -> None:
    """An acknowledgement behind an open transaction is not seen; when that is aborted, it is."""
    town.put("deliveries", 0, b"", told(3))
    following = Follower({"bootstrap_servers": town.bootstrap}, Fence(1, SEND_MS, GRACE_MS), 1)
    assert following.answer(Narrowing.of_directive(0, 3, "p1", revoked()), EVERYBODY).state == "closing"
    await following.start()
    try:
        first = await following.wait(Narrowing.of_directive(0, 3, "p1", revoked()), EVERYBODY, 15_000)
        assert (first.state, following.caught_up) == ("closed", True)
        zombie = Producer({**town.client, "transactional.id": "zombie", "transaction.timeout.ms": 30_000})
        zombie.init_transactions(20)
        zombie.begin_transaction()
        zombie.produce("deliveries", intent(at=now_ms()), b"p1", 0)
        assert zombie.flush(10) == 0
        town.put("deliveries", 0, b"", told(10))
        assert (await following.wait(TAKEN, EVERYBODY, 700)).state == "closing", (
            "read past an open transaction"
        )
        await asyncio.to_thread(zombie.abort_transaction, 20)
        assert (await following.wait(TAKEN, EVERYBODY, 15_000)).state == "closed"
    finally:
        await following.stop()


@pytest.mark.broker
async def test_an_intent_that_was_aborted_was_never_there(town: Scene) -> None:
    producer = Producer({**town.client, "transactional.id": "aborts"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce("deliveries", intent(), b"p1", 0)
    assert producer.flush(10) == 0
    await asyncio.to_thread(producer.abort_transaction, 20)
    town.put("deliveries", 0, b"", told(10))
    following = Follower({"bootstrap_servers": town.bootstrap}, Fence(1, SEND_MS, GRACE_MS), 1)
    await following.start()
    try:
        assert (await following.wait(TAKEN, EVERYBODY, 15_000)).state == "closed"
    finally:
        await following.stop()


async def caught_up(town: Scene, keeper: AIOKafkaProducer | None = None) -> tuple[Follower, str]:
    """A follower that has read to the end and stopped; and what it answers about `TAKEN` then."""
    made = Follower({"bootstrap_servers": town.bootstrap}, Fence(1, SEND_MS, GRACE_MS), 1, keeper)
    await made.start()
    try:
        answer = await made.wait(TAKEN, EVERYBODY, 15_000)
        assert made.caught_up
        while keeper is not None and not town.read("fence"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return made, answer.state
    finally:
        await made.stop()


@pytest.mark.broker
async def test_a_start_reads_what_came_since_the_last_state_and_misses_nothing(
    town: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the process died right after it had kept one, and where what was kept is of another log."""
    monkeypatch.setattr(follower, "kept_every_records", 100)
    town.put_all("deliveries", [intent(), *(told(3) for _ in range(250)), told(10)])
    keeper = AIOKafkaProducer(bootstrap_servers=town.bootstrap)
    await keeper.start()
    try:
        first, state = await caught_up(town, keeper)
    finally:
        await keeper.stop()
    assert (first.read, state) == (252, "closed-in-doubt")
    kept = codec.decode_as("FenceState", town.read("fence")[-1][2] or b"")
    assert kept["offset"] >= 100
    heir, state = await caught_up(town)
    assert (heir.read, state) == (252 - kept["offset"], "closed-in-doubt"), "an intent in doubt was forgotten"
    town.put("deliveries", 0, b"", receipt())
    heir, state = await caught_up(town)
    assert (heir.read, state) == (253 - kept["offset"], "closed")
    strange = {**kept, "open": [], "acknowledged": [], "digest": b"of another log"}
    for unfit in (strange, {**strange, "last": 9_000, "offset": 9_001}):
        town.put("fence", 0, b"0", codec.encode("FenceState", unfit))
        heir, state = await caught_up(town)
        assert (heir.read, state) == (253, "closed")
