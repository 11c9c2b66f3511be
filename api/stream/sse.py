"""`GET /v1/stream`: the stream as server-sent events, on bare ASGI. A framework's response costs twice as much a delivery."""

from __future__ import annotations

import asyncio
from random import randint
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from api.http.errors import ANSWERED, ApiError, answer, response_to
from api.http.middleware import nul_in, request_id_of
from api.http.request_log import RequestLog
from api.http.waits import disconnected
from api.stream.frames import Cut, block_of
from api.stream.key_check import KeyCheck
from api.stream.requests import DEFAULT_CHANNELS, flag_of, parameters_of, position_of, wanted_of
from api.stream.subscriber import KEY_GONE, SLOW, Closed, Portion
from messages.wire import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from api.http.admission import Caller
    from api.http.context import Context
    from api.stream.hub import Hub
    from api.stream.subscriber import Subscriber

GONE: Final = Closed(0, "gone")
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_encode: Final = msgspec.json.Encoder().encode


class EventStreams:
    """The ASGI application of `GET /v1/stream`."""

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context = context
        self._hub = hub
        self._log = structlog.get_logger("stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream, until its client leaves or there is a reason to end it."""
        request_id = request_id_of(scope)
        try:
            if (error := await self._context.admission.admit(scope)) is not None:
                raise error
            subscriber = await self._subscribe(scope)
        except ANSWERED as error:
            await self._refuse(error, request_id, scope, receive, send)
            return
        stream = _EventStream(self._context, self._hub, subscriber, scope, send)
        self._hub.metrics.connections.labels("sse").inc()
        self._log.info("stream_opened", transport="sse", request_id=request_id, after=subscriber.position)
        gone = asyncio.ensure_future(_end_when_gone(receive, subscriber))
        try:
            closed = await stream.run(request_id)
        finally:
            gone.cancel()
            subscriber.send_at_once = None  # the stream has the subscriber too: a circle
            self._hub.leave(subscriber)
            self._hub.metrics.connections.labels("sse").dec()
        self._hub.metrics.closed.labels(closed.reason).inc()
        self._log.info(
            "stream_closed",
            transport="sse",
            request_id=request_id,
            reason=closed.reason,
            frames=subscriber.frames_sent,
            position=subscriber.sent,
        )

    async def _subscribe(self, scope: Scope) -> Subscriber:
        """Return the subscriber that a request asks for; raises ApiError."""
        caller: Caller = scope["tidings.caller"]
        if (error := nul_in(scope)) is not None:
            raise error
        given = parameters_of(scope["query_string"])
        last = next((value for name, value in scope["headers"] if name == b"last-event-id"), None)
        after = None
        if last is not None:
            after = position_of("Last-Event-ID", last.decode("latin-1"))
        elif "after" in given:
            after = position_of("after", given["after"][0])
        channels = given["channels"][0].split(",") if "channels" in given else list(DEFAULT_CHANNELS)
        conflate = flag_of("conflate", given["conflate"][0]) if "conflate" in given else False
        wanted = await wanted_of(
            self._context, caller.principal(), channels, given.get("market", []), conflate=conflate
        )
        self._hub.reserve(caller.subject)
        await self._hub.start()
        if "log" in given and given["log"][0] != self._hub.identity:
            raise ApiError("LOG_CHANGED", "the log is another one", {"log": self._hub.identity})
        return await self._hub.subscribe(wanted, caller.subject, after)

    async def _refuse(self, error: Exception, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        request_log = RequestLog(request_id)
        response = response_to(error, request_log)
        if isinstance(error, ApiError) and error.code == "INVALID_FIELD":
            response = answer(error)
            response.status_code = 400  # there is no body: what is wrong stands in the URL or in a header
        response.headers["x-request-id"] = request_id
        self._log.info("stream_refused", transport="sse", request_id=request_id, code=request_log.code)
        await response(scope, receive, send)


class _EventStream:
    """One open stream."""

    __slots__ = ("_hub", "_key", "_send", "_subscriber", "_write_piece")

    def __init__(self, context: Context, hub: Hub, subscriber: Subscriber, scope: Scope, send: Send) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._send = send
        self._key = KeyCheck(context.keys, scope, subscriber.wanted)
        subscriber.abort = scope.get("tidings.abort", lambda: subscriber.close(GONE))
        self._write_piece: Callable[[bytes], bool] | None = scope.get("tidings.write")
        if self._write_piece is not None and not self._key.is_needed:
            subscriber.send_at_once = self._send_at_once

    async def run(self, request_id: str) -> Closed:
        """Send until the stream ends; return why."""
        headers = [*HEADERS, (b"x-request-id", request_id.encode())]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        subscriber = self._subscriber
        await self._write(self._hello())
        while True:
            due = await subscriber.take()
            if await self._key.has_ended():
                subscriber.close(Closed(KEY_GONE, "key_gone"))
                due = Closed(KEY_GONE, "key_gone")
            if isinstance(due, Closed):
                if due is not GONE:
                    await self._write(self._bye(due), more=False)
                return due
            await self._write(self._chunk(due))
            subscriber.sent = due.position

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        if not body:
            return
        subscriber = self._subscriber
        subscriber.sending_since = monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        subscriber.sending_since = None
        self._hub.sent_bytes += len(body)

    def _send_at_once(self, cut: Cut) -> bool:
        """Write what all subscribers get; return False where this has to wait."""
        if self._write_piece is None or not self._write_piece(cut.piece):
            return False
        self._subscriber.frames_sent += len(cut)
        self._hub.sent_frames += len(cut)
        self._hub.sent_bytes += cut.size
        return True

    def _hello(self) -> bytes:
        hub, subscriber = self._hub, self._subscriber
        wanted = subscriber.wanted
        channels = [*(each for each in sorted(wanted.channels)), *(["progress"] if wanted.progress else [])]
        hello = {
            "log": hub.identity,
            "head": hub.head,
            "projected": hub.projected,
            "after": subscriber.position,
            "channels": channels,
            "conflated": wanted.conflate,
        }
        reset = (
            b"event: reset\ndata: %b\n\n" % _encode({"log": hub.identity, "head": subscriber.position})
            if subscriber.was_reset
            else b""
        )
        return b"retry: %d\n\nid: %d\nevent: hello\ndata: %b\n\n%b" % (
            randint(1_000, 4_000),  # noqa: S311  no herd after a restart
            subscriber.position,
            _encode(hello),
            reset,
        )

    def _chunk(self, due: Portion) -> bytes:
        """Return what is due as one chunk: an id stands only on the last frame of a position."""
        parts: list[bytes] = []
        for position, frames in due.events:
            parts.append(frames.block if isinstance(frames, Cut) else block_of(position, frames))
            self._subscriber.frames_sent += len(frames)
            self._hub.sent_frames += len(frames)
        last = due.events[-1][0] if due.events else self._subscriber.sent
        if due.progress:
            moved = _encode({"head": self._hub.head, "projected": self._hub.projected})
            parts.append(b"event: progress\ndata: %b\n\n" % moved)
        if due.beat:
            beat = {"head": self._hub.head, "projected": self._hub.projected, "time": format_time(time_ns() // 1_000)}
            parts.append(b"id: %d\nevent: beat\ndata: %b\n\n" % (due.position, _encode(beat)))
        elif due.position > last:
            parts.append(b"id: %d\n\n" % due.position)
        return b"".join(parts)

    def _bye(self, closed: Closed) -> bytes:
        bye: dict[str, Any] = {"code": closed.code, "after": self._subscriber.sent}
        retry = randint(1_000, 4_000) if closed.code != SLOW else randint(100, 1_000)  # noqa: S311
        return b"retry: %d\n\nevent: bye\ndata: %b\n\n" % (retry, _encode(bye))


async def _end_when_gone(receive: Receive, subscriber: Subscriber) -> None:
    await disconnected(receive)
    subscriber.close(GONE)
