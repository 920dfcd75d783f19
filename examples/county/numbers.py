"""The public's four and their numbers: fetched as anybody can, and held against the county's own counting."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from examples.county.calendar import EPOCH, timedelta
from examples.county.plan import Plan

ROLES = ("business", "civil-rights", "community", "elected")
OF_EVENTS = {"referrals": "referral.", "services": "service.", "engaged": "contact.case-management"}
wait_ms_max = 60_000
report_ms_max = 150_000  # who was killed while one was sent is followed two minutes later
HARM = {
    "kind": "harm",
    "what": "Needles by the swings",
    "whom": "the children of the block",
    "where": "Alder Street",
}
cell_min = 11


class Numbers(NamedTuple):
    """What anybody can see: which months, how many numbers, how many of them hidden; and what is amiss."""

    months: list[str]
    shown: int
    hidden: int
    amiss: list[str]


def fetched(address: str, alive: Callable[[], None]) -> list[dict[str, Any]]:
    """The published numbers, as soon as there are some, or none after a minute."""
    deadline = time.monotonic() + wait_ms_max / 1000
    while True:
        alive()
        rows: list[dict[str, Any]] = httpx.get(f"{address}/v1/aggregates", timeout=30).json()["aggregates"]
        if rows or time.monotonic() > deadline:
            return rows
        time.sleep(1)


def numbers(plan: Plan, rows: list[dict[str, Any]]) -> Numbers:
    """Holds what was published against the plan: nobody is counted who was not there, or twice."""
    people = _people(plan)
    amiss = [] if rows else ["nothing was published within a minute"]
    for row in rows:
        if row["people"] is not None and row["people"] < cell_min:
            amiss.append(f"a number below {cell_min}: {row['measure']}")
        if row["people"] is None or row["dimension"] != "all" or row["measure"] not in OF_EVENTS:
            continue
        known = len(people[row["measure"], row["month"], row["kind"]])
        if known < cell_min or row["people"] > max(known + 2, 15):
            amiss.append(f"{row['people']} people where there were {known}: {row['measure']} {row['kind']}")
    shown = sum(row["people"] is not None for row in rows)
    return Numbers(sorted({row["month"] for row in rows}), shown, len(rows) - shown, amiss)


def reported(county: Plan, folders: Callable[[str], Path], alive: Callable[[], None]) -> dict[str, str]:
    """The name of everybody's report who gets one, by stakeholder; or, in the end, why it is not one."""
    wanted = [one.id for one in county.agencies.values() if one.report]
    deadline = time.monotonic() + report_ms_max / 1000
    found: dict[str, str] = {}
    while len(found) < len(wanted) and time.monotonic() < deadline:
        alive()
        for who in wanted:
            for path in folders(who).glob("numbers-*.pdf"):
                found[who] = path.name if path.read_bytes().startswith(b"%PDF-") else "no PDF"
        time.sleep(0.5)
    return {who: found.get(who, "nothing came in time") for who in wanted}


def wrote(address: str) -> str:
    """A neighbour reports harm without an account, and asks what became of it. Out: the answer."""
    code = httpx.post(f"{address}/v1/letters", json=HARM, timeout=30).raise_for_status().json()["code"]
    asked = httpx.post(f"{address}/v1/letters/states", json={"code": code}, timeout=30).raise_for_status()
    return str(asked.json()["state"])


def _people(plan: Plan) -> dict[tuple[str, str, str], set[int]]:
    """Who is in which number, by the county's own account; months are those of UTC, as of the demo's hub."""
    found: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    told = [event for scene in plan.scenes for event in scene.events]
    told += [event for scene in plan.scenes for one in scene.submissions for event in one.events]
    for event in told:
        month = (EPOCH + timedelta(milliseconds=event.occurred_at)).strftime("%Y-%m")
        for measure, prefix in OF_EVENTS.items():
            if event.category.startswith(prefix):
                kind = "people" if measure == "engaged" else event.category.partition(".")[2]
                found[measure, month, kind].add(event.person)
    return found
