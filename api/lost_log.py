"""`--accept-lost-log`: going on with a log that has lost events. What was kept of the lost log is put aside, never deleted."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog

from api.database import connect_migrated, with_database
from consumers.lost_log import forget_index, put_engine_files_aside
from consumers.wiring import open_recorder
from projections.dashboards import roles
from projections.machine.known_log import lost_events, put_aside
from projections.machine.store import schema_of
from projections.reading import projection_status

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()


def accept_lost_log(settings: Settings, *, engine: bool = False, read_models: bool = False) -> None:
    """Forget what was known of the log. No process of the exchange may run.

    Args:
        settings: those of the process that accepts, with the partition whose log it is.
        engine: put the snapshots and the command index aside; the engine folds the log anew.
        read_models: put the read models aside if the log lacks events that they have folded; they are made anew.

    Raises:
        LogLost: the beginning of the log was deleted, so that nothing can be made of it.
    """
    with ExitStack() as stack:
        settings = with_database(settings, stack) if read_models else settings
        forget_index(settings)
        if engine:
            put_engine_files_aside(settings)
        if not read_models:
            return
        connection = connect_migrated(settings, stack)
        problem = lost_events(stack.enter_context(open_recorder(settings)), projection_status(connection))
        if problem is not None:
            renamed = put_aside(connection, schema_of(settings.partition))
            if settings.partition == 0:
                roles.forget_views(connection)
            _log.warning("lost_log_accepted", part="read models", reason=problem, put_aside=renamed)
