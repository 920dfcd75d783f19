"""Each safeguard of the fence by itself: a test here fails when that one is taken away, and the others stay.

Whole interleavings, with real processes, are in `tests/test_interleavings.py`; there one safeguard often
covers for another. `docs/fence.md` says which test guards which.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors import deliveries
from connectors import sender as sender_module
from connectors.adapter import Outcome, Outgoing, Share
from connectors.schedule import Schedule, awake_ms
from connectors.sender import Attempt, Sender
from schemas.errors import Unavailable
from streams.errors import Fenced, Stalled
from streams.group import Group, generation
from streams.runner import Runner
from streams.settings import RunnerSettings
from tests.delivery_scene import Keys, Nobody, event, now_ms, outbound, share_of, until

SETTINGS = RunnerSettings("deliver", ("in",), "w-0", flush_first=True)
PLACE = ("in", 0)


def metadata(of: int) -> bytes:
    """Group metadata of a generation, as the client writes them."""
    return b"CGMDv2:" + of.to_bytes(4, "little", signed=True) + b"..."


class Client:
    """A consumer whose generation moves on while it is asked for other things."""

    def __init__(self, of: int) -> None:
        self.generation = of

    def consumer_group_metadata(self) -> bytes:
        return metadata(self.generation)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Place:
    """A partition, as the client names it."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition


