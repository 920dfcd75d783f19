"""Agencies on the brokers themselves: each does what it may with its own topics, and nothing else.

With a real broker that knows who asks, and stock clients.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from typer.testing import CliRunner

from connectors import deliveries
from connectors.deliveries import Applied
from connectors.fence import Fence, Narrowing
from connectors.follower import Follower
from hub import agency, authority, broker, clients, doctor, health, settings, users
from hub.bootstrap import prepare
from hub.settings import Settings
from tests.conftest import CHECKOUT
from tests.streams_kit import until

pytestmark = pytest.mark.broker

WAIT_S_MAX = 30.0
DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
Command = Callable[..., Any]
Client = dict[str, Any]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A hub whose own broker agencies reach, running."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    named = settings.load(
        data=tmp_path_factory.mktemp("guarded"), kafka_agencies=f"localhost:{port}", partitions=1
    )
    with broker.start(named) as started:
        prepare(named, started.bootstrap)
        yield named


@pytest.fixture(scope="module")
def command(configured: Settings) -> Command:
    """`hub agency`, as an operator uses it; out: what it printed as JSON."""

    def run(*words: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(agency, "FENCE_MS_MAX", 1)  # no worker runs here that could acknowledge anything
            for name in ("data", "kafka_agencies", "partitions"):
                patch.setenv(f"HUB_{name.upper()}", str(getattr(configured, name)))
            done = CliRunner().invoke(agency.app, [*words, "--json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def agencies(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client]:
    """Agencies that speak Kafka. Out: what the clients of each need, in librdkafka's words."""
    file = tmp_path_factory.mktemp("described") / "county.json"
    named = ("county-jail", "harbor-pd", "north-pd", "metro-pd")
    several = [described(one, kafka=True) for one in named] + [described("quiet")]
    file.write_text(json.dumps({"stakeholder": several}))
    rows = {row["id"]: row["kafka"] for row in command("load", str(file))}
    assert rows.pop("quiet") is None
    return {name: client_of(found) for name, found in rows.items()}


def described(who: str, **more: Any) -> dict[str, Any]:
    return {
        "id": who,
        "name": who,
        "role": "police",
        "agreement": {"from": "2026-01-01T00:00:00Z"},
    } | more


def client_of(found: dict[str, str]) -> Client:
    return {
        "bootstrap.servers": found["bootstrap"],
        "security.protocol": found["security_protocol"],
        "sasl.mechanism": found["mechanism"],
        "sasl.username": found["username"],
        "sasl.password": found["password"],
        "ssl.ca.location": found["ca"],
        "broker.address.family": "v4",  # where `localhost` is another address first, that is no refusal
        "log_level": 0,
    }


def hub_client(configured: Settings) -> Client:
    return configured.kafka(broker.address(configured))


def write(client: Client, topic: str, value: bytes = b"x") -> KafkaError | None:
    """Out: why the brokers did not take it, if they did not."""
    found: list[KafkaError | None] = []
    producer = Producer({**client, "enable.idempotence": True, "message.timeout.ms": 20_000})
    producer.produce(topic, value, on_delivery=lambda error, _: found.append(error))
    assert producer.flush(WAIT_S_MAX) == 0
    return found[0]


