"""The fast path of reads: an answer that is kept is shown before the middleware and the routes of FastAPI.

Dashboards ask for the same all the time, and nearly all of them have the answer already. The way through the middleware took
most of the time of such a request. Whatever is not the common case takes that way, and is judged there: nothing is refused
here, and nothing is counted twice.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from api.http.caching import audience_of, shown
from api.http.middleware import request_id_of
from api.http.rate_limits import kind_of
from api.http.repeats import SCOPE_KEY, Repeat
from api.http.request_log import RequestLog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from api.http.admission import Caller
    from api.http.caching import Answers, KeptAnswer, Key, Shown
    from api.http.context import Context
    from api.http.middleware import RequestFrame
    from api.http.waits import Waits


class KeptReads:
    """An ASGI app in front of another one, which serves whatever is not kept."""

    def __init__(self, app: ASGIApp, context: Context, frame: RequestFrame, *, repeats: bool = True) -> None:
        """Take the app and the frame around it; with `repeats`, a connection may answer the same request by itself."""
        self._app = app
        self._answers: Answers = context.answers
        self._waits: Waits = context.waits
        self._admission = context.admission
        self._public = context.settings.public_reads
        self._frame = frame
        self._repeats = repeats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the method GET."""
        arrived = monotonic()
        found = self._find(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        kept, key, (status, headers, body) = found
        request_log = RequestLog(request_id_of(scope), position=kept.mark.position, arrived=arrived)
        scope["route"] = kept.route
        if status != 304:
            headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"x-request-id", request_log.request_id.encode()))
        if self._repeats:
            admit = partial(self._admit_again, scope, scope["tidings.caller"], key, kept, status)
            scope[SCOPE_KEY] = Repeat(admit, request_log.request_id)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._frame.record(scope, request_log, status, monotonic() - arrived)

    def _admit_again(self, scope: Scope, caller: Caller, key: Key, kept: KeptAnswer, status: int) -> str | None:
        """Return a request id if the same request may get the same answer, and count, limit and log it as any other."""
        arrived = monotonic()
        if (
            self._answers.get(key) is not kept
            or not self._is_newest(kept)
            or self._admission.known_caller(scope) != caller
            or not self._admission.charge_read(caller)
        ):
            return None
        request_log = RequestLog(request_id_of(scope), position=kept.mark.position, arrived=arrived)
        self._frame.record(scope, request_log, status, monotonic() - arrived)
        return request_log.request_id

    def _is_newest(self, kept: KeptAnswer) -> bool:
        return kept.mark.is_final or kept.mark.position >= self._waits.position(kept.mark.needs)

    def _find(self, scope: Scope) -> tuple[KeptAnswer, Key, Shown] | None:
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
        if kept is None or not self._is_newest(kept):
            return None
        found = shown(scope, key, kept, public_reads=self._public)
        if found is None:
            return None  # the other app compresses it
        return (kept, key, found) if self._admission.charge_read(caller) else None