class Calls:
    """Notes what is called, in its order, and answers as told."""

    def __init__(self, answers: Mapping[str, Any] | None = None, log: list[tuple[Any, ...]] | None = None):
        self.log: list[tuple[Any, ...]] = [] if log is None else log
        self._answers = answers or {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.log.append((name, *args, *named.items()))
            answer = self._answers.get(name)
            return answer(*args) if callable(answer) else answer

        return call

    def names(self) -> list[str]:
        return [name for name, *_ in self.log]


def member(client: Client, assignor: str = "range") -> Group:
    """A member of the group that has been handed one partition."""
    group: Group = object.__new__(Group)
    group._eager = assignor == "range"
    group._tell_assigned = group._tell_revoked = lambda places: None
    group.joining, group.positions, group.metadata = set(), {}, b""
    group._on_assign(client, [Place(*PLACE), Place("in", 1)])  # type: ignore[arg-type]
    return group


def runner(**parts: Any) -> Runner:
    """A runner of these parts alone."""
    made: Runner = object.__new__(Runner)
    made._settings, made._bound_ms, made._open = SETTINGS, SETTINGS.transaction_timeout_ms, False
    made._lost, made._preparing = threading.Event(), False
    made._leaving, made._client, made._log = [], {}, Calls()  # type: ignore[assignment]
    made._batch, made._after, made._starts, made._targets, made._whole = [], {}, {}, {}, []
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def test_metadata_are_those_of_the_assignment_however_far_the_group_has_gone() -> None:
    """Rule 2. Fresh ones of a worker that has lost only some partitions would be accepted for them."""
    client = Client(4)
    group = member(client, "cooperative-sticky")
    client.generation = 5
    group._on_revoke(client, [Place("in", 1)])  # type: ignore[arg-type]
    producer = Calls()
    runner(_group=group, _producer=producer, _progress=Calls())._send({PLACE: 7})
    ((_, positions, sent, _),) = producer.log
    assert generation(sent) == 4
    assert [(at.topic, at.partition, at.offset) for at in positions] == [("in", 0, 7)]


def test_a_worker_that_the_group_forgot_while_it_was_handed_partitions_stops() -> None:
    """Rule 2. Metadata without a generation are not checked by the broker."""
    with pytest.raises(Fenced):
        member(Client(-1))


def test_a_transaction_that_writes_always_sends_an_offset() -> None:
    """Rule 2. An empty list of offsets is not checked by the broker."""

    class Writes:
        def step(self, batch: object, out: Any) -> None:
            out.produce("deliveries", b"k", b"v", 0)

        def committed(self) -> None:
            return

    producer = Calls({"flush": 0})
    side = Calls({"ends": {}})
    group = member(Client(4))
    group.positions = {PLACE: 7}
    group.joining = set()
    runner(
        _group=group, _producer=producer, _side=side, _step=Writes(), _progress=Calls(), _aborts=0
    )._transact()
    (sent,) = [call for call in producer.log if call[0] == "send_offsets_to_transaction"]
    assert [(at.topic, at.partition, at.offset) for at in sent[1]] == [("in", 0, 7)]
    order = [name for name in producer.names() if name not in ("produce", "poll")]
    assert order == ["begin_transaction", "flush", "send_offsets_to_transaction", "commit_transaction"], (
        "rule 5: the intents are in their partition before the broker can take the offsets"
    )


class Nothing:
    """A step that writes nothing."""

    def step(self, batch: object, out: Any) -> None:
        return

    def committed(self) -> None:
        return


def test_after_a_lost_connection_another_client_makes_the_next_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old one might wait for ever for a coordinator that it has struck off its list."""
    log: list[tuple[Any, ...]] = []
    made = runner(
        _group=member(Client(4)), _side=Calls({"ends": {}}), _step=Nothing(), _progress=Calls(), _aborts=0
    )
    made._producer = Calls({"poll": lambda *_: made._lost.set()}, log)  # type: ignore
    other = Calls(log=(later := []))
    monkeypatch.setattr("streams.runner.Producer", lambda config: other)
    made._transact()
    assert [name for name, *_ in log] == ["poll"]
    assert [name for name, *_ in later] == ["init_transactions", "begin_transaction", "commit_transaction"]
    made._transact()
    assert [name for name, *_ in later][3:] == ["poll", "begin_transaction", "commit_transaction"]


@pytest.mark.parametrize(
    ("error", "renewed"),
    [
        (KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION)), False),
        (KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID)), False),
        (KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS)), False),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT)), True),
        (KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)), True),
        (Unavailable("the ends of topics cannot be known"), True),
        (Stalled("the broker did not take the records of a transaction in time"), True),
    ],
)
def test_what_only_the_group_says_costs_no_client(
    error: KafkaException | Unavailable | Stalled, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary rebalance ends in an abort; whatever may come of a lost broker, with another client."""
    producer, other = Calls(), Calls()
    monkeypatch.setattr("streams.runner.Producer", lambda config: other)
    group = Calls()
    group.held = [PLACE]
    made = runner(
        _group=group,
        _producer=producer,
        _side=Calls(),
        _step=Calls(),
        _progress=Calls(),
        _aborts=0,
        _open=True,
    )
    made._start_over(error, threading.Event())
    assert (made._producer is other) == renewed
    assert producer.names() == ([] if renewed else ["abort_transaction"])
    assert other.names() == (["init_transactions"] if renewed else [])
    assert made._open is False


LEFT: list[str] = []
GATE = threading.Event()


class Clinging:
    """A client that does not let go, as after the death of a broker."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config

    def init_transactions(self, wait_s: float) -> None:
        return

    def abort_transaction(self, wait_s: float) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def __del__(self) -> None:
        LEFT.append(threading.current_thread().name)
        GATE.wait()


def test_clients_are_let_go_elsewhere_and_too_many_that_do_not_go_end_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Letting go can take for ever: a loop that waited for it would be as dead as its client."""
    monkeypatch.setattr("streams.runner.Producer", Clinging)
    made = runner(_producer=Clinging(), _progress=Calls(), _open=True)
    for _ in range(4):
        made._abort()
    until(lambda: len(LEFT) == 4)
    assert set(LEFT) == {"given-up"}
    with pytest.raises(Stalled):
        made._abort()
    GATE.set()
    until(lambda: not any(one.is_alive() for one in made._leaving))
    made._abort()
    assert made._open is False


def test_whose_place_another_has_makes_no_other_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the name of its successor's, which would be fenced in turn."""
    other = Calls()
    monkeypatch.setattr("streams.runner.Producer", lambda config: other)
    made = runner(_producer=Calls(), _aborts=0, _open=True)
    with pytest.raises(Fenced):
        made._start_over(KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID)), threading.Event())
    assert other.names() == []


