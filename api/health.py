"""Whether it lives, whether it can serve, how far everything is."""

from typing import Any

from eventsourcing.persistence import ApplicationRecorder
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from psycopg import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.context import Context, WithContext
from api.reads import json
from domain.money import MICRO
from messages.wire import format_time
from projections.reading import projection_status

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return json({"status": "ok"})


@router.get("/readyz")
async def readyz(context: WithContext) -> Response:
    """Whether database, log and read models are there: 200 or 503, and which of them is not."""
    try:
        found = await run_in_threadpool(status_of, context)
        missing = [] if found["projections"] else ["projections"]
    except Exception as error:  # noqa: BLE001  whatever it is, we are not ready
        missing = [type(error).__name__]
    if missing:
        return json({"status": "not ready", "missing": missing}, 503)
    return json({"status": "ready"})


@router.get("/v1/status")
async def get_status(context: WithContext) -> Response:
    """Positions of the log and of each read model, and how far each is behind, in events and in seconds of the log."""
    found = await run_in_threadpool(status_of, context)
    return json({"data": found, "as_of": {"position": found["engine"]["position"], "time": found["engine"]["time"]}})


@router.get("/metrics")
async def get_metrics(context: WithContext) -> Response:
    """The same and the requests' numbers, for Prometheus."""
    lines = [generate_latest(context.metrics.registry), generate_latest(REGISTRY)]
    try:
        found = await run_in_threadpool(status_of, context)
    except Exception:  # noqa: BLE001  the other numbers are worth having all the more
        lines.append(b"tidings_status_up 0\n")
    else:
        lines.append(_status_metrics(found))
    return Response(b"".join(lines), media_type=CONTENT_TYPE_LATEST)


def status_of(context: Context) -> dict[str, Any]:
    """Return positions and lags, with a connection of the pool."""
    with context.pool.connection() as connection:
        return positions_of(context.log, connection)


def positions_of(log: ApplicationRecorder, connection: Connection[Any]) -> dict[str, Any]:
    """Return the log's last position, and the position and lag of each read model."""
    head = log.max_notification_id() or 0
    rows = projection_status(connection)
    newest = max((row.time for row in rows), default=0)
    return {
        "engine": {"position": head, "time": format_time(newest) if rows else None},
        "projections": [
            {
                "projection": row.projection,
                "partition": row.partition,
                "position": row.position,
                "time": format_time(row.time),
                "version": row.version,
                "lag_events": max(0, head - row.position),
                "lag_seconds": round((newest - row.time) / MICRO, 3) if head > row.position else 0.0,
                "parked": row.parked,
            }
            for row in rows
        ],
    }


def _status_metrics(found: dict[str, Any]) -> bytes:
    lines = ["tidings_status_up 1", f"tidings_log_position {found['engine']['position']}"]
    for row in found["projections"]:
        labels = f'{{projection="{row["projection"]}",partition="{row["partition"]}"}}'
        lines += [
            f"tidings_projection_position{labels} {row['position']}",
            f"tidings_projection_lag_events{labels} {row['lag_events']}",
            f"tidings_projection_lag_seconds{labels} {row['lag_seconds']}",
            f"tidings_projection_parked_events{labels} {row['parked']}",
        ]
    return ("\n".join(lines) + "\n").encode()
