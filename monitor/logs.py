"""Logging: structlog, JSON lines on stderr (or a console's colours); the libraries' loggers go the same way."""

from __future__ import annotations

import logging
import sys

import structlog

from engines.redaction import redacted
from monitor.settings import Settings

#: Loggers of libraries that say at INFO what only a developer of theirs wants to know.
_QUIET = ("aiokafka", "kafka", "faust", "mode", "asyncio", "aiohttp.access")


def _without_persons(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Replace what names a person in whatever text is logged: messages of others are quoted where they are at fault."""
    return {name: redacted(value) if isinstance(value, str) else value for name, value in event.items()}


def configure(settings: Settings) -> None:
    """Set up logging for this process; call once, at the start."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # An exception is text before that is looked through.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last: list[structlog.types.Processor] = [
        structlog.processors.format_exc_info,
        _without_persons,
        structlog.processors.JSONRenderer() if settings.log_format == "json" else console,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
