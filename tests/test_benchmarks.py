"""The benchmarks' command: one that fails is named, and takes nothing from the others."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import benchmarks.__main__ as command

ROW = {"name": "n", "ours": 2, "peer": "p", "peer_value": 1, "unit": "u", "ratio": 2.0}


def _broken() -> list[dict[str, Any]]:
    raise AssertionError("the peer did not come up")


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = {"benchmarks.first": _broken, "benchmarks.second": lambda: [dict(ROW)]}
    for name, rows in made.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(rows=rows))  # type: ignore[arg-type]
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"measured": "first", **ROW}]))
    monkeypatch.setattr(command, "MEASURED", ("first", "second"))
    monkeypatch.setattr(command, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    return results


def test_one_that_fails_is_named_and_the_others_are_measured(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main() == 1
    assert [one["measured"] for one in json.loads(measured.read_text())] == ["second"]
    told = capsys.readouterr()
    assert "without rows: first" in told.out
    assert "the peer did not come up" in told.err


def test_a_name_there_is_not(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "third"])
    assert command.main() == 2
    assert "there are: first, second" in capsys.readouterr().out
