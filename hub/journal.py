"""What the hub writes about its own doings: structlog on standard error, one line an event.

An event is a constant string; ids stand in fields. Nothing about a person is ever written here: of an
exception whose message may quote what somebody sent, only its type and its place are.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Final

import structlog
from confluent_kafka import KafkaException
from structlog.typing import EventDict, Processor, WrappedLogger

from hub.settings import Settings
from schemas.errors import HubError

SHARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
)
TELLING: Final = (HubError, KafkaException, OSError, TypeError, AttributeError, NameError, ImportError)
FRAMES_MAX: Final = 20
EXCEPTION_LINES_MAX: Final = 60
QUIET: Final = ("aiokafka", "asyncssh", "faust", "mode", "httpx", "uvicorn.access", "alembic", "fontTools")
SELDOM_MS: Final = 10_000
SELDOM_MAX: Final = 1_000


class Seldom(logging.Filter):
    """Lets the same message of the same logger through once in a while: some libraries repeat, for as long as
    the broker is away, many times a second that it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let it through. A message is what it was before its values were put in."""
        if not record.name.startswith(QUIET):
            return True
        now, said = time.monotonic(), (record.name, str(record.msg))
        if now - self._said.get(said, -SELDOM_MS) < SELDOM_MS / 1000:
            return False
        if len(self._said) >= SELDOM_MAX:
            self._said.clear()
        self._said[said] = now
        return True


def configure(settings: Settings, stage: str) -> None:
    """Send every log of this process, ours and the libraries', through one formatter.

    In: `stage` stands in every line. With `log_format` "json", or "auto" off a terminal, a line is an object.
    """

    def name_stage(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["stage"] = stage
        return event

    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    render: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[name_stage, *SHARED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _name_exception, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[name_stage, *SHARED[:-1], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _name_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """An exception as its types and places; with its message only where that quotes no data."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if not isinstance(error, BaseException):
        return event
    lines: list[str] = []
    while error is not None and len(lines) < EXCEPTION_LINES_MAX:
        told = isinstance(error, TELLING) and not isinstance(error, UnicodeError)
        lines.append(f"{type(error).__qualname__}: {error}" if told else type(error).__qualname__)
        frames = traceback.extract_tb(error.__traceback__, limit=-FRAMES_MAX)
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    event["exception"] = "\n".join(lines)
    return event
