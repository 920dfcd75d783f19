"""The journal: one line an event, through one formatter, and nothing that somebody sent."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel

from hub import journal, settings
from schemas.errors import HubError


class Age(BaseModel):
    """Something that is validated."""

    years: int


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """What was written, parsed."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("restored")
def test_ours_and_the_libraries_lines_have_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(settings.load(log_format="json"), "admit")
    structlog.get_logger("ours").info("batch committed", records=3)
    logging.getLogger("theirs").warning("something %s", "else")
    logging.getLogger("alembic").info("too much")
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["records"], ours["stage"], ours["level"]) == (
        "batch committed",
        3,
        "admit",
        "info",
    )
    assert (theirs["event"], theirs["stage"], theirs["level"]) == ("something else", "admit", "warning")
    assert set(theirs) == {"event", "stage", "level", "logger", "timestamp"}


@pytest.mark.usefixtures("restored")
def test_an_exception_is_named_and_placed_but_quotes_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(settings.load(log_format="json"), "admit")
    log = structlog.get_logger()
    private = "Ada Lovelace"
    try:
        try:
            Age.model_validate({"years": private})
        except ValueError as error:
            raise KeyError(private) from error
    except KeyError:
        log.exception("failed")
        logging.getLogger("theirs").exception("failed too")
    text = capsys.readouterr().err
    assert private not in text
    for said in map(json.loads, text.splitlines()):
        assert str(said["exception"]).startswith("KeyError\n")
        assert "\nValidationError\n" in str(said["exception"])
        assert "test_journal.py:" in str(said["exception"])


@pytest.mark.usefixtures("restored")
def test_our_own_errors_speak_for_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(settings.load(log_format="json"), "admit")
    structlog.get_logger().error("failed", exc_info=HubError("unknown schema id `7`"))
    assert lines(capsys)[0]["exception"] == "HubError: unknown schema id `7`"


@pytest.mark.usefixtures("restored")
def test_on_a_terminal_people_read_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    journal.configure(settings.load(), "admit")
    structlog.get_logger().info("batch committed", records=3)
    assert "batch committed" in capsys.readouterr().err


@pytest.mark.usefixtures("restored")
def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(settings.load(log_format="json", log_level="error"), "admit")
    structlog.get_logger().warning("hm")
    assert lines(capsys) == []


@pytest.mark.usefixtures("restored")
def test_what_a_library_repeats_is_written_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose broker is away would else fill the disk; what we say ourselves is all written."""
    now = [1_000.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(journal, "SELDOM_MAX", 3)
    journal.configure(settings.load(log_format="json"), "web")
    library, ours = logging.getLogger("aiokafka.conn"), logging.getLogger("hub.web")
    for number in range(50):
        library.error("no answer from node %s", number)
        ours.error("not ready")
    library.error("another trouble")
    assert len(lines(capsys)) == 1 + 50 + 1
    now[0] += journal.SELDOM_MS / 1000
    for number in range(5):
        library.error("no answer from node %s", number)
    assert [one["event"] for one in lines(capsys)] == ["no answer from node 0"]
    for number in range(20):
        library.error(f"trouble {number}")
    assert len(lines(capsys)) == 20
