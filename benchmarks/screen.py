"""Milliseconds from publishing to a case manager's screen, in a real Chromium, beside a bare pipe.

Ours is the whole hub: taken in, admitted, decided, decided again, opened, kept, looked at with the owner's
permission, drawn. The bare pipe is a Kafka consumer that hands records on as server-sent events. Both are
asked for by HTTP, one event at a time, with 200 others a second behind; a page of each is open in one
browser, which notes when it has drawn what came. Rounds are interleaved.
"""

import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from confluent_kafka.admin import AdminClient, NewTopic
from playwright.async_api import Page, async_playwright

from benchmarks import scene
from benchmarks.latency import UNCOUNTED
from benchmarks.throughput import ROUNDS, say
from hub.shown import ShownAlerts
from hub.tables import alerts
from hub.today import current
from schemas import instant

TEAM: Final = "reach"
MANAGER: Final = "manager"
AGENT: Final = "Mozilla/5.0 (a phone)"  # a session is of one browser
BARE: Final = "bench.bare"
ALERTS: Final = 60  # of a round, each about somebody else
PEOPLE: Final = 240  # all those that events are about
EVERY_S: Final = 0.2
BEHIND: Final = 200  # events a second
BATCH: Final = 20
ROUND_S_MAX: Final = 60
WARM_S: Final = 5.0
SEEN: Final = """(() => {
  window.seen = {};
  new MutationObserver(() => requestAnimationFrame(() => {
    const at = Date.now();
    document.querySelectorAll('li time').forEach(one => { window.seen[one.dateTime] ??= at; });
  })).observe(document, { childList: true, subtree: true });
})()"""
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results."""
    with tempfile.TemporaryDirectory(prefix="bench-screen-") as name:
        folder = Path(name)
        with scene.running(folder, {TEAM: [MANAGER]}, PEOPLE) as place, bare(place, folder) as address:
            took = asyncio.run(_measured(place, address))
    peer = "a Kafka consumer that hands on to a page, nothing checked"
    name = f"publishing to a case manager's screen, {BEHIND} events/s behind"
    return [_row(f"{name}, p{at}", at, took["hub"], peer, took["bare"]) for at in (50, 99)]


def _row(name: str, at: int, ours: list[list[float]], peer: str, theirs: list[list[float]]) -> Row:
    """One percentile, of all rounds together; ranges are of the rounds."""
    mine, other = (percentile([ms for some in rounds for ms in some], at) for rounds in (ours, theirs))
    pairs = zip(ours, theirs, strict=True)
    each = [(percentile(one, at), percentile(another, at)) for one, another in pairs]
    ratios = sorted(one / another for one, another in each)
    return {
        "name": name,
        "ours": round(mine),
        "peer": peer,
        "peer_value": round(other),
        "unit": "ms",
        "ratio": round(mine / other, 2),
        "ratio_range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "higher_is_better": False,
        "range": [round(min(one for one, _ in each)), round(max(one for one, _ in each))],
        "peer_range": [round(min(one for _, one in each)), round(max(one for _, one in each))],
    }


def percentile(some: list[float], at: int) -> float:
    """Of some numbers, the one below which `at` of a hundred lie."""
    return statistics.quantiles(some, n=100, method="inclusive")[at - 1]


@contextlib.contextmanager
def bare(place: scene.Scene, folder: Path) -> Iterator[str]:
    """The bare pipe on the same broker. Out: its address."""
    servers = str(place.hub.settings.kafka_bootstrap)
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(BARE, 1, 1)])[BARE].result()
    command = [sys.executable, "-m", "benchmarks.peers.bare_stream", servers, BARE, str(folder / "bare")]
    with (folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None, "it tells its address"
            address = process.stdout.readline().decode().strip()
            assert address, (folder / "bare.log").read_text()[-3000:]
            yield address
        finally:
            process.terminate()
            process.wait(20)


@contextlib.asynccontextmanager
async def pages(place: scene.Scene, address: str) -> AsyncIterator[dict[str, Page]]:
    """A page of each contender, live, in one browser."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags.append(
        f"--user-agent={AGENT}"
    )  # of the page's service worker as well: the session is one browser's
    async with async_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        made = {}
        for who, base in (("hub", place.address), ("bare", address)):
            context = await browser.new_context(base_url=base)
            if who == "hub":
                name, _, value = place.cookie(MANAGER, AGENT).partition("=")
                await context.add_cookies([{"name": name, "value": value, "url": base}])
            await context.add_init_script(SEEN)
            made[who] = await context.new_page()
            await made[who].goto("/cases" if who == "hub" else "/")
        await made["hub"].locator("[data-state=live]").wait_for(state="visible", timeout=60_000)
        yield made
        await browser.close()


