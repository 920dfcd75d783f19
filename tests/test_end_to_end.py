"""A small county through everything: killed in the middle, resumed, every delivery accounted for.

One performance serves all the tests here. It runs as a newcomer runs it, as processes of its own, with an
embedded broker.
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from examples.county.calendar import rfc3339
from examples.county.comparison import compare
from examples.county.events import CHANNELS, Event
from examples.county.expected import Reckoner
from examples.county.hubside import Hub, Visitor, now
from examples.county.journal import kept
from examples.county.own import Own
from examples.county.plan import Plan, plan
from examples.county.running import command, policy
from examples.county.shelf import Arrival
from examples.county.summary import OUT
from examples.county.waiting import moments
from tests.plaintext import searched

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parent.parent
PEOPLE, SEED = 22, 5
play_ms_max = 240_000
goes_ms_max = 20_000


@dataclass
class Performance:
    """What a performance left behind, with the hub still running."""

    folder: Path
    account: dict[str, Any]
    address: str
    killed: list[int]

    @property
    def plan(self) -> Plan:
        begun = json.loads((self.folder / "demo" / "plan.json").read_text("utf-8"))
        return plan(begun["seed"], begun["anchor"], begun["people"])

    def arrivals(self) -> list[Arrival]:
        found = [Arrival(**one) for one in kept(self.folder / "demo" / "arrivals.jsonl")]
        return list({(one.stakeholder, one.key): one for one in reversed(found)}.values())

    def journal(self) -> dict[str, Any]:
        return {one["step"]: one["brought"] for one in kept(self.folder / "demo" / "journal.jsonl")}

    def tokens(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "demo" / "credentials.json").read_text("utf-8"))["tokens"])


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of this hub's processes. It has two partitions: what is about two people may part."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    return others | {"HUB_DATA": str(folder), "HUB_WEB_PORT": "0", "HUB_PARTITIONS": "2"}


def start(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "examples.county", "--people", str(PEOPLE), "--seed", str(SEED), "--json"]
    with (folder / "demo.log").open("ab") as log:
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=surroundings(folder), text=True
        )


def until(what: str, condition: Callable[[], bool], demo: subprocess.Popen[str], ms_max: int) -> None:
    deadline = time.monotonic() + ms_max / 1000
    while not condition():
        assert demo.poll() is None, f"the demo ended before {what}"
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def reached(folder: Path, step: str) -> bool:
    path = folder / "demo" / "journal.jsonl"
    return path.exists() and f'"step":"{step}"' in path.read_text("utf-8")


def kill(demo: subprocess.Popen[str]) -> int:
    """SIGKILL to the demo alone; everything that it had started must go with it. How many that were."""
    family = psutil.Process(demo.pid).children(recursive=True)
    demo.kill()
    demo.wait()
    assert demo.stdout is not None
    demo.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=goes_ms_max / 1000)
    assert alive == []
    return len(family)


def account_of(demo: subprocess.Popen[str]) -> dict[str, Any]:
    """The account that the demo prints; it goes on running."""
    said: list[str] = []
    assert demo.stdout is not None
    watch = threading.Timer(play_ms_max / 1000, demo.kill)
    watch.start()
    for line in demo.stdout:
        said.append(line)
        if line.rstrip() == "}":
            break
    watch.cancel()
    return dict(json.loads("".join(said)))


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Performance]:
    folder = tmp_path_factory.mktemp("county")
    arrivals = folder / "demo" / "arrivals.jsonl"
    killed = []
    demo = start(folder)
    try:
        until("deliveries", lambda: lines(arrivals) > 25, demo, play_ms_max)
        killed.append(kill(demo))
        demo = start(folder)
        until("the changes", lambda: reached(folder, "opened/said"), demo, play_ms_max)
        killed.append(kill(demo))
        demo = start(folder)
        account = account_of(demo)
        port = int(re.findall(r"answers at http://127\.0\.0\.1:(\d+)", (folder / "demo.log").read_text())[-1])
        yield Performance(folder, account, f"http://127.0.0.1:{port}", killed)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    except BaseException:
        sys.stderr.write((folder / "demo.log").read_text("utf-8", errors="replace")[-4000:])
        raise
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        if demo.stdout is not None:
            demo.stdout.close()


@pytest.mark.timeout(600)
def test_killed_twice_and_resumed_nothing_is_lost_and_nothing_doubled(performance: Performance) -> None:
    assert all(count > 3 for count in performance.killed)
    strange = {who: line["unexplained"] for who, line in performance.account.items() if line["unexplained"]}
    assert strange == {}
    assert sum(line["permitted"] for line in performance.account.values()) > 300
    assert sum(line["delivered"] for line in performance.account.values()) == len(performance.arrivals())


def test_every_way_of_deciding_took_place(performance: Performance) -> None:
    denied = set().union(*(line["denied"] for line in performance.account.values()))
    assert denied >= {
        "role",
        "no-agreement",
        "no-consent",
        "expired",
        "revoked",
        "restriction",
        "proceedings",
    }
    assert sum(line["raced"] for line in performance.account.values()) > 0
    refused = performance.journal()["weeks/bad"]["refused"]
    assert len(refused) == 9
    assert refused["a failure"] == "failure-has-no-place"


def account_again(performance: Performance, wrongly: Callable[[Reckoner], None]) -> int:
    """How many deliveries a mistaken expectation would call unexplained."""
    reckoner = Reckoner(performance.plan, copy.deepcopy(policy()), moments(performance.journal()))
    wrongly(reckoner)
    made = compare(performance.plan, reckoner.dues(), performance.arrivals())
    return sum(len(line.unexplained) for line in made.values())


def forget_a_row(reckoner: Reckoner) -> None:
    rows = reckoner.policy["matrix"]
    rows[:] = [row for row in rows if (row["role"], row["category"]) != ("public-defender", "service")]


def forget_a_restriction(reckoner: Reckoner) -> None:
    for said in reckoner.spoken.values():
        said[:] = [(scene, body) for scene, body in said if body["type"] != "restriction-placed"]


def forget_an_emergency(reckoner: Reckoner) -> None:
    for said in reckoner.spoken.values():
        said[:] = [(scene, body) for scene, body in said if body["type"] != "emergency-declared"]


def deny_everything(reckoner: Reckoner) -> None:
    reckoner.policy["matrix"].clear()


@pytest.mark.parametrize(
    "wrongly", [forget_a_row, forget_a_restriction, forget_an_emergency, deny_everything]
)
def test_a_wrong_expectation_is_noticed(
    performance: Performance, wrongly: Callable[[Reckoner], None]
) -> None:
    assert account_again(performance, lambda reckoner: None) == 0
    assert account_again(performance, wrongly) > 0


def test_a_case_manager_sees_who_was_booked_into_custody(performance: Performance) -> None:
    with closing(Visitor(performance.address, "case-manager")) as visitor:
        page = visitor.page("/cases")
    assert "booked into" in page
    booked = [
        event
        for _, event in performance.plan.events()
        if event.category == "contact.custody-booking"
        and performance.plan.people[event.person].profile == "broad"
    ]
    assert booked
    assert performance.plan.people[booked[0].person].name in page


def test_a_privacy_officer_sees_the_decisions(performance: Performance) -> None:
    with closing(Visitor(performance.address, "officer")) as visitor:
        page = visitor.page("/officer")
    assert "city-attorney" in page or "City Attorney" in page


def test_a_decision_can_be_explained(performance: Performance) -> None:
    event = next(
        event
        for _, event in performance.plan.events()
        if event.category == "service.substance-use"
        and performance.plan.people[event.person].profile == "broad"
    )
    with closing(Hub(performance.address, performance.tokens())) as hub:
        (result,) = hub.publish(event.source, [event])
    ran = subprocess.run(
        command("explain", result["event"], "city-attorney", "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        env=surroundings(performance.folder),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert "proceedings" in json.dumps(told)


def test_every_way_in_and_out_was_used(performance: Performance) -> None:
    agencies = performance.plan.agencies
    by: Counter[str] = Counter()
    for who, line in performance.account.items():
        for way, count in line["by"].items():
            by[agencies[who].way_form(way)] += count
    assert set(by) == set(OUT)
    assert min(by.values()) > 0
    told = {event.channel for scene in performance.plan.scenes for event in scene.events}
    assert told == set(CHANNELS)


def test_a_file_is_sent_once_more_when_an_operator_asks_a_running_hub(performance: Performance) -> None:
    """Decided anew, under the same id, in a file of its own."""
    path = performance.folder / "demo" / "arrivals.jsonl"

    def files_with(key: str) -> set[str]:
        return {one["place"] for one in kept(path) if one["key"] == key}

    plan = performance.plan
    broad = {person.locals["harbor-house"] for person in plan.people if person.profile == "broad"}
    key = next(
        one.key
        for one in performance.arrivals()
        if one.stakeholder == "harbor-house" and one.body.get("local_id") in broad
    )
    assert len(files_with(key)) == 1
    ran = subprocess.run(
        command("connector", "resend", "harbor-house", "sftp", "--delivery", key, "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        env=surroundings(performance.folder),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"deliveries": 1, "more": False}
    deadline = time.monotonic() + goes_ms_max / 1000 * 3
    while len(files_with(key)) < 2:
        assert time.monotonic() < deadline, "it was not sent once more"
        time.sleep(0.1)
    assert len({one["body"]["id"] for one in kept(path) if one["key"] == key}) == 1


def test_somebody_signs_is_told_of_takes_it_back_and_is_told_of_no_more(performance: Performance) -> None:
    """On the pages, with everything at work: from a blank form to a delivery that is withheld."""
    assert performance.journal()["own"]["closed_ms"] >= 0, "the county's own person did, too"
    own = Own(performance.address, "RCH-100000002", ["city-attorney/court"])
    with closing(own), closing(Hub(performance.address, performance.tokens())) as hub:
        code = own.signs("earlier")
        hub.link("reach", hub.participant("reach", own.number), "municipal-court", "MC-100000002")

        def hearing(number: int) -> str:
            at = now() - 60_000  # once: two readings of a clock may differ, and such an event is refused
            fields = {"local_id": "MC-100000002", "name": "Marisol", "occurred_at": rfc3339(at)}
            event = Event(f"own-{number}", 0, "municipal-court", "court.hearing", (), at, fields)
            (result,) = hub.publish("municipal-court", [event])
            assert result["status"] == "accepted", result
            return str(result["event"])

        def waits(path: str, client: httpx.Client, text: str) -> str:
            deadline = time.monotonic() + goes_ms_max / 1000 * 3
            while text not in (page := client.get(path).text):
                assert time.monotonic() < deadline, f"{path} does not say: {text}"
                time.sleep(0.1)
            return page

        hearing(1)
        own.looks(code)
        page = waits("/me", own.client, "City Attorney learned about")
        assert page.count("City Attorney learned about") == 1
        assert "read before can't be called back: City Attorney" in own.takes_back()
        event = hearing(2)
        with closing(Visitor(performance.address, "officer")) as officer:
            why = f"/officer/why?event={event}&stakeholder=city-attorney"
            waits(why, officer.client, "Not shared with")
        assert own.client.get("/me").text.count("City Attorney learned about") == 1


def test_nothing_personal_stands_in_the_clear_in_anything_that_the_hub_wrote(
    performance: Performance,
) -> None:
    """Neither in the broker's files nor in the store with its write-ahead log, logs, metrics, heartbeats.

    What `tests/test_plaintext.py` plants is found; and here the same words are found where they may be.
    """
    search = searched(performance.folder, performance.address)
    assert search is not None
    assert search.wrong == []
    assert search.seen > 500
    areas = {"Kafka's log", "store", "process logs", "metrics", "transparency log"}
    assert areas <= {area for area, size in search.looked.items() if size}
