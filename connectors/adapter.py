"""What the delivery engine asks of the outside: adapters on one side, keys and ids on the other."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable


class Record(Protocol):
    """A record of Kafka, as the runner hands it over. Times in epoch milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...


class Out(Protocol):
    """The transaction that a step writes into. Everything in it becomes visible together, or never."""

    @property
    def positions(self) -> Mapping[tuple[str, int], int]:
        """Next offset of each input partition held, as it will be after this batch."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None, partition: int) -> None:
        """Write one record."""

    def offset(self, topic: str, partition: int, offset: int) -> None:
        """Send `offset`, the next one to read, with the group's metadata as captured at assignment."""

    def applied(self, topic: str, partition: int) -> int:
        """The offset up to which, itself included, a side input has been applied; -1 for nothing."""


class Read(NamedTuple):
    """A record that the engine itself looked up."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class History(Protocol):
    """Looking back into the log, `read_committed` throughout."""

    def read(self, topic: str, partition: int, since_ms: int | None = None) -> Sequence[Record]:
        """All records from the start, or from `since_ms` on, up to the end at the time of asking.

        Waits until what is open there is decided. Raises `Unavailable` where that takes too long.
        """

    def fetch(self, topic: str, partition: int, offsets: Sequence[int]) -> Mapping[int, Record]:
        """The records at these offsets, as far as retention has left them."""

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record, committed or not. Raises `Unavailable`."""

    def trim(self, topic: str, partition: int, offset: int) -> None:
        """Have the records before an offset deleted. Does not wait; where it fails, they stay for longer."""


class Producer(Protocol):
    """Appending from an event loop, outside of any transaction."""

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> Any:
        """Append, and wait until it is stored."""


class Log(Protocol):
    """Appending to `deliveries` outside of any transaction: receipts and acknowledgements. Thread-safe."""

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None: ...

    def flush(self) -> None:
        """Wait until everything appended is stored. Raises `Unavailable` when that takes too long."""


class Sealer(Protocol):
    """One participant's data key at work."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes: ...
    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """Raises `Erased` where the key was destroyed, `Unsealable` where the bytes don't belong there."""


class Vault(Protocol):
    """The hub's keys."""

    def sealer(self, participant: str) -> Sealer: ...
    def prefetch(self, participants: Iterable[str]) -> None:
        """Has these participants' keys at hand for a moment, with few questions to the store."""

    def mac(self, purpose: str, data: bytes) -> str:
        """Keyed HMAC-SHA256, in hexadecimal; every purpose has a key of its own."""


Who = tuple[str, str]  # an agency, and a participant


class Names(Protocol):
    """Who is known to whom, and as what."""

    def local_id(self, agency: str, participant: str) -> str | None:
        """The agency's own id of the participant, where there is a link."""


class Crosswalk(Protocol):
    """The same for many at once."""

    def local_ids(self, asked: Collection[Who]) -> Mapping[Who, str]:
        """The agencies' own ids of participants, where there are links."""


