"""A small world for the delivery engine: topics, keys, people's words about consent, a receiver, workers."""

import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors import deliveries
from connectors.fence import Answer, Fence, Narrowing
from consent import default_policy
from schemas import codec, compartments, instant, sealing, topics
from schemas.errors import Erased, Unsealable

WORKER = Path(__file__).with_name("delivery_worker.py")
PAGE = Path(__file__).with_name("delivery_page.py")
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAIT_S_MAX = 90.0
GROUP = "deliver"
SEND_MS_MAX = 2_000


class Keys:
    """Real AES-256-GCM under keys that every process derives alike, so that workers need no store."""

    def __init__(self) -> None:
        self.erased: set[str] = set()

    def sealer(self, participant: str) -> "Keys.One":
        return Keys.One(self, participant)

    def prefetch(self, participants: Iterable[str]) -> None:
        return

    def mac(self, purpose: str, data: bytes) -> str:
        return hmac.digest(b"mac" + purpose.encode(), data, "sha256").hex()

    class One:
        def __init__(self, keys: "Keys", participant: str) -> None:
            self._keys, self._participant = keys, participant
            self._aes = AESGCM(hashlib.sha256(b"key" + participant.encode()).digest())

        def seal(self, aad: bytes, plaintext: bytes) -> bytes:
            nonce = secrets.token_bytes(12)
            return nonce + self._aes.encrypt(nonce, plaintext, aad)

        def open(self, aad: bytes, sealed: bytes) -> bytes:
            if self._participant in self._keys.erased:
                raise Erased("the key was destroyed")
            try:
                return self._aes.decrypt(sealed[:12], sealed[12:], aad)
            except Exception:
                raise Unsealable("sealed elsewhere") from None


