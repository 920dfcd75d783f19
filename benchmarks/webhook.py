"""Webhooks delivered a second by one worker, beside bare clients that post ready bodies to the same receiver.

Ours is `hub run connectors`, whole: it reads the outbox, decides anew, commits an intent, opens the seals,
projects, signs, posts, and records a receipt, for each delivery. As many are on their way at once as of the
peers. Rates are the receiver's, over the middle four fifths of what comes.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import population
from benchmarks.peers.unsealed import Open
from benchmarks.throughput import ROUNDS, row
from connectors.engine import EngineSettings
from consent import default_policy
from hub import bootstrap, broker, settings
from schemas import codec, compartments, sealing
from schemas.topics import outbox

RECIPIENT: Final = population.RECIPIENTS[0]
PEOPLE: Final = 300
EACH: Final = 10  # deliveries about one person, which leave one after the other
CONCURRENCY: Final = EngineSettings("", 1).in_flight_max
PEERS: Final = ("httpx", "aiohttp")
ROUND_S_MAX: Final = 180
CARRIED: Final = ("activity", "occurrence", "subject")
FIELDS: Final = {
    "name": "Ana Invented",
    "occurred_at": population.START_MS,
    "facility": "North Hall",
    "phase": "active",
    "staff": "M. Invented",
}
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results."""
    with tempfile.TemporaryDirectory(prefix="bench-webhook-") as name:
        rates = asyncio.run(_measured(Path(name)))
    return [
        row(
            f"webhooks delivered by one worker, {CONCURRENCY} at once",
            rates["hub"],
            f"a bare client of {one}, as many at once",
            rates[one],
            "deliveries/s",
        )
        for one in PEERS
    ]


class Receiver:
    """Answers 204 to whatever is posted, on a connection that stays open, and notes when."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.times.append(time.perf_counter())
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def rate(self, count: int, what: str) -> float:
        """How many came a second, once so many have."""
        until = time.perf_counter() + ROUND_S_MAX
        while len(self.times) < count:
            assert time.perf_counter() < until, f"{what}: {len(self.times)} of {count} came"
            await asyncio.sleep(0.05)
        times, self.times = self.times, []
        return (count * 8 // 10) / (times[count * 9 // 10] - times[count // 10])


async def _measured(folder: Path) -> dict[str, list[float]]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    rates: dict[str, list[float]] = {"hub": [], **{one: [] for one in PEERS}}
    with broker.start(settings.load(data=folder / "kafka")) as kafka:
        configured = settings.load(data=folder / "hub", kafka_bootstrap=kafka.bootstrap, replication=1)
        with populated(configured, kafka.bootstrap, url) as (hub, secret):
            environment = surroundings(folder / "hub", kafka.bootstrap)
            worker = (sys.executable, "-m", "hub.cli", "run", "connectors")
            with (folder / "log").open("wb") as log:
                async with running(worker, environment, log):
                    for number in range(-1, ROUNDS):  # the first warms up
                        for who in list(rates)[:: 1 if number % 2 == 0 else -1]:
                            if who == "hub":
                                send(hub, kafka.bootstrap, number + 1)
                                rate = await receiver.rate(PEOPLE * EACH, who)
                            else:
                                bare = ("-m", "benchmarks.peers.bare_webhooks", who, url, secret)
                                command = (sys.executable, *bare, str(PEOPLE * EACH), str(CONCURRENCY))
                                async with running(command, dict(os.environ), log):
                                    rate = await receiver.rate(PEOPLE * EACH, who)
                            if number >= 0:
                                rates[who].append(rate)
                            print(f"webhook, {who}: {rate:,.0f} deliveries/s", file=sys.stderr, flush=True)
    server.close()
    return rates


def surroundings(data: Path, servers: str) -> dict[str, str]:
    """The environment of a worker of that hub, which may post to loopback."""
    return {
        **os.environ,
        "HUB_DATA": str(data),
        "HUB_KAFKA_BOOTSTRAP": servers,
        "HUB_REPLICATION": "1",
        "HUB_PRIVATE_WEBHOOKS": "true",
    }


@contextlib.contextmanager
def populated(configured: settings.Settings, servers: str, url: str) -> Iterator[tuple[bootstrap.Hub, str]]:
    """A hub with people who consented to the recipient; out: it, and the secret that signs."""
    bootstrap.prepare(configured, servers)
    with bootstrap.bootstrap(configured, servers) as hub:
        hub.create_topics(population.RECIPIENTS)
        plan = population.governance(default_policy())
        for one in plan["subscriptions"]:
            one["settings"] = {"url": url}
        entries = [("stakeholder", one["id"], one) for one in plan["stakeholders"]]
        entries += [("subscription", one["id"], one) for one in plan["subscriptions"]]
        for kind, name, body in entries:
            record = {"kind": kind, "id": name, "at": population.START_MS, "by": "bench"}
            value = codec.encode("Governance", {**record, "body": json.dumps(body).encode()})
            hub.appender.append("governance", f"{kind}/{name}", value)
        people = ((population.participant(n), population.directive(n)) for n in _numbers())
        population.send(servers, "consent", configured.partitions, people)
        hub.signing.ensure(RECIPIENT)
        yield hub, hub.signing.webhook(RECIPIENT)[0]


def _numbers() -> range:
    """The numbers of participants whose consent names the recipient: every third."""
    return range(0, 3 * PEOPLE, 3)


def send(hub: bootstrap.Hub, servers: str, first: int, *, sealed: bool = True) -> None:
    """Puts one round's deliveries into the outbox, as enforce writes them; or with nothing of them sealed."""
    records = (
        (population.participant(n), _outbound(hub, n, f"{first}-{turn}-{n}", sealed=sealed))
        for turn in range(EACH)
        for n in _numbers()
    )
    population.send(servers, outbox(RECIPIENT), hub.settings.partitions, iter(list(records)))


def _outbound(hub: bootstrap.Hub, number: int, event: str, *, sealed: bool) -> bytes:
    participant = population.participant(number)
    parts = {name: part for name, part in compartments.split("contact", FIELDS).items() if name in CARRIED}
    envelope = {
        "id": f"e-{event:0>26}",
        "source": f"urn:agency:{population.DISCLOSER}",
        "type": "contact",
        "occurred_at": population.START_MS,
        "admitted_at": population.START_MS,
        "participant": participant,
        "category": "contact.outreach",
        "labels": [],
        "discloser": population.DISCLOSER,
        "compartments": sorted(parts),
        "consent_at_least": None,
    }
    sealer = hub.vault.sealer(participant) if sealed else Open()
    share = {
        "subscription": f"{RECIPIENT}-{population.PURPOSE}",
        "purpose": population.PURPOSE,
        "basis": "consent",
        "grants": [f"c-{number}/g1"],
        "compartments": sorted(parts),
        "obligations": ["record-disclosure"],
    }
    return codec.encode(
        "Outbound",
        {
            "envelope": envelope,
            "sealed": {
                name: sealer.seal(sealing.aad(envelope, name), compartments.encode("contact", name, part))
                for name, part in parts.items()
            },
            "position": {"topic": "contact", "partition": 0, "offset": 0},
            "at": population.START_MS,
            "consent_offset": 0,
            "governance_offset": 0,
            "shares": [share],
        },
    )


@contextlib.asynccontextmanager
async def running(command: tuple[str, ...], environment: dict[str, str], log: Any) -> AsyncIterator[None]:
    """A process at work until the block ends."""
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()