async def _measured(place: scene.Scene, address: str) -> dict[str, list[list[float]]]:
    took: dict[str, list[list[float]]] = {"hub": [], "bare": []}
    async with pages(place, address) as open_pages:
        for number in range(-UNCOUNTED, ROUNDS):
            for who in ("hub", "bare") if number % 2 == 0 else ("bare", "hub"):
                some = await _round(place, address, open_pages[who], who, number + UNCOUNTED)
                say(f"screen, {who}: p50 {percentile(some, 50):.0f} ms, p99 {percentile(some, 99):.0f} ms")
                if number >= 0:
                    took[who].append(some)
    return took


async def _round(place: scene.Scene, address: str, page: Page, who: str, number: int) -> list[float]:
    """Milliseconds that each alert of a round took, with others behind it all the while."""
    base = place.address if who == "hub" else address
    stop = asyncio.Event()
    behind = asyncio.create_task(_behind(place, base, f"{who}-{number}", stop))
    await asyncio.sleep(WARM_S)
    post, published = Poster(base), {}
    for turn, participant in enumerate(place.people[TEAM][:ALERTS]):
        began = time.time_ns() // 1_000_000
        event = place.booking(place.numbers[participant], f"{who}-{number}-{turn}", began)
        published[instant.format(began)] = began
        await post.send(place.request([event]))
        await asyncio.sleep(EVERY_S - (time.time() - began / 1000) % EVERY_S)
    until, seen = time.monotonic() + ROUND_S_MAX, {}
    while published.keys() - seen.keys():
        assert time.monotonic() < until, f"{len(published.keys() - seen.keys())} alerts never came"
        await asyncio.sleep(0.2)
        seen = json.loads(await page.evaluate("JSON.stringify(window.seen)"))
    stop.set()
    await behind
    post.close()
    if who == "hub":
        _clear(place)
    return [seen[iso] - began for iso, began in published.items()]


class Poster:
    """Posts ready bytes, on a connection that stays open."""

    def __init__(self, base: str) -> None:
        self._at = urlsplit(base)
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes) -> None:
        """One request, taken."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._at.hostname, self._at.port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 202 "), head.decode()
        length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await self._reader.readexactly(int(length))

    def close(self) -> None:
        """Let go of it."""
        if self._writer is not None:
            self._writer.close()


async def _behind(place: scene.Scene, base: str, name: str, stop: asyncio.Event) -> None:
    """Events of which the page shows nothing, evenly."""
    post, people, count = Poster(base), place.people[TEAM][ALERTS:], 0
    due = time.monotonic()
    while not stop.is_set():
        now = time.time_ns() // 1_000_000
        events = [
            place.outreach(place.numbers[people[n % len(people)]], f"{name}-behind-{n}", now)
            for n in range(count, count + BATCH)
        ]
        count += BATCH
        await post.send(place.request(events))
        due += BATCH / BEHIND
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    post.close()


def _clear(place: scene.Scene) -> None:
    """No alert stands any more, so that the next ones are not behind a hundred others."""
    with place.hub.store.read() as connection:
        found = connection.execute(alerts.select().with_only_columns(alerts.c.id).where(current(TEAM)))
        ids = list(found.scalars())
    ShownAlerts(place.hub.store).withdraw(ids)
