"""The log's thread within the auditor's process: a worker after the other, and what is wrong with them told.

What stops the log does not stop the projections, and the other way round; `/readyz` names either.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import KafkaException

from hub import health
from hub.ledger.worker import Worker
from schemas.errors import BrokenRecord, HubError, UnknownSchema
from streams.errors import Corrupt, code

STAGE: Final = "transparency-log"
BACKOFF_MS_MIN: Final = 250
BACKOFF_MS_MAX: Final = 15_000

log = structlog.get_logger(__name__)


def keep(make: Callable[[], Worker], stop: threading.Event, run_dir: Path) -> None:
    """Works until `stop` is set. In: what makes a worker; where trouble is told.

    Ends early where the log contradicts itself: to go on could only make that worse.
    """
    told: str | None = ""
    backoff_ms = BACKOFF_MS_MIN
    health.trouble(run_dir, STAGE, "stopped", None)

    def say(why: str | None) -> None:
        nonlocal told, backoff_ms
        if why is None:
            backoff_ms = BACKOFF_MS_MIN
        if why != told:
            health.trouble(run_dir, STAGE, "failing", why)
            told = why

    while not stop.is_set():
        try:
            make().run(stop.is_set, say)
        except (Corrupt, BrokenRecord, UnknownSchema) as error:
            log.critical("log stopped for good", code=error.code, detail=error.detail)
            say(None)
            health.trouble(run_dir, STAGE, "stopped", error.detail)
            return
        except Exception as error:
            log.exception("log starts over")
            say(_reason(error))
            stop.wait(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, BACKOFF_MS_MAX)


def _reason(error: Exception) -> str:
    """Why, without anything that a record may have said."""
    if isinstance(error, HubError):
        return error.detail
    if isinstance(error, KafkaException):
        return f"Kafka says `{code(error)}`"
    if isinstance(error, OSError):
        return f"{error.strerror or 'a file cannot be used'}"
    return type(error).__name__
