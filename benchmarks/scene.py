"""A whole hub as `hub up` runs it: a jail that publishes, case-management teams, and people who agreed.

Nothing of it is taken from inside the hub but accounts and sign-ins, which demo mode makes for few.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

from benchmarks import load
from hub import bootstrap, settings, tokens
from hub.registration import described
from hub.sessions import COOKIE, Account, Sessions
from schemas import cloudevents, instant

JAIL: Final = "county-jail"
UP_S_MAX: Final = 180
AT_ONCE: Final = 16
SINCE: Final = {"agreement": {"from": "2025-01-01T00:00:00Z"}}


@dataclass(frozen=True)
class Scene:
    """A running hub. `people`: participants of each team; the jail knows one by the number in `numbers`."""

    address: str
    hub: bootstrap.Hub
    jail: str
    people: dict[str, list[str]]
    numbers: dict[str, int]

    def cookie(self, account: str, agent: str = "") -> str:
        """Somebody signed in, by a browser that calls itself so. Out: the header by which they are known."""
        return f"{COOKIE}={Sessions(self.hub.store).open(account, agent)}"

    def request(self, events: Sequence[dict[str, Any]]) -> bytes:
        """What publishes these, as it goes over the wire."""
        one = len(events) == 1
        media = cloudevents.STRUCTURED if one else cloudevents.BATCH
        headers = {"authorization": f"Bearer {self.jail}", "content-type": media}
        body = json.dumps(events[0] if one else list(events)).encode()
        return load.request(self.address, "/v1/events", headers, body)

    def booking(self, number: int, name: str, at_ms: int) -> dict[str, Any]:
        """Somebody is booked into custody: an urgent alert."""
        data = {"facility": "County Jail", "booked_at": instant.format(at_ms), "booking_number": f"B-{name}"}
        return _event(number, name, at_ms, "contact.custody-booking", data)

    def outreach(self, number: int, name: str, at_ms: int) -> dict[str, Any]:
        """Somebody was met on the street: a line of a timeline, and no alert."""
        return _event(number, name, at_ms, "contact.outreach", {"occurred_at": instant.format(at_ms)})


def _event(number: int, name: str, at_ms: int, category: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": name,
        "source": cloudevents.source_of(JAIL),
        "type": "contact",
        "subject": f"J-{number}",
        "time": instant.format(at_ms),
        "category": category,
        "data": {"local_id": f"J-{number}", **data},
    }


@contextlib.contextmanager
def running(
    folder: Path,
    managers: Mapping[str, Sequence[str]],
    people: int,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Scene]:
    """In: case managers' accounts of each team; how many people each team has, theirs in turn; settings."""
    environment = {**os.environ, "HUB_DATA": str(folder / "hub"), "HUB_WEB_PORT": "0", "HUB_DEMO": "true"}
    environment |= more
    command = [sys.executable, "-m", "hub.cli", "up", "--json"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None, "it tells its address"
            told = json.loads(process.stdout.readline() or b"{}")
            assert told, "the hub did not come up: " + (folder / "log").read_text()[-3000:]
            address = told["bootstrap"]
            partitions = settings.load(data=folder / "hub").partitions  # as its own broker has them
            configured = settings.load(
                data=folder / "hub", kafka_bootstrap=address, replication=1, partitions=partitions, demo=True
            )
            with bootstrap.bootstrap(configured, address) as hub:
                yield _peopled(told["web"], hub, managers, people)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _peopled(address: str, hub: bootstrap.Hub, managers: Mapping[str, Sequence[str]], people: int) -> Scene:
    jail = {"id": JAIL, "name": "County Jail", "role": "police", **SINCE}
    teams = [{"id": one, "name": one.title(), "role": "case-management", **SINCE} for one in managers]
    wanted = [{"purpose": "care-coordination", "categories": ["contact"], "adapter": "alerts"}]
    hub.registration.register(
        [described(jail), *(described({**one, "subscriptions": wanted}) for one in teams)], "bench"
    )
    accounts = [
        Account(name, "case-manager", name.title(), team)
        for team, names in managers.items()
        for name in names
    ]
    Sessions(hub.store).offer(accounts)
    made = asyncio.run(_agreed(address, hub, list(managers), people))
    for team, names in managers.items():
        for place, participant in enumerate(made[team]):
            hub.caseloads.assign("person:lead", team, participant, names[place % len(names)])
    numbers = {one: number for number, one in enumerate(one for some in made.values() for one in some)}
    return Scene(address, hub, tokens.mint(hub.store, JAIL), made, numbers)


async def _agreed(address: str, hub: bootstrap.Hub, teams: list[str], people: int) -> dict[str, list[str]]:
    """People of each team, known to the jail, who agreed that the team hears of contacts."""
    gate = asyncio.Semaphore(AT_ONCE)
    until = time.monotonic() + UP_S_MAX
    bounds = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=bounds) as client:

        async def post(team: str, path: str, body: dict[str, Any]) -> Any:
            while True:
                answer = await client.post(path, json=body, headers={"authorization": f"Bearer {mint[team]}"})
                if answer.status_code < 500 or time.monotonic() > until:  # the topics are young
                    answer.raise_for_status()
                    return answer.json()
                await asyncio.sleep(0.5)

        async def one(team: str, number: int) -> str:
            async with gate:
                name = {"local_id": f"R-{number}"}
                participant = str((await post(team, "/v1/participants", name))["participant"])
                known = {"agency": JAIL, "local_id": f"J-{number}"}
                await post(team, f"/v1/participants/{participant}/links", known)
                await post(team, "/v1/directives", _consent(team, participant))
                return participant

        mint = {team: tokens.mint(hub.store, team) for team in teams}
        made = {}
        for place, team in enumerate(teams):
            numbers = range(place * people, (place + 1) * people)
            made[team] = list(await asyncio.gather(*(one(team, number) for number in numbers)))
        return made


def _consent(team: str, participant: str) -> dict[str, Any]:
    return {
        "id": f"signed-{participant}",
        "participant": participant,
        "type": "consent-granted",
        "witness": {"name": "Ana Ruiz", "organisation": team},
        "consent": {
            "id": f"form-{participant}",
            "signed_at": "2026-11-20T10:00:00-08:00",
            "signature": {"method": "paper", "reference": "form 1, locker 3"},
            "starts_at": "2026-11-20T10:00:00-08:00",
            "expires_on": "program-exit",
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [
                {
                    "id": "contacts",
                    "disclosers": ["*"],
                    "recipients": [team],
                    "purposes": ["care-coordination"],
                    "categories": ["contact"],
                    "labels": [],
                    "compartments": ["subject", "occurrence"],
                }
            ],
        },
    }