def test_what_was_fetched_of_a_partition_is_dropped_with_it() -> None:
    """Rule 2. Else it would be decided, and sent, by somebody who does not own it any more."""
    group = member(Client(4))
    group.positions, group.joining = {PLACE: 0}, set()
    made = runner(_group=group, _progress=Calls(), _held=tuple, _due=lambda: True)
    group.fetch = lambda wait_s: ([], {})  # type: ignore[method-assign]
    group.hold = lambda places: None  # type: ignore[method-assign]
    made._batch = [("in", 0, 5), ("in", 1, 5)]  # type: ignore[list-item]
    made._after = {PLACE: 6, ("in", 1): 6}
    made._receive()
    assert (made._batch, made._after) == ([("in", 0, 5)], {PLACE: 6})


def test_a_new_owner_asks_for_its_offset_first_and_for_the_end_of_consent_then() -> None:
    """Rule 4. The other way round a revocation could be missed that the predecessor had acknowledged."""
    log: list[tuple[Any, ...]] = []
    group = Calls({"committed": {PLACE: 3}}, log)
    group.joining, group.held = {PLACE}, [PLACE]
    side = Calls({"beginnings": {PLACE: 0}, "ends": {("consent", 0): 9}}, log)
    made = runner(_group=group, _side=side, _settings=RunnerSettings("d", ("in",), "w", beside=("consent",)))
    made._begin()
    names = [name for name, *_ in log]
    assert names.index("committed") < names.index("ends")
    assert made._targets == {("consent", 0): 9}
    assert made._starts == {PLACE: 3}


def test_nothing_flows_before_consent_has_been_applied_to_its_end() -> None:
    """Rule 4. What is not yet known to be revoked would be taken for permitted."""
    group, reached = Calls(), [False]
    side = Calls({"reached": lambda targets: reached[0]})
    group.joining, group.held = {PLACE}, [PLACE]
    made = runner(_group=group, _side=side, _progress=Calls(), _log=Calls())
    made._starts, made._targets = {PLACE: 3}, {("consent", 0): 9}
    made._join()
    assert "run" not in group.names()
    reached[0] = True
    made._join()
    assert group.names() == ["run"]


# -- sending: the deadline that runs from the intent, and the partition that may be taken away


