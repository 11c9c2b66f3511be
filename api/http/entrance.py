"""What every request passes first, and every answer last: the check of `Host`, CORS, and the headers that protect browsers.

A page on another site can make a browser ask this server. It cannot read the answer unless CORS allows its origin, and it
cannot send a key that it does not have. But after DNS rebinding, where the name of its site means this machine, the browser
takes the answers for the site's own. So a `Host` must be a name of this server, or an address: no site can choose that.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware

from api.http.errors import ApiError, answer
from api.http.reference import STYLE
from settings import listed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from settings import Settings

_LOOPBACK: Final = ("localhost", ".localhost")
_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()

SECURITY_HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""The headers of every answer that does not set its own: nothing is loaded, framed, guessed or told to others."""

NOT_MODIFIED: Final = 304
"""The status of an answer whose headers replace those that the browser has kept: a page's policy is another one than ours."""
_CACHING: Final = b"cache-control"
_UNKEPT: Final = (_CACHING, b"no-store")
"""The header of every answer that does not say how it may be kept, such as keys, the log and errors: nobody keeps it."""

_name: Final = itemgetter(0)
_NAMES: Final = frozenset(name.encode() for name in (*SECURITY_HEADERS, "cross-origin-resource-policy"))
_CORS: Final = {
    "allow_methods": ["GET", "POST", "PATCH", "DELETE"],  # HEAD needs no permission
    "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Tidings-Time", "X-Request-Id"],
    "expose_headers": [
        "ETag", "Retry-After", "X-Request-Id", "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining",
        "RateLimit-Reset",
    ],
    "max_age": 600,
}  # fmt: skip


class Entrance:
    """ASGI middleware around the whole server (see the module's docstring)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        origins = listed(settings.cors_origins)
        self._app = CORSMiddleware(app, allow_origins=origins, **_CORS) if origins else app  # type: ignore[arg-type]
        self._hosts = (*_LOOPBACK, settings.host.lower(), *(each.lower() for each in listed(settings.allowed_hosts)))
        self._headers = SECURITY_HEADERS | {
            "cross-origin-resource-policy": "cross-origin" if origins else "same-origin"
        }
        self._raw = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        self._allows = lru_cache(maxsize=1_000)(self._is_allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket" and not self._has_our_host(scope):
                await send({"type": "websocket.close", "code": 1008, "reason": "Host is none of this server"})
                return
            await self._app(scope, receive, send)
            return

        def send_protected(message: Message) -> Awaitable[None]:  # not `async`: each message would cost one call more
            if message["type"] == "http.response.start" and message["status"] != NOT_MODIFIED:
                self._protect(message)
            return send(message)

        if self._has_our_host(scope):
            await self._app(scope, receive, send_protected)
        else:
            error = ApiError("HOST_NOT_ALLOWED", "the header Host is no name of this server (TIDINGS_ALLOWED_HOSTS)")
            await answer(error)(scope, receive, send_protected)

    def _protect(self, message: Message) -> None:
        """Add the headers that the answer does not have."""
        if _CACHING not in map(_name, message["headers"]):
            message["headers"] = [*message["headers"], _UNKEPT]
        if _NAMES.isdisjoint(map(_name, message["headers"])):
            message["headers"] = [*message["headers"], *self._raw]
            return
        headers = MutableHeaders(raw=message["headers"])
        for name, value in self._headers.items():
            headers.setdefault(name, value)

    def _has_our_host(self, scope: Scope) -> bool:
        """Return whether every `Host` of a request is ours. Only clients that are no browsers send none."""
        return all(map(self._allows, [value for name, value in scope["headers"] if name == b"host"]))

    def _is_allowed(self, value: bytes) -> bool:
        host = value.decode("latin-1").lower()
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        try:
            ip_address(name)
        except ValueError:
            name = name.rstrip(".")
            return any(
                each in {"*", name} or (each.startswith(".") and name.endswith(each) and len(name) > len(each))
                for each in self._hosts
            )
        return True
