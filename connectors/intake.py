"""What becomes of one request of events: each is accepted for its sender's inbox, or refused into quarantine.

Form, type, category and fields are checked here; who a person is, only behind the inbox, so that no answer
says whom the hub knows.
"""

import asyncio
import json
import secrets
import time
from collections import Counter as Count
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import Counter

from schemas import cloudevents, codec, events, naming, strict
from schemas.cloudevents import CloudEvent
from schemas.errors import HubError, Invalid, Problem, Unavailable
from schemas.topics import inbox, partition_of

append_ms_max: Final = 10_000
UNREADABLE: Final = frozenset({"not-json", "not-utf-8", "not-a-batch", "batch-too-long"})

_taken = Counter("hub_gateway_events", "Events by what the gateway answered", ["status"])


class Sealer(Protocol):
    """The hub's key for originals."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes: ...
    def at_hand(self) -> bool: ...
    def seal_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]: ...


class Vault(Protocol):
    """The hub's keys."""

    def hub(self, purpose: str) -> Sealer: ...
    def mac(self, purpose: str, data: bytes) -> str: ...


class Rulebook(Protocol):
    """What governance says now. Raises `Unavailable` while it has not been read."""

    @property
    def ready(self) -> bool: ...
    def categories(self) -> Collection[str]: ...
    def labels(self) -> Collection[str]: ...
    def registered(self, stakeholder: str) -> bool: ...


