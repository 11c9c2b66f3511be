"""The projector as a process, or a part of one: the read models of one partition of the log, or of several."""

from __future__ import annotations

import contextlib
from itertools import chain
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from api.database import dsn_of, with_database
from api.lag import positions_of
from api.logs import announce
from api.status_metrics import PartitionsCollector, StatusCollector
from api.stop_signals import wait_for_stop
from consumers.ops_server import ops_server
from consumers.projector.projector import Projector
from consumers.wiring import open_recorder, open_traces
from projections.dashboards.watchdog import Watchdog
from projections.machine.store import connect, schema_of
from projections.reading import projection_status
from projections.registry import projections_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settings import Settings


def start_projector(settings: Settings, stack: contextlib.ExitStack) -> Projector:
    """Fold the log of the settings' partition into its read models, in threads of their own, until the stack closes.

    Needs a DSN.
    """
    recorder = stack.enter_context(open_recorder(settings))
    traces = stack.enter_context(open_traces(settings, "projector"))
    projector = Projector(
        recorder,
        dsn_of(settings),
        projections_of(settings.partitions),
        gapless=settings.log == "kafka",
        schema=schema_of(settings.partition),
        traces=None if traces is None else traces.folds(),
        watchdog=Watchdog(dsn_of(settings)) if settings.partition == 0 else None,
    )
    projector.start()
    stack.callback(projector.stop)
    return projector


def run_projector(settings: Settings, partitions: Sequence[int] = (0,)) -> None:
    """Fold the logs of these partitions into their read models until SIGINT or SIGTERM.

    Raises:
        LostEventsError: a log is another one than its read models were folded from, or has lost events.
        RuntimeError: one of its threads stopped by an error of ours.
    """
    with contextlib.ExitStack() as stack:
        settings = with_database(settings, stack)
        projectors, statuses = [], {}
        for partition in partitions:
            own = settings.model_copy(update={"partition": partition})
            projectors.append(start_projector(own, stack))
            statuses[partition] = _status_of(own, projectors[-1])
        registry = CollectorRegistry()
        if settings.partitions == 1:
            registry.register(StatusCollector(statuses[0]))
        else:
            registry.register(PartitionsCollector(statuses))
        stack.enter_context(ops_server(settings, lambda: sorted({*chain(*map(_missing, statuses.values()))}), registry))
        announce("The projector folds the log")
        problem = wait_for_stop(lambda: next(filter(None, (each.problem() for each in projectors)), None))
    if (error := next(filter(None, (each.error for each in projectors)), None)) is not None:
        raise error
    if problem is not None:
        raise RuntimeError(problem)


def _status_of(settings: Settings, projector: Projector) -> Callable[[], dict[str, Any]]:
    def status() -> dict[str, Any]:
        with connect(dsn_of(settings), schema_of(settings.partition)) as connection:
            rows = projection_status(connection)
        return positions_of(projector.recorder, rows)

    return status


def _missing(status: Callable[[], dict[str, Any]]) -> list[str]:
    """Return what a projector lacks for its work: the database, the log, or events of it."""
    try:
        found = status()
    except Exception as error:  # noqa: BLE001  whatever it is, it is not ready
        return [type(error.__cause__ or error).__name__]
    return ["events"] if found["lost"] else []
