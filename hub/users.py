"""Users and access lists of agencies that speak Kafka themselves, on brokers that know who asks.

An agency may write to its own inbox, read its own receipts and feed, in consumer groups whose names begin
with its id and a dot, and nothing else: what nobody was allowed, the brokers deny. They name no topic to who
may not use it, so an agency does not learn from them who takes part.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from hub.errors import OperatorError
from schemas import topics
from schemas.errors import Unavailable
from streams.errors import cause, code

MECHANISM: Final = "SCRAM-SHA-512"
PREFIX: Final = "agency."  # so that no agency's id is the name of the hub's own user, or of another's
ANSWER_MS_MAX: Final = 15_000
_S: Final = ANSWER_MS_MAX / 1000
PASSWORD_BYTES: Final = 32
ITERATIONS: Final = 4_096  # RFC 7677's least: a password of 256 random bits is not guessed
_SCRAM: Final = ScramMechanism.SCRAM_SHA_512


class BrokersOpen(OperatorError):
    """The brokers let everybody do everything."""


class BrokersClosed(OperatorError):
    """The brokers do not let the hub say who may do what."""


class Credentials(NamedTuple):
    """With what an agency's clients sign in. The password is shown once."""

    username: str
    password: str


NOBODY: Final = "User:agency."  # an agency's id is never empty


class Users:
    """What the hub tells the brokers about agencies. Every call waits until the brokers have answered.

    All raise `BrokersClosed` where the brokers do not take that from the hub, and `Unavailable` where they do
    not answer.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        """In: librdkafka settings of a client that may change users and lists."""
        self._admin = AdminClient(dict(client))

    def admit(self, agency: str) -> Credentials | None:
        """Let an agency in; out: its credentials where it had none. Repeatable.

        Raises `BrokersOpen` where the brokers keep no lists, `Invalid` for an id that cannot be one.
        """
        for granted in self._admin.create_acls(allowed(agency), request_timeout=_S).values():
            _done(granted)
        return None if self.known(agency) else self.renew(agency)

    def renew(self, agency: str) -> Credentials:
        """A new password in place of the old one, with which nobody can sign in any more.

        A connection that was opened with the old one ends when it has to prove anew who it is: within an hour
        on the embedded broker.
        """
        user, password = _user(agency), secrets.token_urlsafe(PASSWORD_BYTES)
        kept = ScramCredentialInfo(_SCRAM, ITERATIONS)
        self._alter(UserScramCredentialUpsertion(user, kept, password.encode()))
        return Credentials(user, password)

    def end(self, agency: str) -> None:
        """Take back an agency's password, and all that it may do. Repeatable.

        Brokers that keep no lists have none to take it from: without a password it may do nothing.
        """
        if self.known(agency):
            self._alter(UserScramCredentialDeletion(_user(agency), _SCRAM))
        with suppress(BrokersOpen):
            for taken in self._admin.delete_acls([_filter(_principal(agency))], request_timeout=_S).values():
                _done(taken)

    def check(self) -> None:
        """Whether the brokers keep lists that the hub may change. Raises as `admit` does; changes nothing.

        Asked by taking back what nobody has: to describing, librdkafka answers with an empty list where there
        are no lists at all.
        """
        for taken in self._admin.delete_acls([_filter(NOBODY)], request_timeout=_S).values():
            _done(taken)

    def known(self, agency: str) -> bool:
        """Whether it has a password."""
        user = _user(agency)
        asked = self._admin.describe_user_scram_credentials([user], request_timeout=_S)
        try:
            return bool(_done(asked[user]).scram_credential_infos)
        except KafkaException as error:
            if cause(error).code() == KafkaError.RESOURCE_NOT_FOUND:
                return False
            raise

    def _alter(self, change: UserScramCredentialAlteration) -> None:
        for changed in self._admin.alter_user_scram_credentials([change], request_timeout=_S).values():
            _done(changed)


def allowed(agency: str) -> list[AclBinding]:
    """All that an agency may do. Raises `Invalid` for an id that cannot be one.

    Writing implies describing and, on Kafka 3 and newer, being an idempotent producer; reading implies
    describing. An id has no dot, so no agency's groups begin like another's.
    """
    rights: tuple[tuple[ResourceType, str, ResourcePatternType, AclOperation], ...] = (
        (ResourceType.TOPIC, topics.inbox(agency), ResourcePatternType.LITERAL, AclOperation.WRITE),
        (ResourceType.TOPIC, topics.receipts(agency), ResourcePatternType.LITERAL, AclOperation.READ),
        (ResourceType.TOPIC, topics.feed(agency), ResourcePatternType.LITERAL, AclOperation.READ),
        (ResourceType.GROUP, f"{agency}.", ResourcePatternType.PREFIXED, AclOperation.READ),
    )
    return [
        AclBinding(kind, name, pattern, _principal(agency), "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in rights
    ]


def _filter(principal: str) -> AclBindingFilter:
    """Everything that somebody may do."""
    return AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # any, as for the host; the stubs forget it
        ResourcePatternType.ANY,
        principal,
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _user(agency: str) -> str:
    return PREFIX + topics.stakeholder_id(agency)


def _principal(agency: str) -> str:
    return f"User:{_user(agency)}"


def _done(asked: Future[Any]) -> Any:
    """The brokers' answer. Raises as `Users` says, and `KafkaException` for whatever else there may be."""
    try:
        return asked.result(timeout=_S)
    except TimeoutError:
        raise Unavailable("the brokers do not answer", code="timeout") from None
    except KafkaException as error:
        why = cause(error).code()
        if why == KafkaError.SECURITY_DISABLED:
            raise BrokersOpen(
                "the brokers let everybody do everything",
                "Give them an authorizer; the embedded broker has one where `kafka_agencies` is set.",
            ) from None
        if why in (KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.UNSUPPORTED_VERSION):
            raise BrokersClosed(
                "the brokers take no users and lists from the hub",
                "Its own user needs the right to alter the cluster.",
            ) from None
        if cause(error).retriable() or why in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
            raise Unavailable("the brokers do not answer", code=code(error)) from None
        raise
