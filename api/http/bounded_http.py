"""The protocol of the HTTP server: how long a client may take to send and to read, and how much it may send.

uvicorn bounds none of this. `BoundedHttp` is its protocol with the limits of `Connections`. No request arms a timer: once a
second `Connections.check` looks at all connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.http.errors import ApiError
from api.http.quick_answers import QuickCycle
from api.http.repeats import REQUEST_BYTES_MAX, SCOPE_KEY, repeat_of

if TYPE_CHECKING:
    import asyncio

    from websockets.http11 import Request

    from api.http.connections import Connections, Peer

PIPELINED_MAX: Final = 64
"""The most requests that one connection may send ahead of their answers."""

PASSED_OVER: Final = 16
"""The longest body after whose refusal the connection goes on, in largest bodies. Most clients read no answer before they
have sent all."""

GRACE_SECONDS: Final = 1.0
"""The time at the beginning of a body that has no smallest rate."""

STALLED_SECONDS: Final = 5.0
"""The longest time in which a body may come more slowly than at the smallest rate, however fast it came before."""

_NEW, _HEADER, _BODY, _IDLE = "new", "header", "body", "idle"
"""What a connection is read for: its first request, the rest of a header, the rest of a body, the next request."""


class AbortableSocket(WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn whose scope has `tidings.abort`: a close would wait for a client that reads nothing."""

    def handle_connect(self, event: Request) -> None:
        """Begin to serve the connection."""
        super().handle_connect(event)
        if self.response.status_code == 101:  # else it was no handshake, and has no scope
            self.scope["tidings.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]


class BoundedHttp(HttpToolsProtocol):
    """A connection of uvicorn that keeps to the limits of `Connections`.

    A header that is too long gets 431, a header or a body that takes too long 408, a connection too many 503. Each then
    ends. A client that reads nothing is hung up on.
    """

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._all = connections
        self._peer: Peer | None = None
        self._reading = _NEW
        self._since = self.loop.time()
        self._header_bytes = 0
        self._requests = 0
        self._request = b""
        self._body_bytes = 0
        self._body_went_on = (0, 0.0)
        self._unread = (0, 0.0)
        self.host = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or refuse it."""
        peername = transport.get_extra_info("peername")
        self.host = str(peername[0]) if isinstance(peername, tuple) else ""
        self._peer = self._all.admit(self, self.host)
        if self._peer is None:
            self.transport = transport
            self._answer(ApiError("TOO_MANY_CONNECTIONS", "too many connections are open", retry_after_seconds=1))
            self._all.refused("too_many")
            return
        super().connection_made(transport)
        self._all.wait(self, self._peer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        if self._peer is None:
            return
        self._all.release(self, self._peer)
        self._forget_answer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, in pieces so small that no header gets longer than it may."""
        most = self._all.header_bytes_max
        if len(data) <= most:
            self._feed(data)
            return
        for start in range(0, len(data), most):
            if self.transport.is_closing():
                return
            self._feed(data[start : start + most])

    def _feed(self, data: bytes) -> None:
        if self._peer is None or self.transport.is_closing():
            return
        if self._reading is _BODY:
            super().data_received(data)
            if self._reading is _BODY and self.cycle.response_complete and not self.transport.is_closing():
                self._all.pass_over(self, len(data))
            return
        if data == self._request and self._answer_again():
            return
        is_first, before = self._reading is _NEW or self._reading is _IDLE, self._requests
        self._header_bytes += len(data)
        super().data_received(data)
        is_whole = (
            is_first and self._reading is _IDLE and self._requests == before + 1 and len(data) <= REQUEST_BYTES_MAX
        )
        self._request = data if is_whole and not self.parser.should_upgrade() else b""
        if self._reading is not _BODY and self._header_bytes >= self._all.header_bytes_max:
            most = self._all.header_bytes_max
            self._refuse(ApiError("HEADERS_TOO_LARGE", f"the header is longer than {most} bytes", {"bytes_max": most}))
        elif len(self.pipeline) > PIPELINED_MAX:
            self.end("pipelined")

    def _answer_again(self) -> bool:
        """Answer the last request once more, without parsing it; return False where it has to be served."""
        assert self._peer is not None, "it was admitted"
        repeat = repeat_of(self.scope)
        if repeat is None or not self._is_answered() or self.flow.write_paused:
            return False
        answer = repeat.answer(self.server_state.default_headers)
        if answer is None:
            return False
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        self._all.work(self, self._peer)
        self._all.wait(self, self._peer)  # as the one that waits the shortest time
        return True

    def _forget_answer(self) -> None:
        """Cut the circle of a scope and its answer: the collector of garbage would have to look for it."""
        if self.scope is not None:
            self.scope.pop(SCOPE_KEY, None)  # type: ignore[typeddict-item]

    def on_message_begin(self) -> None:
        """Begin to count the time of a header."""
        self._requests += 1
        self._forget_answer()
        self._reading, self._since = _HEADER, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to count the time and the bytes of a body."""
        assert self._peer is not None, "it was admitted"
        super().on_headers_complete()  # raises where the target is no URL: then there is no request to answer for
        self.scope["tidings.abort"] = self._abort  # type: ignore[typeddict-unknown-key]
        self.scope["tidings.write"] = self._write_piece  # type: ignore[typeddict-unknown-key]
        self._reading, self._since = _BODY, self.loop.time()
        self._header_bytes = self._body_bytes = 0
        self._body_went_on = (0, self._since)
        self._all.work(self, self._peer)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve a request; uvicorn leaves no other way to give it a cycle of our own."""
        cycle.__class__ = QuickCycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body. What follows an answer is passed over, but not without end."""
        self._body_bytes += len(body)
        if self.cycle.response_complete and self._body_bytes > PASSED_OVER * self._all.body_bytes_max:
            self.end("body_after_answer")
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        self._reading, self._since = _IDLE, self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is here already. uvicorn would arm a timer; `check` does without."""
        assert self._peer is not None, "it was admitted"
        self.server_state.total_requests += 1
        if self._reading is _IDLE:
            self._since = self.loop.time()
        if not self.pipeline:
            self._all.wait(self, self._peer)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        """Go on as a WebSocket, which still counts as a connection."""
        assert self._peer is not None, "it was admitted"
        super().handle_websocket_upgrade()
        self._all.hand_over(self, self._peer)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of all errors."""
        self._refuse(ApiError("MALFORMED_REQUEST", msg.rstrip(".").lower()))

    def check(self) -> None:
        """End the connection if its client takes too long."""
        now, limits = self.loop.time(), self._all
        unread = self.transport.get_write_buffer_size()
        if unread != self._unread[0]:
            self._unread = (unread, now)
        elif unread and now - self._unread[1] > limits.unread_seconds:
            self.end("unread")
            return
        if self.transport.is_closing():
            return
        seconds = now - self._since
        match self._reading:
            case "new" if seconds > limits.header_seconds:
                self.end("silent")
            case "header" if seconds > limits.header_seconds:
                self._late(f"the header took longer than {limits.header_seconds:g} s")
            case "body" if seconds > limits.body_seconds:
                self._late(f"the body took longer than {limits.body_seconds:g} s")
            case "body" if self._is_slow(now):
                self._late(f"the body came slower than {limits.body_rate_min} bytes a second")
            case "idle" if self._is_answered() and seconds > limits.idle_seconds:
                self.end("idle")

    def end(self, reason: str) -> None:
        """Hang up."""
        assert self._peer is not None, "it was admitted"
        self._all.refused(reason)
        self._all.release(self, self._peer)
        self.transport.abort()

    def hold(self) -> bool:
        """Read no more, until `go_on`; return False if that is so already."""
        was_held = self.flow.read_paused
        self.flow.pause_reading()
        return not was_held

    def go_on(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _abort(self) -> None:
        """Hang up on a stream whose client takes what is sent too slowly."""
        self.end("slow_stream")

    def _write_piece(self, piece: bytes) -> bool:
        """Write a piece of an answer that has begun, past the task that writes it, in the chunked form of HTTP.

        Returns False, and writes nothing, where the client takes what was sent too slowly, or has gone: the task waits for it.
        """
        cycle = self.cycle
        if self.flow.write_paused or cycle.response_complete or cycle.disconnected or not cycle.chunked_encoding:
            return False
        if self.transport.is_closing():
            return False
        self.transport.write(piece)
        return True

    def _is_slow(self, now: float) -> bool:
        """Return whether the body comes too slowly, all in all or of late, and not because this server pauses it."""
        rate, (before, since) = self._all.body_rate_min, self._body_went_on
        if self.flow.read_paused or self._body_bytes - before >= rate * (now - since):
            self._body_went_on = (self._body_bytes, now)
            return False
        return now - since > STALLED_SECONDS or self._body_bytes < rate * (now - self._since - GRACE_SECONDS)

    def _is_answered(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def _late(self, problem: str) -> None:
        self._refuse(ApiError("REQUEST_TIMEOUT", problem))

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error, unless another answer has begun, and end the connection."""
        assert self._peer is not None, "it was admitted"
        self._all.refused(error.code.lower())
        self._all.work(self, self._peer)  # so that nobody evicts it before it has sent its answer
        cycle = self.cycle
        if self._reading is _BODY:
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            cycle.disconnected = True  # nobody waits for the answer of the app
            cycle.message_event.set()
        elif not self._is_answered():
            self.transport.close()
            return
        self._answer(error)

    def _answer(self, error: ApiError) -> None:
        """Write an answer past the app, and close."""
        body = msgspec.json.encode(error.body())
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **error.headers(),
        }
        lines = [f"HTTP/1.1 {error.status} {error.code}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
