"""The embedded broker: its data survives, its parent's death ends it, and one folder has one broker."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from hub import broker, brokers, jvm, locks, settings
from hub.errors import BrokerFailed, BrokerUnreachable, DataInUse, JarsMissing, JavaMissing
from hub.settings import Settings

WAIT_MS_MAX = 20_000
PARENT = """
import sys, threading, time
from hub import broker, settings
def go():
    print(broker.start(settings.load(data=sys.argv[1])).bootstrap, flush=True)
if sys.argv[2] == "thread":
    starter = threading.Thread(target=go); starter.start(); starter.join()
else:
    go()
time.sleep(600)
"""

pytestmark = pytest.mark.broker


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most `WAIT_MS_MAX`."""
    deadline = time.monotonic() + WAIT_MS_MAX / 1000
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody has asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which a broker has been, to be copied; to format one takes two seconds each time."""
    data = tmp_path_factory.mktemp("formatted")
    broker.start(settings.load(data=data)).stop()
    return data


@pytest.fixture
def configured(formatted: Path, tmp_path: Path) -> Settings:
    """Settings on a copy of that folder, without the ports it had."""
    shutil.copytree(formatted, tmp_path / "data")
    (tmp_path / "data/broker/ports.json").unlink()
    return settings.load(data=tmp_path / "data")


@pytest.fixture
def parent(configured: Settings) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], str]]]:
    """Starts a process that starts a broker and then only waits. Out: the process, the broker's address."""
    started: list[subprocess.Popen[str]] = []

    def begin(how: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(configured.data), how], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_was_written_is_there_after_a_restart_at_the_same_address(configured: Settings) -> None:
    with broker.start(configured) as first:
        address = first.bootstrap
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result()
        producer = Producer({"bootstrap.servers": address, "acks": "all"})
        producer.produce("kept", b"value")
        assert producer.flush(10) == 0
    with broker.start(configured) as second:
        assert second.bootstrap == address
        consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"}
        )
        consumer.assign([TopicPartition("kept", 0, 0)])
        message = consumer.poll(WAIT_MS_MAX / 1000)
        consumer.close()
        assert message is not None
        assert message.value() == b"value"


@pytest.mark.parametrize("how", ["main", "thread"])
def test_it_dies_with_its_parent_however_that_dies(
    configured: Settings, parent: Callable[[str], tuple[subprocess.Popen[str], str]], how: str
) -> None:
    process, address = parent(how)
    running = broker.status(configured)
    assert running is not None
    assert (running.bootstrap, running.owner) == (address, process.pid)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: gone(running.pid))
    wait_until(lambda: broker.status(configured) is None)  # its other threads end a moment after it


def test_a_killed_broker_starts_again_where_its_clients_look_for_it(configured: Settings) -> None:
    with broker.start(configured) as started:
        address, pid = started.bootstrap, started.running.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: started.ended)
        started.restart()
        assert started.bootstrap == address
        assert started.running.pid != pid
        assert broker.answers({"bootstrap.servers": address}, WAIT_MS_MAX)


def test_a_folder_in_use_is_refused_and_its_broker_is_stopped_only_by_its_owner(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_DATA", str(configured.data))
    monkeypatch.setattr(broker, "LOCK_WAIT_MS_MAX", 100)
    with broker.start(configured) as started:
        with pytest.raises(DataInUse) as caught:
            broker.start(configured)
        assert f"process {os.getpid()}, broker at {started.bootstrap}" in caught.value.what
        assert "HUB_DATA" in caught.value.mend
        with pytest.raises(DataInUse, match=f"belongs to process {os.getpid()}"):
            broker.stop(configured)
        said = CliRunner().invoke(brokers.app, ["status"]).stdout
        assert f"{started.bootstrap}  (process {started.running.pid}, of process {os.getpid()}" in said


def test_a_port_that_is_taken_meanwhile_is_replaced(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = broker._free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stale = taken.getsockname()[1]
        offered = [(stale, look((0, 0))[1])]
        monkeypatch.setattr(broker, "_free_ports", lambda wanted: offered.pop() if offered else look(wanted))
        with broker.start(configured) as started:
            assert not started.bootstrap.endswith(f":{stale}")


def test_a_broker_that_cannot_start_says_why(configured: Settings) -> None:
    (configured.broker_dir / "data/meta.properties").write_text("version=1\ncluster.id=another\n")
    with pytest.raises(BrokerFailed) as caught:
        broker.start(configured)
    assert "ended while it was starting: " in caught.value.what
    assert "Exception" in caught.value.what
    assert str(configured.broker_dir / "logs") in caught.value.mend
    assert locks.is_free(configured.broker_dir / "lock")


def test_in_the_background_it_outlives_its_starter_until_it_is_stopped(configured: Settings) -> None:
    environment = {**os.environ, "HUB_DATA": str(configured.data)}

    def hub(*words: str) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", "broker", *words, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, json.loads(done.stdout)

    assert hub("status") == (1, {"running": False})
    status, started = hub("start")
    try:
        assert (status, started["running"], started["owner"]) == (0, True, None)
        assert hub("status") == (0, started)
        assert broker.address(configured) == started["bootstrap"]
        with broker.ensured(configured) as (address, own):
            assert (address, own) == (started["bootstrap"], None)
    finally:
        assert hub("stop") == (0, {"stopped": True})
    assert gone(int(str(started["pid"])))
    assert hub("stop") == (0, {"stopped": False})
    with pytest.raises(BrokerUnreachable, match="hub broker start"):
        broker.address(configured)


def test_a_named_cluster_is_used_as_it_is(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", kafka)
    named = settings.load(data=tmp_path / "data")
    with broker.ensured(named) as (address, own):
        assert (address, own) == (kafka, None)
    assert not (tmp_path / "data").exists()


def test_a_named_cluster_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", address)
    monkeypatch.setattr(broker, "REACH_MS_MAX", 300)
    with (
        pytest.raises(BrokerUnreachable, match=f"no broker answers at `{address}`"),
        broker.ensured(settings.load(data=tmp_path)),
    ):
        pass


def test_without_java_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        JavaMissing, match=r"needs Java 17 or newer, and `no-such-java` is not there.*make setup"
    ):
        broker.start(settings.load(data=tmp_path, java="no-such-java"))


def test_an_old_java_is_told_from_a_broken_broker(tmp_path: Path) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'java.lang.UnsupportedClassVersionError: kafka/Kafka'; exit 1\n")
    old.chmod(0o755)
    with pytest.raises(JavaMissing, match="and this one is older"):
        broker.start(settings.load(data=tmp_path / "data", java=str(old)))
    assert not (tmp_path / "data/broker/data").exists()


def test_without_jars_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(JarsMissing, match=r"are not in `.*/nothing`\. Run `make setup`"):
        broker.start(settings.load(data=tmp_path, jars=tmp_path / "nothing"))


def test_the_pinned_jars_are_what_runs() -> None:
    pinned = {line.split()[1] for line in (jvm.RESOURCES / "jars.sha256").read_text().splitlines()}
    assert pinned == {path.name for path in settings.load().jars.glob("*.jar")}


def test_a_cluster_whose_name_begins_with_a_dash_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashed = uuid.UUID(bytes=b"\xf8" + bytes(15))
    monkeypatch.setattr(uuid, "uuid4", lambda: dashed)
    configured = settings.load(data=tmp_path)
    (configured.broker_dir / "logs").mkdir(parents=True)
    jvm.format_data(configured, jvm.java(configured))
    assert "cluster.id=-" in (configured.broker_dir / "data" / "meta.properties").read_text()
