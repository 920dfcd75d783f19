"""`hub doctor`: six lines, each wrong one with its mend, and nothing is changed by looking."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import asyncssh
import pytest
import typer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner

from hub import bootstrap, broker, doctor, health, kek, settings
from hub.finding import Finding
from hub.health import Heartbeat, Pulse
from hub.openness import public
from hub.settings import Settings

NAMES = ["broker", "schemas", "clock", "keys", "store", "disk"]


@pytest.fixture(scope="module")
def pristine(emptying: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a hub whose topics, tables and keys have been made."""
    data = tmp_path_factory.mktemp("pristine") / "data"
    configured = settings.load(kafka_bootstrap=emptying(), replication=1, data=data)
    configured.make_data()
    bootstrap.prepare(configured, str(configured.kafka_bootstrap))
    return configured


@pytest.fixture
def prepared(pristine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings, by the environment, of a copy of that hub that may be spoilt."""
    shutil.copytree(pristine.data, tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", str(pristine.kafka_bootstrap))
    monkeypatch.setenv("HUB_REPLICATION", "1")
    monkeypatch.setenv("HUB_DATA", str(tmp_path / "data"))
    return settings.load()


def finding(configured: Settings, name: str) -> Finding:
    """What is said of one of the six."""
    return next(one for one in doctor.examine(configured) if one.name == name)


def invoke(*words: str) -> tuple[int, str]:
    """Exit status and output of the command."""
    app = typer.Typer()
    app.command()(doctor.doctor)
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout


@pytest.mark.broker
def test_a_hub_that_is_well_has_six_good_lines(prepared: Settings) -> None:
    status, output = invoke("--json")
    found = json.loads(output)
    assert [one["name"] for one in found] == NAMES
    assert {one["state"] for one in found} <= {"ok", "note"}
    assert status == 0
    status, output = invoke()
    assert status == 0
    assert [line.split()[0] for line in output.splitlines() if not line.startswith(" ")] == NAMES


def test_where_nothing_has_run_yet_each_line_says_what_to_do_and_nothing_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    found = doctor.examine(settings.load(data=data))
    assert [(one.name, one.state) for one in found] == [
        (name, "ok" if name == "schemas" else "wrong") for name in NAMES
    ]
    assert all(one.mend for one in found if one.state == "wrong")
    assert not data.exists()


class Spoilt(NamedTuple):
    """One thing that goes wrong, and what is said about it."""

    name: str
    spoil: Callable[[Settings, pytest.MonkeyPatch], object]
    says: str
    mend: str


def _several_auditors(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    Pulse(configured.run_dir, "auditor").beat()
    parent = Heartbeat("auditor", os.getppid(), "running", time.time_ns() // 1_000_000)
    both = [*health.read_all(configured.run_dir), parent]
    monkeypatch.setattr(health, "read_all", lambda run_dir: both)


def _another_kek(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    (configured.data / kek.FILE).unlink()
    kek.load(configured.data, {}, create=True)


def _clock_set_back(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hour_ago = time.time_ns() - 3_600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: hour_ago)


def _disk_nearly_full(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))


@pytest.mark.broker
@pytest.mark.parametrize(
    "spoilt",
    [
        Spoilt("store", _several_auditors, "several processes of auditor", "PostgreSQL"),
        Spoilt("keys", _another_kek, "is not the one", "backup"),
        Spoilt("keys", lambda c, _: (c.data / kek.FILE).chmod(0o644), "others may read", "chmod 600"),
        Spoilt("clock", _clock_set_back, "behind the newest record", "NTP"),
        Spoilt("disk", _disk_nearly_full, "0 MB free", "Make room"),
        Spoilt("disk", lambda c, _: c.data.chmod(0o755), "others may read", "chmod 700"),
        Spoilt(
            "broker", lambda _, m: m.setenv("HUB_PARTITIONS", "8"), "have 4 partitions", "HUB_PARTITIONS=4"
        ),
        Spoilt(
            "broker",
            lambda _, m: m.setenv("HUB_REPLICATION", "3"),
            "3 copies are wanted, of 1",
            "more brokers",
        ),
    ],
    ids=lambda spoilt: f"{spoilt.name}: {spoilt.says}",
)
def test_what_is_wrong_is_said_with_its_mend(
    prepared: Settings, monkeypatch: pytest.MonkeyPatch, spoilt: Spoilt
) -> None:
    spoilt.spoil(prepared, monkeypatch)
    found = finding(settings.load(), spoilt.name)
    assert found.state == "wrong"
    assert spoilt.says in found.says
    assert spoilt.mend in found.mend
    assert invoke()[0] == 1


def test_what_cannot_be_examined_is_one_line_among_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(configured: Settings) -> str:
        raise RuntimeError("some secret")

    monkeypatch.setattr(broker, "address", breaks)
    found = doctor.examine(settings.load(data=tmp_path))
    assert [one.name for one in found] == NAMES
    assert found[0].says == "could not be examined (RuntimeError)"


@pytest.mark.broker
def test_a_topic_that_is_kept_otherwise_than_it_should_is_named(prepared: Settings) -> None:
    admin = AdminClient(prepared.kafka())
    kept = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    for value in ("1000", "-1"):
        kept.value = value
        change = ConfigResource(ResourceType.TOPIC, "consent", incremental_configs=[kept])
        admin.incremental_alter_configs([change])[change].result()
        found = finding(prepared, "broker")
        assert (found.state == "wrong") == (value == "1000")
        assert (found.says == "consent: retention.ms is 1000, expected -1") == (value == "1000")


@pytest.mark.broker
def test_topics_that_are_missing_are_named(empty_kafka: str, tmp_path: Path) -> None:
    found = finding(settings.load(data=tmp_path, kafka_bootstrap=empty_kafka), "broker")
    assert "consent" in found.says
    assert "hub up" in found.mend


def test_places_of_files_are_looked_at_where_there_are_any(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    host_key = key.export_public_key().decode().strip()
    account = {"host": "files.example", "username": "hub", "key": str(tmp_path / "key"), "host_key": host_key}
    folder = {"agency": "reach", "folder": str(tmp_path), "mappings": {"*.csv": "court-docket"}}

    def said(*files: dict[str, object]) -> tuple[str, str]:
        found = finding(settings.load(data=tmp_path / "none", files=files), "files")
        return found.state, found.says

    sftp = {"agency": "reach", "sftp": account, "mappings": {"*.zip": "hmis-export"}}
    assert said(folder, sftp) == ("ok", "2 place(s), mappings and keys can be read")
    for bad, word in (
        (folder | {"mappings": {"*": "no-such"}}, "no-such"),
        (folder | {"folder": str(tmp_path / "missing")}, "missing"),
        (sftp | {"sftp": account | {"key": str(tmp_path / "lost")}}, "FileNotFoundError"),
        (sftp | {"sftp": account | {"host_key": "ssh-ed25519 AAAA"}}, "KeyImportError"),
    ):
        state, says = said(bad)
        assert state == "wrong"
        assert word in says
    assert "files" not in [one.name for one in doctor.examine(settings.load(data=tmp_path / "none"))]


@pytest.mark.broker
def test_a_way_for_agencies_to_brokers_that_let_everybody_in_is_wrong(pristine: Settings) -> None:
    found = finding(pristine.model_copy(update={"kafka_agencies": "kafka.example.org:9094"}), "agencies")
    assert (found.state, found.says) == ("wrong", "the brokers let everybody do everything")
    assert "authorizer" in found.mend


CENSUS = "race,people,source\nblack,2000,ACS\nwhite,9000,ACS\n"
ROW = """[[measure]]
id = "referrals"
version = 1
from = "2000-01"
events = ["referral"]
by = "category"
ripe_days = 14
epsilon = 0.6
title = { en = "a", es = "b" }
says = { en = "a", es = "b" }
"""


@pytest.mark.parametrize(
    ("census", "rows", "more", "state", "says"),
    [
        (CENSUS, None, {}, "note", "linking_desk"),
        (CENSUS.replace("2000", "-3"), None, {}, "wrong", "line 2"),
        (None, ROW.replace("by =", "bye ="), {}, "wrong", "/measure/0/by"),
        (None, ROW, {}, "wrong", "privacy_budget"),
        (None, ROW, {"privacy_budget": 0.5}, "wrong", "0.6"),
        (None, ROW, {"privacy_budget": 0.6}, "note", "linking_desk"),
    ],
)
def test_what_everybody_may_see_is_looked_at_where_anything_is_set(
    tmp_path: Path, census: str | None, rows: str | None, more: dict[str, float], state: str, says: str
) -> None:
    files = {"census": census, "measures": rows}
    named = {name: tmp_path / name for name, text in files.items() if text is not None}
    for name, path in named.items():
        path.write_text(str(files[name]))
    found = public(settings.load(data=tmp_path / "data", **named, **more))
    assert found.state == state
    assert says in found.says + found.mend


def test_a_missing_census_is_told(tmp_path: Path) -> None:
    found = public(settings.load(data=tmp_path / "data", census=tmp_path / "nowhere.csv"))
    assert (found.state, found.says) == ("wrong", "`census` cannot be read")
