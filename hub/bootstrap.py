"""What every process of the hub is made of: each part is made in one place, when it is first asked for.

`hub.stages` puts the processes together of them.
"""

import json
import os
import time
from collections.abc import Iterable
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from confluent_kafka.admin import AdminClient

from connectors import alert_rules
from connectors.alert_rules import Rules
from consent import default_policy
from hub import broker, governance, kek
from hub.alarms import Alarms
from hub.appender import Appender
from hub.caseloads import Caseloads
from hub.crosswalk import Crosswalk
from hub.directives import Directives
from hub.errors import SettingsInvalid
from hub.forgetting import Forgetter
from hub.governance import Register
from hub.letters import Letters
from hub.participants import Participants
from hub.registration import Registration
from hub.requests import Requests
from hub.settings import Settings
from hub.signing import Signing
from hub.store import Store
from hub.tables import keys
from hub.users import Users
from hub.vault import Vault
from schemas import codec, topics
from schemas.errors import Invalid
from streams import measures, topology
from streams.measures import Measures

if TYPE_CHECKING:
    from consent.record import Record
    from hub.equity import Census
    from hub.ledger.note import Signer
    from hub.merging import Merging
    from hub.parts import Viewing
    from hub.suggestions import Suggestions


class Hub:
    """What every process of the hub is made of; each part is made when it is first asked for.

    A context manager: it closes itself.
    """

    def __init__(self, settings: Settings, client: dict[str, Any], stage: str | None = None) -> None:
        """In: the settings, and librdkafka settings of a client that reaches the broker; for a process that
        stays, what it is called."""
        self.settings = settings
        self.client = client
        self._stage = stage
        self._forgetter: Forgetter | None = None

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def store(self) -> Store:
        """The store, its tables up to date."""
        store = Store(self.settings.store)
        store.migrate()
        return store

    @cached_property
    def vault(self) -> Vault:
        """The vault. Raises `KekInvalid` where the key that opens it is missing."""
        with self.store.read() as connection:
            empty = connection.execute(sa.select(keys.c.kind).limit(1)).scalar() is None
        vault = Vault(self.store, kek.load(self.settings.data, os.environ, create=empty))
        if self._stage is not None:
            self._forgetter = Forgetter(self.store, vault, self._stage)
        return vault

    @cached_property
    def appender(self) -> Appender:
        """The way to the log outside of the stages."""
        return Appender(self.client, self.settings.partitions)

    @cached_property
    def crosswalk(self) -> Crosswalk:
        """Agencies' own ids of participants."""
        return Crosswalk(self.store, self.vault)

    @cached_property
    def signing(self) -> Signing:
        """Recipients' signing secrets."""
        return Signing(self.store, self.vault)

    @cached_property
    def log_signer(self) -> "Signer":
        """What signs the transparency log's checkpoints, under the name that the settings give it."""
        from hub.ledger.note import Signer  # noqa: PLC0415

        seed = self.vault.signing_seed("log")
        unnamed = Signer("log", seed)
        return Signer(self.settings.log_origin or f"diversion-hub/{unnamed.verifier.key.hex()[:16]}", seed)

    @cached_property
    def follower(self) -> governance.Follower:
        """The register, kept up to date."""
        return governance.Follower(self.client)

    @cached_property
    def alarms(self) -> Alarms:
        """The way to the clock."""
        return Alarms(self.appender)

    @cached_property
    def caseloads(self) -> Caseloads:
        """Who works with whom."""
        return Caseloads(self.store, self.appender, now_ms)

    @cached_property
    def requests(self) -> Requests:
        """What participants ask for, and by when it is due."""
        return Requests(self.store, self.vault, self.appender, self.zone, now_ms)

    @cached_property
    def letters(self) -> Letters:
        """What the community writes."""
        desk, day_max = self.settings.linking_desk, self.settings.letters_per_day_max
        return Letters(self.store, self.vault, self.appender, self.zone, now_ms, desk, day_max)

    @cached_property
    def alert_rules(self) -> Rules:
        """What makes an alert. Raises `SettingsInvalid` where the program's own rules cannot be read."""
        try:
            return alert_rules.load(self.settings.alert_rules)
        except (Invalid, OSError) as error:
            why = error.detail if isinstance(error, Invalid) else "the file cannot be read"
            raise SettingsInvalid(f"`alert_rules`: {why}") from None

    @cached_property
    def measures(self) -> Measures:
        """What is counted. Raises `SettingsInvalid` where the program's own file cannot be read."""
        try:
            return measures.load(self.settings.measures)
        except (Invalid, OSError) as error:
            why = error.detail if isinstance(error, Invalid) else "the file cannot be read"
            raise SettingsInvalid(f"`measures`: {why}") from None

    @cached_property
    def census(self) -> "Census | None":
        """Who lives here. Raises `SettingsInvalid` where the program's table cannot be read."""
        from hub import equity  # noqa: PLC0415

        if self.settings.census is None:
            return None
        try:
            return equity.census(self.settings.census.read_text("utf-8"))
        except (Invalid, OSError, UnicodeDecodeError) as error:
            why = (
                f"line {error.path[1:]}: {error.detail}"
                if isinstance(error, Invalid)
                else "it cannot be read"
            )
            raise SettingsInvalid(f"`census`: {why}", "See docs/public.md.") from None

    @property
    def zone(self) -> ZoneInfo:
        """Where the people are."""
        return ZoneInfo(self.settings.time_zone)

    def viewer(self, follower: Any) -> "Viewing":
        """What asks the owners before a page shows an alert."""
        from connectors.viewer import Viewer  # noqa: PLC0415

        settings = self.settings
        return Viewer(self.appender, follower, settings.partitions, settings.send_ms_max, now_ms)

    def register(self) -> Register:
        """The register as of now."""
        return self.follower.register()

    @cached_property
    def participants(self) -> Participants:
        """Adding and linking people."""
        return Participants(self.store, self.vault, self.appender, self.register)

    @cached_property
    def merging(self) -> "Merging":
        """Making two participants one."""
        from hub.merging import Merging  # noqa: PLC0415

        return Merging(self.store, self.vault, self.appender, self.participants, self.record)

    @cached_property
    def suggestions(self) -> "Suggestions":
        """Finding who was entered twice."""
        from hub.lookup import Lookup  # noqa: PLC0415
        from hub.suggestions import Suggestions  # noqa: PLC0415

        lookup = Lookup(self.client)
        return Suggestions(self.store, self.vault, self.appender, lookup, self.participants)

    def record(self, participant: str) -> "Record":
        """A participant's record from the log as it is now. Raises `Unavailable`."""
        from connectors.log import KafkaHistory  # noqa: PLC0415
        from consent.record import Placed, Record  # noqa: PLC0415

        partition = topics.partition_of(participant, self.settings.partitions)
        with closing(KafkaHistory(self.client)) as history:
            read = history.read("consent", partition)
        values = ((one.offset, codec.decode(one.value)[1]) for one in read if one.value is not None)
        return Record(
            Placed(offset, value["id"], json.loads(value["body"]))
            for offset, value in values
            if value.get("participant") == participant and "body" in value
        )

    @cached_property
    def directives(self) -> Directives:
        """Taking directives."""
        return Directives(
            self.store,
            self.vault,
            self.appender,
            self.participants,
            self.register,
            self.settings.participant_directives_max,
        )

    @cached_property
    def registration(self) -> Registration:
        """Registering stakeholders."""
        ways = self.settings.kafka_agencies is not None, self.settings.mail_host is not None
        return Registration(self.appender, self.register, self.signing, self.create_topics, self.users, *ways)

    @cached_property
    def users(self) -> Users:
        """Agencies' users of the brokers."""
        return Users(self.client)

    def create_topics(self, stakeholders: Iterable[str] = ()) -> None:
        """Creates the topics that are missing: the hub's, and these stakeholders'.

        Raises `Unavailable`, and `SettingsInvalid` where topics have another number of partitions.
        """
        settings = self.settings
        admin = AdminClient(self.client)
        try:
            topology.ensure(admin, settings.partitions, settings.replication_factor, stakeholders)
        except ValueError as error:
            raise SettingsInvalid(str(error), "Set `partitions` back: topics keep their number.") from None

    def close(self) -> None:
        """Lets go of every connection that was opened."""
        if self._forgetter is not None:
            self._forgetter.close()
            self._forgetter = None
        for name in ("follower", "appender", "store"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()


def bootstrap(settings: Settings, bootstrap_servers: str | None = None, stage: str | None = None) -> Hub:
    """A process's parts.

    In: the broker's address, where it is known; else it is found by the settings. `stage` for a process that
    stays: it forgets keys that others destroy, and says so.
    """
    return Hub(settings, settings.kafka(bootstrap_servers or broker.address(settings)), stage)


def prepare(settings: Settings, bootstrap_servers: str) -> None:
    """Before the first stage starts: topics, tables, keys, and on the very first start the policy."""
    hub = bootstrap(settings, bootstrap_servers)
    try:
        hub.create_topics()
        hub.create_topics(hub.register().stakeholders)
        hub.vault.mac("start", b"")  # opens the root key, or fails now and in words
        if hub.register().policy is None:
            governance.write(hub.appender, "policy", governance.POLICY_ID, default_policy(), "hub")
    finally:
        hub.close()


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
