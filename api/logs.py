"""The form of log lines: JSON, or on a terminal text for people. They go to stderr; stdout has only answers."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

if TYPE_CHECKING:
    from settings import Settings


def configure(settings: Settings, *, level: str | None = None) -> None:
    """Set up the logging of this process; `level` overrides the level of the settings."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    # Plain tracebacks: pretty ones print variables, among them keys and bodies.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(lambda line, **_: msgspec.json.encode(line, enc_hook=repr).decode())
    )
    least = logging.getLevelNamesMapping()[(level or settings.log_level).upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(least, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