def read(client: Client, topic: str, group: str) -> bytes | KafkaError:
    """The first record, or why there is none."""
    consumer = Consumer(
        {
            **client,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "error_cb": lambda error: None,
        }
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + WAIT_S_MAX
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if (error := message.error()) is not None:
                return error
            consumer.commit(message, asynchronous=False)
            value = message.value()
            assert isinstance(value, bytes)
            return value
    finally:
        consumer.close()
    raise AssertionError("waited in vain for a record, or a word why there is none")


def turned_away(client: Client) -> bool:
    """Whether the brokers end the connection, or do not let it in; not just that they take their time."""
    errors: list[KafkaError] = []
    admin = AdminClient({**client, "error_cb": errors.append, "reconnect.backoff.max.ms": 500})
    deadline = time.monotonic() + WAIT_S_MAX
    while not errors:
        assert time.monotonic() < deadline, "neither a word nor a refusal"
        with contextlib.suppress(KafkaException):
            admin.list_topics(timeout=0.2)
            return False
        admin.poll(0)
    return True


def refused(asked: dict[Any, Future[Any]]) -> int:
    (future,) = asked.values()
    with pytest.raises(KafkaException) as caught:
        future.result(WAIT_S_MAX)
    return int(caught.value.args[0].code())


def test_an_agency_writes_its_inbox_and_reads_its_receipts_and_feed(
    configured: Settings, agencies: dict[str, Client]
) -> None:
    jail = agencies["county-jail"]
    assert write(jail, "inbox.county-jail", b"booked") is None
    ours = hub_client(configured)
    assert read(ours, "inbox.county-jail", "test") == b"booked"
    for topic in ("receipts.county-jail", "feed.county-jail"):
        assert write(ours, topic, topic.encode()) is None
        assert read(jail, topic, "county-jail.app") == topic.encode()


def documented(kind: str, client: Client) -> str:
    """The settings that the documentation shows, with what this agency was given."""
    page = (CHECKOUT / "docs" / "connectors" / "kafka.md").read_text()
    (block,) = re.findall(rf"```{kind}\n(.*?)```", page, re.S)
    given = {
        "kafka.example.org:9094": client["bootstrap.servers"],
        "agency.county-jail": client["sasl.username"],
        "…": client["sasl.password"],
        "hub-ca.pem": client["ssl.ca.location"],
    }
    for shown, value in given.items():
        assert shown in block
        block = block.replace(shown, value)
    return str(block)


def test_the_settings_of_the_documentation_are_those_that_work(
    agencies: dict[str, Client], tmp_path: Path
) -> None:
    jail = agencies["county-jail"]
    lines = [line.split("=", 1) for line in documented("ini", jail).splitlines()]
    assert write(dict(lines), "inbox.county-jail") is None
    java = tmp_path / "java.properties"
    java.write_text(documented("properties", jail))
    if shutil.which("javac") is None:
        pytest.skip("all but Java's client has done it: `apt-get install default-jdk-headless`")
    source = CHECKOUT / "tests" / "peers" / "kafka" / "Send.java"
    words = ("-XX:TieredStopAtLevel=1", "-cp", f"{settings.load().jars}/*")
    asked = ["java", *words, str(source), str(java), "inbox.county-jail", "booked"]
    ran = subprocess.run(asked, capture_output=True, text=True, timeout=2 * WAIT_S_MAX, check=False)
    assert ran.returncode == 0, ran.stderr[-2_000:]
    assert ran.stdout.strip().isdigit()


def test_and_nothing_else(agencies: dict[str, Client]) -> None:
    mine, other = agencies["harbor-pd"], agencies["north-pd"]
    assert write(other, "inbox.north-pd") is None, "it is there"
    for topic in ("inbox.north-pd", "feed.harbor-pd", "receipts.harbor-pd", "consent", "contact", "new"):
        error = write(mine, topic)
        assert error is not None, topic
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, topic
    for topic in ("feed.north-pd", "inbox.harbor-pd", "outbox.harbor-pd", "deliveries", "governance"):
        error = read(mine, topic, "harbor-pd.app")
        assert isinstance(error, KafkaError), topic
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, topic
    for group in ("north-pd.app", "harbor-pd", "harbor-pdx.app", "admit"):
        error = read(mine, "feed.harbor-pd", group)
        assert isinstance(error, KafkaError), group
        assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED, group

    admin = AdminClient(mine)
    seen = admin.list_topics(timeout=WAIT_S_MAX).topics
    assert set(seen) == {f"{name}.harbor-pd" for name in ("inbox", "receipts", "feed")}
    groups = [one.group_id for one in admin.list_consumer_groups().result(WAIT_S_MAX).valid]
    assert all(name.startswith("harbor-pd.") for name in groups), "nor who reads"
    own = "inbox.harbor-pd"
    (found,) = admin.describe_topics(_collection("inbox.north-pd")).values()
    with pytest.raises(KafkaException) as caught:
        found.result(WAIT_S_MAX)
    assert caught.value.args[0].code() in DENIED, "nor whether there is somebody"
    more = AclBinding(
        ResourceType.TOPIC,
        "consent",
        ResourcePatternType.LITERAL,
        "User:agency.harbor-pd",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    weak = UserScramCredentialUpsertion(
        "hub", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096), b"password"
    )
    for_ever = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    for asked in (
        admin.create_topics([NewTopic("new", 1, 1)]),
        admin.delete_topics([own]),
        admin.create_acls([more]),
        admin.alter_user_scram_credentials([weak]),
        admin.delete_records([TopicPartition(own, 0, 1)]),
        admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, own, incremental_configs=[for_ever])]
        ),
    ):
        assert refused(asked) in DENIED


