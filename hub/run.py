"""`hub run STAGE`: one process of the hub, until it is asked to stop."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from enum import StrEnum
from types import FrameType
from typing import Annotated, Final

import structlog
import typer

from hub import health, journal, settings
from hub.supervisor import CORRUPT_STATUS
from schemas.errors import BrokenRecord, HubError, UnknownSchema
from streams.errors import Corrupt

STOP_MS_MAX: Final = 7_000  # then it ends anyway: what it had not committed is done again by the next one

log = structlog.get_logger()


class Stage(StrEnum):
    """The processes of which a hub consists; as many of each as wanted."""

    ADMIT = "admit"
    ENFORCE = "enforce"
    RECONSIDER = "reconsider"
    FAUST = "faust"
    AGGREGATE = "aggregate"
    CONNECTORS = "connectors"
    AUDITOR = "auditor"
    WEB = "web"
    FILES = "files"


def run(stage: Annotated[Stage, typer.Argument(help="Which one.", show_default=False)]) -> None:
    """Run one process of the hub until Ctrl-C or SIGTERM. Needs a running broker."""
    configured = settings.load()
    journal.configure(configured, stage)
    from hub.bootstrap import bootstrap  # noqa: PLC0415  slow to import, and `hub run --help` does not need it

    parts = importlib.import_module("hub.stage_auditor" if stage is Stage.AUDITOR else "hub.stages")

    stop = _stop_on_signals()
    health.trouble(configured.run_dir, stage, "stopped", None)
    log.info("stage starts", pid=os.getpid())
    try:
        getattr(parts, f"run_{stage}")(bootstrap(configured, stage=stage), stop)
    except (Corrupt, BrokenRecord, UnknownSchema) as error:
        # a record that only the hub writes: to begin again would be to meet it again, or worse, to go past it
        log.critical("stage stopped for good", code=error.code, detail=error.detail)
        health.trouble(configured.run_dir, stage, "stopped", error.detail)
        raise typer.Exit(CORRUPT_STATUS) from None
    except HubError:
        raise
    except Exception:
        log.exception("stage failed")
        raise typer.Exit(1) from None
    log.info("stage ended")


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; `STOP_MS_MAX` later the process ends even if its loop has not."""
    stop = threading.Event()

    def force() -> None:
        log.error("stage did not stop in time", wait_ms=STOP_MS_MAX)
        os._exit(1)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            timer = threading.Timer(STOP_MS_MAX / 1000, force)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop
