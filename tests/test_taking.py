"""A folder of files: each is taken once, in order, through crashes, and has its result beside it."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors import batch, folder, taking
from connectors.folder import Settling
from connectors.results import HEADER, Result, Results
from connectors.sources import Source
from hub import bootstrap, filing, health, settings, stages, up
from hub.errors import SettingsInvalid
from schemas import codec
from schemas.errors import Unavailable
from tests.files_worker import Door, watched
from tests.streams_kit import CHECKOUT
from tests.webside import JAIL, REACH, Side, records

MAPPING = """
name = "notes"
title = "Notes"
[input]
format = "csv"
columns = ["ID", "Who", "When", "Note"]
[[skip]]
path = "Note"
values = ["skip"]
[event]
type = "contact"
id = "ID"
subject = "Who"
time = { path = "When", format = "%Y-%m-%d", as = "instant" }
category = { constant = "contact.outreach" }
[fields]
narrative = "Note"
phase = { path = "Note", table = { strange = "retired" }, otherwise = "outreach" }
"""
HEADER_LINE = "ID,Who,When,Note\r\n"


def line(number: int, note: str = "", day: str = "2026-03-01") -> str:
    return f"{number},L-{number},{day},{note}\r\n"


class Place:
    """A watched folder, a mapping beside it, and a log that is a file."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "watched"
        self.folder.mkdir()
        self.log = path / "log"
        self.log.touch()
        self.mapping = path / "notes.toml"
        self.mapping.write_text(MAPPING)

    def put(self, name: str, *lines: str, at: float | None = None) -> Path:
        file = self.folder / name
        file.write_text(HEADER_LINE + "".join(lines), newline="")
        if at is not None:
            os.utime(file, (at, at))
        return file

    def watched(self) -> taking.Watched:
        return watched(self.folder, self.log, str(self.mapping))

    def take(self) -> int:
        """Take all that is there. Out: how many files that was."""

        async def all_of() -> int:
            place, count = self.watched(), 0
            while await place.once(lambda: False):
                count += 1
            return count

        return asyncio.run(all_of())

    def stored(self) -> list[tuple[str, str]]:
        return [tuple(json.loads(one)) for one in self.log.read_text().splitlines()]

    def ids(self) -> list[str]:
        return [said for topic, said in self.stored() if topic == "inbox.reach"]

    def done(self) -> list[str]:
        """The files that are done, by their own names, in the order in which they were taken."""
        return [folder.plain(name) for name in sorted(os.listdir(self.folder / "done"))]

    def result(self, name: str) -> list[dict[str, str]]:
        (found,) = (self.folder / "done").glob(f"*-{name}.result.csv")
        with found.open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_is_taken_once_and_has_a_line_for_each_of_its_records(place: Place) -> None:
    place.put("a.csv", line(1, "Met at Pier 4"), line(2, day="soon"), line(3, "skip"), line(4, "strange"))
    assert place.take() == 1
    assert place.take() == 0
    assert place.ids() == ["1"]
    assert sorted(os.listdir(place.folder)) == ["done", "taken"]
    assert place.done() == ["a.csv", "a.csv.result.csv"]
    found = place.result("a.csv")
    assert [(one["line"], one["status"], one["codes"], one["where"]) for one in found] == [
        ("2", "accepted", "", ""),
        ("3", "unreadable", "bad-time", "line 3, column When"),
        ("4", "left-out", "", ""),
        ("5", "rejected", "unknown-value", "line 5, column Note"),
    ]
    assert found[0]["event"].startswith("e-")
    refused = [said for topic, said in place.stored() if topic == "quarantine"]
    assert [one["quarantine"] for one in found if one["quarantine"]] == refused
    text = next((place.folder / "done").glob("*.result.csv")).read_text()
    assert not any(word in text for word in ("Pier", "L-1", "strange", "soon"))


def test_files_are_taken_in_the_order_in_which_they_came_and_one_of_the_same_name_is_another(
    place: Place,
) -> None:
    place.put("b.csv", line(1), at=1_000)
    place.put("a.csv", line(2), at=2_000)
    place.put("c.csv", line(3), at=2_000)
    assert place.take() == 3
    place.put("b.csv", line(4), at=500)
    assert place.take() == 1
    assert place.ids() == ["1", "2", "3", "4"]
    assert [name for name in place.done() if name.endswith("b.csv")] == ["b.csv", "b.csv"]


@pytest.mark.parametrize("name", ["a.csv.part", "a.tmp", "a.filepart", ".a.csv"])
def test_what_is_named_as_unfinished_is_left_alone(place: Place, name: str) -> None:
    file = place.put(name, line(1))
    assert place.take() == 0
    assert file.exists()
    file.rename(place.folder / "a.csv")
    assert place.take() == 1