def _collection(topic: str) -> Any:
    from confluent_kafka import TopicCollection  # noqa: PLC0415  the stubs do not know it

    return TopicCollection([topic])


def test_nobody_comes_in_without_saying_who_by_a_door_of_ones_own(
    configured: Settings, agencies: dict[str, Client]
) -> None:
    good = agencies["county-jail"]
    address = broker.address(configured)
    plain = {"bootstrap.servers": address, "log_level": 0}
    without = {name: value for name, value in good.items() if not name.startswith("sasl")}
    for client in (
        plain,
        {**plain, "bootstrap.servers": good["bootstrap.servers"]},
        {**good, "sasl.password": "guessed"},
        {**good, "sasl.username": "hub"},
        {**good, "sasl.username": "CN=hub"},
        {**without, "security.protocol": "SSL"},
        {**without, "security.protocol": "SSL", "bootstrap.servers": address},
        {**good, "security.protocol": "SASL_PLAINTEXT"},
    ):
        assert turned_away(client), client["bootstrap.servers"]
    assert not turned_away(good)
    assert not turned_away(hub_client(configured))
    context = ssl.create_default_context(cafile=good["ssl.ca.location"])
    with socket.create_connection(address.split(":"), 10) as raw:
        tls = context.wrap_socket(raw, server_hostname="localhost")
        with pytest.raises(ssl.SSLError):  # the server asks for a certificate, and hangs up without one
            tls.recv(1)
        tls.close()


