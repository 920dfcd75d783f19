"""Events taken in by HTTP a second, one by one and in batches, beside an endpoint that only writes to Kafka.

Ours is `hub run web`, whole: token, scope, rulebook, bounds, checking, naming, sealing, storing. Both are
served alike, write to one partition of one broker with all acknowledgements, and are asked by the same client
in interleaved rounds.
"""

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import load
from benchmarks.throughput import ROUNDS, row
from hub import bootstrap, broker, health, settings, tokens
from hub.registration import described
from schemas import cloudevents

CONNECTIONS: Final = 8
SECONDS: Final = 3.0
WARM_S: Final = 2.0
BATCH: Final = 100
UP_S_MAX: Final = 60
AGENCY: Final = "harbor-house"
BARE: Final = "bare"
DESCRIPTION: Final = {
    "name": "Harbor House",
    "role": "service-provider",
    "agreement": {"from": "2025-01-01T00:00:00Z"},
}
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results."""
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as name:
        folder = Path(name)
        with served(folder) as (addresses, token):
            found = asyncio.run(_measured(addresses, token))
    peer = "a FastAPI endpoint that only writes to Kafka"
    return [
        row(
            f"events taken in by HTTP, {how}, {CONNECTIONS} connections",
            found["hub", how],
            peer,
            found["bare", how],
        )
        for how in ("one by one", f"batches of {BATCH}")
    ]


async def _measured(addresses: dict[str, str], token: str) -> dict[tuple[str, str], list[float]]:
    kinds = {"one by one": (cloudevents.STRUCTURED, 1), f"batches of {BATCH}": (cloudevents.BATCH, BATCH)}
    found: dict[tuple[str, str], list[float]] = {(who, how): [] for who in addresses for how in kinds}
    asked = {}
    for who, address in addresses.items():
        for how, (media, size) in kinds.items():
            headers = {"authorization": f"Bearer {token}", "content-type": media}
            asked[who, how] = [
                load.request(address, "/v1/events", headers, _body(media, first, size))
                for first in range(0, 50 * size, size)
            ]
            await load.rate(address, asked[who, how], CONNECTIONS, WARM_S)
    for number in range(ROUNDS):
        for how, (_, size) in kinds.items():
            for who in list(addresses)[:: 1 if number % 2 == 0 else -1]:
                gc.collect()
                rate = await load.rate(addresses[who], asked[who, how], CONNECTIONS, SECONDS)
                found[who, how].append(rate * size)
                print(f"gateway, {who}, {how}: {rate * size:,.0f} events/s", file=sys.stderr, flush=True)
    return found


def _body(media: str, first: int, size: int) -> bytes:
    events = [event(first + n) for n in range(size)]
    return json.dumps(events if media == cloudevents.BATCH else events[0]).encode()


def event(number: int) -> dict[str, Any]:
    """A service that somebody accepted, as a provider's system tells it."""
    return {
        "specversion": "1.0",
        "id": f"engagement-{number:06d}",
        "source": cloudevents.source_of(AGENCY),
        "type": "service-engagement",
        "subject": f"H-{number % 97:04d}",
        "time": f"2026-11-20T10:{number % 60:02d}:00-08:00",
        "category": "service.housing",
        "data": {
            "provider": "Harbor House",
            "program": "Transitional housing",
            "step": "accepted",
            "narrative": "Came in with the outreach worker, looked at the room and took the keys.",
        },
    }


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Both contenders on one broker: the address of each, and a token for ours."""
    with broker.start(settings.load(data=folder / "kafka")) as kafka:
        configured = settings.load(data=folder / "hub", kafka_bootstrap=kafka.bootstrap, replication=1)
        bootstrap.prepare(configured, kafka.bootstrap)
        with bootstrap.bootstrap(configured, kafka.bootstrap) as hub:
            hub.registration.register([described({"id": AGENCY, **DESCRIPTION})], "bench")
            hub.create_topics([BARE])
            token = tokens.mint(hub.store, AGENCY)
        environment = {
            **os.environ,
            "HUB_DATA": str(folder / "hub"),
            "HUB_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "HUB_REPLICATION": "1",
            "HUB_WEB_PORT": "0",
            "HUB_REQUESTS_PER_S_MAX": "1000000",  # the peer has no bound either
            "HUB_REQUESTS_BURST_MAX": "1000000",
        }
        peer = [sys.executable, "-m", "benchmarks.peers.bare_gateway", kafka.bootstrap, f"inbox.{BARE}"]
        with (
            (folder / "log").open("wb") as log,
            _running([sys.executable, "-m", "hub.cli", "run", "web"], environment, log),
            _running([*peer, str(folder / "bare")], environment, log, subprocess.PIPE) as bare,
        ):
            assert bare.stdout is not None, "the peer tells its address"
            yield (
                {
                    "hub": _address(configured, folder / "log"),
                    "bare": bare.stdout.readline().decode().strip(),
                },
                token,
            )


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], log: Any, out: Any = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=out or log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _address(configured: settings.Settings, log: Path) -> str:
    until = time.monotonic() + UP_S_MAX
    while time.monotonic() < until:
        for beat in health.read_all(configured.run_dir):
            if beat.stage == "web" and beat.address:
                return beat.address
        time.sleep(0.1)
    raise AssertionError("the web did not come up: " + log.read_text()[-3000:])
