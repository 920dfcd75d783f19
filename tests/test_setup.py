"""Set-up: everybody's commands do it, it does nothing twice, and it says what is missing."""

import hashlib
import importlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

CHECKOUT = Path(__file__).resolve().parent.parent
ROOMS = ("hub", "streams", "schemas", "consent", "connectors")
SETUP = CHECKOUT / "setup/setup.sh"
LOCKS = ("requirements-run.lock", "requirements-build.lock", "requirements.lock")
HASHED = re.compile(r"^[a-z0-9._-]+==\S+( ;[^\\]+)? \\$")


def run(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(words, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def poor_path(tmp_path: Path) -> Path:
    """A PATH with what every Debian has, and nothing that has to be installed."""
    for name in (
        "sh",
        "dirname",
        "sed",
        "head",
        "tr",
        "cut",
        "cat",
        "sha256sum",
        "mkdir",
        "flock",
        "ls",
        "apt-get",
    ):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    identity = tmp_path / "id"
    identity.write_text("#!/bin/sh\necho 1000\n")
    identity.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_imported_from_this_checkout(room: str) -> None:
    assert Path(str(importlib.import_module(room).__file__)).resolve().parent == CHECKOUT / room


def test_a_second_set_up_sets_nothing_up_again() -> None:
    assert run("make", "setup").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (CHECKOUT / ".jars").iterdir()}
    again = run("make", "--no-print-directory", "setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert {path: path.stat().st_mtime_ns for path in (CHECKOUT / ".jars").iterdir()} == before


def test_without_root_it_says_exactly_what_to_run(poor_path: Path) -> None:
    told = run(str(SETUP), "bench", path=str(poor_path))
    assert told.returncode == 1
    (command,) = [line.strip() for line in told.stderr.splitlines() if line.startswith("  ")]
    assert command.startswith("sudo apt-get update && sudo apt-get install -y ")
    assert {"python3", "python3-venv", "default-jre-headless", "maven", "chromium"} <= set(command.split())


def test_on_a_system_without_apt_it_names_what_is_needed(poor_path: Path) -> None:
    (poor_path / "apt-get").unlink()
    told = run(str(SETUP), "run", path=str(poor_path))
    assert told.returncode == 1
    assert "python3" in told.stderr
    assert "sudo" not in told.stderr


def test_an_unknown_level_is_a_wrong_call() -> None:
    assert run(str(SETUP), "everything").returncode == 2


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_its_hashes_and_no_index_is_named(name: str) -> None:
    lines = (CHECKOUT / name).read_text().splitlines()
    packages = [line for line in lines if not line.startswith(" ")]
    assert all(HASHED.match(line) for line in packages)
    assert all(line.startswith("    --hash=sha256:") for line in lines if line.startswith(" "))
    assert len(packages) > (5 if "build" in name else 30)


def test_every_dependency_is_locked_and_what_runs_is_a_part_of_what_is_tested() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = {re.split(r"[\[<>=;]", one)[0].strip().lower() for one in project["project"]["dependencies"]}
    running, building, tested = (
        set(re.findall(r"^([a-z0-9._-]+==\S+)", (CHECKOUT / name).read_text(), re.M)) for name in LOCKS
    )
    assert {name.replace(".", "-") for name in wanted} <= {
        one.split("==")[0].replace(".", "-") for one in running
    }
    assert running | building <= tested
    assert not {one.split("==")[0] for one in running} & {"pytest", "playwright", "mypy", "hatchling"}


def test_what_is_locked_is_all_that_it_needs_and_is_installed_without_asking_for_newer() -> None:
    """A resolver looks at what an index has today: one that asked would end with the next release."""
    checked = run(sys.executable, "-m", "pip", "check", "--disable-pip-version-check")
    assert checked.returncode == 0, checked.stdout
    for name in ("setup/setup.sh", "Dockerfile"):
        installs = [one for one in (CHECKOUT / name).read_text().splitlines() if "--require-hashes" in one]
        assert installs
        assert all("--no-deps" in one for one in installs), name


@pytest.mark.parametrize(
    ("sums", "folder"),
    [("hub/kafka/jars.sha256", ".jars"), ("tests/peers/fhir/jars.sha256", "build/peers/fhir")],
)
def test_the_jars_are_those_that_are_pinned(sums: str, folder: str) -> None:
    pinned = dict(reversed(line.split()) for line in (CHECKOUT / sums).read_text().splitlines())
    assert {path.name for path in (CHECKOUT / folder).glob("*.jar")} == set(pinned)
    for name, digest in pinned.items():
        with (CHECKOUT / folder / name).open("rb") as jar:
            assert hashlib.file_digest(jar, "sha256").hexdigest() == digest, name


@pytest.mark.parametrize("peer", ["webhooks", "provider"])
def test_what_is_locked_for_node_names_no_registry_and_has_its_hashes(peer: str) -> None:
    lock = json.loads((CHECKOUT / "tests/peers" / peer / "package-lock.json").read_text())
    packages = [one for name, one in lock["packages"].items() if name]
    assert len(packages) > 2
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages)


def test_passwords_of_the_containers_are_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    (tmp_path / "setup").mkdir()
    shutil.copy(CHECKOUT / "setup/secrets.sh", tmp_path / "setup")
    made = []
    for _ in range(2):
        subprocess.run([str(tmp_path / "setup/secrets.sh")], check=True, capture_output=True)
        made.append((tmp_path / ".secrets/hub_store_url").read_text())
    assert made[0] == made[1]
    password = (tmp_path / ".secrets/store_password").read_text()
    assert len(password) == 48
    assert made[0] == f"postgresql://hub:{password}@postgres/hub"
    assert stat.S_IMODE((tmp_path / ".secrets").stat().st_mode) == 0o700


def test_certificates_of_the_containers_are_good_for_their_names_and_by_their_own_authority(
    tmp_path: Path,
) -> None:
    (tmp_path / "setup").mkdir()
    shutil.copy(CHECKOUT / "setup/secrets.sh", tmp_path / "setup")
    named = os.environ | {"KAFKA_AGENCIES_HOST": "kafka.example.org"}
    subprocess.run([str(tmp_path / "setup/secrets.sh")], check=True, capture_output=True, env=named)
    made = tmp_path / ".secrets"
    ca = x509.load_pem_x509_certificate((made / "kafka_ca.pem").read_bytes())
    now = datetime.now(UTC)
    for name in ("kafka-1", "kafka-2", "kafka-3", "hub"):
        pem = (made / f"{name}.pem").read_bytes()
        leaf = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
        assert key.public_key() == leaf.public_key()
        assert leaf.subject.rfc4514_string() == f"CN={name}"
        store = verification.Store([ca])
        builder = verification.PolicyBuilder().store(store).time(now)
        if name == "hub":
            with pytest.raises(x509.ExtensionNotFound):
                leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            leaf.verify_directly_issued_by(ca)
        else:
            for host in (name, "kafka.example.org", "localhost"):
                builder.build_server_verifier(x509.DNSName(host)).verify(leaf, [])
    assert not list(made.glob("*authority*")), "nobody can make another one"
    assert not list(made.glob("new.*"))


def test_the_hub_command_is_this_checkouts() -> None:
    shown = run(str(Path(sys.executable).parent / "hub"), "--help")
    assert shown.returncode == 0
    assert "Usage: hub" in shown.stdout
