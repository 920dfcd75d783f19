"""Settings: where they come from, which wins, and what is said when one is wrong."""

from pathlib import Path

import pytest

from hub import settings
from hub.errors import SettingsInvalid


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the file that would be read there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub.toml"


def test_without_file_and_environment_the_defaults_hold(config: Path) -> None:
    found = settings.load()
    assert (found.web_host, found.web_port, found.partitions) == ("127.0.0.1", 8080, 1)
    assert settings.load(kafka_bootstrap="kafka-1:9092").partitions == 4
    assert found.data == config.parent / ".hub"
    assert found.embedded
    assert found.store == f"sqlite:///{config.parent}/.hub/hub.db"


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("web_port = 1111\npartitions = 8\n")
    monkeypatch.setenv("HUB_WEB_PORT", "2222")
    found = settings.load()
    assert (found.web_port, found.partitions) == (2222, 8)


def test_another_file_can_be_named_but_must_exist(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = config.parent / "other.toml"
    monkeypatch.setenv("HUB_CONFIG", str(other))
    with pytest.raises(SettingsInvalid, match=r"`HUB_CONFIG` names `.*other\.toml`, which is not a file"):
        settings.load()
    other.write_text("web_port = 1234\n")
    assert settings.load().web_port == 1234


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("web_prot = 1", "unknown setting `web_prot` in `hub.toml`; did you mean `web_port`?"),
        ("kafka_bootstrap_server = 'x'", "did you mean `kafka_bootstrap`?"),
        ("zzzzzz = 1", "unknown setting `zzzzzz` in `hub.toml`; the settings are "),
        ("web_port = 65536", "`web_port`: input should be less than or equal to 65535"),
        ("partitions = 0", "`partitions`: input should be greater than or equal to 1"),
        ("web_port = ", "`hub.toml` is not TOML"),
        ("demo = true\nweb_host = '0.0.0.0'", "demo accounts are for this machine alone"),
        ("demo = true\nweb_host = 'hub.example.org'", "demo accounts are for this machine alone"),
        ("kafka_agencies = 'kafka.example.org'", "`kafka_agencies`"),
        ("kafka_agencies = 'a:1,b:2'", "the embedded broker has one address for agencies"),
        ("demo = true\nkafka_agencies = 'a:1'", "set `kafka_agencies` to an address on loopback"),
        ("kafka_security_protocol = 'SASL_SSL'", "SASL needs `kafka_sasl_mechanism`"),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_setting(config: Path, content: str, said: str) -> None:
    config.write_text(content)
    with pytest.raises(SettingsInvalid) as caught:
        settings.load()
    assert said in caught.value.what
    assert caught.value.exit_status == 2


def test_every_mistake_of_a_file_is_said_at_once(config: Path) -> None:
    config.write_text("web_prot = 1\npartitions = 0\n")
    with pytest.raises(SettingsInvalid) as caught:
        settings.load()
    assert "`web_prot`" in caught.value.what
    assert "`partitions`" in caught.value.what


def test_a_file_in_latin_1_is_refused(config: Path) -> None:
    config.write_bytes("web_host = 'zürich'".encode("latin-1"))
    with pytest.raises(SettingsInvalid, match="is not UTF-8"):
        settings.load()


def test_a_misspelt_variable_does_not_leave_a_default_in_force(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_KAFKA_BOOSTRAP", "broker:9092")
    with pytest.raises(SettingsInvalid, match=r"did you mean `HUB_KAFKA_BOOTSTRAP`\?"):
        settings.load()


def test_other_programs_variables_are_none_of_ours(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_CRASH_POINT", "somewhere:kill")
    assert settings.load().web_port == 8080


def test_secrets_are_in_no_representation_and_in_no_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_STORE_URL", "postgresql://hub:hunter2@db/hub")
    monkeypatch.setenv("HUB_KAFKA_SASL_PASSWORD", "hunter2")
    found = settings.load()
    assert "hunter2" not in repr(found)
    assert "hunter2" in found.store
    config.write_text("kafka_sasl_password = ['hunter2']\n")
    monkeypatch.delenv("HUB_KAFKA_SASL_PASSWORD")
    with pytest.raises(SettingsInvalid) as caught:
        settings.load()
    assert "hunter2" not in str(caught.value)


def test_a_cluster_is_used_as_it_is_with_its_security(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", "one:9093,two:9093")
    monkeypatch.setenv("HUB_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("HUB_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("HUB_KAFKA_SASL_USERNAME", "hub")
    monkeypatch.setenv("HUB_KAFKA_SASL_PASSWORD", "secret")
    monkeypatch.setenv("HUB_KAFKA_CA", "ca.pem")
    found = settings.load()
    assert not found.embedded
    assert found.replication_factor == 3
    assert found.kafka() == {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "log_level": 2,
        "ssl.ca.location": str(config.parent / "ca.pem"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "hub",
        "sasl.password": "secret",
    }


def test_the_embedded_broker_keeps_one_copy_and_has_to_be_named(config: Path) -> None:
    found = settings.load()
    assert found.replication_factor == 1
    assert found.kafka("127.0.0.1:9")["bootstrap.servers"] == "127.0.0.1:9"
    with pytest.raises(SettingsInvalid, match="no broker is named"):
        found.kafka()


def test_the_embedded_broker_that_agencies_reach_wants_the_hubs_certificate(config: Path) -> None:
    config.write_text("kafka_agencies = 'kafka.example.org:9094'\n")
    found = settings.load()
    assert found.guarded
    client = found.kafka("127.0.0.1:9")
    folder = config.parent / ".hub" / "broker" / "tls"
    assert client["security.protocol"] == "SSL"
    assert client["ssl.ca.location"] == str(folder / "ca.pem")
    assert client["ssl.certificate.location"] == client["ssl.key.location"] == str(folder / "hub.pem")
    config.write_text("kafka_agencies = 'a:1,b:2'\nkafka_bootstrap = 'a:9092'\n")
    named = settings.load()
    assert not named.guarded, "a cluster keeps its own doors"
    assert named.kafka()["security.protocol"] == "PLAINTEXT"


def test_a_cluster_may_want_the_hubs_certificate(config: Path) -> None:
    config.write_text(
        "kafka_bootstrap = 'a:9092'\nkafka_security_protocol = 'SSL'\nkafka_certificate = 'hub.pem'\n"
    )
    client = settings.load().kafka()
    assert client["ssl.certificate.location"] == str(config.parent / "hub.pem")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_loopback_is_what_other_machines_cannot_reach(host: str, loopback: bool) -> None:
    assert settings.is_loopback(host) is loopback


def test_a_container_reads_secrets_from_its_files(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = config.parent / "secrets"
    secrets.mkdir()
    (secrets / "hub_store_url").write_text("postgresql://hub:hunter2@db/hub\n")
    (secrets / "store_password").write_text("another container's")
    monkeypatch.setattr(settings, "SECRETS", secrets)
    config.write_text("store_url = 'sqlite:////elsewhere'\n")
    assert settings.load().store == "postgresql://hub:hunter2@db/hub"
