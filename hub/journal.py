"""What the hub writes about its own doings: structlog on standard error, one line an event.

An event is a constant string; ids stand in fields. Nothing about a person is ever written here.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hub.settings import Settings

SHARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
)
NO_LOCALS: Final = structlog.processors.ExceptionRenderer(  # local variables may hold what is about a person
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
QUIET: Final = ("aiokafka", "faust", "mode", "httpx", "uvicorn.access", "watchfiles", "asyncio")


def configure(settings: Settings, stage: str) -> None:
    """Send every log of this process, ours and the libraries', through one formatter.

    In: `stage` stands in every line. With `log_format` "json", or "auto" off a terminal, a line is an object.
    """

    def name_stage(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["stage"] = stage
        return event

    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    render: list[Processor] = (
        [NO_LOCALS, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[name_stage, *SHARED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
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