def test_a_file_is_whole_when_it_has_not_changed_for_long_enough() -> None:
    now = 0.0
    settling = Settling(5_000, lambda: now)
    assert settling.whole({"a": (1, 1), "b": (1, 1)}) == []
    now = 4.9
    assert settling.whole({"a": (1, 1), "b": (2, 1)}) == []
    now = 5.0
    assert settling.whole({"a": (1, 1), "b": (2, 1)}) == ["a"]
    now = 9.9
    assert settling.whole({"b": (2, 1)}) == ["b"]
    assert settling.whole({"a": (1, 1)}) == []  # it was gone for a while, and is another one


def test_links_and_folders_are_not_followed(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(HEADER_LINE + line(1))
    (place.folder / "link.csv").symlink_to(secret)
    (place.folder / "folder.csv").mkdir()
    os.mkfifo(place.folder / "pipe.csv")
    assert place.take() == 0
    (place.folder / "taken" / folder.stamped("later.csv", 1)).symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        folder.open_plain(place.folder / "taken" / folder.stamped("later.csv", 1))
    assert place.ids() == []


def test_a_file_that_cannot_be_read_as_a_whole_is_told_in_one_line_and_the_next_is_taken(
    place: Place,
) -> None:
    (place.folder / "a.csv").write_bytes(b"Some,Other,Columns\r\n")
    (place.folder / "b.csv").write_bytes(b"")
    (place.folder / "c.xml").write_bytes(b"<a/>")
    place.put("d.csv", line(1))
    assert place.take() == 4
    codes = {name: [one["codes"] for one in place.result(name)] for name in ("a.csv", "b.csv", "c.xml")}
    assert codes == {
        "a.csv": ["missing-column unknown-column"],
        "b.csv": ["missing-column"],
        "c.xml": ["no-mapping"],
    }
    assert place.ids() == ["1"]


def test_while_the_log_is_away_nothing_is_noted_and_then_it_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "rows_max", 2)
    place.put("a.csv", *(line(number) for number in range(7)))
    append, calls = Door.append, 0

    async def sometimes(self: Door, taken: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable("away")
        await append(self, taken)

    monkeypatch.setattr(Door, "append", sometimes)
    with pytest.raises(Unavailable):
        place.take()
    assert place.ids() == ["0", "1", "2", "3"]
    assert place.take() == 1
    assert place.ids() == [str(number) for number in range(7)]
    assert len(place.result("a.csv")) == 7


def test_a_stop_in_the_middle_of_a_file_is_gone_on_from(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "rows_max", 2)
    place.put("a.csv", *(line(number) for number in range(6)))
    answers = iter([False, False, True])

    async def some() -> bool:
        return await place.watched().once(lambda: next(answers))

    assert not asyncio.run(some())
    assert place.ids() == ["0", "1", "2", "3"]
    assert place.take() == 1
    assert place.ids() == [str(number) for number in range(6)]


KILLED = ["files-stored:kill:2", "files-noted:kill:1", "files-moved:kill:1"]


@pytest.mark.parametrize("point", KILLED)
def test_killed_anywhere_every_record_is_stored_in_order_and_told_once(place: Place, point: str) -> None:
    count = 3 * batch.rows_max
    lines = [line(number, day="soon" if number % 100 == 7 else "2026-03-01") for number in range(count)]
    place.put("a.csv", *lines, at=1_000)
    place.put("b.csv", line(count), at=2_000)
    command = [sys.executable, "tests/files_worker.py", str(place.folder), str(place.log), str(place.mapping)]
    killed = subprocess.run(command, cwd=CHECKOUT, env=os.environ | {"HUB_CRASH_POINT": point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    before = place.stored()
    assert place.take() >= 1
    stored = place.stored()
    assert list(dict.fromkeys(stored)) == sorted(set(stored), key=stored.index)
    assert len(stored) - len(set(stored)) <= batch.rows_max  # what was sent again, under the same ids
    assert stored[: len(before)] == before
    good = [str(number) for number in range(count + 1) if number % 100 != 7 or number == count]
    assert list(dict.fromkeys(place.ids())) == good
    found = place.result("a.csv")
    assert [int(one["line"]) for one in found] == list(range(2, count + 2))
    assert len({one["quarantine"] for one in found if one["quarantine"]}) == count - len(good) + 1
    assert place.done() == ["a.csv", "a.csv.result.csv", "b.csv", "b.csv.result.csv"]


def test_a_half_written_line_of_a_result_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.result.csv"
    results = Results(path)
    results.add([Result("", 2, "accepted"), Result("", 3, "accepted")])
    results.close()
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        again = Results(path)
        kept = again.count
        again.add([Result("", number, "accepted") for number in range(2 + kept, 4)])
        again.close()
        assert path.read_bytes() == whole
    assert whole.startswith(",".join(HEADER).encode())


def test_a_source_says_where_and_how(tmp_path: Path) -> None:
    good = {"agency": "reach", "mappings": {"*.csv": "court-docket"}, "folder": str(tmp_path)}
    assert Source(**good).name == "reach-folder"  # type: ignore[arg-type]
    for bad in ({"agency": "Reach!"}, {"mappings": {}}, {"folder": None}, {"sftp": {}}, {"fodler": "x"}):
        with pytest.raises(ValueError, match="validation error"):
            Source(**good | bad)  # type: ignore[arg-type]


def test_the_settings_of_the_documentation_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CHECKOUT / "docs" / "connectors" / "files.md").read_text("utf-8")
    config = tmp_path / "hub.toml"
    config.write_text(text.split("```toml\n")[1].partition("```")[0])
    monkeypatch.setenv("HUB_CONFIG", str(config))
    folder, account = settings.load().files
    assert (folder.name, account.name) == ("county-jail-folder", "harbor-house-sftp")
    assert up.stages(settings.load()) == list(up.Stage)
    config.write_text(config.read_text().replace('agency = "county-jail"', 'agency = "County Jail"'))
    with pytest.raises(SettingsInvalid, match=r"files\.0\.agency"):
        settings.load()
    monkeypatch.delenv("HUB_CONFIG")
    assert up.Stage.FILES not in up.stages(settings.load())


class Fails:
    """A place that nothing can be had from, whatever the reason."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def once(self, stopping: object) -> bool:
        self.asked += 1
        raise self.error


def test_whatever_is_wrong_with_one_source_the_others_go_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "PAUSE_S", 0.01)
    errors = [OSError("a disk"), Unavailable("the log"), ValueError("a mistake of ours"), ZeroDivisionError()]
    places: list[tuple[Source, Any]] = [
        (Source(agency=f"agency-{n}", mappings={"*": "court-docket"}, folder=tmp_path / str(n)), Fails(error))
        for n, error in enumerate(errors)
    ]
    mine = Source(agency="reach", mappings={"*.csv": str(place.mapping)}, folder=place.folder)
    places.append((mine, place.watched()))
    place.put("a.csv", line(1))
    configured, stop = settings.load(data=tmp_path / "data"), threading.Event()
    thread = threading.Thread(target=filing.run, args=(configured, places, lambda agency: True, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        stuck: set[str] = set()
        while (
            place.ids() != ["1"] or len(stuck) < len(errors) or any(one.asked < 3 for _, one in places[:-1])
        ):
            assert time.monotonic() < deadline
            stuck = {name for beat in health.read_all(configured.run_dir) for name in beat.stuck}
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()
    assert stuck == {f"files/agency-{n}-folder" for n in range(len(errors))}


@contextmanager
def running(hub: bootstrap.Hub) -> Iterator[None]:
    """The stage, until the end of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=stages.run_files, args=(hub, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.broker
def test_the_stage_takes_the_files_of_its_sources_and_one_that_is_stuck_stops_no_other(
    side: Side, tmp_path: Path
) -> None:
    good, nobodys, missing = Place(tmp_path), tmp_path / "nobodys", tmp_path / "missing"
    nobodys.mkdir()
    named = {"mappings": {"*.csv": str(good.mapping)}, "settle_ms": 0}
    base = side.hub.settings
    configured = settings.Settings(
        **base.model_dump(exclude={"files"}, exclude_unset=True),
        files=[
            {"agency": "nobody-here", "folder": str(nobodys), **named},
            {"agency": REACH, "folder": str(missing), **named},
            {"agency": JAIL, "folder": str(good.folder), **named},
        ],
    )
    good.put("a.csv", line(1, "from a folder"), line(2, day="soon"))
    done = good.folder / "done"
    with running(bootstrap.Hub(configured, side.hub.client)):
        deadline = time.monotonic() + 60
        while not (done.is_dir() and len(list(done.iterdir())) == 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not (stuck := {p for beat in health.read_all(base.run_dir) for p in beat.stuck}):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert stuck == {f"files/{REACH}-folder"}
        missing.mkdir()  # whoever mends it needs nothing else
        while any(beat.stuck for beat in health.read_all(base.run_dir)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert os.listdir(nobodys) == []
    assert [one["status"] for one in good.result("a.csv")] == ["accepted", "unreadable"]
    found = [
        codec.decode_as("Inbound", one.value())
        for one in records(side.hub.client["bootstrap.servers"], f"inbox.{JAIL}")
    ]
    (mine,) = [one for one in found if one["via"] == "file"]
    opened = side.hub.vault.hub("originals").open(f"inbox.{JAIL}".encode(), mine["sealed"])
    assert json.loads(opened)["data"]["narrative"] == "from a folder"
