"""What keeps the project in shape: the gates run in `make test`, and the containers' file is right."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub import jvm
from hub.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
BROKERS = ("kafka-1", "kafka-2", "kafka-3")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The containers' file, with its merges carried out."""
    loaded: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    return loaded


def test_make_test_runs_every_gate() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "test"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},  # without what this very run was called with
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for gate in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest --cov"):
        assert gate in shown
    assert shown.index("setup/setup.sh test") < shown.index("ruff check") < shown.index("pytest")


def test_ci_runs_what_everybody_runs() -> None:
    commands = [
        line
        for line in (CHECKOUT / ".ci/run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["exec make test"]


def test_the_containers_file_is_valid_by_docker_compose() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("`docker compose` is not there to ask; the other tests of the file still run")
    done = subprocess.run(
        ["docker", "compose", "config", "--quiet"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_reference_in_the_containers_file_is_defined(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*BROKERS, "postgres", "hub"}
    for service in services.values():
        assert set(service["networks"]) <= set(compose["networks"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]
        assert service.get("image", "pinned:by-build").rpartition(":")[2] not in {"", "latest"}
        assert "build" in service or "healthcheck" in service


def test_the_brokers_differ_only_in_who_they_are(compose: dict[str, Any]) -> None:
    rest = []
    for number, name in enumerate(BROKERS, 1):
        settings = dict(compose["services"][name]["environment"])
        assert settings.pop("KAFKA_NODE_ID") == number
        assert settings.pop("KAFKA_ADVERTISED_LISTENERS") == f"BROKER://{name}:9092"
        assert f"{number}@{name}:9093" in settings["KAFKA_CONTROLLER_QUORUM_VOTERS"]
        rest.append(settings)
    assert rest[0] == rest[1] == rest[2]


def test_what_the_hub_relies_on_is_the_same_on_the_cluster_as_on_the_embedded_broker(
    compose: dict[str, Any],
) -> None:
    embedded = dict(
        line.split("=", 1)
        for line in (jvm.RESOURCES / "server.properties").read_text().splitlines()
        if line and not line.startswith("#")
    )
    cluster = compose["services"]["kafka-1"]["environment"]
    for name in (
        "auto.create.topics.enable",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "transaction.max.timeout.ms",
        "group.initial.rebalance.delay.ms",
        "offsets.retention.minutes",
    ):
        assert str(cluster[f"KAFKA_{name.replace('.', '_').upper()}"]) == embedded[name]


def test_the_hubs_container_has_only_settings_that_exist_and_no_more_rights_than_it_needs(
    compose: dict[str, Any],
) -> None:
    hub = compose["services"]["hub"]
    given = {name.removeprefix("HUB_").lower() for name in hub["environment"]}
    given |= {name.removeprefix("hub_") for name in hub["secrets"]}
    given |= {name.lower() for name in re.findall(r"\bHUB_(\w+)=", (CHECKOUT / "Dockerfile").read_text())}
    assert given <= set(Settings.model_fields)
    assert hub["read_only"] is True
    assert hub["cap_drop"] == ["ALL"]
    assert re.search(r"^USER hub$", (CHECKOUT / "Dockerfile").read_text(), re.M)
    assert all(port.startswith("127.0.0.1:") for port in hub["ports"])
    for name in (*BROKERS, "postgres"):
        assert "ports" not in compose["services"][name]
        assert all(
            compose["networks"][network]["internal"] for network in compose["services"][name]["networks"]
        )


def test_the_image_is_built_from_what_it_may_see() -> None:
    seen = {
        line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", (CHECKOUT / "Dockerfile").read_text(), re.M):
        for source in sources.split():
            assert source in seen
            assert (CHECKOUT / source).exists()
