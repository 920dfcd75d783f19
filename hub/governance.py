"""The register: policy, stakeholders and subscriptions as `governance` has them now, in plain form.

Deciding has a compiled form of its own (`consent/governance.py`); this one serves commands, the gateway and
pages, and is followed by one thread in each process that needs it.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from consent import Governance
from hub.appender import Appender, Place
from hub.watch import CHANGES_MAX, Change, changes
from schemas import codec
from schemas.errors import Unavailable

log = structlog.get_logger(__name__)

TOPIC: Final = "governance"
POLICY_ID: Final = "policy"
FIRST_READ_MS_MAX: Final = 30_000
_RECORDS_MAX: Final = 500
_POLL_S: Final = 0.2


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Register:
    """The fold of `governance` up to `offset`; -1 for nothing yet. Bodies are as they were written."""

    def __init__(self) -> None:
        """Starts empty."""
        self.offset = -1
        self.policy: dict[str, Any] | None = None
        self.stakeholders: dict[str, dict[str, Any]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.written_at: dict[str, int] = {}  # of subscriptions, epoch milliseconds
        self.registered_at: dict[str, int] = {}  # of stakeholders: when they first were, epoch milliseconds
        self.changes: deque[Change] = deque(maxlen=CHANGES_MAX)  # oldest first
        self._compiled = Governance()
        self._guard = threading.Lock()

    def apply(self, offset: int, record: Mapping[str, Any]) -> None:
        """One decoded `Governance` record, in order."""
        kind, name = record["kind"], record["id"]
        self._watch(kind, name, record)
        if kind == "policy":
            self.policy = json.loads(record["body"])
        elif kind == "stakeholder":
            self.stakeholders[name] = json.loads(record["body"])
            self.registered_at.setdefault(name, record["at"])
        elif kind == "subscription":
            self.subscriptions[name] = json.loads(record["body"])
            self.written_at[name] = record["at"]
        elif kind == "retired":
            self._retire(name, json.loads(record["body"]).get("kind"))
        with self._guard:
            self._compiled.apply(offset, record)
        self.offset = offset

    def at(self, offset: int) -> Governance:
        """What was in force, as decisions were made from it, once the record at that offset was applied."""
        with self._guard:
            return self._compiled.at(offset)

    def names(self) -> dict[str, str]:
        """What stakeholders are called, by id; the id itself for one without a name."""
        return {key: str(body.get("name") or key) for key, body in self.stakeholders.items()}

    def _watch(self, kind: str, name: str, record: Mapping[str, Any]) -> None:
        """Notes what a record changes, before it does."""
        body = json.loads(record["body"])
        if kind == "retired":
            kind, after = body.get("kind") or "stakeholder", None
        else:
            after = body
        standing = {"stakeholder": self.stakeholders, "subscription": self.subscriptions}
        before = self.policy if kind == "policy" else standing[kind].get(name)
        whose = name if kind == "stakeholder" else str((after or before or {}).get("stakeholder", ""))
        named = (after if kind == "stakeholder" else None) or self.stakeholders.get(whose) or {}
        self.changes.extend(changes(record["at"], kind, name, before, after, str(named.get("name") or whose)))

    def _retire(self, name: str, kind: str | None) -> None:
        if kind in (None, "subscription"):
            self.subscriptions.pop(name, None)
        if kind in (None, "stakeholder"):
            self.stakeholders.pop(name, None)
            self.registered_at.pop(name, None)
            for one in [key for key, body in self.subscriptions.items() if body["stakeholder"] == name]:
                del self.subscriptions[one]

    def role(self, stakeholder: str) -> str | None:
        """A stakeholder's role; None for one that is not registered."""
        found = self.stakeholders.get(stakeholder)
        return found["role"] if found else None

    def categories(self) -> Collection[str]:
        """The policy's categories. Raises `Unavailable` while there is no policy."""
        return self.terms("categories")

    def labels(self) -> Collection[str]:
        """The policy's labels. Raises `Unavailable` while there is no policy."""
        return self.terms("labels")

    def registered(self, stakeholder: str) -> bool:
        """Whether there is such a stakeholder."""
        return stakeholder in self.stakeholders

    def terms(self, name: str) -> frozenset[str]:
        """The policy's `categories`, `labels`, `purposes`, `compartments` or `roles`.

        Raises `Unavailable` while there is no policy.
        """
        if self.policy is None:
            raise Unavailable("no policy has been written yet")
        return frozenset(self.policy[name])


class Follower:
    """Keeps a register up to date, in a thread, until it is stopped."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        """In: librdkafka settings of the client."""
        self._register = Register()
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self._end: int | None = None
        self._consumer = Consumer(
            {
                **client,
                "group.id": "hub-register",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        self._thread = threading.Thread(target=self._run, name="governance", daemon=True)
        self._thread.start()

    def register(self) -> Register:
        """The register as of now. Raises `Unavailable` while `governance` was not read to its end once."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._end is not None, FIRST_READ_MS_MAX / 1000):
                raise Unavailable("the governance topic cannot be read")
            return self._register

    def reach(self, offset: int, wait_ms_max: int = FIRST_READ_MS_MAX) -> Register:
        """The register once it holds the record at `offset`. Raises `Unavailable` after that long."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._register.offset >= offset, wait_ms_max / 1000):
                raise Unavailable("the governance topic cannot be read")
            return self._register

    def close(self) -> None:
        """Stops following."""
        self._stop.set()
        self._thread.join()

    @property
    def ready(self) -> bool:
        """Whether `governance` was read to its end once, so that nothing here waits."""
        return self._end is not None

    def categories(self) -> Collection[str]:
        """The policy's categories."""
        return self.register().categories()

    def labels(self) -> Collection[str]:
        """The policy's labels."""
        return self.register().labels()

    def registered(self, stakeholder: str) -> bool:
        """Whether there is such a stakeholder."""
        return self.register().registered(stakeholder)

    def _run(self) -> None:
        self._consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
        while not self._stop.is_set():
            for message in self._consumer.consume(_RECORDS_MAX, _POLL_S):
                error = message.error()
                with self._moved:
                    if error is None:
                        value = message.value()
                        assert isinstance(value, bytes)
                        self._register.apply(message.offset() or 0, codec.decode_as("Governance", value))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        self._end = message.offset()
                    else:
                        log.warning("governance_not_read", error=error.name())
                    self._moved.notify_all()
        self._consumer.close()


def read_once(client: Mapping[str, Any]) -> Register:
    """The register as it is now, for a command. Raises `Unavailable` where the log does not answer."""
    follower = Follower(client)
    try:
        return follower.register()
    finally:
        follower.close()


def write(appender: Appender, kind: str, name: str, body: Mapping[str, Any], by: str) -> Place:
    """Appends one governance record. In: `kind` policy, stakeholder, subscription or retired."""
    value = codec.encode(
        "Governance",
        {
            "kind": kind,
            "id": name,
            "at": time.time_ns() // 1_000_000,
            "by": by,
            "body": canonical(body),
        },
    )
    return appender.append(TOPIC, f"{kind}/{name}", value)