class Recipient:
    """An adapter that notes what begins to leave, and hangs when told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.hangs = False
        self.at_once = self.at_once_seen = 0

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        self.begun.append(outgoing.key)
        self.at_once += 1
        self.at_once_seen = max(self.at_once, self.at_once_seen)
        try:
            while self.hangs:  # noqa: ASYNC110 - the test, in another thread, ends it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        return Outcome("delivered", "ok")


class Sleeps(Keys):
    """Opening what was sealed takes so long that a deadline passes: the machine was suspended meanwhile."""

    def __init__(self, slept: Callable[[], None]) -> None:
        super().__init__()
        self._slept = slept

    def sealer(self, participant: str) -> Keys.One:
        self._slept()
        return super().sealer(participant)


class Receipts:
    """Takes receipts, as the log would."""

    def __init__(self) -> None:
        self.codes: queue.SimpleQueue[str] = queue.SimpleQueue()

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        self.codes.put(deliveries.decode(value)["receipt"]["code"])

    def flush(self) -> None:
        return


def attempt(name: str, deadline_ms: int) -> Attempt:
    share = Share("s", "care-coordination", "consent", ("c1/g1",), ("subject",), ())
    made = outbound(event(1), share_of("reach-webhook"))
    return Attempt(name, "reach", "post", 0, 0, 1, made, (share,), (), {}, deadline_ms)


@contextmanager
def sending(vault: Keys, at_once_max: int = 32) -> Iterator[tuple[Sender, Recipient, queue.SimpleQueue[str]]]:
    recipient, receipts = Recipient(), Receipts()
    adapters = {"post": recipient}
    made = Sender(adapters, vault, Nobody(), receipts, Schedule(), now_ms, at_once_max)  # type: ignore[arg-type]
    made.start()
    try:
        yield made, recipient, receipts.codes
    finally:
        made.stop(5_000)


def test_what_comes_to_its_turn_after_the_deadline_does_not_begin() -> None:
    """Rule 8, and 7: somebody may have been told by then that it is in doubt, and no more."""
    with sending(Keys()) as (sender, recipient, codes):
        sender.submit([attempt("late", awake_ms() - 1), attempt("timely", awake_ms() + 60_000)])
        assert {codes.get(timeout=30), codes.get(timeout=30)} == {"not-begun", "ok"}
        assert recipient.begun == ["timely"]


def test_what_slept_through_the_deadline_while_it_was_opened_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 8. The clock runs on while the machine is suspended, and timeouts of the loop do not."""
    asleep_ms = [0]
    monkeypatch.setattr(sender_module, "awake_ms", lambda: awake_ms() + asleep_ms[0])

    def sleep() -> None:
        asleep_ms[0] = 3_600_000

    with sending(Sleeps(sleep)) as (sender, recipient, codes):
        sender.submit([attempt("slept", awake_ms() + 60_000)])
        assert codes.get(timeout=30) == "not-begun"
        assert recipient.begun == []


def test_what_is_committed_ahead_leaves_in_turn() -> None:
    """No recipient is asked to take more at once than the bound."""
    with sending(Keys(), at_once_max=2) as (sender, recipient, codes):
        sender.submit([attempt(f"d-{number}", awake_ms() + 60_000) for number in range(20)])
        assert [codes.get(timeout=30) for _ in range(20)] == ["ok"] * 20
        assert recipient.at_once_seen == 2
        assert sorted(recipient.begun) == sorted(f"d-{number}" for number in range(20))


def test_what_does_not_come_to_its_turn_before_the_deadline_does_not_begin() -> None:
    """Rule 8. And it says nothing about the recipient that it had to wait."""
    with sending(Keys(), at_once_max=1) as (sender, recipient, codes):
        recipient.hangs = True
        sender.submit([attempt("hangs", awake_ms() + 600_000)])
        until(lambda: recipient.begun == ["hangs"])
        said = ""
        for deadline_ms in (500, 4_000, 20_000):  # where opening it took longer, it had no turn to wait for
            if said != "not-begun":
                sender.submit([attempt(f"waits {deadline_ms}", awake_ms() + deadline_ms)])
                said = codes.get(timeout=60)
        assert said == "not-begun"
        recipient.hangs = False
        assert codes.get(timeout=30) == "ok"
        assert recipient.begun == ["hangs"]


def test_a_recipient_that_hangs_is_cut_off_at_the_deadline() -> None:
    """Rule 8. The fence waits for no recipient longer than that."""
    with sending(Keys()) as (sender, recipient, codes):
        recipient.hangs = True
        sender.submit([attempt("hangs", awake_ms() + 1_000)])
        assert codes.get(timeout=30) == "timeout"
        assert recipient.begun == ["hangs"]


def test_what_has_not_begun_when_its_partition_is_taken_away_does_not_begin() -> None:
    """Rule 2. Its intent stands, so it is answered; but it is the next owner's to send."""
    opening = threading.Event()

    def open_late() -> None:
        assert opening.wait(30)

    vault = Sleeps(open_late)
    with sending(vault) as (sender, recipient, codes):
        sender.submit([attempt("taken", awake_ms() + 60_000)])
        sender.drop("reach", 0)
        opening.set()
        assert codes.get(timeout=30) == "not-begun"
        assert recipient.begun == []
