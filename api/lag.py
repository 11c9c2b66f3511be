"""How far everything is: what `/v1/status`, `/metrics` and `tidings lag` tell."""

from typing import Any

from eventsourcing.persistence import ApplicationRecorder
from psycopg import Connection

from domain.money import MICRO
from messages.wire import format_time
from projections.machine.log_reader import decode
from projections.reading import projection_status


def positions_of(log: ApplicationRecorder, connection: Connection[Any]) -> dict[str, Any]:
    """Return the log's last position and its time, and how far each read model is behind: what all who tell of it tell.

    `lag_events` counts events that are not folded yet (on PostgreSQL's log positions, which may have gaps);
    `lag_seconds` is how much older, by the log's own times, the last folded event is than the last one of the log (where
    nothing is folded yet: how old the log is).
    """
    rows = projection_status(connection)
    head = log.max_notification_id() or 0
    newest = _time_of(log, head)
    oldest = _time_of(log, 1) if any(row.position == 0 for row in rows) else 0
    return {
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
    """Return the time of the first event at or behind a position, 0 where there is none."""
    return next((recorded.time for recorded in decode(log.select_notifications(position, 1))), 0)
