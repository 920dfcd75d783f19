"""The county's oracle must be able to say no: every way in which a delivery can be wrong is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from examples.county.comparison import compare
from examples.county.consents import PROFILES
from examples.county.endpoints import Endpoints
from examples.county.expected import Due, Reckoner, Share
from examples.county.forms import TOLD_OTHERWISE
from examples.county.journal import Journal
from examples.county.people import Person
from examples.county.plan import Plan, plan
from examples.county.shelf import Arrival, Shelf
from examples.county.sight import seen
from examples.county.summary import exact
from examples.county.wishes import SCENES

ROOT = Path(__file__).parent.parent
POLICY = json.loads((ROOT / "consent" / "policy.json").read_text("utf-8"))
ANCHOR = 1_795_000_000_000
SECRET = "whsec_" + "c3ludGhldGljLWNvdW50eS1zZWNyZXQ="


@pytest.fixture(scope="module")
def county() -> tuple[Plan, list[Due]]:
    planned = plan(3, ANCHOR, len(PROFILES))
    moments = {scene: ANCHOR + number * 60_000 for number, scene in enumerate(SCENES)}
    return planned, Reckoner(planned, POLICY, moments).dues()


def body_of(planned: Plan, due: Due, share: Share, person: Person) -> dict[str, Any]:
    """A delivery's body as a hub without fault would send it, but for the event's id."""
    form = planned.agencies[due.stakeholder].way_form(due.way)
    body = json.loads(seen(due.event, share, person, due.stakeholder, form))
    if form not in TOLD_OTHERWISE:
        body["notices"] = [{"citation": one, "text": "…"} for one in body["notices"]]
        lines = body["consent_scope"]
        body["consent_scope"] = [{"purpose": purpose, "compartments": parts} for purpose, parts in lines]
    return {**body, "participant": f"{due.stakeholder}-{due.event.person}"}


def deliveries(planned: Plan, dues: list[Due]) -> list[Arrival]:
    """What a hub without fault would have delivered, the races all lost by the revocations."""
    found = []
    for number, due in enumerate(dues):
        share = due.variants[-1]
        if share is not None:
            person = planned.people[due.event.person]
            body = body_of(planned, due, share, person) | {"id": f"id-{number}"}
            found.append(Arrival(due.stakeholder, f"key-{number}", ANCHOR, body, due.way))
    return found


def of(way: str, arrivals: list[Arrival], *parts: str) -> tuple[int, Arrival]:
    """The first that came by a way, and lacks these compartments; with its number."""
    return next(
        (number, one)
        for number, one in enumerate(arrivals)
        if one.way == way and not any(part in one.body["data"] for part in parts)
    )


def strange(planned: Plan, dues: list[Due], arrivals: list[Arrival], **more: Any) -> list[str]:
    lines = compare(planned, dues, arrivals, **more)
    return [what for line in lines.values() for what in line.unexplained]


def test_every_role_of_the_policy_takes_part_and_ten_stakeholders_or_more(
    county: tuple[Plan, list[Due]],
) -> None:
    agencies = county[0].agencies.values()
    assert {agency.role for agency in agencies} == set(POLICY["roles"])
    assert len(agencies) >= 10
    assert all(agency.subscriptions for agency in agencies)


def test_the_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert plan(3, ANCHOR, 40) == plan(3, ANCHOR, 40)
    assert plan(3, ANCHOR, 40) != plan(4, ANCHOR, 40)


def test_nobody_shares_a_number_and_no_two_events_an_identity() -> None:
    planned = plan(3, ANCHOR, 300)
    numbers = [number for person in planned.people for number in person.locals.values()]
    assert len(numbers) == len(set(numbers))
    assert len({person.name for person in planned.people}) == 300
    events = [(event.source, event.id) for _, event in planned.events()]
    assert len(events) == len(set(events))
    instants = [event.occurred_at for _, event in planned.events() if event.channel != "hmis"]
    assert len(instants) == len(set(instants))


def test_what_the_rule_allows_adds_up(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    lines = compare(planned, dues, deliveries(planned, dues))
    assert exact(lines)
    for line in lines.values():
        assert line.published == line.permitted + line.denied.total() + line.raced
        assert line.delivered == line.permitted + line.raced - line.withheld
    assert sum(line.raced for line in lines.values()) > 0
    reasons = set().union(*(line.denied for line in lines.values()))
    assert reasons >= {
        "role",
        "no-agreement",
        "no-consent",
        "expired",
        "revoked",
        "restriction",
        "proceedings",
    }


def test_roles_without_a_row_never_get_anything(county: tuple[Plan, list[Due]]) -> None:
    for due in county[1]:
        if county[0].agencies[due.stakeholder].role in ("business", "civil-rights", "community", "elected"):
            assert due.variants == (None,)


def test_a_consent_that_comes_late_covers_what_came_before(county: tuple[Plan, list[Due]]) -> None:
    late = [
        due for due in county[1]
        if county[0].people[due.event.person].profile == "agrees-late" and due.event.id.startswith("weeks")
    ]  # fmt: skip
    assert {due.certain.scene for due in late if due.certain} == {"opened"}


def test_a_missing_delivery_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    (found,) = strange(planned, dues, deliveries(planned, dues)[1:])
    assert found.startswith("missing")


def test_a_delivery_to_somebody_else_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    arrivals = deliveries(planned, dues)
    misled = replace(arrivals[0], stakeholder="downtown-bia", key="other")
    assert any(one.startswith("unexpected") for one in strange(planned, dues, [*arrivals, misled]))


def test_the_same_event_under_two_keys_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    arrivals = deliveries(planned, dues)
    again = replace(arrivals[5], key="another-key")
    found = strange(planned, dues, [*arrivals, again])
    assert {one.partition(":")[0] for one in found} == {"doubled", "unexpected"}


def test_a_compartment_too_many_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    arrivals = deliveries(planned, dues)
    number, arrival = of("feed", arrivals, "narrative")
    data = {**arrival.body["data"], "narrative": {"narrative": "Asked about the winter beds."}}
    arrivals[number] = replace(arrival, body={**arrival.body, "data": data})
    found = strange(planned, dues, arrivals)
    assert {one.partition(":")[0] for one in found} == {"missing", "unexpected"}


def test_a_notice_too_few_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    arrivals = deliveries(planned, dues)
    number, arrival = next((n, a) for n, a in enumerate(arrivals) if a.way == "feed" and a.body["notices"])
    arrivals[number] = replace(arrival, body={**arrival.body, "notices": []})
    found = strange(planned, dues, arrivals)
    assert {one.partition(":")[0] for one in found} == {"missing", "unexpected"}


def test_a_senders_number_that_leaks_is_found(county: tuple[Plan, list[Due]]) -> None:
    planned, dues = county
    arrivals = deliveries(planned, dues)
    number = next(n for n, one in enumerate(arrivals) if one.stakeholder == "harbor-pd")
    leak = {**arrivals[number].body, "participant": planned.people[0].locals["county-jail"]}
    arrivals[number] = replace(arrivals[number], body=leak)
    assert any(one.startswith("another agency's number") for one in strange(planned, dues, arrivals))


def test_a_raced_delivery_may_come_or_not_but_not_begin_after_the_fence(
    county: tuple[Plan, list[Due]],
) -> None:
    planned, dues = county
    number, due = next((n, one) for n, one in enumerate(dues) if one.raced and one.variants[-1] is None)
    share = due.variants[0]
    assert share is not None
    body = body_of(planned, due, share, planned.people[due.event.person]) | {"id": "raced"}
    raced = Arrival(due.stakeholder, f"raced-{number}", ANCHOR + 5, body, due.way)
    arrivals = [*deliveries(planned, dues), raced]
    assert strange(planned, dues, arrivals, closed_at={due.event.person: ANCHOR + 5}) == []
    (found,) = strange(planned, dues, arrivals, closed_at={due.event.person: ANCHOR + 4})
    assert found.startswith("began after it was taken back")


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[Endpoints]:
    servers = Endpoints(Shelf(tmp_path / "shelf.jsonl"))
    servers.start()
    yield servers
    servers.stop()
    servers.shelf.close()


def signed(key: str, body: dict[str, Any], secret: str = SECRET) -> dict[str, Any]:
    now = datetime.now(UTC)
    text = json.dumps(body)
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, now, text),
    }
    return {"content": text, "headers": headers}


def test_an_endpoint_takes_only_what_is_signed_and_counts_a_repeat_once(endpoints: Endpoints) -> None:
    address = endpoints.address("reach")
    assert httpx.post(address, **signed("k1", {"id": "e"})).status_code == 503
    endpoints.trust({"reach": SECRET})
    assert httpx.post(address, **signed("k1", {"id": "e"})).status_code == 204
    assert httpx.post(address, **signed("k1", {"id": "e"})).status_code == 204
    assert httpx.post(address, **signed("k2", {"id": "e"}, "whsec_" + "b3RoZXI=")).status_code == 401
    assert [one.key for one in endpoints.shelf] == ["k1"]
    assert endpoints.shelf.repeats["reach"] == 1
    assert endpoints.shelf.changed == []
    assert endpoints.forged["reach"] == 1
    httpx.post(address, **signed("k1", {"id": "another"}))
    assert [one.body for one in endpoints.shelf.changed] == [{"id": "another"}]


def test_a_shelf_finds_again_what_was_answered_and_forgets_a_torn_line(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf.jsonl")
    shelf.put(Arrival("reach", "k1", 1, {"id": "a"}))
    shelf.close()
    with shelf.path.open("ab") as file:
        file.write(b'{"stakeholder": "reach", "key": "k2", "beg')
    again = Shelf(tmp_path / "shelf.jsonl")
    assert [one.key for one in again] == ["k1"]
    again.put(Arrival("reach", "k3", 3, {"id": "c"}))
    again.close()
    third = Shelf(tmp_path / "shelf.jsonl")
    assert [one.key for one in third] == ["k1", "k3"]
    third.close()


def test_a_journal_keeps_what_was_done_across_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom examples.county.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\njournal.keep('first', {'made': 1})\n"
        "print('kept', flush=True)\ntime.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "kept"
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=10)
    child.stdout.close()
    with closing(Journal(path)) as journal:
        assert journal.done == {"first": {"made": 1}}
        before = time.time_ns() // 1_000_000
        moment = journal.moment("scene")
        assert moment >= before
    with closing(Journal(path)) as again:
        assert again.moment("scene") == moment
