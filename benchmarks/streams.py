"""Two thousand live pages on one web process: how many stay, and when each has what it is to show.

The pages are case managers' own, of four teams, each with a session and a caseload; the hub is whole, and one
web process serves them all. Bookings come about somebody of a caseload after the other. What is measured is
from publishing one to its arrival at the page that it concerns, once with that page alone open and once with
all; what one page costs in memory; and whether any was cut off, ended, or told that the hub cannot check.
"""

import asyncio
import gc
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from benchmarks import scene
from benchmarks.screen import Poster, percentile
from benchmarks.throughput import say
from hub import health
from schemas import instant

TEAMS: Final = 4
STREAMS: Final = 2_000
ALERTS: Final = 40
EVERY_S: Final = 1.0
ROUND_S_MAX: Final = 120
SETTLE_S_MAX: Final = 300
OPENING: Final = 20  # at once
READ_BYTES: Final = 1 << 16
Row = dict[str, Any]


@dataclass
class Page:
    """One open stream, and when each time that stands in it came first."""

    cookie: str
    seen: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    open: bool = False

    async def listen(self, at: Any, opened: asyncio.Semaphore) -> None:
        """Until it ends, which it should not."""
        async with opened:
            reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=1 << 20)
            path = "/v1/alerts/stream?as=page&since=0"
            head = f"GET {path} HTTP/1.1\r\nhost: {at.netloc}\r\ncookie: {self.cookie}\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer.decode()
            self.open = True
        rest = b""
        try:
            while some := await reader.read(READ_BYTES):
                *lines, rest = (rest + some).split(b"\n")
                for line in lines:
                    self._line(line, time.time_ns() // 1_000_000)
        finally:
            self.open = False
            writer.close()

    def _line(self, line: bytes, now: int) -> None:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
            self.events[name] = self.events.get(name, 0) + 1
        for piece in line.split(b'datetime="')[1:]:
            self.seen.setdefault(piece[: piece.index(b'"')].decode(), now)


def rows() -> list[Row]:
    """Rows for the results."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * STREAMS + 1_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted)), hard))
    each = STREAMS // TEAMS
    teams = [f"team-{n}" for n in range(TEAMS)]
    managers = {team: [f"{team}-{n}" for n in range(each)] for team in teams}
    with (
        tempfile.TemporaryDirectory(prefix="bench-streams-") as name,
        scene.running(Path(name), managers, ALERTS // TEAMS) as place,
    ):
        return asyncio.run(_measured(place, managers))


async def _measured(place: scene.Scene, managers: dict[str, Sequence[str]]) -> list[Row]:
    """Alerts are about the first people of each caseload: `ALERTS` pages of all are concerned."""
    accounts = [name for names in managers.values() for name in names]
    concerned = [name for team, names in managers.items() for name in names[: len(place.people[team])]]
    cookies = {name: place.cookie(name) for name in accounts}
    web = psutil.Process(_pid(place))
    few = await _round(place, managers, [Page(cookies[name]) for name in concerned], concerned, web)
    many = await _round(place, managers, [Page(cookies[name]) for name in accounts], accounts, web)
    memory = (many["memory"] - few["memory"]) / (len(accounts) - len(concerned))
    name = f"{STREAMS:,} live pages on one web process"
    some = f"{len(concerned)} pages"
    return [
        _row(f"{name}, still open after {ALERTS} alerts", many["open"], "opened", STREAMS, "pages"),
        _row(f"{name}, publishing to the page concerned, p50", many[50], some, few[50]),
        _row(f"{name}, publishing to the page concerned, p99", many[99], some, few[99]),
        _row(f"{name}, processor of the web process", many["cpu"], some, few["cpu"], "%"),
        _row("memory of the web process for each live page", memory / 1024, "limit", 128, "KiB"),
    ]


def _row(name: str, ours: float, peer: str, theirs: float, unit: str = "ms") -> Row:
    found = {"name": name, "ours": round(ours), "peer": peer, "peer_value": round(theirs), "unit": unit}
    return {**found, "ratio": round(ours / theirs, 2), "higher_is_better": unit == "pages"}


def _pid(place: scene.Scene) -> int:
    return next(beat.pid for beat in health.read_all(place.hub.settings.run_dir) if beat.stage == "web")


async def _round(
    place: scene.Scene,
    managers: dict[str, Sequence[str]],
    pages: list[Page],
    accounts: Sequence[str],
    web: psutil.Process,
) -> dict[Any, float]:
    """Opens the pages, publishes, and waits until each page concerned has what concerns it."""
    at, opening = urlsplit(place.address), asyncio.Semaphore(OPENING)
    tasks = [asyncio.create_task(page.listen(at, opening)) for page in pages]
    until = time.monotonic() + SETTLE_S_MAX
    while not all(page.events for page in pages):  # each has its first picture
        assert time.monotonic() < until, f"{sum(not page.events for page in pages)} pages have no picture"
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.2)
    by_account = dict(zip(accounts, pages, strict=True))
    gc.collect()
    post, published, spent, began = Poster(place.address), [], _seconds(web), time.monotonic()
    for number in range(ALERTS):
        team = f"team-{number % TEAMS}"
        turn = number // TEAMS
        participant, page = place.people[team][turn], by_account[managers[team][turn]]
        now = time.time_ns() // 1_000_000
        name = f"{len(pages)}-{number}"
        await post.send(place.request([place.booking(place.numbers[participant], name, now)]))
        published.append((page, now))
        await asyncio.sleep(EVERY_S)
    until = time.monotonic() + ROUND_S_MAX
    while waits := [1 for page, now in published if instant.format(now) not in page.seen]:
        assert time.monotonic() < until, f"{len(waits)} alerts never came"
        await asyncio.sleep(0.1)
    busy = (_seconds(web) - spent) / (time.monotonic() - began) * 100
    took = [float(page.seen[instant.format(now)] - now) for page, now in published]
    told: dict[str, int] = {}
    for page in pages:
        for name, count in page.events.items():
            told[name] = told.get(name, 0) + count
    found = {"open": sum(page.open for page in pages), "memory": web.memory_info().rss, "cpu": busy}
    found |= {p: percentile(took, p) for p in (50, 99)}
    say(f"streams, {len(pages)} pages: {found}; they were told {told}")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    post.close()
    return found


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
