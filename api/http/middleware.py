"""Middleware of every request: its id, the limit of its body, the refusal of NULs, its log line, its metrics."""

from __future__ import annotations

import re
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import ClientDisconnect

from api.http.errors import ANSWERED, ApiError, BodyRefused, answer, internal_error, response_to
from api.http.request_log import RequestLog

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.http.admission import Admission, Caller

_some: Final = Random()  # noqa: S311  a request id is no secret
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE: Final = 499
"""The status in the log and in the metrics of a request whose client did not wait for the answer, as in nginx."""

QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
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
        self.connections = Gauge("tidings_http_connections", "Open connections", registry=self.registry)
        self.connections_ended = Counter(
            "tidings_http_connections_ended", "Connections that were ended because of a limit", ["reason"],
            registry=self.registry,
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


SMALL_BODY: Final = 8 * 1024
"""The largest body that is not counted: whoever sends large ones keeps no orders out."""

SHARES: Final = 4
"""A subject may have one of so many parts of the bytes of all bodies, and one body at least: there is room for others."""


class Bodies:
    """The bytes of the bodies that one server is reading, and how many they may be: of one body, of one subject, of all."""

    __slots__ = ("_by_subject", "all_max", "each_max", "held")

    def __init__(self, each_max: int, all_max: int) -> None:
        self.each_max = each_max
        self.all_max = all_max
        self.held = 0
        self._by_subject: dict[str, int] = {}

    def take(self, subject: str, size: int) -> bool:
        """Count bytes of a body of the subject; return False, and count nothing, where they are too many."""
        own = self._by_subject.get(subject, 0) + size
        if self.held + size > self.all_max or own > max(self.all_max // SHARES, self.each_max):
            return False
        self.held += size
        self._by_subject[subject] = own
        return True

    def give_back(self, subject: str, size: int) -> None:
        """Count bytes no more."""
        self.held -= size
        left = self._by_subject.get(subject, 0) - size
        if left:
            self._by_subject[subject] = left
        else:
            self._by_subject.pop(subject, None)


class RequestFrame:
    """ASGI middleware around the whole app (see the module's docstring)."""

    def __init__(self, app: ASGIApp, metrics: Metrics, admission: Admission, bodies: Bodies) -> None:
        self.app = app
        self.metrics = metrics
        self.admission = admission
        self.bodies = bodies
        self.log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request_log = RequestLog(request_id_of(scope))
        scope["tidings.request_log"] = request_log
        scope["tidings.receive"] = receive
        if scope["type"] == "websocket":
            await self._open_websocket(scope, receive, send)
            return
        status = 0
        body = _Limited(scope, receive, self.bodies)

        def send_with_id(message: Message) -> Awaitable[None]:  # not `async`: each message would cost one call more
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_log.request_id.encode())]
            return send(message)

        try:
            if (error := nul_in(scope) or await self.admission.admit(scope)) is not None:
                await response_to(error, request_log)(scope, receive, send_with_id)
                return
            await self.app(scope, body, send_with_id)
        except ClientDisconnect:
            status = status or CLIENT_GONE
        except Exception as error:
            response = self._response_to(error, scope, request_log)
            if status:
                raise  # a part of the answer is out already
            await response(scope, receive, send_with_id)
        finally:
            # The scope, its `receive` and the cycle of uvicorn are a circle: uncut, only the collector of garbage frees it.
            del scope["tidings.receive"]
            self.admission.count_body(scope, body.release())
            if request_log.refusals:
                self.admission.count_refusals(scope, request_log.refusals)
            self.record(scope, request_log, status, monotonic() - request_log.arrived)

    def _response_to(self, error: Exception, scope: Scope, request_log: RequestLog) -> Response:
        """Return the answer for an error that no route has answered, and note its code."""
        if isinstance(error, ANSWERED):  # raised by what stands around the routes
            return response_to(error, request_log)
        self.log.error("request_failed", request_id=request_log.request_id, path=scope["path"], exc_info=error)
        request_log.code = "INTERNAL"
        return answer(internal_error(request_log))

    async def _open_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await self.admission.admit(scope) is None:
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1013})  # "try again later"

    def record(self, scope: Scope, request_log: RequestLog, status: int, seconds: float) -> None:
        """Count a request that was answered, and write its log line."""
        route = route_of(scope)
        self.metrics.count(route, scope["method"], status, seconds)
        if scope["path"] in QUIET:
            return
        self.log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 2),
            request_id=request_log.request_id,
            **request_log.found(),
        )


class _Limited:
    """A `receive` that refuses a body as soon as it is too large, whatever its Content-Length says."""

    def __init__(self, scope: Scope, receive: Receive, bodies: Bodies) -> None:
        self._scope = scope
        self._receive = receive
        self._bodies = bodies
        self._counted = 0
        self._declared_too_large = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._declared_too_large = int(value) > bodies.each_max
                break
        self._received = 0

    async def __call__(self) -> Message:
        if self._declared_too_large:
            raise self._too_large()
        message = await self._receive()
        if message["type"] == "http.request" and (size := len(message.get("body", b""))):
            self._received += size
            if self._received > self._bodies.each_max:
                raise self._too_large()
            if self._received > SMALL_BODY:
                self._count()
        return message

    def _count(self) -> None:
        """Count what came since the last time; raises BodyRefused where all bodies get too large together."""
        caller: Caller = self._scope["tidings.caller"]
        size = self._received - self._counted
        if not self._bodies.take(caller.subject, size):
            raise BodyRefused(ApiError("BUSY", "too many bodies arrive at once", retry_after_seconds=1))
        self._counted += size

    def release(self) -> int:
        """Forget the body, for the request has ended; return how many bytes of it were read."""
        if self._counted:
            caller: Caller = self._scope["tidings.caller"]
            self._bodies.give_back(caller.subject, self._counted)
        return self._received

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._bodies.each_max} bytes")


def nul_in(scope: Scope) -> ApiError | None:
    """Return the error for a NUL in the path or in the query string: PostgreSQL can hold none, so nothing is found by it."""
    if "\0" in scope["path"]:
        return ApiError("NOT_FOUND", "no path has a NUL")
    if b"%00" in scope["query_string"]:
        return ApiError("INVALID_QUERY", "the query string must have no NUL")
    return None


def route_of(scope: Scope) -> str:
    """Return the path with the names of its parameters instead of their values: the number of routes stays small."""
    route = scope.get("route")
    if route is not None:
        # FastAPI gives the path within the router, without the prefix /v1.
        within = str(route.path)
        return f"/v1{within}" if scope["path"].startswith("/v1") and not within.startswith("/v1") else within
    # The fast path has no route and no parameters; a path that nobody serves has no endpoint.
    return str(scope["path"]) if "endpoint" in scope else "unmatched"


def request_id_of(scope: Scope) -> str:
    """Return the caller's request id if it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return f"{_some.getrandbits(64):016x}"
