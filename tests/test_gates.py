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


def secrets_of(service: dict[str, Any]) -> dict[str, str]:
    """By the name that the container sees, the name of the secret."""
    listed = [one if isinstance(one, dict) else {"source": one} for one in service.get("secrets", [])]
    return {one.get("target", one["source"]): one["source"] for one in listed}


def properties(name: str) -> dict[str, str]:
    """A file of the embedded broker's settings."""
    lines = (jvm.RESOURCES / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def of_the_image(environment: dict[str, Any]) -> dict[str, str]:
    """A container's variables as the properties that Kafka's own image makes of them."""
    found = {}
    for name, value in environment.items():
        words = name.removeprefix("KAFKA_").lower().replace("___", "-").replace("__", "\0")
        found[words.replace("_", ".").replace("\0", "_")] = str(value)
    return found


def test_make_test_runs_every_gate() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "test"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},  # without what this very run was called with
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for gate in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest -p tests.reached"):
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
        assert set(secrets_of(service).values()) <= set(compose["secrets"])
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
        reached = f"${{KAFKA_AGENCIES_HOST:-localhost}}:{number}9094"
        assert settings.pop("KAFKA_ADVERTISED_LISTENERS") == (f"BROKER://{name}:9092,AGENCIES://{reached}")
        assert reached in compose["services"]["hub"]["environment"]["HUB_KAFKA_AGENCIES"]
        assert secrets_of(compose["services"][name])["kafka_certificate"] == f"kafka_{number}"
        assert f"{number}@{name}:9093" in settings["KAFKA_CONTROLLER_QUORUM_VOTERS"]
        rest.append(settings)
    assert rest[0] == rest[1] == rest[2]


def test_what_the_hub_relies_on_is_the_same_on_the_cluster_as_on_the_embedded_broker(
    compose: dict[str, Any],
) -> None:
    embedded = properties("server.properties")
    cluster = compose["services"]["kafka-1"]["environment"]
    for name in (
        "auto.create.topics.enable",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "transaction.max.timeout.ms",
        "group.initial.rebalance.delay.ms",
        "offsets.retention.minutes",
    ):
        assert str(cluster[f"KAFKA_{name.replace('.', '_').upper()}"]) == embedded[name]


def test_the_cluster_lets_in_whom_the_embedded_broker_lets_in(compose: dict[str, Any]) -> None:
    cluster = of_the_image(compose["services"]["kafka-1"]["environment"])
    embedded = properties("agencies.properties")
    assert cluster["listener.security.protocol.map"] == "BROKER:SSL,CONTROLLER:SSL,AGENCIES:SASL_SSL"
    assert embedded["listener.security.protocol.map"] == "CLIENT:SSL,CONTROLLER:SSL,AGENCIES:SASL_SSL"
    inner = {
        name.replace("listener.name.client.", "listener.name.broker."): one for name, one in embedded.items()
    }
    for name, value in inner.items():
        if name.endswith((".location", "listeners", "protocol.map")) or name == "super.users":
            continue  # each where its files and doors are
        assert cluster[name] == value, name
    users = {f"User:CN={name}" for name in (*BROKERS, "hub")}
    assert set(cluster["super.users"].split(";")) == users, "nobody else"
    for name in ("ssl.keystore.location", "ssl.truststore.location"):
        assert cluster[name].removeprefix("/run/secrets/") in secrets_of(compose["services"]["kafka-1"])
    hub = compose["services"]["hub"]
    assert hub["environment"]["HUB_KAFKA_SECURITY_PROTOCOL"] == "SSL"
    for name in ("CA", "CERTIFICATE"):
        named = hub["environment"][f"HUB_KAFKA_{name}"].removeprefix("/run/secrets/")
        assert named in secrets_of(hub)


