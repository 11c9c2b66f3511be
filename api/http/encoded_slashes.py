"""Slashes inside of names: `/v1/accounts/a%2Fb` is the account `a/b`, not a path with one part more.

A server decodes the whole path before anybody splits it. So the path is decoded again here, part by part, and a slash
inside of a part becomes NUL until the router has split the path: no other path has a NUL, `RequestFrame` refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotation

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_STAND_IN: Final = "\0"


class EncodedSlashes:
    """ASGI middleware between `RequestFrame` and the router; `restore_slashes` is its other half."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one connection of another kind."""
        raw: bytes = scope.get("raw_path", b"")
        if b"%2f" not in raw.lower():
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        scope["path"] = "/".join(unquote(part).replace("/", _STAND_IN) for part in raw.decode("ascii").split("/"))
        try:
            await self.app(scope, receive, send)
        finally:
            scope["path"] = path


async def restore_slashes(request: Request) -> None:
    """Give the parameters of the path their slashes back. A dependency of every route, before all others."""
    parameters = request.path_params
    for name, value in parameters.items():
        if isinstance(value, str) and _STAND_IN in value:
            parameters[name] = value.replace(_STAND_IN, "/")
