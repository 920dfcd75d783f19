"""What tests share: which broker they run against, and that they test this checkout and nothing else.

The header of a run says which broker it uses: testcontainers' Kafka where a Docker engine answers, else the
embedded one.
"""

import functools
import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from hub.store import Store
    from tests.webside import Side

CHECKOUT = Path(__file__).resolve().parent.parent
COMPILED = "TESTS_COMPILED" in os.environ  # in the process of its own that test_compiled.py starts
TESTED = CHECKOUT / "build/compiled" if COMPILED else CHECKOUT
ROOMS = ("hub", "streams", "schemas", "consent", "connectors")
ENGINE_S_MAX = 5
GONE_MS_MAX = 20_000
LONG = (
    "test_end_to_end",
    "test_faults",
    "test_interleavings",
    "test_pages",
    "test_up",
    "test_readme",
    "test_cases",
    "test_laws",
    "test_broker",
    "test_access",
    "test_officer",
    "test_engine",
    "test_runner",
    "test_own_page",
    "test_decide",
    "test_casework",
    "test_users",
    "test_auditor",
    "test_signing",
    "test_aggregates",
)
KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.1"  # Kafka 4.1
CONTAINER_SETTINGS = {
    "AUTO_CREATE_TOPICS_ENABLE": "false",
    "OFFSETS_TOPIC_NUM_PARTITIONS": "8",
    "TRANSACTION_STATE_LOG_NUM_PARTITIONS": "8",
    "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
    "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
}

for variable in [name for name in os.environ if name.startswith("HUB_")]:
    del os.environ[variable]  # a developer's own settings are no part of the tests

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # a broker for seconds repays no more

if "tests.mutation" not in sys.modules:  # which has a profile of its own
    settings.register_profile(  # how long an example takes is the machine's affair, not a law's
        "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("unhurried")


@functools.cache
def _engine_answers() -> bool:
    """Whether a Docker engine answers quickly. Asked by the command; the library leaks a socket."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = ["docker", "version", "--format", "{{.Server.Version}}"]
        return not subprocess.run(asked, capture_output=True, timeout=ENGINE_S_MAX, check=False).returncode
    except subprocess.TimeoutExpired:
        return False


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test somebody else's package of the same name."""
    for room in ROOMS:
        found = importlib.import_module(room).__file__
        if found is None or Path(found).resolve().parent != TESTED / room:
            raise pytest.UsageError(
                f"`{room}` is imported from `{found}`, not from this checkout: run `make setup`"
            )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left for one processor at the end.

    What is compiled cannot have its insides exchanged: tests that do so are for the sources alone.
    """
    if COMPILED:
        items[:] = [one for one in items if "monkeypatch" not in getattr(one, "fixturenames", ())]
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_report_header(config: pytest.Config) -> str:
    """Say which broker the tests use."""
    if _engine_answers():
        return f"broker: testcontainers, {KAFKA_IMAGE}"
    return "broker: embedded (no Docker engine answers, so testcontainers' Kafka is not used)"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker for the whole run. Out: its `host:port`. Its topics are shared: use ids of your own."""
    if _engine_answers():
        from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415  only where there is an engine

        container = KafkaContainer(KAFKA_IMAGE).with_kraft()
        for name, value in CONTAINER_SETTINGS.items():
            container.with_env(f"KAFKA_{name}", value)
        with container:
            yield container.get_bootstrap_server()
        return

    from hub import broker, settings  # noqa: PLC0415  fixtures alone need it

    with broker.start(settings.load(data=tmp_path_factory.mktemp("kafka"))) as started:
        yield started.bootstrap


@pytest.fixture(scope="session")
def emptying(kafka: str) -> Callable[[], str]:
    """A call that takes every topic and group from the broker. Its result: the broker's `host:port`."""
    admin = AdminClient({"bootstrap.servers": kafka})

    def left() -> list[str]:
        return [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]

    def groups_left() -> bool:
        """Deletes groups; some stay until the sessions of their static members are over."""
        groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
        asked = admin.delete_consumer_groups(groups) if groups else {}
        return any(deleted.exception() is not None for deleted in asked.values())

    def empty() -> str:
        deadline = time.monotonic() + GONE_MS_MAX / 1000
        while groups_left():
            assert time.monotonic() < deadline, "a consumer group of an earlier test is still at work"
            time.sleep(0.05)
        if topics := left():
            for deleted in admin.delete_topics(topics, operation_timeout=GONE_MS_MAX / 1000).values():
                deleted.result()
        deadline = time.monotonic() + GONE_MS_MAX / 1000
        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left()
        return kafka

    return empty


@pytest.fixture
def empty_kafka(emptying: Callable[[], str]) -> str:
    """The same broker without any topic or group that earlier tests left. Out: its `host:port`."""
    return emptying()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL for the whole run, skipped out loud where none is installed. Out: see `stores.running`."""
    from tests import stores  # noqa: PLC0415  fixtures alone need it

    with stores.running() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Store"]:
    """A store with its tables, of each kind."""
    from tests import stores  # noqa: PLC0415

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hub.db'}"
    else:
        url = stores.database(request.getfixturevalue("postgres"))
    with stores.opened(url) as made:
        yield made


@pytest.fixture(scope="session")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Side"]:
    """A hub whose web is served, for all tests of the web."""
    from tests.webside import alone  # noqa: PLC0415  fixtures alone need it

    with alone(tmp_path_factory.mktemp("web")) as running:
        yield running
