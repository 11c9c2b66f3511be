"""Health, readiness, positions and lag, metrics."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from api.http.answers import HealthAnswer, ReadyAnswer, StatusAnswer
from api.http.context import Context, WithContext, status_reader_of
from api.http.openapi import answer, answers, envelope
from api.http.reads import json
from api.lag import positions_of
from api.status_metrics import status_registry
from projections.reading import ProjectionStatus, projection_status

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=answers(HealthAnswer))
async def get_health() -> Response:
    """Liveness: the process answers."""
    return json({"status": "ok"})


@router.get("/readyz", responses=answers(ReadyAnswer) | answer(ReadyAnswer, 503))
async def get_readiness(context: WithContext) -> Response:
    """Readiness: 200 if the database, the log, the read models and an engine can be used, else 503 with what is missing.

    `TIDINGS_OPS_PORT` answers 503 also while the event loop of the API itself is stuck.
    """
    if context.main_serves is not None and not context.main_serves():
        return json({"status": "not ready", "missing": ["http"]}, 503)
    try:
        found = await status_of(context)
        missing = [] if found["projections"] else ["projections"]
        missing += ["events"] if found["lost"] else []
        missing += [] if context.waits.is_followed() else ["progress"]
        missing += [] if await context.engine.answers() else ["engine"]
    except Exception as error:  # noqa: BLE001  whatever it is, we are not ready
        missing = [type(error.__cause__ or error).__name__]
    if missing:
        return json({"status": "not ready", "missing": missing}, 503)
    return json({"status": "ready"})


@router.get(
    "/v1/status",
    responses=answers(envelope(StatusAnswer), "UNAUTHENTICATED", "LOG_LOST", "UNAVAILABLE"),
    dependencies=[Depends(status_reader_of)],
)
async def get_status(context: WithContext) -> Response:
    """The position of the log, of each read model and of the streams, and the lag of each in events and seconds of the log.

    It needs a key, except on `TIDINGS_OPS_PORT`.
    `lost` says how the log has lost events that the read models know; null if it has not.
    """
    found = await status_of(context)
    found["streams"] = streams_of(context, found["engine"]["position"])
    return json({"data": found, "as_of": {"position": found["engine"]["position"], "time": found["engine"]["time"]}})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=answers({"type": "string"}, "UNAUTHENTICATED", "UNAVAILABLE", media_type="text/plain"),
    dependencies=[Depends(status_reader_of)],
)
async def get_metrics(context: WithContext) -> Response:
    """The same positions and lags, and counts and times of requests, for Prometheus.

    It needs a key, except on `TIDINGS_OPS_PORT`.
    """
    lines = [generate_latest(context.metrics.registry), generate_latest(REGISTRY)]
    found = None
    with suppress(Exception):  # the other numbers are worth having all the more
        found = await status_of(context)
    lines.append(generate_latest(status_registry(found)))
    return Response(b"".join(lines), media_type=CONTENT_TYPE_LATEST)


async def status_of(context: Context) -> dict[str, Any]:
    """Return positions and lags; raises an error when the database or the log cannot be reached."""
    rows = await run_in_threadpool(_projection_status, context)
    return await context.log_reads.ask(lambda log: positions_of(log, rows))


def streams_of(context: Context, head: int) -> dict[str, Any] | None:
    """Return what `StreamsStatus` says, from the metrics of the hub of this process; None without one."""
    registry = context.metrics.registry
    position = registry.get_sample_value("tidings_stream_position")
    if position is None:
        return None
    open_ones = (
        registry.get_sample_value("tidings_stream_connections", {"transport": name}) or 0 for name in ("sse", "ws")
    )
    lag = max(0, head - int(position)) if position else 0
    slowest = int(registry.get_sample_value("tidings_stream_slowest_events") or 0)
    return {
        "connections": int(sum(open_ones)),
        "position": int(position) or None,
        "lag_events": lag,
        "slowest_events": max(lag, slowest) if position else slowest,
    }


def _projection_status(context: Context) -> list[ProjectionStatus]:
    with context.pool.connection() as connection:
        return projection_status(connection)
