"""The one place that names concrete parts. Each process of the hub is put together here, with plain calls.

`bootstrap` gives what every process has; a `run_` function puts one stage together and runs it until it is
asked to stop, or fails.
"""

import os
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from consent import default_policy
from hub import broker, governance, kek
from hub.appender import Appender
from hub.crosswalk import Crosswalk
from hub.directives import Directives
from hub.governance import Register
from hub.participants import Participants
from hub.registration import Registration
from hub.settings import Settings
from hub.signing import Signing
from hub.store import Store
from hub.tables import keys
from hub.vault import Vault
from schemas import topics
from schemas.errors import Unavailable

TOPICS_MS_MAX = 30_000


class Hub:
    """What every process of the hub is made of; each part is made when it is first asked for."""

    def __init__(self, settings: Settings, client: dict[str, Any]) -> None:
        """In: the settings, and librdkafka settings of a client that reaches the broker."""
        self.settings = settings
        self.client = client

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
        return Vault(self.store, kek.load(self.settings.data, os.environ, create=empty))

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
    def follower(self) -> governance.Follower:
        """The register, kept up to date."""
        return governance.Follower(self.client)

    def register(self) -> Register:
        """The register as of now."""
        return self.follower.register()

    @cached_property
    def participants(self) -> Participants:
        """Adding and linking people."""
        return Participants(self.store, self.vault, self.appender, self.register)

    @cached_property
    def directives(self) -> Directives:
        """Taking directives."""
        return Directives(self.store, self.vault, self.appender, self.participants, self.register)

    @cached_property
    def registration(self) -> Registration:
        """Registering stakeholders."""
        return Registration(self.appender, self.register, self.signing, self.create_topics)

    def create_topics(self, wanted: Iterable[topics.Topic]) -> None:
        """Creates the topics that are missing. Raises `Unavailable` where the broker does not."""
        create_topics(AdminClient(self.client), self.settings, wanted)

    def close(self) -> None:
        """Lets go of every connection that was opened."""
        for name in ("follower", "appender", "store"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()


def bootstrap(settings: Settings, bootstrap_servers: str | None = None) -> Hub:
    """A process's parts. In: the broker's address, where it is known; else it is found by the settings."""
    return Hub(settings, settings.kafka(bootstrap_servers or broker.address(settings)))


def prepare(settings: Settings, bootstrap_servers: str) -> None:
    """Before the first stage starts: topics, tables, keys, and on the very first start the policy."""
    hub = bootstrap(settings, bootstrap_servers)
    try:
        hub.create_topics(topics.TOPICS.values())
        hub.vault.mac("start", b"")  # opens the root key, or fails now and in words
        if hub.register().policy is None:
            governance.write(hub.appender, "policy", governance.POLICY_ID, default_policy(), "hub")
    finally:
        hub.close()


def create_topics(admin: AdminClient, settings: Settings, wanted: Iterable[topics.Topic]) -> None:
    """See `Hub.create_topics`."""
    missing = [
        NewTopic(
            one.name,
            num_partitions=one.count(settings.partitions),
            replication_factor=settings.replication_factor,
            config=one.config(),
        )
        for one in wanted
    ]
    created = admin.create_topics(missing, operation_timeout=TOPICS_MS_MAX / 1000)
    for name, future in created.items():
        try:
            future.result()
        except KafkaException as error:
            reason = error.args[0]
            assert isinstance(reason, KafkaError)
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable(f"topic `{name}` was not created ({reason.name()})") from None
