"""Which lines and branches of the rooms the tests reach; a run that reaches too few of them fails.

A plugin of pytest: `pytest -p tests.reached`. It has to be named there, so that it comes before anything of
the rooms. SlipCover puts a probe at each line and branch when a module is imported; a tracer would be called
for every line of every library as well, and took half of the suite's time. What runs in a process of its own
counts as not reached, so the number says what the tests reach at least.
"""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
from slipcover import (
    FileMatcher,
    ImportManager,
    Slipcover,
    merge_coverage,
    print_coverage,
    wrap_spec_from_file_location,
)

ROOMS: Final = ("hub", "streams", "schemas", "consent", "connectors")
CHECKOUT: Final = Path(__file__).resolve().parent.parent
REACHED_PERCENT_MIN: Final = 92.0
PROBES_STAY: Final = -1  # taking them out again at work would touch frames of other threads
LEFT_OUT: Final = [r"^\s*\.\.\.$", r"raise AssertionError\(\"unreachable\"\)"]
PART: Final = "reached"

_folders = [str(CHECKOUT / room) for room in ROOMS]
_probes = Slipcover(branch=True, d_miss_threshold=PROBES_STAY, exclude_also=LEFT_OUT)
_files = FileMatcher(sources=_folders)
ImportManager(_probes, _files).__enter__()
wrap_spec_from_file_location(_probes, _files)
_parts: list[dict[str, Any]] = []
_total: dict[str, Any] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands over what was reached in it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[PART] = json.dumps(_probes.get_coverage())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process has ended; one that died has nothing to hand over."""
    if handed := getattr(node, "workeroutput", {}).get(PART):
        _parts.append(json.loads(handed))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Fails the run where too little was reached, whatever the tests said."""
    done = yield
    if not hasattr(session.config, "workeroutput") and not session.config.option.collectonly:
        _probes.source = _folders  # what nobody imported counts, too
        _total.update(_probes.get_coverage())
        for part in _parts:
            merge_coverage(_total, part)
        session.testsfailed += _total["summary"]["percent_covered"] < REACHED_PERCENT_MIN
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The files of which something was not reached, and the sum."""
    if _total:
        table = io.StringIO()
        print_coverage(_total, outfile=table, skip_covered=True)
        reached = _total["summary"]["percent_covered"]
        terminalreporter.section("lines and branches that the tests reach")
        terminalreporter.write_line(table.getvalue())
        bad = reached < REACHED_PERCENT_MIN
        terminalreporter.write_line(f"{reached:.2f} % reached; at least {REACHED_PERCENT_MIN} %", red=bad)
