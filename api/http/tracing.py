"""Middleware while traces are on: a span for each request, around everything else. Without traces it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.http.middleware import QUIET, route_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from consumers.traces import Traces

_UNTRACED: Final = QUIET | {"/v1/stream"}
"""Paths without a span: monitoring asks for them every few seconds, or their answers last for an hour."""


class TracedRequests:
    """ASGI middleware (see the module's docstring)."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        status = 0

        def send_noted(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        with self._traces.request(scope["method"], scope["path"], scope["headers"]) as span:
            await self._app(scope, receive, send_noted)
            if span.is_recording():
                route = route_of(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.route": route, "http.response.status_code": status})
                if request_log := scope.get("tidings.request_log"):
                    span.set_attribute("tidings.request_id", request_log.request_id)
