"""The fast path of reads: an answer that is kept is shown before the middleware and the routes of FastAPI.

Dashboards ask for the same all the time, and nearly all of them have the answer already. The way through the middleware took
most of the time of such a request. Whatever is not the common case takes that way, and is judged there: nothing is refused
here, and nothing is counted twice.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from api.http.caching import audience_of, caching_headers, has_tag, header_of, wants_gzip
from api.http.middleware import request_id_of
from api.http.rate_limits import kind_of
from api.http.request_log import RequestLog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from api.http.caching import Answers, KeptAnswer, Key
    from api.http.context import Context
    from api.http.middleware import RequestFrame
    from api.http.waits import Waits


class KeptReads:
    """An ASGI app in front of another one, which serves whatever is not kept."""

    def __init__(self, app: ASGIApp, context: Context, frame: RequestFrame) -> None:
        self._app = app
        self._answers: Answers = context.answers
        self._waits: Waits = context.waits
        self._admission = context.admission
        self._public = context.settings.public_reads
        self._frame = frame

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the method GET."""
        arrived = monotonic()
        found = self._find(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        key, kept = found
        request_log = RequestLog(request_id_of(scope), position=kept.mark.position, arrived=arrived)
        scope["route"] = kept.route
        status, headers, body = self._answer(scope, key, kept)
        headers.append((b"x-request-id", request_log.request_id.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._frame.record(scope, request_log, status, monotonic() - arrived)

    def _find(self, scope: Scope) -> tuple[Key, KeptAnswer] | None:
        """Return the answer to a request that is admitted, and count the request; None leaves all to the other app."""
        if kind_of("GET", scope["path"], scope["query_string"]) != "reads":
            return None
        caller = self._admission.known_caller(scope)
        if caller is None:
            return None
        scope["tidings.caller"] = caller
        audience = audience_of(scope, public_reads=self._public)
        if audience is None:
            return None
        key: Key = (scope["path"], scope["query_string"], audience)
        kept = self._answers.get(key)
        if kept is None or not (kept.mark.is_final or kept.mark.position >= self._waits.position(kept.mark.needs)):
            return None
        if wants_gzip(scope, kept.headers, kept.body) and kept.compressed is None and not self._has(scope, kept):
            return None  # the other app compresses it
        return (key, kept) if self._admission.charge_read(caller) else None

    def _has(self, scope: Scope, kept: KeptAnswer) -> bool:
        """Return whether the client has the answer."""
        known = header_of(scope, b"if-none-match")
        return bool(known) and has_tag(known, kept.tag)

    def _answer(self, scope: Scope, key: Key, kept: KeptAnswer) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return the status, the headers and the body of the answer."""
        if self._has(scope, kept):
            return 304, caching_headers(key, kept.mark, kept.tag, public_reads=self._public), b""
        body, tag, encoding = kept.body, kept.tag, []
        if kept.compressed is not None and wants_gzip(scope, kept.headers, kept.body):
            body, tag, encoding = kept.compressed, f"{kept.tag}-gz", [(b"content-encoding", b"gzip")]
        more: list[Any] = caching_headers(key, kept.mark, tag, public_reads=self._public)
        own = [each for each in kept.headers if each[0] != b"content-length"]
        return 200, [*own, *encoding, *more, (b"content-length", b"%d" % len(body))], body