class Nobody:
    """A crosswalk without links, but for what is put into it."""

    def __init__(self, known: Mapping[tuple[str, str], str] | None = None) -> None:
        self._known = known or {}

    def local_id(self, agency: str, participant: str) -> str | None:
        return self._known.get((agency, participant))

    def local_ids(self, asked: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
        return {who: self._known[who] for who in asked if who in self._known}


class Secret:
    def webhook(self, stakeholder: str) -> Sequence[str]:
        return [SECRET]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def stakeholder(name: str, role: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "role": role,
        "agreement": {"from": "2020-01-01T00:00:00Z", "until": None},
        "treating": False,
        "medical": False,
        **more,
    }


STAKEHOLDERS = (
    stakeholder("outreach", "case-management"),
    stakeholder("reach", "case-management"),
    stakeholder("shelter", "service-provider", treating=True),
)


def grant_of(recipients: Sequence[str], **more: Any) -> dict[str, Any]:
    return {
        "id": "g1",
        "disclosers": ["*"],
        "recipients": list(recipients),
        "purposes": ["care-coordination"],
        "categories": ["contact", "service", "referral"],
        "labels": [],
        "compartments": ["*"],
        "data_from": None,
        "data_until": None,
        **more,
    }


def granted(
    name: str = "c1", recipients: Sequence[str] = ("reach", "shelter"), **more: Any
) -> dict[str, Any]:
    """The directive by which somebody agrees."""
    return {
        "type": "consent-granted",
        "consent": {
            "id": name,
            "signed_at": "2026-01-01T00:00:00Z",
            "signature": {"method": "wet", "reference": "s-1"},
            "starts_at": "2026-01-01T00:00:00Z",
            "expires_at": "2030-01-01T00:00:00Z",
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [grant_of(recipients, **more)],
        },
    }


def revoked(name: str = "c1", **more: Any) -> dict[str, Any]:
    return {"type": "consent-revoked", "consent_id": name, **more}


FIELDS: dict[str, Any] = {
    "local_id": "sender-17",
    "name": "Ana Invented",
    "occurred_at": 1_780_000_000_000,
    "facility": "North Hall",
    "phase": "active",
    "staff": "M. Invented",
}


def event(
    number: int, participant: str = "p1", category: str = "contact.outreach", **fields: Any
) -> dict[str, Any]:
    """A decoded `Event`, its compartments sealed under the participant's key."""
    parts = compartments.split("contact", {**FIELDS, **fields})
    envelope = {
        "id": f"e-{number}",
        "source": "urn:agency:outreach",
        "type": "contact",
        "occurred_at": instant.parse("2026-06-01T10:00:00Z"),
        "admitted_at": now_ms(),
        "participant": participant,
        "category": category,
        "labels": [],
        "discloser": "outreach",
        "compartments": sorted(parts),
        "consent_at_least": None,
    }
    sealer = Keys().sealer(participant)
    return {
        "envelope": envelope,
        "sealed": {
            name: sealer.seal(sealing.aad(envelope, name), compartments.encode("contact", name, part))
            for name, part in parts.items()
        },
    }


def share_of(subscription: str, **more: Any) -> dict[str, Any]:
    return {
        "subscription": subscription,
        "purpose": "care-coordination",
        "basis": "consent",
        "grants": ["c1/g1"],
        "compartments": ["activity", "engagement", "occurrence", "subject"],
        "obligations": ["attach-consent-scope", "no-redisclosure", "record-disclosure"],
        **more,
    }


def outbound(made: Mapping[str, Any], *shares: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "envelope": made["envelope"],
        "sealed": made["sealed"],
        "position": {"topic": "contact", "partition": 0, "offset": 0},
        "at": now_ms(),
        "consent_offset": 0,
        "governance_offset": 0,
        "shares": list(shares),
    }


class Receiver:
    """A recipient's endpoint: a real HTTP server that notes when each delivery began, and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, dict[str, Any], dict[str, str]]] = []
        self.status: Callable[[int], int] = lambda count: 204
        self.gate = threading.Event()
        self.gate.set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                began = time.monotonic()
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {key.lower(): value for key, value in self.headers.items()}
                owner.got.append((began, headers["webhook-id"], json.loads(body), headers))
                count = len(owner.got)
                owner.gate.wait(WAIT_S_MAX)
                try:
                    self.send_response(owner.status(count))
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the hub has hung up

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/in"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def counts(self) -> Counter[str]:
        """How often each idempotency key came."""
        return Counter(key for _, key, _, _ in list(self.got))


class Scene:
    """The topics, on a real broker, and what tests write to and read from them."""

    def __init__(self, bootstrap: str, partitions: int = 1) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.send_ms_max = SEND_MS_MAX
        self.client = {"bootstrap.servers": bootstrap}
        self._producer = Producer({**self.client, "acks": "all", "linger.ms": 0})
        self._stack = ExitStack()
        self._workers = 0
        names = [
            topics.TOPICS[name]
            for name in ("consent", "governance", "pending", "deliveries", "views", "fence")
        ]
        names += [topic for one in STAKEHOLDERS for topic in topics.stakeholder_topics(one["id"])[:1]]
        new = [NewTopic(topic.name, topic.count(partitions), 1, config=topic.config()) for topic in names]
        self._admin = AdminClient(self.client)
        for created in self._admin.create_topics(new).values():
            created.result()
        self.govern("policy", "policy", default_policy())
        for one in STAKEHOLDERS:
            self.govern("stakeholder", one["id"], one)

    def close(self) -> None:
        """End everything, and wait until the coordinator has noticed."""
        self._stack.close()
        if self._workers:
            until(lambda: not self.members(), why="for the workers to be forgotten")

    def committed(self, who: str) -> int:
        """How many records of a stakeholder's outbox have been taken in."""
        places = [TopicPartition(topics.outbox(who), number) for number in range(self.partitions)]
        request = ConsumerGroupTopicPartitions(GROUP, places)
        found = self._admin.list_consumer_group_offsets([request])[GROUP].result().topic_partitions
        return sum(max(place.offset, 0) for place in found)

    def members(self) -> list[Any]:
        """The group's members, as the coordinator sees them."""
        return list(self._admin.describe_consumer_groups([GROUP])[GROUP].result().members)

    def receiver(self) -> Receiver:
        made = Receiver()
        self._stack.callback(made.close)
        return made

    def put(self, topic: str, partition: int, key: bytes, value: bytes) -> int:
        """Write one record; out: its offset."""
        offsets: list[int] = []

        def stored(error: Any, message: Any) -> None:
            assert error is None, error
            offsets.append(message.offset())

        self._producer.produce(topic, value, key, partition, on_delivery=stored)
        assert self._producer.flush(10) == 0
        return offsets[0]

    def put_all(self, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
        """Write records without keys, in their order."""
        for value in values:
            self._producer.produce(topic, value, b"", partition)
        assert self._producer.flush(10) == 0

    def govern(self, kind: str, name: str, body: Mapping[str, Any]) -> int:
        value = {"kind": kind, "id": name, "at": now_ms(), "by": "test", "body": json.dumps(body).encode()}
        return self.put("governance", 0, f"{kind}/{name}".encode(), codec.encode("Governance", value))

    def subscribe(self, who: str, adapter: str = "webhook", name: str = "", **settings: Any) -> int:
        body = {
            "stakeholder": who,
            "purpose": "care-coordination",
            "categories": ["contact"],
            "adapter": adapter,
            "settings": settings,
        }
        return self.govern("subscription", name or f"{who}-{adapter}", body)

    def place(self, participant: str) -> int:
        return topics.partition_of(participant, self.partitions)

    def direct(self, participant: str, body: Mapping[str, Any]) -> tuple[int, int]:
        """Record a directive; out: its partition and offset."""
        value = {
            "id": secrets.token_hex(8),
            "participant": participant,
            "sender": "outreach",
            "recorded_at": now_ms(),
            "type": body["type"],
            "body": json.dumps(body).encode(),
            "sealed": None,
        }
        partition = self.place(participant)
        return partition, self.put(
            "consent", partition, participant.encode(), codec.encode("Directive", value)
        )

    def offer(self, who: str, made: Mapping[str, Any], *shares: Mapping[str, Any]) -> int:
        """Put an event into a stakeholder's outbox, as the enforcement point would."""
        participant = made["envelope"]["participant"]
        record = outbound(made, *(shares or [share_of(f"{who}-webhook")]))
        value = codec.encode("Outbound", record)
        return self.put(topics.outbox(who), self.place(participant), participant.encode(), value)

    def read(self, topic: str = deliveries.TOPIC) -> list[tuple[int, int, bytes | None]]:
        """Everything committed: partition, offset, value."""
        reader = Consumer(
            {
                **self.client,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        reader.assign([TopicPartition(topic, partition, 0) for partition in range(self.partitions)])
        found, ended = [], set()
        while len(ended) < self.partitions:
            for message in reader.consume(1000, 0.2):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append((message.partition(), message.offset(), message.value()))
        reader.close()
        return found

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The intents, receipts, withheld or acknowledgements that are visible."""
        values = [deliveries.decode(value) for _, _, value in self.read() if value is not None]
        return [value[kind] for value in values if value[kind] is not None]

    def answer(self, narrowing: Narrowing) -> Answer:
        """What somebody is told who asks now, by all that is visible now."""
        fence = Fence(self.partitions, self.send_ms_max, grace_ms=500)
        for partition, _, value in self.read():
            assert value is not None
            fence.apply(partition, deliveries.decode(value))
        return fence.answer(narrowing, [one["id"] for one in STAKEHOLDERS], now_ms())

    def owners(self) -> dict[tuple[str, int], str]:
        """To which worker the coordinator has given each partition."""
        return {
            (at.topic, at.partition): member.group_instance_id
            for member in self.members()
            for at in member.assignment.topic_partitions
        }

    def check_order(self) -> None:
        """No intent behind an acknowledgement was checked at less than what was acknowledged."""
        acknowledged: dict[tuple[str, int], int] = {}
        for partition, offset, value in self.read():
            assert value is not None
            record = deliveries.decode(value)
            if (told := record["acknowledgement"]) is not None:
                for who in told["stakeholders"]:
                    known = acknowledged.get((who, partition), -1)
                    acknowledged[who, partition] = max(known, told["consent_offset"])
            elif (intent := record["intent"]) is not None:
                known = acknowledged.get((intent["stakeholder"], partition), -1)
                assert intent["consent_offset"] >= known, (
                    f"the intent at {offset} knew less than was acknowledged"
                )

    def page(self, screen: Receiver, store: str, crash: str = "") -> "Page":
        """A web process that shows all there is to see to `screen`, once."""
        made = Page(self, screen, store, crash)
        self._stack.callback(made.end)
        return made

    def worker(self, name: str = "w1", crash: str = "", **settings: Any) -> "Worker":
        made = Worker(self, name, crash, settings)
        self._workers += 1
        self._stack.callback(made.end)
        return made


class Child:
    """A process of its own, which may freeze, thaw, die."""

    def __init__(self, script: Path, config: Mapping[str, Any], crash: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
        if crash:
            environment["HUB_CRASH_POINT"] = crash
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), json.dumps(config)],
            env=environment,
            cwd=script.parent.parent,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def frozen(self) -> bool:
        """Whether it has stopped at its crash point."""
        status = Path(f"/proc/{self.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def arm(self) -> None:
        """Let it stop at the points that its setting `then` names, from now on."""
        self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def code(self) -> int | None:
        return self._process.poll()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Worker(Child):
    """A delivery worker."""

    def __init__(self, scene: Scene, name: str, crash: str, settings: Mapping[str, Any]) -> None:
        config = {"bootstrap": scene.bootstrap, "partitions": scene.partitions, "name": name, **settings}
        super().__init__(WORKER, {**config, "send_ms_max": scene.send_ms_max}, crash)


class Page(Child):
    """A web process."""

    def __init__(self, scene: Scene, screen: Receiver, store: str, crash: str) -> None:
        config = {
            "bootstrap": scene.bootstrap,
            "partitions": scene.partitions,
            "send_ms_max": scene.send_ms_max,
            "screen": screen.url,
            "store": store,
        }
        super().__init__(PAGE, config, crash)


def until(what: Callable[[], Any], seconds: float = WAIT_S_MAX, why: str = "") -> Any:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain {why}"
        time.sleep(0.03)


@contextmanager
def scene(bootstrap: str, partitions: int = 1) -> Any:
    made = Scene(bootstrap, partitions)
    try:
        yield made
    finally:
        made.close()
