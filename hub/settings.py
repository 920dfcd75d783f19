"""The hub's settings: `hub.toml` in the working directory (or `HUB_CONFIG`), secrets, `HUB_*` variables.

Read once, when a process starts. Only the tests' crash points and the vault's key are read elsewhere.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from connectors.sources import Source
from hub import authority
from hub.doors import Doors, Port, is_loopback
from hub.errors import SettingsInvalid
from schemas.topics import partitions_default

CHECKOUT: Final = Path(__file__).resolve().parent.parent
CONFIG_FILE: Final = "hub.toml"
SECRETS: Final = Path("/run/secrets")  # where containers find them: `hub_store_url`, say
NEAREST_LIKENESS_MIN: Final = 0.6  # of difflib, to name the setting that was probably meant
MISSPELT_LIKENESS_MIN: Final = (
    0.85  # a HUB_* variable this close to a setting is taken for a misspelling of it
)
__all__ = ["Settings", "config_file", "is_loopback", "load"]


def _partitions(given: dict[str, object]) -> int:
    """One where a single process of each stage works anyway: each partition more is a request more for every
    recipient in every transaction, however few events are in it (docs/adr/0032)."""
    return 1 if given.get("kafka_bootstrap") is None else partitions_default


class Settings(Doors):
    """Everything that can be set, with its default. Made by `load`, which says in words what is wrong.

    `web_port` here is `web_port` in `hub.toml` and `HUB_WEB_PORT` in the environment. Times are milliseconds.
    """

    model_config = SettingsConfigDict(env_prefix="HUB_", extra="forbid", frozen=True, env_ignore_empty=True)

    data: Path = Path(".hub")
    """Where everything lives that has to survive: the embedded broker's log, the store, keys."""
    demo: bool = False
    """Demo accounts exist; then the web listens on loopback alone."""

    time_zone: str = "UTC"
    """Where the people are, by its name in the IANA database; pages tell times as clocks there show them."""

    kafka_bootstrap: str | None = None
    """`host:port,…` of a cluster to use as it is; None for the embedded broker."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ca: Path | None = None
    """PEM file with the authorities that signed the brokers' certificates; None for the system's."""
    kafka_certificate: Path | None = None
    """PEM file with the hub's own certificate and private key, where the brokers want to see one."""
    kafka_agencies: Annotated[str, Field(pattern=r"^[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*$")] | None = (
        None
    )
    """`host:port` at which agencies with Kafka of their own reach the brokers, by TLS and a password.

    The embedded broker listens there, and lets nobody in otherwise; a cluster is taken to do so. None:
    agencies have no way to the brokers.
    """
    partitions: Annotated[int, Field(ge=1, le=512)] = Field(default_factory=_partitions)
    """Of every person-level topic; by default 1 on the embedded broker and 4 on a cluster. Fixed once topics
    exist: it decides where a participant's records are. No more processes of a stage work at a time."""
    replication: Annotated[int, Field(ge=1, le=7)] | None = None
    """Copies of each partition; None for 1 on the embedded broker and 3 on a cluster."""

    store_url: SecretStr | None = None
    """SQLAlchemy URL of the store; None for SQLite in the data folder."""

    java: str | None = None
    """The `java` of the embedded broker; None for the one of JAVA_HOME, then of PATH."""
    jars: Path = CHECKOUT / ".jars"
    broker_heap_mb: Annotated[int, Field(ge=192, le=32_768)] = 512

    transaction_ms_max: Annotated[int, Field(ge=1_000, le=60_000)] = 8_000
    """After this the broker aborts a dead worker's open transaction; until then readers wait behind it."""
    session_ms_max: Annotated[int, Field(ge=1_000, le=60_000)] = 6_000
    """After this a silent worker's partitions go to another one. Most clusters allow no less than 6 s."""
    send_ms_max: Annotated[int, Field(ge=100, le=60_000)] = 5_000
    """A delivery that hangs is cut off after this; a revocation waits no longer for it."""
    participant_directives_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """With so many directives about one participant, no more that only widens is taken; what narrows is."""
    files: Annotated[tuple[Source, ...], Field(max_length=200)] = ()
    """Folders and SFTP accounts from which files are taken; `[[files]]` in `hub.toml`, a table each."""
    log_origin: Annotated[str, Field(pattern=r"^[^\s+]{1,200}$")] | None = None
    """Name of the transparency log in its checkpoints, best its address without `https://`, say
    `hub.example/log`. None for one made from its key. Stays what it is once a checkpoint was signed."""
    checkpoint_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 10_000
    """How often the transparency log signs how far it has come, where anything was added."""
    log_witness: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """Submission prefix of a witness; checkpoints are published once it has signed them, too."""
    log_witness_key: str | None = None
    """The witness's verifier key for cosignatures: `NAME+ID+BASE64`."""
    webhook_certificate: Path | None = None
    """PEM file with a certificate and its key, shown to webhooks and FHIR servers that ask who sends."""
    private_webhooks: bool = False
    """Webhooks may go to addresses that are not public, and without TLS; always so in demo mode."""

    alert_rules: Path | None = None
    """TOML file with the program's own rules of what makes an alert; None for those of the hub."""
    measures: Path | None = None
    """TOML file with the program's own rows of what is counted for everybody to see; None for the hub's."""
    census: Path | None = None
    """CSV file with how many people live here, by race and ethnicity: `race,people,source`; None for none."""
    publish_quiet_ms: Annotated[int, Field(ge=1_000, le=30 * 86_400_000)] = 6 * 3_600_000
    """A month's numbers are published once nothing came to them for so long, for they are final then."""
    privacy_budget: Annotated[float, Field(gt=0, le=100)] | None = None
    """What all that is published about one month may spend of epsilon, where measures have noise; None for
    nothing: then a measure with an `epsilon` is not published."""
    linking_desk: str | None = None
    """The stakeholder that links people: it hears of events about somebody unknown, and reads what the
    community writes; None for nobody, and then nobody can write."""
    mail_host: str | None = None
    """The server that takes mail to case managers; None for no mail."""
    mail_port: Port = 587
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` sends in the clear, and is for a server on this very machine."""
    mail_username: str | None = None
    mail_password: SecretStr | None = None
    mail_from: str | None = None
    """The address that mail comes from; needed with `mail_host`."""
    push_contact: str | None = None
    """`mailto:` or `https:` address at which push services reach whoever runs the hub; None for no push."""

    quick_exit: Annotated[str, Field(pattern=r"^https://[^\s]{1,200}$")] = "https://www.weather.gov/"
    """Where the quick exit of a participant's own page leads: a page about nothing, over https."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    """`auto` is `console` on a terminal and `json` elsewhere."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First what the code says, then the environment, then secrets, then the file."""
        sources = [
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        ]
        if SECRETS.is_dir():
            sources.insert(2, SecretsSettingsSource(settings_cls, secrets_dir=SECRETS))
        return tuple(sources)

    @field_validator("data", "jars", "kafka_ca", "kafka_certificate", "webhook_certificate", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Children run elsewhere: resolve what is relative here, once."""
        return None if path is None else Path(os.path.abspath(path.expanduser()))

    @field_validator("files", mode="after")
    @classmethod
    def _apart(cls, files: tuple[Source, ...]) -> tuple[Source, ...]:
        """Paths as where they are now, and no place twice."""
        found = tuple(source.absolute() for source in files)
        if len({source.key for source in found}) < len(found):
            raise ValueError("two sources have the same place")
        return found

    @field_validator("alert_rules", "measures", "census", mode="after")
    @classmethod
    def _absolute_rules(cls, path: Path | None) -> Path | None:
        return cls._absolute(path)

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            return zoneinfo.ZoneInfo(zone).key
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError("no time zone of that name: for example `America/Los_Angeles`") from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.demo and not is_loopback(self.web_host):
            raise ValueError(
                "demo accounts are for this machine alone: set `web_host` to 127.0.0.1, or `demo` to false"
            )
        if self.guarded and "," in str(self.kafka_agencies):
            raise ValueError("the embedded broker has one address for agencies: set one in `kafka_agencies`")
        if self.demo and self.guarded and not is_loopback(str(self.kafka_agencies).rpartition(":")[0]):
            raise ValueError(
                "a demo is for this machine alone: set `kafka_agencies` to an address on loopback"
            )
        if (self.mail_host is None) != (self.mail_from is None):
            raise ValueError("mail needs both `mail_host` and `mail_from`")
        if self.mail_host and self.mail_tls == "none" and not is_loopback(self.mail_host):
            raise ValueError(
                "mail in the clear is for a server on this machine: set `mail_tls` to starttls or tls"
            )
        if (self.mail_username is None) != (self.mail_password is None):
            raise ValueError("mail needs both `mail_username` and `mail_password`, or neither")
        if self.push_contact and not self.push_contact.startswith(("mailto:", "https://")):
            raise ValueError("`push_contact` begins with `mailto:` or `https://`")
        if (self.log_witness is None) != (self.log_witness_key is None):
            raise ValueError("a witness has an address and a key: set `log_witness` and `log_witness_key`")
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                "SASL needs `kafka_sasl_mechanism`, `kafka_sasl_username` and `kafka_sasl_password` besides"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether the broker is the hub's own."""
        return self.kafka_bootstrap is None

    @property
    def guarded(self) -> bool:
        """Whether the embedded broker is one that agencies reach: everybody says who they are, by TLS."""
        return self.embedded and self.kafka_agencies is not None

    @property
    def replication_factor(self) -> int:
        """Copies of each partition of the topics that the hub creates."""
        return self.replication or (1 if self.embedded else 3)

    def make_data(self) -> None:
        """Make the data folder where it is missing, for its owner's eyes alone."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def broker_dir(self) -> Path:
        """The embedded broker's folder."""
        return self.data / "broker"

    @property
    def broker_tls(self) -> Path:
        """The embedded broker's certificates; `ca.pem` is for agencies."""
        return self.broker_dir / "tls"

    @property
    def log_dir(self) -> Path:
        """The transparency log's files."""
        return self.data / "log"

    @property
    def run_dir(self) -> Path:
        """Locks and heartbeats of the running processes; worthless once they have ended."""
        return self.data / "run"

    @property
    def store(self) -> str:
        """SQLAlchemy URL of the store. May carry a password: never log it."""
        return self.store_url.get_secret_value() if self.store_url else f"sqlite:///{self.data / 'hub.db'}"

    def kafka(self, bootstrap: str | None = None) -> dict[str, Any]:
        """What every librdkafka client starts from.

        In: the embedded broker's address, where the settings name no cluster. Out: address and security, in
        librdkafka's names. May carry a password: never log it.
        Raises `SettingsInvalid` where neither names a broker.
        """
        address = self.kafka_bootstrap or bootstrap
        if address is None:
            raise SettingsInvalid(
                "no broker is named", "set `HUB_KAFKA_BOOTSTRAP`, or run `hub broker start`"
            )
        client: dict[str, Any] = {
            "bootstrap.servers": address,
            "security.protocol": self.kafka_security_protocol,
            "log_level": 2,  # what matters comes as errors; every refused connection would be a line
        }
        ca, certificate = self.kafka_ca, self.kafka_certificate
        if self.guarded:
            client["security.protocol"] = "SSL"
            ca, certificate = self.broker_tls / authority.CA, self.broker_tls / authority.HUB
        if ca:
            client["ssl.ca.location"] = str(ca)
        if certificate:
            client |= {"ssl.certificate.location": str(certificate), "ssl.key.location": str(certificate)}
        if self.kafka_sasl_mechanism and self.kafka_sasl_password:
            client |= {
                "sasl.mechanism": self.kafka_sasl_mechanism,
                "sasl.username": self.kafka_sasl_username,
                "sasl.password": self.kafka_sasl_password.get_secret_value(),
            }
        return client


