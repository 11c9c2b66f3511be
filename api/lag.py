"""The positions of the log and of the read models, for `/v1/status`, `/metrics` and `tidings lag`."""

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import ApplicationRecorder

from domain.money import MICRO
from messages.wire import format_time
from projections.machine.known_log import lost_events
from projections.machine.log_source import decode
from projections.reading import ProjectionStatus


def positions_of(log: ApplicationRecorder, rows: Sequence[ProjectionStatus]) -> dict[str, Any]:
    """Return the log's last position with its time, and the position and lag of each read model, in JSON's types.

    `rows` come from `projection_status`. It needs no connection to their database, because the log may take long.

    `lag_events` is the number of positions that the read model has not folded yet; in PostgreSQL, positions may have gaps.
    `lag_seconds` is the time from the last folded event to the last event of the log, by the times of the events; for a
    read model that has folded nothing it counts from the first event.
    `lost` says how the log has lost events that the read models know, null if it has not: then lags mean nothing.
    """
    problem = lost_events(log, rows)
    head = log.max_notification_id() or 0
    newest = _time_of(log, head)
    oldest = _time_of(log, 1) if any(row.position == 0 for row in rows) else 0
    return {
        "lost": problem,
        "engine": {"position": head, "time": format_time(newest) if head else None},
        "projections": [
            {
                "projection": row.projection,
                "partition": row.partition,
                "position": row.position,
                "time": format_time(row.time),
                "version": row.version,
                "lag_events": max(0, head - row.position),
                "lag_seconds": round(max(0, newest - (row.time or oldest)) / MICRO, 3) if head > row.position else 0.0,
                "parked": row.parked,
            }
            for row in rows
        ],
    }


def _time_of(log: ApplicationRecorder, position: int) -> int:
    """Return the time of the first event at or after a position, 0 when there is none."""
    return next((recorded.time for recorded in decode(log.select_notifications(position, 1))), 0)
