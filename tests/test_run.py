"""How a stage's process ends: what its status tells the supervisor, and what it leaves for whoever asks."""

import threading
from pathlib import Path

import pytest
import typer

from hub import bootstrap, health, journal, run, stages
from hub.run import Stage
from hub.supervisor import CORRUPT_STATUS
from schemas.errors import BrokenRecord, UnknownSchema
from streams.errors import Corrupt, Stalled


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the stage raises: the first of this list."""
    raised: list[Exception] = []

    def stage(_hub: object, _stop: object) -> None:
        if raised:
            raise raised[0]

    monkeypatch.setenv("HUB_DATA", str(tmp_path))
    monkeypatch.setattr(journal, "configure", lambda *_: None)
    monkeypatch.setattr(run, "_stop_on_signals", threading.Event)
    monkeypatch.setattr(bootstrap, "bootstrap", lambda _settings, stage: None)
    monkeypatch.setattr(stages, "run_enforce", stage)
    return raised


@pytest.mark.parametrize("error", [Corrupt, BrokenRecord, UnknownSchema])
def test_what_only_the_hub_writes_and_cannot_be_read_stops_the_stage_for_good(
    failing: list[Exception], error: type[Exception], tmp_path: Path
) -> None:
    failing[:] = [error("consent/3 at 17: not a record")]
    with pytest.raises(typer.Exit) as ended:
        run.run(Stage.ENFORCE)
    assert ended.value.exit_code == CORRUPT_STATUS
    assert health.troubles(tmp_path / "run") == [
        "enforce has stopped for good: consent/3 at 17: not a record"
    ]
    failing.clear()
    run.run(Stage.ENFORCE)  # somebody has mended it, and starts it by hand
    assert health.troubles(tmp_path / "run") == []


def test_anything_else_is_tried_again(failing: list[Exception], tmp_path: Path) -> None:
    failing[:] = [RuntimeError("unforeseen")]
    with pytest.raises(typer.Exit) as ended:
        run.run(Stage.ENFORCE)
    assert ended.value.exit_code == 1
    failing[:] = [Stalled("it did not come in time")]
    with pytest.raises(Stalled):  # said in one line by the command, which ends with 1
        run.run(Stage.ENFORCE)
    assert health.troubles(tmp_path / "run") == []