class Taken(NamedTuple):
    """What is said about one event, and the record that keeps it."""

    answer: dict[str, Any]
    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Producer(Protocol):
    """An idempotent producer."""

    async def send_all(self, records: Sequence[Taken]) -> None:
        """Store the records, in order. Raises `Unavailable` where the log did not confirm them."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything that taking an event in needs. `partitions` is the count of `quarantine`."""

    producer: Producer
    vault: Vault
    rulebook: Rulebook
    partitions: int

    @property
    def at_hand(self) -> bool:
        """Whether all that one event is judged by is in memory, so that to look at it blocks on nothing."""
        return self.rulebook.ready and self.vault.hub("originals").at_hand()

    def examine(
        self, sender: str, headers: dict[str, str], body: bytes, *, via: str = "http"
    ) -> list[Taken] | Invalid:
        """Read and check one request. Blocks on the vault and on parsing: call it in a thread.

        Out: for each event, in order, what to answer and what to keep. `Invalid` where the body as a whole
        can't be read.
        """
        media = headers.get("content-type", "").split(";")[0].strip().lower()
        if media == cloudevents.BATCH:
            try:
                items = cloudevents.parse_batch(body)
            except Invalid as error:
                return error
            return self.take_all(sender, items, via=via)
        if media == cloudevents.STRUCTURED:
            original, event = body, _read(lambda: cloudevents.structured(body))
            if isinstance(event, Invalid) and event.problems[0].code in UNREADABLE:
                return event
            return [self.take(sender, original, event, via=via)]
        event = _read(lambda: cloudevents.parse_binary(headers, body))
        named = {name: value for name, value in headers.items() if name.startswith("ce-")} | {
            "content-type": media
        }
        original = body if isinstance(event, Invalid) else cloudevents.dump(event)
        return [self.take(sender, original, event, via=via, headers=named)]

    def take(
        self,
        sender: str,
        original: bytes,
        event: CloudEvent | Invalid,
        *,
        via: str,
        headers: dict[str, str] | None = None,
        submission: str | None = None,
        consent_at_least: int | None = None,
    ) -> Taken:
        """Accept one event for the sender's inbox, or refuse it into quarantine. As `take_all`."""
        return self.take_all(
            sender,
            [(original, event)],
            via=via,
            headers=headers,
            submission=submission,
            consent_at_least=consent_at_least,
        )[0]

    def take_all(
        self,
        sender: str,
        items: Sequence[tuple[bytes, CloudEvent | Invalid]],
        *,
        via: str,
        headers: dict[str, str] | None = None,
        submission: str | None = None,
        consent_at_least: int | None = None,
        reference: Callable[[int], str] | None = None,
    ) -> list[Taken]:
        """Accept each event for the sender's inbox, or refuse it into quarantine. Seals: call it in a thread.

        In: each original with its event, or why it is none; under which reference a refused one is kept, by
        its place in the list, else one is drawn. What few events differ in is done once for all of them.
        """
        terms = (self.rulebook.categories(), self.rulebook.labels())
        judged = [_problems(sender, event, *terms) for _, event in items]
        good = [original for (original, _), problems in zip(items, judged, strict=True) if not problems]
        to = inbox(sender)
        bound = to.encode()
        sealed = iter(self.vault.hub("originals").seal_all([(bound, one) for one in good]) if good else ())
        encode = codec.ending(
            "Inbound",
            {
                "agency": sender,
                "via": via,
                "received_at": _now(),
                "submission": submission,
                "consent_at_least": consent_at_least,
                "reference": None,
            },
            "sealed",
        )
        found = []
        for place, ((original, event), problems) in enumerate(zip(items, judged, strict=True)):
            given, hub_id = self._ids(original, event, headers)
            if problems:
                kept = reference(place) if reference is not None else None
                found.append(self._refused(sender, given, hub_id, original, problems, via, headers, kept))
                continue
            answer: dict[str, Any] = {"id": given, "event": hub_id, "status": "accepted", "errors": []}
            found.append(Taken(answer, to, 0, None, encode(next(sealed))))
        return found

    def _ids(
        self, original: bytes, event: CloudEvent | Invalid, headers: dict[str, str] | None
    ) -> tuple[str | None, str | None]:
        """An event's id as its sender gave it, and as the hub names it."""
        if isinstance(event, CloudEvent):
            return event.id, naming.event_id(self.vault.mac, event.source, event.id)
        return (headers.get("ce-id") if headers else _given_id(original)), None

    def _refused(
        self,
        sender: str,
        given: str | None,
        hub_id: str | None,
        original: bytes,
        problems: Sequence[Problem],
        via: str,
        headers: dict[str, str] | None,
        reference: str | None,
    ) -> Taken:
        reference, record = self.quarantined(
            sender, original, problems[0], via=via, headers=headers, reference=reference
        )
        answer = {
            "id": given,
            "event": hub_id,
            "status": "rejected",
            "errors": [one.as_json() for one in problems],
            "quarantine": reference,
        }
        return record._replace(answer=answer)

    def quarantined(
        self,
        sender: str,
        original: bytes,
        why: Problem,
        *,
        via: str,
        headers: dict[str, str] | None = None,
        reference: str | None = None,
    ) -> tuple[str, Taken]:
        """A quarantine record: its reference, and where to append it. Seals: call it in a thread.

        In: `reference` where a repeat has to have the same one; else it is drawn.
        """
        reference = reference or "q-" + secrets.token_hex(12)
        sealer = self.vault.hub("originals")
        aad = b"quarantine\0" + reference.encode()
        pairs = _pairs(headers) if headers else None
        value = codec.encode(
            "Quarantined",
            {
                "id": reference,
                "stage": "gateway",
                "agency": sender,
                "reason": why.code,
                "detail": why.detail,
                "path": why.path or None,
                "at": _now(),
                "position": None,
                "via": via,
                "size": len(original),
                "sealed": sealer.seal(aad, original),
                "headers": sealer.seal(aad + b"\0headers", pairs) if pairs else None,
            },
        )
        key = reference.encode()
        return reference, Taken({}, "quarantine", partition_of(key, self.partitions), key, value)

    async def append(self, taken: Sequence[Taken]) -> None:
        """Store the records, in order. Raises `Unavailable` where the broker doesn't confirm in time.

        Then some may be stored all the same: a repeat of the request is told apart by the events' ids.
        """
        try:
            async with asyncio.timeout(append_ms_max / 1000):
                await self.producer.send_all(taken)
        except (Unavailable, TimeoutError) as error:
            raise Unavailable("the hub cannot store events at the moment; send the same again") from error
        for status, count in Count(one.answer.get("status", "quarantined") for one in taken).items():
            _taken.labels(status).inc(count)


def _problems(
    sender: str, event: CloudEvent | Invalid, categories: Collection[str], labels: Collection[str]
) -> Sequence[Problem]:
    """What keeps an event out of its sender's inbox, if anything does."""
    if isinstance(event, Invalid):
        return event.problems
    if not cloudevents.belongs(event.source, sender):
        own = cloudevents.source_of(sender)
        return [Problem("/source", "source-not-yours", f"your events have the source `{own}`")]
    return events.check(event, categories, labels)


def _pairs(headers: dict[str, str]) -> bytes:
    """Headers as JSON pairs."""
    return json.dumps(list(headers.items())).encode()


def _read(parse: Callable[[], CloudEvent]) -> CloudEvent | Invalid:
    try:
        return parse()
    except Invalid as error:
        return error
    except HubError as error:
        return Invalid([error.problem()])


def _given_id(original: bytes) -> str | None:
    """The sender's own id of something that is no good event, where it can be read, to answer with."""
    try:
        item = strict.load(original)
    except Invalid:
        return None
    given = item.get("id") if isinstance(item, dict) else None
    return given if isinstance(given, str) and len(given) <= cloudevents.attribute_chars_max else None


def _now() -> int:
    return time.time_ns() // 1_000_000
