"""`hub request`: written down, listed by what is due, put off, answered and refused, on the command line."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub import bootstrap, request
from tests import stores
from tests.test_requests import DAY, SECRET, WHO, Counter

RUN = CliRunner()


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        made = Counter(store)
        made.appender = made.log  # type: ignore[attr-defined]
        monkeypatch.setattr(request, "_hub", lambda: contextlib.nullcontext(made))
        monkeypatch.setattr(bootstrap, "now_ms", lambda: made.now)
        yield made


def run(*args: str, said: str | None = None, status: int = 0) -> Any:
    answer = RUN.invoke(request.app, args, input=said)
    assert answer.exit_code == status, answer.output
    return answer


def test_a_request_from_a_letter_to_its_answer(counter: Counter, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text(SECRET)
    made = json.loads(run("add", WHO, "accounting", "--words", str(letter), "--json").stdout)
    assert (made["rule"], made["state"], made["overdue"]) == ("45 CFR 164.528", "open", False)
    name = made["request"]
    assert "Aurelio" not in run("show", name).stdout
    assert counter.log.values("access") == []
    assert SECRET in run("show", name, "--words").stdout
    assert [(one["kind"], one["participant"]) for one in counter.log.values("access")] == [
        ("request-read", WHO)
    ]
    put_off = json.loads(run("extend", name, "--words", "-", "--json", said="Much of it.").stdout)
    assert put_off["first_due"] == made["due"]
    assert put_off["due"] > made["due"]
    assert "answered" in run("answer", name, said="Handed over.\n").stdout
    shown = json.loads(run("show", name, "--words", "--json").stdout)
    assert (shown["asked"], shown["extended_why"], shown["closed_why"]) == (
        SECRET,
        "Much of it.",
        "Handed over.",
    )
    assert "nothing waits" in run("list").stdout
    assert name in run("list", "--closed").stdout


def test_what_is_overdue_is_named_and_ends_with_1(counter: Counter) -> None:
    late, other = (json.loads(run("add", who, "copy", "--json").stdout) for who in (WHO, "p-2"))
    run("refuse", other["request"], "--words", "-", said="Not theirs.")
    assert "OVERDUE" not in run("list").stdout
    counter.now += 40 * DAY
    assert "OVERDUE" in run("list", status=1).stdout
    listed = json.loads(run("list", "--json", status=1).stdout)
    assert [one["request"] for one in listed["requests"]] == [late["request"]]
    assert json.loads(run("list", "--participant", "p-2", "--json").stdout)["requests"] == []
    closed = json.loads(run("list", "--participant", "p-2", "--closed", "--json").stdout)
    assert [one["state"] for one in closed["requests"]] == ["refused"]


def test_a_wrong_call_says_what_is_right(counter: Counter, tmp_path: Path) -> None:
    assert "accounting" in run("add", WHO, "everything", status=2).output
    run("add", WHO, "copy", "--words", str(tmp_path / "nothing"), status=2)
    with pytest.raises(AssertionError):
        run("extend", "r-nothing", "--words", "-", said="x")
