"""The HTTP application, made by `create_app` from its dependencies; importing this module does nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from starlette.responses import HTMLResponse

from api.http import errors, openapi
from api.http.auth import Keys
from api.http.bodies import JsonBodies
from api.http.context import Context
from api.http.encoded_slashes import EncodedSlashes, restore_slashes
from api.http.log_reads import LogReads
from api.http.middleware import Metrics, RequestFrame
from api.http.query import check_query
from api.http.reference import reference_page
from api.http.references import References
from api.http.routes import (
    accounts,
    events,
    health,
    invitations,
    keys,
    leaderboard,
    ledger,
    market_reads,
    markets,
    order_entry,
    orders,
    stories,
)
from api.http.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection
    from psycopg_pool import ConnectionPool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from consumers.gateway import Gateway
    from projections.machine.progress import Progress
    from settings import Settings


class App(FastAPI):
    """FastAPI with a fast path in front of it: requests to place orders never reach its routes."""

    fast_paths: Mapping[str, ASGIApp] = {}
    """The apps that serve POST requests without a query string, by path."""

    def end_waits(self) -> None:
        """End all requests that wait for a read model, from any thread: the server is about to stop."""
        context: Context = self.state.context
        context.waits.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_plain_post = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        fast_path = self.fast_paths.get(scope["path"]) if is_plain_post else None
        if fast_path is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await fast_path(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; it is made once."""
        if self.openapi_schema is None:
            context: Context = self.state.context
            openapi.complete(super().openapi(), public_reads=context.settings.public_reads)
        assert self.openapi_schema is not None, "it was made"
        return self.openapi_schema


def create_app(
    *,
    gateway: Gateway,
    pool: ConnectionPool[Connection[Any]],
    log: ApplicationRecorder,
    progress: Progress,
    settings: Settings,
) -> App:
    """Return the application.

    Args:
        gateway: takes commands and returns their replies; the caller starts and stops it.
        pool: open connections to the database of the read models and the keys.
        log: the recorder of the event log, for reading.
        progress: knows the positions of the read models; started.
        settings: those under HTTP, and `clock`.
    """
    app = App(
        title="Tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,  # JsonBodies judges it
        dependencies=[Depends(restore_slashes), Depends(check_query)],
        generate_unique_id_function=lambda route: route.name,
    )
    metrics = Metrics()
    context = app.state.context = Context(
        gateway=gateway,
        pool=pool,
        log=log,
        log_reads=LogReads(log),
        keys=Keys(pool),
        references=References(pool),
        waits=Waits(progress, settings.waits_max),
        metrics=metrics,
        settings=settings,
    )
    errors.install(app)
    for module in (stories, markets, market_reads, accounts, orders, leaderboard, ledger, events, keys, invitations):
        app.include_router(module.router, prefix="/v1")
    app.include_router(health.router)
    app.add_route("/docs", _serve_reference, include_in_schema=False)
    app.add_middleware(EncodedSlashes)
    app.add_middleware(JsonBodies)
    app.add_middleware(RequestFrame, metrics=metrics, body_bytes_max=settings.body_bytes_max)
    entry = order_entry.OrderEntry(context)
    app.fast_paths = dict.fromkeys(entry.paths, RequestFrame(entry, metrics, settings.body_bytes_max))
    return app


def create_ops_app(app: App) -> FastAPI:
    """Return a second application with the state of the first: health, positions and metrics, for whoever asks."""
    ops = FastAPI(title="Tidings operations", openapi_url=None, dependencies=[Depends(check_query)])
    context: Context = app.state.context
    # Its server has an event loop of its own, which cannot share what waits for threads.
    ops.state.context = replace(context, log_reads=LogReads(context.log), is_ops=True)
    errors.install(ops)
    ops.include_router(health.router)
    ops.add_middleware(RequestFrame, metrics=context.metrics, body_bytes_max=context.settings.body_bytes_max)
    return ops


async def _serve_reference(request: Request) -> Response:
    """Answer with the page for people. It is made for each request: few people ask for it, and it takes milliseconds."""
    return HTMLResponse(reference_page(request.app.openapi()))
