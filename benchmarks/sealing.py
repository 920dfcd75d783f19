"""What sealing costs: admit, delivery and enforcement, each beside itself with sealing taken out.

Both sides are the same program by the same settings on one broker (`benchmarks/peers/unsealed.py` takes out
what seals and opens under participants' and originals' keys, and the looking up of such keys), in interleaved
rounds of one run. What the one side reads is sealed, and what the other reads is not.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from benchmarks import population, webhook
from benchmarks.arena import Arena, hub, middle
from benchmarks.peers.unsealed import Open
from benchmarks.population import DISCLOSER
from benchmarks.throughput import BATCH, EVENTS, ROUNDS, row, say
from hub import bootstrap, broker, governance, settings
from hub.crosswalk import local_aad, local_hash
from hub.vault import OVERHEAD_BYTES
from schemas import cloudevents, codec, instant
from schemas.topics import inbox

PEOPLE: Final = 1_000
TAKEN_IN: Final = EVENTS // 3  # a round of admit
PART_BYTES: Final = 64  # of one compartment, sealed
ROUND_S_MAX: Final = 180
SIDES: Final = ("sealed", "clear")
COMMANDS: Final = {
    "sealed": (sys.executable, "-m", "hub.cli", "run"),
    "clear": (sys.executable, "-m", "benchmarks.peers.unsealed"),
}
BESIDE: Final = "the same with sealing taken out"
DATA: Final = {
    "name": "Ana Invented",
    "occurred_at": instant.format(population.START_MS),
    "facility": "North Hall",
    "phase": "active",
    "staff": "M. Invented",
    "narrative": "Met at the usual place, asked for a bed tonight and a call to the clinic tomorrow.",
}
Row = dict[str, Any]
Rates = dict[str, list[float]]


def rows() -> list[Row]:
    """Rows for the results: how much of its speed each stage keeps."""
    with tempfile.TemporaryDirectory(prefix="bench-sealing-") as name:
        folder = Path(name)
        with broker.start(settings.load(data=folder / "kafka")) as kafka:
            admitted = asyncio.run(_admitted(folder / "admit", kafka.bootstrap))
    with tempfile.TemporaryDirectory(prefix="bench-sealing-") as name:
        folder = Path(name)
        with broker.start(settings.load(data=folder / "kafka")) as kafka:
            delivered = asyncio.run(_delivered(folder / "hub", kafka.bootstrap))
    return [
        _row("admit, four compartments an event", admitted, "events/s"),
        _row("webhooks delivered by one worker, sealed", delivered, "deliveries/s"),
        _row("enforce, nine stakeholders, sealed events", _enforced(), "events/s"),
    ]


def _row(name: str, rates: Rates, unit: str) -> Row:
    return row(name, rates["sealed"], BESIDE, rates["clear"], unit)


def _turns() -> Iterator[tuple[int, str]]:
    """Rounds and sides, who comes first by turns. The first round, -1, warms up and is not counted."""
    for number in range(-1, ROUNDS):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            yield number, side


# ---- admit -------------------------------------------------------------------------------------------------


async def _admitted(data: Path, servers: str) -> Rates:
    """Events admitted a second by one worker of each side, each with the same backlog before it."""
    rates: Rates = defaultdict(list)
    configured = settings.load(data=data, kafka_bootstrap=servers, replication=1)
    environment = webhook.surroundings(data, servers)
    bootstrap.prepare(configured, servers)
    with bootstrap.bootstrap(configured, servers) as of:
        _link(of)
        of.create_topics([DISCLOSER])
        with (data / "log").open("wb") as log:
            for number, side in _turns():
                with _reader(servers, configured.partitions) as reader:
                    _publish(of, servers, f"{number}-{side}", sealed=side == "sealed")
                    async with webhook.running((*COMMANDS[side], "admit"), environment, log):
                        times = await asyncio.to_thread(_written, reader, TAKEN_IN)
                if number >= 0:
                    rates[side].append(middle(times))
                say(f"admit, {side}: {middle(times):,.0f} events/s")
    return rates


def _link(of: bootstrap.Hub) -> None:
    """Registers the sender, and says under which numbers it knows people."""
    plan = population.governance({})
    body = next(one for one in plan["stakeholders"] if one["id"] == DISCLOSER)
    governance.write(of.appender, "stakeholder", DISCLOSER, body, "bench")
    links = []
    for number in range(PEOPLE):
        who, local_id = population.participant(number), f"J-{number}"
        local = local_hash(of.vault, DISCLOSER, local_id)
        sealed = of.vault.sealer(who).seal(local_aad(DISCLOSER, local), local_id.encode())
        value = {
            "kind": "linked",
            "participant": who,
            "agency": DISCLOSER,
            "local": local,
            "sealed": sealed,
            "at": population.START_MS,
            "by": "bench",
        }
        links.append((who, codec.encode("Identity", value)))
    population.send(of.client["bootstrap.servers"], "identity", of.settings.partitions, links)


def _publish(of: bootstrap.Hub, servers: str, name: str, *, sealed: bool) -> None:
    """Puts one round's events into the sender's inbox, as the web writes them."""
    topic = inbox(DISCLOSER)
    sealer = of.vault.hub("originals") if sealed else Open()
    originals = [json.dumps(_event(n, f"{name}-{n}")).encode() for n in range(TAKEN_IN)]
    inbound = {
        "agency": DISCLOSER,
        "via": "http",
        "received_at": population.START_MS,
        "submission": None,
        "consent_at_least": None,
        "reference": None,
    }
    values = (
        codec.encode("Inbound", inbound | {"sealed": one})
        for one in sealer.seal_all([(topic.encode(), one) for one in originals])
    )
    population.send(servers, topic, 1, ((DISCLOSER, value) for value in values))


def _event(number: int, name: str) -> dict[str, Any]:
    local_id = f"J-{number % PEOPLE}"
    return {
        "specversion": "1.0",
        "id": name,
        "source": cloudevents.source_of(DISCLOSER),
        "type": "contact",
        "subject": local_id,
        "time": DATA["occurred_at"],
        "category": "contact.outreach",
        "data": {"local_id": local_id, **DATA},
    }


@contextlib.contextmanager
def _reader(servers: str, partitions: int) -> Iterator[Consumer]:
    """A committed reader of what admit writes from now on."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "meter",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    places = [TopicPartition("contact", n) for n in range(partitions)]
    for one in places:
        one.offset = consumer.get_watermark_offsets(one, timeout=10)[1]
    consumer.assign(places)
    try:
        yield consumer
    finally:
        consumer.close()


