"""The fence's proof: nothing that was taken back begins to be delivered after the hub has answered 200.

A hub of real processes on a real broker has a backlog that nobody has delivered yet. Thousands of revocations
come in by its public API while its workers are killed, frozen and thawed, and its broker goes away. Another
process, which is the recipients, notes when each delivery began. Both clocks are one. What each saw is
compared at the end, by `judged`, which knows nothing of how the hub works.
"""

import bisect
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors import deliveries
from hub import leash
from schemas.topics import outbox
from tests.faults.county import AGENCY, RECIPIENTS, Api, County, Taking, wishes
from tests.faults.fleet import Fault, Fleet
from tests.streams_kit import Cluster, until

OBSERVER = Path(__file__).with_name("observer.py")
FILLED_S_MAX = 1_200.0
CLIENTS = 32
PAUSE_S = 8.0  # on average, between faults: the hub comes back, and is struck again
DOUBT_S_MAX = 30.0  # how long after a fault an attempt that it caught is put down to it


@dataclass(frozen=True)
class Arrival:
    """What the observer noted. `began` in nanoseconds of the monotonic clock."""

    began: int
    recipient: str
    person: str
    event: str
    key: str


class Town:
    """The hub, its recipients and its people. A context manager: `folder` is for everything it writes."""

    def __init__(self, folder: Path, partitions: int, **bounds: int) -> None:
        self.partitions = partitions
        self._arrivals = folder / "arrivals.jsonl"
        watching = [sys.executable, str(OBSERVER), str(self._arrivals)]
        self._observer = leash.spawn(watching, stdout=subprocess.PIPE)
        assert self._observer.stdout is not None
        port = int(self._observer.stdout.readline())
        wanted = {"admit": 1, "enforce": 2, "reconsider": 1, "web": 1, "connectors": 0}
        try:
            self.fleet = Fleet(folder, wanted, partitions=partitions, **bounds)
        except BaseException:
            self._end_observer()
            raise
        self.cluster = Cluster(self.fleet.broker.bootstrap)
        token = self._register(folder / "stakeholders.json", port)
        self._api = Api(self.fleet.port, token)
        self.county = County(self._api)

    def __enter__(self) -> "Town":
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        self.fleet.close()
        self._end_observer()

    def _end_observer(self) -> None:
        self._observer.kill()
        self._observer.wait()
        assert self._observer.stdout is not None
        self._observer.stdout.close()

    def _register(self, file: Path, port: int) -> str:
        """Makes the agency and the recipients known; out: the agency's token."""
        common = {"agreement": {"from": "2026-01-01T00:00:00Z"}, "treating": True}
        subscription = {"purpose": "care-coordination", "categories": ["contact"]}
        listed = [{"id": AGENCY, "name": AGENCY, "role": "case-management", **common}]
        listed += [
            {
                "id": name,
                "name": name,
                "role": "service-provider",
                "webhook": f"http://127.0.0.1:{port}/{name}?{manner}",
                "subscriptions": [subscription],
                **common,
            }
            for name, manner in RECIPIENTS.items()
        ]
        file.write_text(json.dumps({"stakeholder": listed}))
        made = json.loads(self.fleet.hub("agency", "load", str(file), "--json"))
        return next(str(one["token"]) for one in made if one["id"] == AGENCY)

    def fill(self, wanted: int) -> int:
        """Waits until so many events wait in the outboxes. Out: how many do."""
        topics = [outbox(name) for name in RECIPIENTS]

        def ends() -> bool:
            found = sum(sum(self.cluster.ends(topic, self.partitions).values()) for topic in topics)
            return found >= wanted

        until(ends, "the backlog", FILLED_S_MAX)
        return int(until(lambda: (n := self.offered()) >= wanted and n, "the backlog", FILLED_S_MAX))

    def offered(self) -> int:
        """How many events have been put into the outboxes so far."""
        return sum(len(self.cluster.read(outbox(name), self.partitions)) for name in RECIPIENTS)

    def deliver(self, count: int, broken: str = "") -> None:
        """From now on so many workers deliver; with a name of `broken`, worse ones."""
        self.fleet.broken = {"connectors": broken} if broken else {}
        self.fleet.want("connectors", count)
        self.fleet.ready()

    def take_back_in_trouble(self, wanted: Sequence[Taking], clients: int, pause_s: float) -> None:
        """Takes back and waits for the answers, while one fault follows the other."""
        over = threading.Event()

        def enough() -> bool:
            said(f"{sum(bool(one.closed) for one in wanted)} of {len(wanted)} are answered 200")
            return over.is_set()

        troubled = threading.Thread(target=self.fleet.trouble, args=(enough, pause_s))
        troubled.start()
        try:
            self.county.take_back(wanted, clients)
        finally:
            over.set()
            troubled.join()
        self.fleet.ready()
        for one in wanted:
            if not one.closed:
                self.county.ask(one)

    def arrivals(self) -> list[Arrival]:
        """Everything that the observer has noted so far."""
        lines = self._arrivals.read_text().splitlines()
        return [Arrival(**json.loads(line)) for line in lines]

    def told(self) -> dict[str, Any]:
        """What the hub itself says in `deliveries`, counted."""
        records = [
            deliveries.decode(one.value)
            for one in self.cluster.read(deliveries.TOPIC, self.partitions)
            if one.value is not None
        ]
        receipts = Counter(one["receipt"]["outcome"] for one in records if one["receipt"])
        reasons: Counter[str] = Counter()
        for one in records:
            if one["withheld"]:
                reasons.update({reason["reason"] for reason in one["withheld"]["reasons"]})
        withheld = sum(1 for one in records if one["withheld"])
        ended = sum(receipts[outcome] for outcome in ("delivered", "refused", "abandoned"))
        return {
            "attempts": sum(1 for one in records if one["intent"]),
            "attempts_ended": dict(receipts),
            "withheld": withheld,
            "withheld_because": dict(reasons),
            "left_undelivered": self.offered() - withheld - ended,
        }


