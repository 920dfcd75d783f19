"""A record of an inbox, read: whoever brought it, it is a CloudEvent of the agency whose inbox it is."""

import json
from typing import Any, Final, NamedTuple

from consent import Policy
from schemas import cloudevents, codec, events, naming
from schemas.cloudevents import CloudEvent
from schemas.errors import BrokenRecord, HubError, Invalid, TooLarge
from schemas.events import Published
from schemas.topics import record_bytes_max
from streams.keys import Vault
from streams.step import Record

_INBOUND: Final = codec.header("Inbound")
_NATIVE: Final = "kafka"


class Arrival(NamedTuple):
    """What one inbox record brings. `event` is the hub's id, `original` the CloudEvent as JSON."""

    agency: str
    event: str
    published: Published
    fingerprint: bytes
    consent_at_least: int | None
    original: bytes


class Unread(Exception):
    """A record that brings no event: why, and what of it can be kept and told."""

    def __init__(
        self, error: HubError, original: bytes, *, via: str = _NATIVE, given: str | None = None
    ) -> None:
        super().__init__(error.code)
        self.error = error
        self.original = original
        self.via = via
        self.given = given


def read(record: Record, agency: str, vault: Vault, policy: Policy) -> Arrival:
    """The event in an inbox record, checked whole. Raises `Unread`; `Unavailable` when the vault is away."""
    value = record.value
    if value is None:
        raise Unread(BrokenRecord("a tombstone is no event", code="tombstone"), b"")
    if not value:
        raise Unread(BrokenRecord("an empty value is no event", code="empty-value"), b"")
    if len(value) > record_bytes_max:
        detail = f"{len(value)} bytes, a record has at most {record_bytes_max}"
        raise Unread(TooLarge(detail), value)
    via, given, at_least = _NATIVE, None, None
    original = value
    try:
        if by_the_hub(record):
            inbound = codec.decode_as("Inbound", value)
            original = vault.hub("originals").open(record.topic.encode(), inbound["sealed"])
            via, at_least = inbound["via"], inbound["consent_at_least"]
            event = cloudevents.structured(original)
        else:
            event = cloudevents.parse_kafka(record.headers, value)
        given = event.id
        if not cloudevents.belongs(event.source, agency):
            own = cloudevents.source_of(agency)
            raise Invalid.one("/source", "source-not-yours", f"your events have the source `{own}`")
        published = events.validate(event, policy.lineages, policy.labels)
    except HubError as error:
        if error.code == "unavailable":
            raise
        raise Unread(error, original, via=via, given=given) from None
    return _arrival(agency, event, published, at_least, vault)


def again(agency: str, original: bytes, at_least: int | None, vault: Vault, policy: Policy) -> Arrival:
    """The event that was parked, from its JSON. Raises `Invalid` where the policy has changed under it."""
    event = cloudevents.structured(original)
    published = events.validate(event, policy.lineages, policy.labels)
    return _arrival(agency, event, published, at_least, vault)


def _arrival(
    agency: str, event: CloudEvent, published: Published, at_least: int | None, vault: Vault
) -> Arrival:
    return Arrival(
        agency,
        naming.event_id(vault.mac, event.source, event.id),
        published,
        events.fingerprint(published),
        at_least,
        cloudevents.dump(event),
    )


def by_the_hub(record: Record) -> bool:
    """Whether one of the hub's own doors wrote it, sealed, and not an agency with Kafka of its own."""
    native = any(name.startswith("ce_") or name.lower() == "content-type" for name, _ in record.headers or ())
    return not native and (record.value or b"").startswith(_INBOUND)


def headers_json(record: Record) -> bytes | None:
    """A record's headers as JSON pairs, to be sealed with it; None where it has none."""
    pairs: list[list[Any]] = [
        [name, None if raw is None else raw.decode("utf-8", errors="replace")]
        for name, raw in record.headers or ()
    ]
    return json.dumps(pairs).encode() if pairs else None
