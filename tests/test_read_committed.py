"""Nothing of the hub reads what was not committed: every consumer there is, found in the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.ledger.placing import reading
from streams.lookup import Lookup
from streams.settings import RunnerSettings
from streams.side import SideInputs
from streams.step import Record
from tests.streams_kit import CHECKOUT, Cluster, until

ROOMS = ("hub", "streams", "connectors", "consent", "schemas")
CLIENTS = {"Consumer", "AIOKafkaConsumer"}
ELSEWHERE = {  # built from settings that are looked at below, or in a test of their own
    ("streams/group.py", "settings.consumer(client)"),
    ("streams/side.py", "self._config"),
    ("hub/ledger/placing.py", "reading(client, 'ledger-sources')"),
    ("hub/ledger/worker.py", "joining"),
}


def constructions() -> Iterator[tuple[str, ast.Call]]:
    """Every place that makes a consumer: its file, and the call."""
    for room in ROOMS:
        for path in sorted((CHECKOUT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = (
                        node.func.attr
                        if isinstance(node.func, ast.Attribute)
                        else getattr(node.func, "id", "")
                    )
                    if name in CLIENTS:
                        yield str(path.relative_to(CHECKOUT)), node


def committed_only(call: ast.Call) -> bool:
    """Whether the call says so itself, behind whatever else it takes over."""
    for keyword in call.keywords:
        if keyword.arg == "isolation_level":
            return isinstance(keyword.value, ast.Constant) and keyword.value.value == "read_committed"
    if not call.args or not isinstance(call.args[0], ast.Dict):
        return False
    said = False
    for key, value in zip(call.args[0].keys, call.args[0].values, strict=True):
        if key is None:
            said = False  # what is spread in here could say otherwise
        elif isinstance(key, ast.Constant) and key.value == "isolation.level":
            said = isinstance(value, ast.Constant) and value.value == "read_committed"
    return said


def test_every_consumer_says_that_it_reads_only_what_is_committed() -> None:
    found = list(constructions())
    assert len(found) >= 6, "the search itself is broken"
    loose = [
        f"{path}:{call.lineno}"
        for path, call in found
        if not committed_only(call) and (path, ast.unparse(call.args[0])) not in ELSEWHERE
    ]
    assert loose == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('Consumer({**client, "isolation.level": "read_committed"})', True),
        ('Consumer({"isolation.level": "read_committed", **client})', False),
        ('Consumer({**client, "isolation.level": "read_uncommitted"})', False),
        ("Consumer({**client})", False),
        ('AIOKafkaConsumer("t", isolation_level="read_committed")', True),
        ('AIOKafkaConsumer("t")', False),
    ],
)
def test_the_search_tells_them_apart(source: str, expected: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert committed_only(call) is expected


def test_no_client_setting_loosens_the_runner() -> None:
    settings = RunnerSettings("g", ("t",), "i")
    client = {"isolation.level": "read_uncommitted", "enable.auto.commit": True}
    for config in (settings.consumer(client), settings.side_consumer(client), reading(client, "g")):
        assert config["isolation.level"] == "read_committed"
        assert config["enable.auto.commit"] is False


@pytest.mark.broker
def test_an_aborted_transaction_is_nowhere_to_be_seen(kafka: str) -> None:
    """The runner's own consumers and the clock have theirs in their tests."""
    cluster = Cluster(kafka)
    topic = cluster.topic("aborted")
    writer = cluster.producer(f"writer-{cluster.suffix}")
    writer.begin_transaction()
    writer.produce(topic, b"never", b"k", 0)
    writer.flush()
    writer.abort_transaction()
    cluster.write(topic, [(b"k", b"said")])
    never, said = cluster.read(topic, committed=False)
    assert (never.value, said.value) == (b"never", b"said")
    until(
        lambda: cluster.ends(topic) == {0: 3}, "the transaction's end"
    )  # which may come behind what was said

    lookup = Lookup(cluster.client, "test")
    assert lookup.read([(topic, 0, 0), (topic, 0, said.offset)]) == {(topic, 0, said.offset): b"said"}
    lookup.close()

    applied: list[Record] = []
    side = SideInputs(RunnerSettings("g", ("t",), "i"), cluster.client, cluster.admin, applied.append)
    side.follow([(topic, 0)])
    side.catch_up(side.ends([(topic, 0)]))
    assert [one.value for one in applied] == [b"said"]
    assert side.applied(topic, 0) == 2
    side.close()


@pytest.mark.broker
def test_an_open_transaction_hides_what_lies_behind_it(kafka: str) -> None:
    cluster = Cluster(kafka)
    topic = cluster.topic("open")
    writer = cluster.producer(f"writer-{cluster.suffix}")
    writer.begin_transaction()
    writer.produce(topic, b"first", b"k", 0)
    writer.flush()
    cluster.write(topic, [(b"k", b"second")])
    applied: list[Record] = []
    side = SideInputs(RunnerSettings("g", ("t",), "i"), cluster.client, cluster.admin, applied.append)
    place = (topic, 0)
    side.follow([place])
    assert side.ends([place]) == {place: 0}
    assert side.ends([place], committed=False) == {place: 2}
    side.catch_up({place: 0})
    assert applied == []
    writer.commit_transaction()
    until(lambda: side.ends([place]) == {place: 3}, "the transaction's end")
    side.catch_up({place: 3})
    assert [one.value for one in applied] == [b"first", b"second"]
    side.close()


def test_the_rooms_are_where_they_are_looked_for() -> None:
    assert all(Path(CHECKOUT, room, "__init__.py").exists() for room in ROOMS)
