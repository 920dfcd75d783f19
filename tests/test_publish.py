"""`hub publish`: against a gateway that behaves as well, and as badly, as real ones do."""

import base64
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from hub import posting, publish
from hub.posting import Gateway, Rejected, Unreachable
from schemas.errors import Problem
from tests.test_mapping import HMIS_2026

TOKEN = "t0ken"
APP = typer.Typer()
APP.command()(publish.publish)


class Hub(ThreadingHTTPServer):
    """A gateway that keeps what it is sent. `answers` are given first, before it behaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.batches: list[list[dict[str, Any]]] = []
        self.quarantined: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.refuse: Callable[[dict[str, Any]], list[dict[str, str]]] = lambda event: []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches for event in batch]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._answer(401, {"detail": "no"})
        if self.server.answers:
            status, headers = self.server.answers.pop(0)
            return self._answer(status, {"detail": "not now"}, headers)
        if self.path == "/v1/quarantine":
            self.server.quarantined.append(json.loads(body))
            return self._answer(201, {"quarantine": "q-1"})
        assert self.headers["Content-Type"] == "application/cloudevents-batch+json"
        events = json.loads(body)
        self.server.batches.append(events)
        results = []
        for event in events:
            errors = self.server.refuse(event)
            status = "rejected" if errors else "accepted"
            results.append({"id": event.get("id"), "status": status, "errors": errors})
        return self._answer(202, results)

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**(headers or {}), "Content-Length": str(len(raw))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(hub: Hub, *args: str | Path, token: str = TOKEN, **more: Any) -> Result:
    words = [str(word) for word in args]
    return CliRunner().invoke(APP, [*words, "--url", hub.url], env={"HUB_TOKEN": token}, **more)


def lines(tmp_path: Path, *events: dict[str, Any] | bytes) -> Path:
    file = tmp_path / "events.jsonl"
    raw = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    file.write_bytes(b"\n".join(raw) + b"\n")
    return file


def hmis(tmp_path: Path, *rows: dict[str, str] | bytes) -> Path:
    file = tmp_path / "CurrentLivingSituation.csv"
    raw = [",".join(HMIS_2026).encode()]
    for row in rows:
        raw.append(row if isinstance(row, bytes) else ",".join(row.get(c, "") for c in HMIS_2026).encode())
    file.write_bytes(b"\r\n".join(raw) + b"\r\n")
    return file


ROW = {
    "CurrentLivingSitID": "1", "PersonalID": "P-1", "InformationDate": "2026-03-01",
    "CurrentLivingSituation": "116", "DateUpdated": "2026-03-01 10:00:00",
}  # fmt: skip
CSV = ("--mapping", "hmis-current-living-situation", "--agency", "reach")


def test_every_event_of_a_file_arrives_once_and_in_order(hub: Hub, tmp_path: Path) -> None:
    events = [
        {"id": str(number), "data": {"name": "Zoë"}} for number in range(publish.batch_events_max * 2 + 3)
    ]
    result = run(hub, lines(tmp_path, *events))
    assert result.exit_code == 0, result.output
    assert hub.events == events
    assert [len(batch) for batch in hub.batches] == [publish.batch_events_max, publish.batch_events_max, 3]
    assert f"{len(events)} read: {len(events)} accepted" in result.output


def test_batches_are_bounded_by_bytes_too(hub: Hub, tmp_path: Path) -> None:
    events = [{"id": str(number), "pad": "x" * 900_000} for number in range(6)]
    assert run(hub, lines(tmp_path, *events)).exit_code == 0
    assert hub.events == events
    assert [len(batch) for batch in hub.batches] == [4, 2]


def test_lines_that_cannot_be_read_go_to_quarantine_whole_and_the_next_goes_through(
    hub: Hub, tmp_path: Path
) -> None:
    big = b'{"id": "' + b"x" * 2_000_000 + b'"}'
    bad = [b"not json", b'{"a": "\xe9"}', b"[]", big]
    file = lines(tmp_path, {"id": "1"}, *bad, b"", {"id": "2"})
    result = run(hub, file, "--json")
    assert result.exit_code == 1
    assert [event["id"] for event in hub.events] == ["1", "2"]
    assert [base64.b64decode(kept["original"]) for kept in hub.quarantined] == [line + b"\n" for line in bad]
    assert [(kept["path"], kept["reason"]) for kept in hub.quarantined] == [
        ("line 2", "not-json"),
        ("line 3", "not-utf-8"),
        ("line 4", "not-an-event"),
        ("line 5", "too-large"),
    ]
    report = json.loads(result.stdout)
    assert (report["read"], report["accepted"], report["unreadable"]) == (6, 2, 4)
    assert [problem["line"] for problem in report["problems"]] == [2, 3, 4, 5]


def test_a_byte_order_mark_and_a_missing_last_line_break_are_no_trouble(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "bom.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"id": "1"}\r\n\r\n{"id": "2"}')
    assert run(hub, file).exit_code == 0
    assert [event["id"] for event in hub.events] == ["1", "2"]


def test_events_come_from_standard_input_too(hub: Hub) -> None:
    assert run(hub, "-", input=b'{"id": "7"}\n').exit_code == 0
    assert hub.events == [{"id": "7"}]


def test_a_csv_file_becomes_events_and_errors_name_its_columns(hub: Hub, tmp_path: Path) -> None:
    def refuse(event: dict[str, Any]) -> list[dict[str, str]]:
        told = [{"path": "/data/place/description", "code": "too-long", "detail": "x"}]
        return told if event["subject"] == "P-2" else []

    hub.refuse = refuse
    deleted = {**ROW, "DateDeleted": "2026-03-02 10:00:00"}
    latin = ",".join({**ROW, "LocationDetails": "Zoë"}.get(c, "") for c in HMIS_2026).encode("latin-1")
    file = hmis(tmp_path, ROW, {**ROW, "PersonalID": "P-2"}, deleted, latin, {**ROW, "PersonalID": "P-3"})
    result = run(hub, file, *CSV, "--json")
    assert result.exit_code == 1, result.output
    assert [(event["subject"], event["source"]) for event in hub.events] == [
        ("P-1", "urn:agency:reach"),
        ("P-2", "urn:agency:reach"),
        ("P-3", "urn:agency:reach"),
    ]
    report = json.loads(result.stdout)
    counts = {name: report[name] for name in ("read", "accepted", "rejected", "unreadable", "skipped")}
    assert counts == {"read": 5, "accepted": 2, "rejected": 1, "unreadable": 1, "skipped": 1}
    assert [(problem["path"], problem["code"]) for problem in report["problems"]] == [
        ("line 5, column LocationDetails", "not-utf-8"),
        ("line 3, column CurrentLivingSituation", "too-long"),
    ]
    assert base64.b64decode(hub.quarantined[0]["original"]) == latin + b"\r\n"
    shown = run(hub, file, *CSV)
    assert "LocationDetails" in shown.output
    assert "Zo" not in shown.output


def test_a_zip_is_sent_as_it_is_and_errors_name_its_files(hub: Hub, tmp_path: Path) -> None:
    told = [{"path": "/data/place/description", "code": "too-long", "detail": "x"}]
    hub.refuse = lambda event: told if event["subject"] == "P-2" else []
    sheet = hmis(tmp_path, ROW, {**ROW, "PersonalID": "P-2"}, {**ROW, "InformationDate": "soon"})
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as made:
        made.write(sheet, "export/CurrentLivingSituation.csv")
        made.writestr("export/Client.csv", "PersonalID,SSN\r\nP-1,1\r\n")
    words = ("--mapping", "hmis-export", "--agency", "reach", "--json")
    report = json.loads(run(hub, tmp_path / "export.zip", *words).stdout)
    assert [event["subject"] for event in hub.events] == ["P-1", "P-2"]
    assert sorted(problem["path"] for problem in report["problems"]) == [
        "CurrentLivingSituation.csv, line 3, column CurrentLivingSituation",
        "CurrentLivingSituation.csv, line 4, column InformationDate",
    ]


def test_a_wrong_header_is_kept_and_nothing_is_sent(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("PersonalID,Name\nP-1,Ana\n")
    result = run(hub, file, *CSV)
    assert result.exit_code == 1
    assert hub.batches == []
    assert [kept["reason"] for kept in hub.quarantined] == ["missing-column"]
    assert "CurrentLivingSitID" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["no-such-file.jsonl"], "cannot read"),
        (["FILE", "--mapping", "no-such-mapping"], "court-docket"),
        (["FILE", "--mapping", "court-docket"], "an id is"),
        (["FILE", "--mapping", "court-docket", "--agency", "Not An Id"], "an id is"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_sends_nothing(
    hub: Hub, tmp_path: Path, args: list[str], says: str
) -> None:
    file = lines(tmp_path, {"id": "1"})
    result = run(hub, *[str(file) if word == "FILE" else word for word in args])
    assert result.exit_code == 2
    assert says in result.output
    assert hub.batches == []


def test_without_a_token_nothing_is_tried(hub: Hub, tmp_path: Path) -> None:
    result = run(hub, lines(tmp_path, {"id": "1"}), token="")
    assert result.exit_code == 2
    assert "HUB_TOKEN" in result.output


def test_a_token_that_is_not_known_stops_at_once(hub: Hub, tmp_path: Path) -> None:
    result = run(hub, lines(tmp_path, {"id": "1"}), token="other")
    assert result.exit_code == 2
    assert "token" in result.output
    assert "other" not in result.output


def waits(url: str) -> tuple[Gateway, list[float]]:
    slept: list[float] = []
    return Gateway(url, TOKEN, sleep=slept.append), slept


def test_a_busy_hub_is_asked_again_when_it_said(hub: Hub) -> None:
    hub.answers = [
        (429, {"Retry-After": "7"}),
        (503, {}),
        (429, {"Retry-After": "9999"}),
        (429, {"Retry-After": "x"}),
    ]
    gateway, slept = waits(hub.url)
    with gateway:
        assert [result["status"] for result in gateway.events([b'{"id": "1"}'])] == ["accepted"]
    assert hub.events == [{"id": "1"}]
    assert slept[0] == 7
    assert 0 < slept[1] <= posting.wait_ms_max / 1000
    assert slept[2] == posting.wait_ms_max / 1000
    assert len(slept) == 4


def test_a_hub_that_stays_away_is_given_up_in_bounded_time(hub: Hub) -> None:
    hub.answers = [(503, {})] * 50
    gateway, slept = waits(hub.url)
    with gateway, pytest.raises(Unreachable):
        gateway.events([b"{}"])
    assert len(slept) == posting.attempts_max - 1
    assert sum(slept) <= posting.attempts_max * posting.wait_ms_max / 1000
    assert 50 - len(hub.answers) == posting.attempts_max


def test_a_hub_that_is_not_there_is_reported_without_a_trace(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "wait_ms_first", 1)
    monkeypatch.setattr(posting, "wait_ms_max", 2)
    file = lines(tmp_path, {"id": "1"})
    result = CliRunner().invoke(APP, [str(file), "--url", "http://127.0.0.1:9", "--token", TOKEN])
    assert result.exit_code == 1
    assert "could not be reached" in result.output


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", ""])
def test_an_address_that_is_none_is_a_wrong_call(tmp_path: Path, url: str) -> None:
    result = CliRunner().invoke(APP, [str(lines(tmp_path, {"id": "1"})), "--url", url, "--token", TOKEN])
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("answer", ["[]", "{}", "<html>", "[1, 2]"])
def test_something_else_on_that_port_is_told_from_a_hub(answer: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=answer))
    with (
        Gateway("http://hub", TOKEN, transport=transport) as gateway,
        pytest.raises(Rejected, match="as a hub"),
    ):
        gateway.events([b"{}"])


def test_a_refusal_of_the_request_is_passed_on_in_its_own_words() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(413, json={"detail": "12 MiB at most"}))
    with (
        Gateway("http://hub", TOKEN, transport=transport) as gateway,
        pytest.raises(Rejected, match="12 MiB"),
    ):
        gateway.quarantine(Problem("line 1", "not-json", "x"), b"x")
