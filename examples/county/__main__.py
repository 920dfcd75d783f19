"""`python -m examples.county`: the hub with an invented county on it, and an account of what reached whom.

Starts the hub as a child, makes the stakeholders known, plays some weeks in about a minute, and compares what
the stakeholders' own systems received with what the consents allow. Killed at any moment, it goes on where it
was when it is started again on the same data.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from examples.county.comparison import Line, compare
from examples.county.expected import Due
from examples.county.files import Files, watched
from examples.county.hubside import Hub, NotDone, now
from examples.county.inbox import Inbox
from examples.county.journal import Journal, write_whole
from examples.county.numbers import ROLES, fetched, numbers, reported, wrote
from examples.county.officers import Officers
from examples.county.own import perform as perform_own
from examples.county.plan import Plan, plan
from examples.county.play import Play
from examples.county.running import RunningHub, kafka, known, policy, register
from examples.county.showing import Showing
from examples.county.summary import exact, public, show
from examples.county.systems import Systems

people_default = 120
seed_default = 2026
page_columns = 110  # where nobody's terminal says how wide it is


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.county",
        description="Plays an invented county on a hub of its own, and counts what reached whom.",
        epilog="example: python -m examples.county --once --people 40",
    )
    parser.add_argument("--once", action="store_true", help="stop after the summary; status 0 if it is exact")
    parser.add_argument("--people", type=int, default=people_default, help="how many people (default: 120)")
    parser.add_argument("--seed", type=int, default=seed_default, help="another county for another number")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    chosen = parser.parse_args(given)
    if not 1 <= chosen.people <= 500:
        parser.error("--people takes 1 to 500")
    return chosen


def planned(folder: Path, people: int, seed: int) -> Plan:
    """The play in this folder: the one begun there, or a new one that begins now.

    Raises `NotDone` where another one was begun there.
    """
    path = folder / "plan.json"
    if not path.exists():
        write_whole(path, json.dumps({"seed": seed, "anchor": now(), "people": people}))
    begun = json.loads(path.read_text("utf-8"))
    if (begun["seed"], begun["people"]) != (seed, people):
        raise NotDone(
            f"another county was begun here (--seed {begun['seed']} --people {begun['people']}): "
            "go on with that one, or set HUB_DATA to another folder"
        )
    return plan(begun["seed"], begun["anchor"], begun["people"])


def perform(chosen: argparse.Namespace, folder: Path, console: Console) -> bool:
    """One performance; whether every delivery is accounted for. Raises `NotDone`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        showing = stack.enter_context(Showing(console))
        county = planned(folder, chosen.people, chosen.seed)
        journal = Journal(folder / "journal.jsonl")
        stack.callback(journal.close)
        systems = stack.enter_context(Systems(folder, journal, county.agencies))
        systems.trust(known(folder))
        running = stack.enter_context(RunningHub(folder, {"HUB_FILES": watched(folder, systems.mailbox)}))
        running.ready()
        credentials = register(county, folder, systems)
        client = kafka()
        systems.connect(running.address, credentials, client)
        running.invite(console)

        def alive() -> None:
            running.alive()
            systems.alive()

        hub = Hub(running.address, credentials.tokens, alive)
        stack.callback(hub.close)
        files = Files(folder / "files", systems.hand_in())
        inbox = Inbox(client, running.address)
        officers = stack.enter_context(Officers(running.address))
        play = Play(county, policy(), journal, systems.shelf, hub, files, inbox, officers, showing)
        stack.callback(play.close)
        dues = play.run()
        counted = numbers(county, fetched(running.address, alive))
        lines = compare(county, dues, systems.shelf.all(), play.closed_at())
        told(lines, systems, county, dues)
        for agency in county.agencies.values():
            if agency.role in ROLES:
                lines[agency.id].unexplained += counted.amiss
        own = play.step("own", lambda: perform_own(running.address))
        state = play.step("letter", lambda: wrote(running.address))
        reports = reported(county, systems.folder_of, alive)
        for who, name in reports.items():
            if not name.startswith("numbers-"):
                lines[who].unexplained.append(f"the report: {name}")
        showing.stop()
        if chosen.json:
            print(json.dumps({who: line.as_json() for who, line in lines.items()}, indent=1))
        else:
            show(console, county, lines)
            public(console, county, counted)
            console.print(
                f"Each of them has its report, as PDF by SFTP: {', '.join(sorted(set(reports.values())))}."
            )
            console.print(f"A neighbour reported harm without an account, and was told: {state}.")
            console.print(
                "Somebody new signed on the form, got a card, looked at their own page and took it all back: "
                f"the door was closed after {own['closed_ms']:,} ms."
            )
        if not chosen.once:
            console.print("The hub goes on. Ctrl-C stops everything.")
            running.wait()
    return exact(lines)


def told(lines: dict[str, Line], systems: Systems, county: Plan, dues: Sequence[Due]) -> None:
    """Adds what only the systems know: repeats, forged signatures, bodies that changed under one key, what
    the alerts page shows in the end.
    """
    for stakeholder, line in lines.items():
        line.repeated = systems.shelf.repeats[stakeholder]
        if forged := systems.endpoints.forged[stakeholder]:
            line.unexplained.append(f"a signature that does not fit: {forged} times")
    for arrival in systems.shelf.changed:
        lines[arrival.stakeholder].unexplained.append(f"another body under one key: {arrival.key}")
    for desk in systems.desks:
        lines[desk.stakeholder].unexplained += desk.amiss(dues, county.people)


def main(given: list[str] | None = None) -> int:
    """Status 0 where every delivery is accounted for, 1 where not or the play stopped, 2 called wrongly."""
    chosen = arguments(given)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start deaf to it
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else page_columns)
    folder = Path(os.environ.get("HUB_DATA") or ".hub").absolute() / "demo"
    try:
        return 0 if perform(chosen, folder, console) else 1
    except NotDone as error:
        console.print(str(error), style="bold red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 0 if not chosen.once else 1


if __name__ == "__main__":
    sys.exit(main())
