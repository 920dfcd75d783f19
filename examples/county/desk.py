"""The case managers' alerts, as their page gets them: a stream of the whole picture, whenever it changes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from examples.county.expected import Due
from examples.county.forms import arrived
from examples.county.people import Person
from examples.county.shelf import Arrival, Shelf
from examples.county.sight import seen

quiet_s_max = 40  # longer than the stream is ever silent
pause_s = 0.3


class Desk:
    """One organisation's desk: keeps every alert that it has seen, and knows which ones stand now."""

    def __init__(self, shelf: Shelf, stakeholder: str, address: str, token: str) -> None:
        self.shelf = shelf
        self.stakeholder = stakeholder
        headers = {"authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=address, timeout=quiet_s_max, headers=headers)
        self.standing: list[dict[str, Any]] = []
        self.more = 0

    def follow(self, stopping: Callable[[], bool]) -> None:
        """Watches until told to stop; connects again where the stream breaks off."""
        with self.client:
            while not stopping():
                try:
                    self._watch(stopping)
                except httpx.HTTPError:
                    time.sleep(pause_s)

    def _watch(self, stopping: Callable[[], bool]) -> None:
        with self.client.stream("GET", "/v1/alerts/stream") as stream:
            stream.raise_for_status()
            told = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    told = line.removeprefix("event: ")
                elif line.startswith("data: ") and told == "changed":
                    picture = json.loads(line.removeprefix("data: "))
                    self.see(picture["alerts"], int(picture["more"]))
                if stopping():
                    return

    def see(self, alerts: list[dict[str, Any]], more: int) -> None:
        """The page, as it is now: what is on it, and how many wait beyond."""
        now = time.time_ns() // 1_000_000
        told = [one for one in alerts if "data" in one["event"]]  # others tell of consents, not of events
        self.shelf.put(
            *(Arrival(self.stakeholder, one["id"], now, one["event"], "alerts", "page") for one in told)
        )
        self.standing, self.more = told, more

    def amiss(self, dues: Iterable[Due], people: Sequence[Person]) -> list[str]:
        """What is wrong with the page as it stands: alerts that were taken back, or others missing."""
        wanted: Counter[str] = Counter()
        for due in dues:
            if due.stands and due.certain and (due.stakeholder, due.way) == (self.stakeholder, "alerts"):
                person = people[due.event.person]
                wanted[seen(due.event, due.certain, person, self.stakeholder, "alerts")] += 1
        there = Counter(arrived(one["event"], "alerts") for one in self.standing)
        missing = Counter[str]() if self.more else wanted - there
        found = [f"alerts that stand, but should not: {(there - wanted).total()}"] if there - wanted else []
        return found + ([f"alerts that should stand, but do not: {missing.total()}"] if missing else [])