class Share(NamedTuple):
    """One subscription's permission, as it stands now."""

    subscription: str
    purpose: str
    basis: str
    grants: tuple[str, ...]
    compartments: tuple[str, ...]
    obligations: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The shape of the Avro record `Share`."""
        return {
            "subscription": self.subscription,
            "purpose": self.purpose,
            "basis": self.basis,
            "grants": list(self.grants),
            "compartments": list(self.compartments),
            "obligations": list(self.obligations),
        }


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One attempt at one delivery, opened and projected, ready for an adapter.

    `view` is all that the recipient may see (`connectors/projection.py`), `fields` the fields in it as the
    type's schema has them. `settings` are the subscription's. After `deadline_ms`, on the clock of
    `connectors.schedule.awake_ms`, nothing may leave any more. `envelope` and `shares` never leave: they are
    for adapters that write inside the hub.
    """

    key: str
    stakeholder: str
    adapter: str
    attempt: int
    settings: Mapping[str, Any]
    view: Mapping[str, Any]
    envelope: Mapping[str, Any]
    shares: tuple[Share, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    deadline_ms: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, in the words of a receipt.

    `code` is a constant such as `http-500`; `retry_after_ms` is the recipient's wish; `disable` says that it
    wants nothing more until its subscription is changed.
    """

    state: Literal["delivered", "failed", "refused", "abandoned"]
    code: str
    retry_after_ms: int | None = None
    disable: bool = False


class Adapter(Protocol):
    """One protocol by which things leave."""

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Hand one delivery over. Is cancelled at the send deadline; an exception counts as `failed`."""


@runtime_checkable
class Closing(Protocol):
    """An adapter that holds connections."""

    async def aclose(self) -> None:
        """Close them."""


class Shown(NamedTuple):
    """What stands at the hub now. `sealed` is as `connectors/standing.py` made it.

    `had` says that its recipient may have seen it already. `event` need not be given where it is true.
    """

    id: str
    stakeholder: str
    participant: str
    sealed: bytes
    adapter: str = "alerts"
    event: str = ""
    had: bool = True


class Standing(Protocol):
    """Where things are kept that somebody may look at or fetch. All calls are idempotent."""

    def shown(self, participants: Sequence[str] | None = None) -> Sequence[Shown]:
        """What stands about these participants, or about anybody."""

    def withdraw(self, ids: Sequence[str]) -> None:
        """Hand these over no longer, from before this returns, and forget what they said."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert to be shown to a stakeholder's people. `sealed` opens under the participant's key alone.

    Without a `rule` it is no alert, and only told on the person's page. One with `due_at` is a reminder, and
    shown once the clock has rung for it. `thread`, an opaque name, is what reminders of one matter share.
    Times in epoch milliseconds.
    """

    id: str
    stakeholder: str
    participant: str
    event: str
    rule: str
    urgency: Literal["urgent", "soon", "information"]
    at: int
    sealed: bytes
    audience: Literal["caseload", "team"] = "caseload"
    occurred_at: int | None = None
    thread: str | None = None
    due_at: int | None = None
    escalates_at: int | None = None


class Rings(NamedTuple):
    """What the clock has to be told: when to ring for which alert, and for which no longer."""

    wanted: tuple[tuple[str, int], ...]
    unwanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What one event makes: its alert or entry, its reminders, and the threads that it replaces."""

    alerts: tuple[Alert, ...]
    threads: tuple[str, ...] = ()


class AlertSink(Standing, Protocol):
    """Where alerts are kept for the pages. All calls are idempotent."""

    def insert_all(self, made: Sequence[Made]) -> list[Rings]:
        """Keep what these events make, in their order, all of it or nothing. What has an id that is there
        already changes nothing, withdrawn or not.

        Reminders of the same threads that an earlier event made are dropped; where a later event has come
        already, those of this one are. Out: what the clock has to be told of each, the same when asked again.
        """


class Ringing(NamedTuple):
    """A time at which the clock is to ring, in epoch milliseconds, and no other; 0 for not at all."""

    participant: str
    kind: str
    ref: str
    due_at: int


class Alarm(Protocol):
    """The way to the clock."""

    def set_all(self, ringing: Sequence[Ringing]) -> None:
        """Tell it of all these. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that its recipient is to fetch. `sealed` opens under the participant's key alone."""

    key: str
    stakeholder: str
    participant: str
    event: str
    at: int
    sealed: bytes


class PullSink(Standing, Protocol):
    """Where deliveries wait until they are fetched. All calls are idempotent."""

    def insert(self, waiting: Waiting) -> bool:
        """Let it wait; out: whether there was room. A second one with the same key changes nothing."""


class Secrets(Protocol):
    """Signing secrets of recipients."""

    def webhook(self, stakeholder: str) -> Sequence[str]:
        """Secrets (`whsec_…`), newest first: each of them signs, so that they can be rotated."""