def config_file() -> Path:
    """The file that settings are read from, whether or not it exists."""
    return Path(os.environ.get("HUB_CONFIG", CONFIG_FILE))


def load(**overrides: Any) -> Settings:
    """Read file and environment.

    In: values that win over both. Out: the settings, frozen.
    Raises `SettingsInvalid` naming the setting, where it was set, and the nearest name that exists.
    """
    _refuse_misspelt_environment()
    path = config_file()
    if "HUB_CONFIG" in os.environ and not path.is_file():
        raise SettingsInvalid(f"`HUB_CONFIG` names `{path}`, which is not a file", "Correct it or unset it.")
    try:
        return Settings(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"`{path}` is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"`{path}` is not UTF-8") from None
    except ValidationError as error:
        raise SettingsInvalid(
            "; ".join(_in_words(one["loc"], one["type"], one["msg"]) for one in error.errors())
        ) from None


def _in_words(location: tuple[int | str, ...], kind: str, message: str) -> str:
    """One validation error, without the value: it may be a secret."""
    if not location:
        return message.removeprefix("Value error, ")
    name = ".".join(map(str, location))
    if kind == "extra_forbidden" and len(location) == 1:
        near = nearest(name, NEAREST_LIKENESS_MIN)
        hint = (
            f"; did you mean `{near}`?"
            if near
            else f"; the settings are {', '.join(sorted(Settings.model_fields))}"
        )
        return f"unknown setting `{name}` in `{config_file()}`{hint}"
    variable = f"HUB_{str(location[0]).upper()}"
    source = f"`{variable}`" if variable in os.environ else f"`{name}`"
    return f"{source}: {message[:1].lower()}{message[1:]}"


def nearest(name: str, likeness_min: float) -> str | None:
    """The setting whose name is most like `name`, if any is like enough (0 to 1, as difflib counts)."""
    return next(iter(difflib.get_close_matches(name.lower(), Settings.model_fields, 1, likeness_min)), None)


def _refuse_misspelt_environment() -> None:
    """A misspelt variable would leave a default in force unseen: an embedded broker, not the cluster, say."""
    for variable in os.environ:
        name = variable.removeprefix("HUB_").lower()
        if not variable.startswith("HUB_") or name in Settings.model_fields:
            continue
        if near := nearest(name, MISSPELT_LIKENESS_MIN):
            raise SettingsInvalid(
                f"unknown setting `{variable}` in the environment; did you mean `HUB_{near.upper()}`?"
            )
