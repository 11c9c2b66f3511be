"""The HTTP application, made by `create_app` from its dependencies; importing this module does nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI
from starlette.responses import HTMLResponse

from api.http import errors, openapi
from api.http.admission import Admission
from api.http.auth import Keys
from api.http.bodies import JsonBodies
from api.http.caching import Answers, Caching
from api.http.context import Context
from api.http.encoded_slashes import EncodedSlashes, restore_slashes
from api.http.engine_probe import EngineProbe
from api.http.entrance import Entrance
from api.http.kept_reads import KeptReads
from api.http.kept_results import KeptResults
from api.http.labels import KnownLabels
from api.http.log_reads import LogReads
from api.http.middleware import Bodies, Metrics, RequestFrame
from api.http.query import check_query
from api.http.rate_limits import RateLimits
from api.http.read_threads import ReadThreads
from api.http.reference import reference_page
from api.http.references import References
from api.http.routes import (
    accounts,
    events,
    export,
    health,
    invitations,
    keys,
    leaderboard,
    ledger,
    many_markets,
    market_lists,
    market_reads,
    markets,
    order_entry,
    order_reads,
    orders,
    portfolio,
    stories,
    stream,
    webhooks,
)
from api.http.tracing import TracedRequests
from api.http.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection
    from psycopg_pool import ConnectionPool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from consumers.gateway import Gateway
    from consumers.traces import Traces
    from projections.machine.progress import Progress
    from settings import Settings


_MODULES: Final = (
    stories,
    markets,
    market_lists,
    market_reads,
    many_markets,
    accounts,
    portfolio,
    orders,
    order_reads,
    leaderboard,
    ledger,
    events,
    export,
    keys,
    invitations,
    webhooks,
    stream,
)

ROUTERS: Final = (*(module.router for module in _MODULES), market_reads.tape)
"""The routes under /v1."""


class App(FastAPI):
    """FastAPI with a fast path in front of it: requests to place orders never reach its routes."""

    fast_paths: Mapping[str, ASGIApp] = {}
    """The apps that serve POST requests without a query string, by path."""

    streams: Mapping[str, ASGIApp] = {}
    """The apps that serve streams, by type of scope and path, such as `http /v1/stream`. They frame their requests themselves."""

    kept_reads: ASGIApp
    """What GET requests pass on their way to the routes."""

    def end_waits(self) -> None:
        """End all requests that wait for a read model, from any thread: the server is about to stop."""
        context: Context = self.state.context
        context.waits.end()

    entrance: ASGIApp
    """What every request passes first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self.entrance(scope, receive, send)

    def serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request that has passed the entrance."""
        is_plain_post = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        fast_path = self.fast_paths.get(scope["path"]) if is_plain_post else None
        stream = None if is_plain_post else self._stream_of(scope)
        if stream is not None:
            return stream(scope, receive, send)
        if fast_path is None:
            is_read = scope["type"] == "http" and scope["method"] == "GET"
            return (self.kept_reads if is_read else super().__call__)(scope, receive, send)
        scope["app"] = self
        return fast_path(scope, receive, send)

    def _stream_of(self, scope: Scope) -> ASGIApp | None:
        if scope["type"] == "lifespan" or scope.get("method", "GET") != "GET":
            return None
        return self.streams.get(f"{scope['type']} {scope['path']}")

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
    reads: ConnectionPool[Connection[Any]],
    log: ApplicationRecorder,
    progress: Progress,
    settings: Settings,
    traces: Traces | None = None,
) -> App:
    """Return the application.

    Args:
        gateway: takes commands and returns their replies; the caller starts and stops it.
        pool: open connections to the database, for keys, references, readiness and the answers of writes.
        reads: others, for reads.
        log: the recorder of the event log, for reading.
        progress: knows the positions of the read models; started.
        settings: those under HTTP, and `clock`.
        traces: keeps a span of each request; none by default.
    """
    app = App(
        title="Tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat whatever Host the request named
        strict_content_type=False,  # JsonBodies judges it
        dependencies=[Depends(restore_slashes), Depends(check_query)],
        generate_unique_id_function=lambda route: route.name,
    )
    known_keys, waits = Keys(pool), Waits(progress, settings.waits_max)
    app.state.context = Context(
        gateway=gateway,
        engine=EngineProbe(gateway),
        pool=pool,
        reads=ReadThreads(
            reads,
            threads=settings.pool_connections_max,
            costly_max=settings.costly_reads_max,
            seconds_max=settings.read_ms / 1000,
        ),
        log=log,
        log_reads=LogReads(log),
        keys=known_keys,
        admission=Admission(known_keys, pool, RateLimits(settings)),
        references=References(pool, waits),
        waits=waits,
        kept_results=KeptResults(),
        labels=KnownLabels(),
        answers=Answers(),
        metrics=Metrics(),
        settings=settings,
    )
    errors.install(app)
    _add_routes(app)
    _put_middleware_around(app, traces)
    return app


def _add_routes(app: App) -> None:
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    app.include_router(health.router)
    app.add_route("/docs", _serve_reference, include_in_schema=False)


def _put_middleware_around(app: App, traces: Traces | None) -> None:
    """Put the same frame around the routes and around the fast path."""
    app.add_middleware(EncodedSlashes)
    app.add_middleware(JsonBodies)
    context: Context = app.state.context
    app.add_middleware(
        Caching, answers=context.answers, waits=context.waits, public_reads=context.settings.public_reads
    )
    frame = _put_frame_around(app)
    entry = order_entry.OrderEntry(app.state.context)
    app.fast_paths = dict.fromkeys(entry.paths, frame(entry))
    # With traces, each request passes `TracedRequests`.
    app.kept_reads = KeptReads(super(App, app).__call__, context, frame(app), repeats=traces is None)
    app.entrance = Entrance(app.serve, app.state.context.settings)
    if traces is not None:
        app.entrance = TracedRequests(app.entrance, traces)


def _put_frame_around(app: FastAPI) -> Callable[[ASGIApp], RequestFrame]:
    """Put the frame of every request around an app; return what puts it around another one."""
    context: Context = app.state.context
    bodies = Bodies(context.settings.body_bytes_max, context.settings.bodies_bytes_max)
    frame = partial(RequestFrame, metrics=context.metrics, admission=context.admission, bodies=bodies)
    app.add_middleware(frame)
    return frame


def create_ops_app(app: App, main_serves: Callable[[], bool]) -> FastAPI:
    """Return a second application with the state of the first: health, positions and metrics, for whoever asks.

    `main_serves` returns whether the event loop of the first one takes up work.
    """
    ops = FastAPI(
        title="Tidings operations", openapi_url=None, redirect_slashes=False, dependencies=[Depends(check_query)]
    )
    context: Context = app.state.context
    # Its server has an event loop of its own, which cannot share what belongs to the other one.
    ops.state.context = replace(
        context,
        engine=EngineProbe(context.gateway),
        log_reads=LogReads(context.log),
        admission=Admission(context.keys, context.pool, RateLimits(context.settings)),
        main_serves=main_serves,
    )
    errors.install(ops)
    ops.include_router(health.router)
    _put_frame_around(ops)
    ops.add_middleware(Entrance, settings=context.settings)
    return ops


async def _serve_reference(request: Request) -> Response:
    """Answer with the page for people. It is made for each request: few people ask for it, and it takes milliseconds."""
    return HTMLResponse(reference_page(request.app.openapi()))