def _written(reader: Consumer, count: int) -> Sequence[int]:
    """When each record was written, in ms, once there are so many."""
    times: list[int] = []
    until = time.monotonic() + ROUND_S_MAX
    while len(times) < count:
        assert time.monotonic() < until, f"{len(times)} of {count} admitted in {ROUND_S_MAX} s"
        times += [one.timestamp()[1] for one in reader.consume(10_000, 0.5) if one.error() is None]
    return times


# ---- delivery ----------------------------------------------------------------------------------------------


async def _delivered(data: Path, servers: str) -> Rates:
    """Webhooks delivered a second by one worker of each side."""
    rates: Rates = defaultdict(list)
    receiver = webhook.Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    configured = settings.load(data=data, kafka_bootstrap=servers, replication=1)
    environment = webhook.surroundings(data, servers)
    count = webhook.PEOPLE * webhook.EACH
    with webhook.populated(configured, servers, url) as (of, _), (data / "log").open("wb") as log:
        for place, (number, side) in enumerate(_turns()):
            webhook.send(of, servers, place, sealed=side == "sealed")
            async with webhook.running((*COMMANDS[side], "connectors"), environment, log):
                rate = await receiver.rate(count, side)
            if number >= 0:
                rates[side].append(rate)
            say(f"webhook, {side}: {rate:,.0f} deliveries/s")
    server.close()
    return rates


# ---- enforcement -------------------------------------------------------------------------------------------


def _enforced() -> Rates:
    """Events decided a second by one worker, which opens nothing: sealed, and as long as they are without."""
    rates: Rates = defaultdict(list)
    sizes = {"sealed": PART_BYTES, "clear": PART_BYTES - OVERHEAD_BYTES}
    with Arena(PEOPLE, EVENTS) as ground, ground.running(hub(BATCH)) as worker:
        ground.decided(EVENTS, worker)
        for place, (number, side) in enumerate(_turns()):
            events = list(population.events(EVENTS, PEOPLE, EVENTS * (place + 1), sizes[side]))
            rate = ground.again(worker, events)
            if number >= 0:
                rates[side].append(rate)
            say(f"enforce, {side}: {rate:,.0f} events/s")
    return rates
