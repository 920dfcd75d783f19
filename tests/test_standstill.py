"""Ways that stand still: paused by the hub where trying again mends nothing, and resumed by hand alone."""

import json
import threading
import time
from types import SimpleNamespace

import pytest

from connectors.recheck import PAUSED
from connectors.schedule import HOUR_MS, Schedule
from hub import pausing, standstill, ways
from hub.governance import write
from hub.language import tongue
from hub.rendering import _environment
from hub.routes import operator
from hub.standstill import BY, FAILURES_MIN, QUICK_MS, Run, Standstill, verdict
from tests.test_ways import Office, office, registered

__all__ = ["office"]  # a fixture of theirs

DAY_MS = 24 * HOUR_MS


def later(ms: int = 0) -> int:
    """After everything that is written until now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000 + 10 + ms


def watching(office: Office) -> Standstill:
    return Standstill(office.desk.store, office.desk.register, office.desk.log, later)  # type: ignore[arg-type]


def test_the_quick_part_of_the_schedule_ends_where_only_daily_tries_are_left() -> None:
    pauses = Schedule().pauses_ms
    quick = [pause for pause in pauses if pause < DAY_MS]
    assert list(pauses[: len(quick)]) == quick
    assert sum(quick) == QUICK_MS
    assert 20 * HOUR_MS < QUICK_MS < DAY_MS


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (None, None),
        (Run("http-410", 1, 0, 0), "http-410"),
        (Run("host-key", 1, 0, 0), "host-key"),
        (Run("login", 500, 0, HOUR_MS - 1), None),
        (Run("login", 2, 0, HOUR_MS), "login"),
        (Run("http-500", 500, 0, QUICK_MS - 1), None),
        (Run("http-500", FAILURES_MIN - 1, 0, QUICK_MS), None),
        (Run("timeout", FAILURES_MIN, 0, QUICK_MS), "timeout"),
    ],
)
def test_what_is_paused_and_what_is_tried_again(run: Run | None, why: str | None) -> None:
    assert verdict(run) == why


def test_a_recipient_that_wants_nothing_more_is_paused_once_and_it_is_recorded(office: Office) -> None:
    office.receipt(1, "refused", "http-410", later())
    watch = watching(office)
    assert watch.look() == [("harbor-house", "webhook")]
    assert watch.look() == []
    row = office.row()
    assert (row["state"], row["by"], row["why"]) == ("paused", BY, "http-410")
    [act] = office.desk.log.values("access")
    assert (act["kind"], act["principal"]) == (pausing.PAUSE, BY)
    assert json.loads(act["body"]) == {"about": "harbor-house/webhook", "reason": "http-410"}
    assert [one["by"] for one in office.desk.log.values("governance")][-1] == BY
    assert "paused by hub" in office.run("list").stdout


def test_a_day_of_failures_is_paused_and_one_success_begins_it_anew(office: Office) -> None:
    begun = later()
    for number in range(FAILURES_MIN):
        office.receipt(number, "failed", "timeout", begun + number * QUICK_MS // (FAILURES_MIN - 1))
    office.receipt(90, "delivered", "http-204", begun + QUICK_MS // 2)
    assert watching(office).look() == []
    for number in range(10, 10 + FAILURES_MIN):
        office.receipt(number, "failed", "timeout", begun + QUICK_MS + (number - 10) * HOUR_MS)
    assert watching(office).look() == [], "but a few hours"
    office.receipt(20, "abandoned", "http-503", begun + 2 * QUICK_MS + HOUR_MS)
    assert watching(office).look() == [("harbor-house", "webhook")]


def test_what_is_the_hubs_own_trouble_says_nothing_of_a_recipient(office: Office) -> None:
    begun = later()
    for number in range(20):
        office.receipt(number, "failed", "not-begun", begun + number * DAY_MS)
    assert watching(office).look() == []
    office.receipt(30, "refused", "http-410", begun)
    office.receipt(31, "failed", "stopped", begun + 1)
    assert watching(office).look() == [("harbor-house", "webhook")], "it hides nothing, either"


def test_resumed_by_hand_it_flows_and_old_failures_count_no_more(office: Office) -> None:
    office.receipt(1, "failed", "host-key", later())
    watch = watching(office)
    assert watch.look()
    registered(office.desk, name="Harbour House")
    assert office.row()["by"] == BY, "whoever describes it anew does not end the pause"
    time.sleep(0.02)  # the receipt is ten milliseconds ahead
    assert office.run("resume", "harbor-house", "webhook").exit_code == 0
    assert office.row()["by"] is None
    assert watch.look() == []
    office.receipt(2, "failed", "host-key", later())
    assert watch.look() == [("harbor-house", "webhook")], "not mended: the hub says so once more"


@pytest.mark.parametrize("adapter", ["feed", "pull"])
def test_ways_that_lead_to_nobodys_system_are_left_alone(office: Office, adapter: str) -> None:
    wish = {"purpose": "treatment", "categories": ["service"], "adapter": adapter}
    registered(office.desk, subscriptions=[wish])
    for number in range(9):
        office.receipt(number, "failed", "full", later(number * DAY_MS), adapter)
    assert watching(office).look() == []


def test_a_pause_of_an_operator_is_no_business_of_the_hubs(office: Office) -> None:
    office.run("pause", "harbor-house", "webhook", "--reason", "moving house")
    office.receipt(1, "refused", "http-410", later())
    assert watching(office).look() == []
    assert office.row()["by"] == "operator"


def test_a_pause_from_before_it_was_told_who_paused_is_still_one(office: Office) -> None:
    for name, body in office.desk.register().subscriptions.items():
        old = {**body, "settings": {**body["settings"], PAUSED: "moving house"}}
        write(office.desk.log, "subscription", name, old, "operator")  # type: ignore[arg-type]
    row = office.row()
    assert (row["state"], row["by"], row["why"]) == ("paused", "operator", "moving house")


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "by the hub itself, "), ("es", "por el propio sistema, ")],
)
def test_the_page_says_first_what_the_hub_paused_and_what_to_do(
    office: Office, language: str, words: str
) -> None:
    office.receipt(1, "failed", "host-key", later())
    watching(office).look()
    backlog = ways.Backlog(lambda: office.past, 1, later)
    of = SimpleNamespace(store=office.desk.store, register=office.desk.register, backlog=backlog)
    rows = operator._ways(of, tongue(language, "UTC"), {}, later())  # type: ignore[arg-type]
    assert rows is not None
    assert (rows[0]["urgency"], rows[0]["code"]) == ("urgent", "host-key")
    template = _environment(language).get_template("_stages.html")
    assert words in template.render(
        stages=[], ways=rows, refused=[], as_of="", tongue=tongue(language, "UTC")
    )


def test_looking_goes_on_after_the_log_took_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "LOOK_MS", 5)
    office.receipt(1, "refused", "http-410", later())
    office.desk.log.broken = True
    stop = threading.Event()
    looking = threading.Thread(target=watching(office).run, args=(stop,))
    looking.start()
    time.sleep(0.05)
    office.desk.log.broken = False
    deadline = time.monotonic() + 30
    while not pausing.held(office.desk.register()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stop.set()
    looking.join()
