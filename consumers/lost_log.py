"""Accepting that a log has lost events: `--accept-lost-log`. What was kept of the lost log is put aside, never deleted."""

from contextlib import closing
from time import strftime
from typing import TYPE_CHECKING, Final

import structlog

from consumers.engine.known_log import KnownLog
from consumers.engine.log import START, LogLost, StaleCheckpoint
from consumers.kafka.log_settings import accept_lost_log, log_settings
from consumers.wiring import open_log

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()


def forget_index(settings: "Settings") -> None:
    """Forget where the log ended when this home last read it, so that it is read as it is. Nobody may be reading."""
    if settings.log == "kafka":
        accept_lost_log(log_settings(settings))


def put_engine_files_aside(settings: "Settings") -> None:
    """Forget what the engine of this home knows of the log. No engine of this home may run.

    The file with the last known end, the snapshots and the command index are renamed, so that people can look at them. The
    next engine folds the log from its beginning. Nothing happens to the log.

    Raises:
        LogLost: the beginning of the log was deleted. No state can be made of the rest: only a copy of the log helps.
        InDoubt: the log cannot be reached.
    """
    base, now = settings.home / "engine", strftime("%Y%m%dT%H%M%S")
    with closing(open_log(settings)) as log:
        try:
            log.check(START)
        except StaleCheckpoint as error:
            raise LogLost(f"The log cannot be accepted: {error}. Restore it from a copy, or begin a new one") from error
        known = KnownLog(base, log.place)
        folder = base / log.identity()
        aside = [
            path.rename(path.with_name(f"lost-{now}-{path.name}")).name
            for path in (base / f"known-{log.place}", folder)
            if path.exists()
        ]
    _log.warning(
        "lost_log_accepted", part="engine", was=known.identity, position=known.checkpoint.position, put_aside=aside
    )