def test_the_hubs_container_has_only_settings_that_exist_and_no_more_rights_than_it_needs(
    compose: dict[str, Any],
) -> None:
    hub = compose["services"]["hub"]
    given = {name.removeprefix("HUB_").lower() for name in hub["environment"]}
    given |= {name.removeprefix("hub_") for name in secrets_of(hub)}
    given |= {name.lower() for name in re.findall(r"\bHUB_(\w+)=", (CHECKOUT / "Dockerfile").read_text())}
    assert given <= set(Settings.model_fields)
    assert hub["read_only"] is True
    assert hub["cap_drop"] == ["ALL"]
    assert re.search(r"^USER hub$", (CHECKOUT / "Dockerfile").read_text(), re.M)
    assert all(port.startswith("127.0.0.1:") for port in hub["ports"])
    for number, name in enumerate(BROKERS, 1):
        (port,) = compose["services"][name]["ports"]  # the one that asks who comes
        assert port == f"${{KAFKA_AGENCIES_LISTEN:-127.0.0.1}}:{number}9094:9094"
    store = compose["services"]["postgres"]
    assert "ports" not in store
    assert all(compose["networks"][network]["internal"] for network in store["networks"])


def test_the_image_is_built_from_what_it_may_see() -> None:
    seen = {
        line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", (CHECKOUT / "Dockerfile").read_text(), re.M):
        for source in sources.split():
            assert source in seen
            assert (CHECKOUT / source).exists()


def test_the_image_runs_as_nobody_and_brings_no_secret() -> None:
    """Neither in a layer nor in an argument list."""
    lines = (CHECKOUT / "Dockerfile").read_text().splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    last = lines[stages[-1] :]
    (user,) = [line.split()[1] for line in last if line.startswith("USER ")]
    assert any(
        f"useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin {user}" in line
        for line in last
    )
    for line in lines:
        assert not re.match(r"(ARG|ENV).*(PASSWORD|SECRET|TOKEN|KEK|KEY)", line), line
        assert not line.startswith("ADD "), line  # which fetches and unpacks
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert copied == {
        "requirements-run.lock", "requirements-build.lock", "pyproject.toml", "README.md", "LICENSE",
        "schemas", "consent", "streams", "connectors", "hub", "--from=build", "/opt/hub",
    }  # fmt: skip
    assert (CHECKOUT / ".dockerignore").read_text().splitlines()[1] == "*"  # and no more reaches a layer


def test_the_hubs_container_may_write_nowhere_else_and_do_nothing_else(compose: dict[str, Any]) -> None:
    hub = compose["services"]["hub"]
    assert hub["read_only"] is True
    assert hub["cap_drop"] == ["ALL"]
    assert hub["security_opt"] == ["no-new-privileges:true"]
    assert (hub["tmpfs"], hub["volumes"]) == (["/tmp"], ["hub:/data"])
    assert not {"privileged", "cap_add", "user", "pid", "network_mode", "devices"} & hub.keys()
    assert all(port.startswith("127.0.0.1:") for port in hub["ports"])


def test_no_container_is_given_a_secret_by_its_environment_or_its_arguments(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "command" not in service, name
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEK", variable):
                assert str(value).startswith("/run/secrets/"), f"{name}: {variable}"
    assert all(str(one["file"]).startswith(".secrets/") for one in compose["secrets"].values())
    assert ".secrets" in (CHECKOUT / ".gitignore").read_text()


def test_what_makes_the_bill_of_materials_is_pinned_and_called_rightly() -> None:
    script = (CHECKOUT / "setup/supply.sh").read_text()
    assert re.search(r'TOOLS="cyclonedx-bom==[0-9.]+ pip-audit==[0-9.]+"', script)
    ran = subprocess.run([CHECKOUT / "setup/supply.sh", "what"], capture_output=True, text=True, check=False)
    assert (ran.returncode, "usage" in ran.stderr) == (2, True)


def test_every_test_that_the_threat_model_names_is_there() -> None:
    """`tests/test_x.py::test_y`, as the invariants have them, too; `…::` is the file named before."""
    for page in ("docs/security.md", "docs/invariants.md"):
        found, file = 0, ""
        for name, test in re.findall(r"(tests/\w+\.py|…)(?:::(\w+))?", (CHECKOUT / page).read_text()):
            file = file if name == "…" else name
            if name == "…" and not test:
                continue
            found += 1
            text = (CHECKOUT / file).read_text()
            assert not test or re.search(rf"def {test}\(", text), f"{page}: {file}::{test}"
        assert found > 15