def judged(takings: Collection[Taking], arrivals: Iterable[Arrival], names: dict[str, str]) -> dict[str, Any]:
    """Compares what the hub answered with what arrived.

    In: `names`, what the hub calls an event that its content calls otherwise. Out: `after_200`, deliveries
    that began although a 200 had been received for what they say; `unlisted`, those that began after the
    answer that they are in doubt and were not on its list; and how near it was.
    """
    came: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for one in sorted(arrivals, key=lambda one: one.began):
        came[one.person, one.recipient].append(one)
    after, unlisted, before, gone, nearest = [], [], 0, 0, []
    for taking in takings:
        doubts = {(one["stakeholder"], one["event"]) for one in taking.listed}
        for recipient in taking.recipients:
            found = came[taking.person.name, recipient]
            instant = taking.closed or taking.doubted
            at = bisect.bisect_right([one.began for one in found], instant)
            before += at
            if taking.closed:
                after += found[at:]
                nearest += [(instant - one.began) / 1e6 for one in found[at - 1 : at]]
            else:
                unlisted += [one for one in found[at:] if (recipient, names[one.event]) not in doubts]
                gone += sum((recipient, names[one.event]) in doubts for one in found)
    return {
        "after_200": len(after),
        "unlisted": len(unlisted),
        "of_the_listed_had_gone": gone,
        "began_before_the_answer": before,
        "nearest_before_a_200_ms": round(min(nearest), 1) if nearest else None,
    }


def spread(takings: Iterable[Taking]) -> dict[str, float]:
    """From asking to 200, in seconds."""
    seconds = sorted(one.seconds for one in takings if one.closed)
    if not seconds:
        return {}
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: round(seconds[int(share * (len(seconds) - 1))], 3) for name, share in at.items()}
    return {**found, "max": round(seconds[-1], 3), "count": len(seconds)}


def doubts(takings: Iterable[Taking], faults: Sequence[Fault], wall_ns: int) -> list[dict[str, Any]]:
    """Each attempt that stayed in doubt, and the faults that caught it.

    In: `wall_ns`, what to add to the monotonic clock for the time since 1970, in nanoseconds.
    """
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for taking in takings:
        for one in () if taking.closed else taking.listed:
            at = one["at"] * 1_000_000 - wall_ns
            near = {
                fault.name
                for fault in faults
                if at - 1e9 <= fault.began <= at + DOUBT_S_MAX * 1e9 and fault.name.split()[0] in CATCHING
            }
            caught = sorted(near) or ["none that is known"]
            found[one["stakeholder"], one["event"], one["attempt"]] = {**one, "faults": caught}
    return list(found.values())


CATCHING = frozenset({"connectors", "broker"})


def prove(folder: Path, people: int, revocations: int, backlog: int, workers: int = 3) -> dict[str, Any]:
    """Everything, at its full length. Out: the report, with `passed`."""
    wall_ns = time.time_ns() - time.monotonic_ns()
    wanted_events = -(-backlog // len(RECIPIENTS))
    with Town(folder, partitions=6) as town:
        town.fleet.ready()
        said("the hub runs; people agree")
        settled = town.county.settle(people)
        takings = wishes(settled, revocations)
        said("the backlog is published")
        town.county.publish(settled[number % people] for number in range(wanted_events))
        waiting = town.fill(backlog)
        said(f"{waiting} wait in the outboxes; delivery begins")
        town.deliver(workers)
        over = threading.Event()
        load = threading.Thread(target=town.county.keep_publishing, args=(50.0, over.is_set))
        load.start()
        try:
            first = revocations // 3
            calm, troubled = takings[:first], takings[first:]
            town.county.take_back(calm, CLIENTS)
            said(f"in peace: {spread(calm)}; faults begin")
            began = time.monotonic()
            town.take_back_in_trouble(troubled, CLIENTS, pause_s=PAUSE_S)
            lasted = time.monotonic() - began
            said(f"under faults: {spread(troubled)}")
        finally:
            over.set()
            load.join()
        said("what was seen is compared")
        faults = town.fleet.faults
        verdict = judged(takings, town.arrivals(), town.county.events)
        report = {
            "passed": not verdict["after_200"] and not verdict["unlisted"],
            "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {sys.version.split()[0]}",
            "people": people,
            "workers": workers,
            "backlog": waiting,
            "revocations": len(takings),
            "answered_200": sum(bool(one.closed) for one in takings),
            "doubted_at_first": sum(bool(one.doubted) for one in takings),
            "stayed_in_doubt": sum(not one.closed for one in takings),
            **verdict,
            "seconds_to_200": {
                "all": spread(takings),
                "in_peace": spread(calm),
                "under_faults": spread(troubled),
            },
            "faults": dict(Counter(one.name for one in faults)),
            "faults_lasted_s": round(lasted),
            "in_doubt": doubts(takings, faults, wall_ns),
            "stopped_s": round(town.fleet.stopped_s(), 1),
            "arrivals": len(town.arrivals()),
            **town.told(),
        }
        start = takings[0].began if takings else 0
        report["timeline"] = {
            "asked_s": [round((one.began - start) / 1e9, 2) for one in takings if one.closed],
            "seconds": [round(one.seconds, 3) for one in takings if one.closed],
            "calm": len([one for one in calm if one.closed]),
            "faults": [[one.name, round((one.began - start) / 1e9, 1)] for one in faults],
        }
        return report


def said(what: str) -> None:
    print(time.strftime("%H:%M:%S"), what, flush=True)
