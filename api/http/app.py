"""The HTTP application, made by `create_app` from its dependencies; importing this module does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from api.http import errors
from api.http.auth import Keys
from api.http.context import WAIT_MS, WAIT_MS_MAX, Context
from api.http.middleware import BODY_BYTES_MAX, Metrics, RequestFrame
from api.http.references import References
from api.http.routes import (
    accounts,
    events,
    health,
    keys,
    leaderboard,
    ledger,
    market_reads,
    markets,
    order_entry,
    orders,
    stories,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection
    from psycopg_pool import ConnectionPool
    from starlette.types import ASGIApp, Receive, Scope, Send

    from consumers.gateway import Gateway
    from projections.machine.progress import Progress


class App(FastAPI):
    """FastAPI with a fast path in front of it: requests to place orders never reach its routes."""

    fast_paths: Mapping[str, ASGIApp] = {}
    """The apps that serve POST requests, by path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        fast_path = self.fast_paths.get(scope["path"]) if is_post else None
        if fast_path is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await fast_path(scope, receive, send)


def create_app(
    *,
    gateway: Gateway,
    pool: ConnectionPool[Connection[Any]],
    log: ApplicationRecorder,
    progress: Progress,
    sender_sets_time: bool = False,
    public_reads: bool = True,
    body_bytes_max: int = BODY_BYTES_MAX,
    wait_ms: int = WAIT_MS,
    wait_ms_max: int = WAIT_MS_MAX,
) -> App:
    """Return the application.

    Args:
        gateway: takes commands and returns their replies; the caller starts and stops it.
        pool: open connections to the database of the read models and the keys.
        log: the recorder of the event log, for reading.
        progress: knows the positions of the read models; started.
        sender_sets_time: take the time of a command from the header `Tidings-Time`.
        public_reads: let everybody read; otherwise reading needs a key.
        body_bytes_max: the size of the largest body.
        wait_ms: the wait of a read with `min_position` that names none.
        wait_ms_max: the longest wait that a read may name.
    """
    app = App(
        title="Tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        version="1",
        openapi_url="/openapi.json",
        redoc_url=None,
        responses={"default": {"description": "an error", "content": {"application/json": {"schema": ERROR_SCHEMA}}}},
    )
    metrics = Metrics()
    context = app.state.context = Context(
        gateway,
        pool,
        log,
        Keys(pool),
        References(pool),
        progress,
        metrics,
        sender_sets_time,
        public_reads,
        wait_ms,
        wait_ms_max,
    )
    errors.install(app)
    for module in (stories, markets, market_reads, accounts, orders, leaderboard, ledger, events, keys):
        app.include_router(module.router, prefix="/v1")
    app.include_router(health.router)
    app.add_middleware(RequestFrame, metrics=metrics, body_bytes_max=body_bytes_max)
    entry = order_entry.OrderEntry(context)
    app.fast_paths = dict.fromkeys(entry.paths, RequestFrame(entry, metrics, body_bytes_max))
    return app


ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"enum": list(errors.CODES)},
        "message": {"type": "string"},
        "details": {"type": "object"},
    },
    "required": ["code", "message", "details"],
    "additionalProperties": False,
}