def test_the_doctor_says_so(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = (one for one in doctor.examine(configured) if one.name == "agencies")
    assert found.state == "ok", found
    monkeypatch.setattr(authority, "days_left", lambda folder, now: 59)
    (found,) = (one for one in doctor.examine(configured) if one.name == "agencies")
    assert (found.state, found.mend) == ("note", "Start the broker anew.")


def test_a_password_is_changed_and_taken_back(
    configured: Settings, command: Command, agencies: dict[str, Client]
) -> None:
    first = agencies["metro-pd"]
    assert not turned_away(first)
    second = client_of(command("rotate", "metro-pd")["kafka"])
    assert second["sasl.password"] != first["sasl.password"]
    assert write(second, "inbox.metro-pd") is None
    assert turned_away(first)
    known = users.Users(hub_client(configured))
    assert known.admit("metro-pd") is None, "registering again shows no password"
    command("retire", "metro-pd")
    assert not known.known("metro-pd")
    known.end("metro-pd")  # once more
    assert turned_away(second)
    again = known.admit("metro-pd")
    assert again is not None, "who comes back gets another one"
    assert write(second | {"sasl.password": again.password}, "inbox.metro-pd") is None
    for who in ("nobody", "quiet"):
        with pytest.raises(agency.BadDescription):
            command("rotate", who)


async def test_the_hubs_own_asyncio_clients_come_in_by_certificate(configured: Settings) -> None:
    producer = AIOKafkaProducer(**clients.as_aiokafka(hub_client(configured)))
    await producer.start()
    try:
        assert (await producer.send_and_wait("work", b"x")).offset >= 0
    finally:
        await producer.stop()


@pytest.fixture
def with_a_password(configured: Settings) -> dict[str, str]:
    """A user of the hub's own, who may do everything; as settings of the environment."""
    admin = AdminClient(hub_client(configured))
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
    asked = admin.alter_user_scram_credentials([UserScramCredentialUpsertion("hub", scram, b"s3cret")])
    asked["hub"].result(WAIT_S_MAX)
    everything = [
        AclBinding(kind, name, pattern, "User:hub", "*", AclOperation.ALL, AclPermissionType.ALLOW)
        for kind, name, pattern in (
            (ResourceType.TOPIC, "*", ResourcePatternType.LITERAL),
            (ResourceType.GROUP, "*", ResourcePatternType.LITERAL),
            (ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL),
        )
    ]
    for granted in admin.create_acls(everything).values():
        granted.result(WAIT_S_MAX)
    return {
        "HUB_PARTITIONS": "1",
        "HUB_KAFKA_BOOTSTRAP": str(configured.kafka_agencies),
        "HUB_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "HUB_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HUB_KAFKA_SASL_USERNAME": "hub",
        "HUB_KAFKA_SASL_PASSWORD": "s3cret",
        "HUB_KAFKA_CA": str(configured.broker_tls / authority.CA),
    }


async def test_the_clock_and_the_fence_reach_a_cluster_that_wants_a_password(
    configured: Settings, with_a_password: dict[str, str], tmp_path: Path
) -> None:
    """By the settings that everything else goes by, the clock as the process that it is."""
    named = {**with_a_password, "HUB_DATA": str(tmp_path / "hub")}
    command = [sys.executable, "-P", "-m", "hub.cli", "run", "faust"]
    clock = subprocess.Popen(  # noqa: ASYNC220
        command, env={**os.environ, **named}, stderr=subprocess.DEVNULL
    )
    there = settings.load(**{name[4:].lower(): value for name, value in named.items()})
    try:
        told = deliveries.acknowledgement(["reach"], 0, Applied(7, 0), 0, "w")
        producer = Producer(hub_client(configured))
        producer.produce("deliveries", told, b"", 0)
        assert producer.flush(WAIT_S_MAX) == 0
        follower = Follower(clients.as_aiokafka(there.kafka()), Fence(1, 1_000), 1)
        await follower.start()
        try:
            taken = Narrowing(partition=0, consent_offset=7, participant="p-1")
            assert (await follower.wait(taken, ["reach"], 30_000)).state == "closed"
        finally:
            await follower.stop()
        until(
            lambda: any(beat.state == "running" for beat in health.read_all(there.run_dir)),
            "the clock to run",
        )
    finally:
        clock.terminate()
        clock.wait(30)


def test_an_agency_of_the_name_of_another_user_is_another_user(
    configured: Settings, with_a_password: dict[str, str]
) -> None:
    """Else who registers an agency called `hub`, and takes it out again, takes the hub's own rights away."""
    known = users.Users(hub_client(configured))
    made = known.admit("hub")
    assert made is not None
    assert made.username == "agency.hub"
    known.end("hub")
    there = settings.load(**{name[4:].lower(): value for name, value in with_a_password.items()})
    assert not turned_away({**there.kafka(), "log_level": 0, "broker.address.family": "v4"})


def test_brokers_that_let_everybody_do_everything_are_told(kafka: str) -> None:
    known = users.Users({"bootstrap.servers": kafka, "log_level": 0})
    with pytest.raises(users.BrokersOpen, match="kafka_agencies"):
        known.admit("open-house")
    assert not known.known("open-house")
    known.end("open-house")


def test_keys_are_for_the_hubs_own_eyes_and_the_authority_stays(configured: Settings, tmp_path: Path) -> None:
    folder = configured.broker_tls
    assert folder.stat().st_mode & 0o077 == 0
    private = [path for path in folder.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in private} >= {authority.BROKER, authority.HUB}
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)
    authority.prepare(tmp_path, "kafka.example.org")
    ca, hub = ((tmp_path / name).read_bytes() for name in (authority.CA, authority.HUB))
    authority.prepare(tmp_path, "kafka.example.org")
    assert (tmp_path / authority.CA).read_bytes() == ca, "agencies have it"
    assert (tmp_path / authority.HUB).read_bytes() != hub
