"""Middleware of every request: its id, the limit of its body, the refusal of NULs, its log line, its metrics."""

from __future__ import annotations

import re
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import ClientDisconnect

from api.http.errors import ApiError, answer, internal_error, response_to
from api.http.request_log import RequestLog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE: Final = 499
"""The status in the log and in the metrics of a request whose client did not wait for the answer, as in nginx."""

_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths without a log line: monitoring asks for them every few seconds."""


class Metrics:
    """The metrics of the HTTP server, in a registry of its own: two apps in one process do not share any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidings_http_requests", "Requests by route, method and status", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tidings_http_request_seconds", "Seconds from request to answer, by route and method", ["route", "method"],
            registry=self.registry, buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )  # fmt: skip
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        known = self._known.get((route, method, status))
        if known is None:  # looking a metric up by its labels takes longer than counting
            known = self.requests.labels(route, method, status), self.seconds.labels(route, method)
            self._known[route, method, status] = known
        requests, times = known
        requests.inc()
        times.observe(seconds)


class RequestFrame:
    """ASGI middleware around the whole app (see the module's docstring)."""

    def __init__(self, app: ASGIApp, metrics: Metrics, body_bytes_max: int) -> None:
        self.app = app
        self.metrics = metrics
        self.body_bytes_max = body_bytes_max
        self.log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request_log = RequestLog(_request_id(scope))
        scope["tidings.request_log"] = request_log
        scope["tidings.receive"] = receive
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_log.request_id.encode())]
            await send(message)

        try:
            if (error := _nul_in(scope)) is not None:
                await response_to(error, request_log)(scope, receive, send_with_id)
                return
            await self.app(scope, _Limited(scope, receive, self.body_bytes_max), send_with_id)
        except ClientDisconnect:
            status = status or CLIENT_GONE
        except Exception:
            self.log.exception("request_failed", request_id=request_log.request_id, path=scope["path"])
            request_log.code = "INTERNAL"
            if status:
                raise  # a part of the answer is out already
            await answer(internal_error(request_log))(scope, receive, send_with_id)
        finally:
            self._record(scope, request_log, status, monotonic() - request_log.arrived)

    def _record(self, scope: Scope, request_log: RequestLog, status: int, seconds: float) -> None:
        route = _route_of(scope)
        self.metrics.count(route, scope["method"], status, seconds)
        if scope["path"] in _QUIET:
            return
        self.log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 2),
            request_id=request_log.request_id,
            **{
                name: value
                for name, value in (
                    ("command_id", request_log.command_id),
                    ("position", request_log.position),
                    ("code", request_log.code),
                )
                if value is not None
            },
        )


class _Limited:
    """A `receive` that refuses a body as soon as it is too large, whatever its Content-Length says."""

    def __init__(self, scope: Scope, receive: Receive, bytes_max: int) -> None:
        self._receive = receive
        self._bytes_max = bytes_max
        declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        self._declared_too_large = declared > bytes_max
        self._received = 0

    async def __call__(self) -> Message:
        if self._declared_too_large:
            raise self._too_large()
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._bytes_max:
                raise self._too_large()
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._bytes_max} bytes")


def _nul_in(scope: Scope) -> ApiError | None:
    """Return the error for a NUL in the path or in the query string: PostgreSQL can hold none, so nothing is found by it."""
    if "\0" in scope["path"]:
        return ApiError("NOT_FOUND", "no path has a NUL")
    if b"%00" in scope["query_string"]:
        return ApiError("INVALID_QUERY", "the query string must have no NUL")
    return None


def _route_of(scope: Scope) -> str:
    """Return the path with the names of its parameters instead of their values: the number of routes stays small."""
    route = scope.get("route")
    if route is not None:
        # FastAPI gives the path within the router, without the prefix /v1.
        within = str(route.path)
        return f"/v1{within}" if scope["path"].startswith("/v1") and not within.startswith("/v1") else within
    # The fast path has no route and no parameters; a path that nobody serves has no endpoint.
    return str(scope["path"]) if "endpoint" in scope else "unmatched"


def _request_id(scope: Scope) -> str:
    """Return the caller's request id if it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return secrets.token_hex(8)
