"""The form of log lines: JSON, or on a terminal text for people. They go to stderr; stdout has only answers.

With JSON every line is JSON: our own log lines, those of uvicorn and the Kafka clients, warnings, and tracebacks of any
thread. With `TIDINGS_LOG_FORMAT=json` complaints and announcements of the command line are log lines too.

While a broker or a database is away, one line says so, and then one a minute, whose `left_out` is the number of lines that
were left out since the last one. With `TIDINGS_LOG_LEVEL=debug` none is.
"""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from api.terminal import harmless
from settings import wants_json_logs, wants_no_color

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from settings import Settings

_BROKER_AWAY: Final = (
    "heartbeats_unreadable",
    "heartbeat_not_sent",
    "commands_not_sent",
    "replies_unreadable",
    "replies_not_sent",
    "event_publisher_interrupted",
    "log_away",
)
_DATABASE_AWAY: Final = ("database_away", "database_unavailable", "members_unknown", "progress_unknown")
"""The lines that come again and again while a broker or a database is away."""


def configure(settings: Settings, *, level: str | None = None) -> None:
    """Set up the logging of this process; `level` overrides the level of the settings."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    least = logging.getLevelNamesMapping()[(level or settings.log_level).upper()]
    common: list[Any] = [
        _escape,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *([] if console else [structlog.processors.format_exc_info]),
    ]
    # Plain tracebacks: pretty ones print variables, among them keys and bodies.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not wants_no_color(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer(lambda line, **_: _encode(line).decode())
    )
    structlog.configure(
        processors=[
            *([] if least == logging.DEBUG else [_leave_out_repeats()]),
            *([*common, renderer] if console else [_json_line]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler])


def _leave_out_repeats() -> Any:
    """Return a processor that drops lines about a server that is away, all but one a minute, which says how many."""
    from eventsourcing_kafka.quiet import LeaveOut, broker_away  # noqa: PLC0415  only long-running programs need it

    kinds = dict.fromkeys(_BROKER_AWAY, broker_away)
    kinds |= dict.fromkeys(_DATABASE_AWAY, LeaveOut())
    kinds["log_in_doubt"] = LeaveOut()

    def leave_out(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        kind = kinds.get(line["event"])
        if kind is None:
            return line
        left_out = kind.count()
        if left_out is None:
            raise structlog.DropEvent
        return {**line, "left_out": left_out} if left_out else line

    return leave_out


def log_everything() -> None:
    """Turn warnings and uncaught exceptions of this process into log lines."""
    if threading.excepthook is not threading.__excepthook__:
        return  # a test runner calls us, and has hooks of its own
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda kind, error, trace: _uncaught(error, (kind, error, trace))
    sys.unraisablehook = lambda failed: _uncaught(failed.err_msg or failed.exc_value, _traceback_of(failed))
    threading.excepthook = lambda failed: _uncaught(failed.exc_value, _traceback_of(failed))


def complain(problem: object) -> None:
    """Print why a program does not go on, on stderr: for people, or with `TIDINGS_LOG_FORMAT=json` as a log line."""
    if wants_json_logs():
        structlog.get_logger("tidings").error(str(problem))
    else:
        print(f"tidings: {problem}", file=sys.stderr)  # noqa: T201  for people


def announce(text: str, **fields: str) -> None:
    """Print what a person who has started a program must know, on stdout.

    With `TIDINGS_LOG_FORMAT=json` it is a log line with these fields, because whoever collects the output wants only such.
    """
    if wants_json_logs():
        text = msgspec.json.encode({"event": text, "level": "info", **fields}).decode()
    print(text, flush=True)  # noqa: T201  for people


def _json_line(logger: object, method: str, line: MutableMapping[str, Any]) -> str:
    """Do to a line of ours what all processors together do, in three quarters of the time: each request has such a line."""
    structlog.processors.add_log_level(logger, method, _escape(logger, method, line))
    line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if "exc_info" in line or "stack_info" in line:
        line = structlog.processors.format_exc_info(logger, method, _stack_info(logger, method, line))
    return _encode(line).decode()


_stack_info: Final = structlog.processors.StackInfoRenderer()
_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


def _escape(_logger: object, _method: str, line: Any) -> Any:
    """Escape the control characters in the texts of a log line: paths and reasons come from others."""
    for name, value in line.items():
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):  # most are, and this costs less
            line[name] = harmless(value)
    return line


def _uncaught(problem: object, exc_info: Any) -> None:
    structlog.get_logger("tidings").critical(f"uncaught: {problem}", exc_info=exc_info)


def _traceback_of(failed: Any) -> Any:
    return (failed.exc_type, failed.exc_value, failed.exc_traceback)
