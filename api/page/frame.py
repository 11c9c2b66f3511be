"""What every request passes before the entrance: its session becomes a header, and a page's error becomes a page.

A cookie is sent by the browser, whoever made the page that asks. So it counts only where no other site can profit: for pages
and the stream, which other sites cannot read, and for all else only when the browser says that our own page asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from api.http.auth import SESSION_SCHEME
from api.http.caching import header_of
from api.page.languages import language_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "tidings_session"
"""The name of the cookie with the token of a session."""

SAFE: Final = frozenset({"GET", "HEAD"})
"""The methods that change nothing."""

NOT_PAGES: Final = ("/v1/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/static/")
"""The beginnings of paths whose errors are for programs."""


class PageFrame:
    """ASGI middleware around the whole server (see the module's docstring)."""

    def __init__(
        self, app: ASGIApp, error_page: Callable[[int, dict[str, Any], str, str | None], bytes], headers: dict[str, str]
    ) -> None:
        self._app = app
        self._error_page = error_page
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] == "lifespan":
            return self._app(scope, receive, send)
        path: str = scope["path"]
        is_page = not path.startswith(NOT_PAGES)
        for name, value in scope["headers"]:  # programs send no cookie: this loop is all that their orders pay
            if name == b"cookie":
                _read_cookie(scope, value, is_page=is_page)
                break
        if not is_page or scope["type"] != "http":
            return self._app(scope, receive, send)
        scope["tidings.language"] = language_of(scope)
        if "text/html" not in header_of(scope, b"accept"):
            return self._app(scope, receive, send)
        return self._app(scope, receive, _Errors(self, scope, send).take)

    def page(
        self, status: int, body: bytes, language: str, then: str | None
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the page for the JSON of an error, and its headers; `then` is the path of a page of the past."""
        html = self._error_page(status, json.loads(body), language, then)
        return html, [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"), *self._headers]


class _Errors:
    """Turns the JSON of an error, as it is sent, into a page."""

    def __init__(self, frame: PageFrame, scope: Scope, send: Send) -> None:
        self._frame = frame
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def take(self, message: Message) -> None:
        """Send a message on, or keep it until the error is whole."""
        if message["type"] == "http.response.start":
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            if message["status"] >= 400 and kinds == [b"application/json"]:
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            await self._answer(self._start)
            return
        await self._send(message)

    async def _answer(self, start: Message) -> None:
        is_head = self._scope["method"] == "HEAD"  # it has no body, so nobody knows how long the page would be
        body = b'{"code": "", "details": {}}' if is_head else self._body
        path = self._scope["raw_path"].decode("latin-1")
        is_past = b"as_of" in self._scope["query_string"] and path[1:2] not in {"/", "\\"}  # else it leads elsewhere
        language = self._scope["tidings.language"]
        html, headers = self._frame.page(start["status"], body, language, path if is_past else None)
        replaced = {name for name, _ in headers} | {b"content-length", b"content-encoding"}
        kept = [(name, value) for name, value in start["headers"] if name not in replaced]
        length = [] if is_head else [(b"content-length", b"%d" % len(html))]
        start["headers"] = [*kept, *headers, *length]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": b"" if is_head else html})


def cookie_in(header: str, name: str) -> str | None:
    """Return the value of a cookie in a header `Cookie`, None without it."""
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return None


def is_same_origin(scope: Scope) -> bool:
    """Return whether the browser says that a page of this server made the request; one that says nothing did not."""
    site = header_of(scope, b"sec-fetch-site")
    if site:
        return site == "same-origin"
    origin, host = header_of(scope, b"origin"), header_of(scope, b"host")
    return bool(host) and origin.partition("://")[2] == host


def _read_cookie(scope: Scope, value: bytes, *, is_page: bool) -> None:
    """Turn the session in a cookie into a header, where it counts (see the module's docstring) and there is no other key."""
    token = cookie_in(value.decode("latin-1"), COOKIE)
    if token is None or header_of(scope, b"authorization"):
        return
    is_safe = scope.get("method", "GET") in SAFE and scope["type"] == "http"
    if (is_safe and (is_page or scope["path"] == "/v1/stream")) or is_same_origin(scope):
        scope["headers"] = [*scope["headers"], (b"authorization", f"{SESSION_SCHEME}{token}".encode("latin-1"))]
