"""`/v1/ws`: the stream over WebSocket, for programs that change what they subscribe to.

Commands are `{"id": 1, "cmd": "subscribe", "params": {...}}`; docs/stream.md has them all. Each subscription has a `sid`, and
its messages a `seq` that counts from 1 without a gap.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from anyio import to_thread

from api.http.errors import ANSWERED, ApiError, invalid_field, response_to
from api.http.middleware import request_id_of
from api.http.request_log import RequestLog
from api.stream.key_check import KeyCheck
from api.stream.requests import DEFAULT_CHANNELS, MARKETS_MAX, market_id_of, position_of, wanted_of
from api.stream.snapshot import snapshot
from api.stream.subscriber import KEY_GONE, Closed
from messages.stream_page import COMMANDS
from projections.reading import UnknownProjection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from api.http.admission import Caller
    from api.http.context import Context
    from api.stream.hub import Hub
    from api.stream.subscriber import Portion, Subscriber

SUBSCRIPTIONS_MAX: Final = 20
"""The most subscriptions of one connection."""

COMMANDS_PER_SECOND: Final = 20
TOO_MANY: Final = 4029
GONE: Final = Closed(0, "gone")
_encode: Final = msgspec.json.Encoder().encode


class Sockets:
    """The ASGI application of `/v1/ws`."""

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context = context
        self._hub = hub
        self._log = structlog.get_logger("stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        request_id = request_id_of(scope)
        await receive()  # websocket.connect
        try:
            if (error := await self._context.admission.admit(scope)) is not None:
                raise error
            caller: Caller = scope["tidings.caller"]
            caller.principal()
            self._hub.reserve(caller.subject)
        except ANSWERED as error:
            response = response_to(error, RequestLog(request_id))
            headers = response.raw_headers
            start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": headers}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": response.body})
            return
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", request_id.encode())]})
        connection = _Socket(self._context, self._hub, scope, send)
        self._hub.metrics.connections.labels("ws").inc()
        self._log.info("stream_opened", transport="ws", request_id=request_id)
        try:
            closed = await connection.run(receive)
        finally:
            connection.end()
            self._hub.metrics.connections.labels("ws").dec()
        self._hub.metrics.closed.labels(closed.reason).inc()
        self._log.info(
            "stream_closed", transport="ws", request_id=request_id, reason=closed.reason, frames=connection.frames
        )


class _Socket:
    """One connection with its subscriptions."""

    def __init__(self, context: Context, hub: Hub, scope: Scope, send: Send) -> None:
        self._context = context
        self._hub = hub
        self._scope = scope
        self._caller: Caller = scope["tidings.caller"]
        self._send = send
        self._sending = asyncio.Lock()
        self._subscribers: dict[int, Subscriber] = {}
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._last_sid = 0
        self._ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._budget = (0.0, 0)
        self.frames = 0

    async def run(self, receive: Receive) -> Closed:
        """Answer commands until one side ends the connection; return why."""
        reading = asyncio.ensure_future(self._read(receive))
        either: set[asyncio.Future[Any]] = {reading, self._ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                reading.result()
                return GONE
            closed = self._ended.result()
            if closed is GONE:
                return closed
            after = min((each.sent for each in self._subscribers.values()), default=None)
            reason = _encode({"after": after}).decode()
            with suppress(OSError):  # the client is gone, or reads nothing: then the transport was aborted
                await self._send({"type": "websocket.close", "code": closed.code, "reason": reason})
            return closed
        finally:
            reading.cancel()

    def end(self) -> None:
        """Free all subscriptions."""
        for sid in list(self._subscribers):
            self._drop(sid)

    def _drop(self, sid: int) -> None:
        self._hub.leave(self._subscribers.pop(sid))
        self._pumps.pop(sid).cancel()

    def _pump_ended(self, pump: asyncio.Task[None]) -> None:
        """Let the connection end with a pump that failed: a client that left, or an error of ours, which is raised."""
        if pump.cancelled() or (error := pump.exception()) is None:
            return
        if isinstance(error, OSError):
            self._finish(GONE)
        elif not self._ended.done():
            self._ended.set_exception(error)

    def _finish(self, closed: Closed) -> None:
        if not self._ended.done():
            self._ended.set_result(closed)

    async def _write(self, message: bytes) -> None:
        async with self._sending:
            await self._send({"type": "websocket.send", "text": message.decode()})
        self._hub.sent_bytes += len(message)

    # --- commands

    async def _read(self, receive: Receive) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            second, count = self._budget
            now = monotonic()
            self._budget = (now, 1) if now - second >= 1 else (second, count + 1)
            if self._budget[1] > COMMANDS_PER_SECOND:
                self._finish(Closed(TOO_MANY, "too_many"))
                return
            await self._answer(message.get("text") or message.get("bytes") or "")

    async def _answer(self, text: str | bytes) -> None:
        command: dict[str, Any] = {}
        try:
            command = _decoded(text)
            handlers: dict[Any, Callable[[Any, dict[str, Any]], Awaitable[None]]] = {
                "subscribe": self._subscribe,
                "update": self._update,
                "unsubscribe": self._unsubscribe,
                "list": self._list,
                "ping": self._pong,
            }
            name = command.get("cmd")
            handler = handlers.get(name) if isinstance(name, str) else None
            if handler is None:
                raise invalid_field("cmd", f"must be one of {', '.join(handlers)}")
            await handler(command.get("id"), command.get("params", {}))
        except ApiError as error:
            await self._write(_encode({"id": command.get("id"), "type": "error", **error.body()}))

    async def _subscribe(self, number: Any, params: dict[str, Any]) -> None:
        _check("subscribe", params)
        if len(self._subscribers) >= SUBSCRIPTIONS_MAX:
            raise invalid_field("sid", f"there may be at most {SUBSCRIPTIONS_MAX} subscriptions")
        conflate, after = params.get("conflate", False), params.get("after")
        if not isinstance(conflate, bool):
            raise invalid_field("conflate", "must be true or false")
        if after is not None:
            after = position_of("after", str(after))
        channels = _texts(params, "channels", list(DEFAULT_CHANNELS))
        markets = _texts(params, "markets", [])
        wanted = await wanted_of(self._context, self._caller.principal(), channels, markets, conflate=conflate)
        await self._hub.start()
        if params.get("log", self._hub.identity) != self._hub.identity:
            raise ApiError("LOG_CHANGED", "the log is another one", {"log": self._hub.identity})
        state = None
        if after is None:
            try:
                after, state = await to_thread.run_sync(snapshot, self._context.pool, wanted)
            except UnknownProjection:
                after, state = 0, {"markets": []}
        subscriber = await self._hub.subscribe(wanted, self._caller.subject, after)
        self._last_sid += 1
        sid = self._last_sid
        subscriber.abort = self._scope.get("tidings.abort", subscriber.abort)
        self._subscribers[sid] = subscriber
        await self._write(
            _encode({"id": number, "type": "subscribed", "sid": sid, "position": after, "log": self._hub.identity})
        )
        if subscriber.was_reset:
            await self._write(_encode({"type": "reset", "sid": sid, "position": subscriber.position}))
        if state is not None:
            await self._write(_encode({"type": "snapshot", "sid": sid, "position": after, "seq": 0, "msg": state}))
        self._pumps[sid] = asyncio.ensure_future(self._pump(sid, subscriber))
        self._pumps[sid].add_done_callback(self._pump_ended)

    async def _update(self, number: Any, params: dict[str, Any]) -> None:
        _check("update", params)
        subscriber = self._of_sid(params.get("sid"))
        if subscriber.wanted.markets is None:
            raise invalid_field("sid", "is a subscription to all markets")
        added = {await market_id_of(self._context, each) for each in _texts(params, "add_markets", [])}
        deleted = {await market_id_of(self._context, each) for each in _texts(params, "delete_markets", [])}
        markets = (subscriber.wanted.markets | added) - deleted
        if not 0 < len(markets) <= MARKETS_MAX:
            raise invalid_field("add_markets", f"must leave 1 to {MARKETS_MAX} markets")
        self._hub.unregister(subscriber)
        subscriber.wanted.markets = markets
        subscriber.rewind()
        await self._write(
            _encode({"id": number, "type": "updated", "sid": params["sid"], "position": subscriber.position})
        )

    async def _unsubscribe(self, number: Any, params: dict[str, Any]) -> None:
        _check("unsubscribe", params)
        sids = params.get("sids")
        if not isinstance(sids, list):
            raise invalid_field("sids", "must be a list of sids")
        for sid in sids:
            self._of_sid(sid)
        for sid in set(sids):
            self._drop(sid)
        await self._write(_encode({"id": number, "type": "unsubscribed", "sids": sids}))

    async def _list(self, number: Any, params: dict[str, Any]) -> None:
        _check("list", params)
        found = [
            {
                "sid": sid,
                "channels": sorted(each.wanted.channels),
                "markets": None if each.wanted.markets is None else sorted(each.wanted.markets),
                "position": each.position,
            }
            for sid, each in self._subscribers.items()
        ]
        await self._write(_encode({"id": number, "type": "subscriptions", "subscriptions": found}))

    async def _pong(self, number: Any, params: dict[str, Any]) -> None:
        _check("ping", params)
        await self._write(_encode({"id": number, "type": "pong", "head": self._hub.head}))

    def _of_sid(self, sid: Any) -> Subscriber:
        found = self._subscribers.get(sid) if isinstance(sid, int) and not isinstance(sid, bool) else None
        if found is None:
            raise invalid_field("sid", "is no subscription of this connection")
        return found

    # --- messages

    async def _pump(self, sid: int, subscriber: Subscriber) -> None:
        seq, key = 0, KeyCheck(self._context.keys, self._scope, subscriber.wanted)
        while True:
            due = await subscriber.take()
            if await key.has_ended():
                due = Closed(KEY_GONE, "key_gone")
            if isinstance(due, Closed):
                self._finish(due)
                return
            subscriber.sending_since = monotonic()
            seq = await self._deliver(sid, seq, subscriber, due)
            subscriber.sent = due.position
            subscriber.sending_since = None

    async def _deliver(self, sid: int, seq: int, subscriber: Subscriber, due: Portion) -> int:
        """Send what is due; return the last `seq`."""
        for position, frames in due.events:
            last = frames[-1]
            for frame in frames:
                seq += 1
                more = b"" if frame is last else b',"more":true'
                await self._write(
                    b'{"type":"%b","sid":%d,"position":%d,"seq":%d%b,"msg":%b}'
                    % (frame.channel.encode(), sid, position, seq, more, frame.data)
                )
            subscriber.sent = position
            self.frames += len(frames)
            self._hub.sent_frames += len(frames)
        for kind, wanted in (("progress", due.progress), ("beat", due.beat)):
            if wanted:
                told = {"head": self._hub.head, "projected": self._hub.projected}
                await self._write(_encode({"type": kind, "sid": sid, "position": due.position, **told}))
        if not due.beat and due.position > subscriber.sent:
            await self._write(b'{"type":"mark","sid":%d,"position":%d}' % (sid, due.position))
        return seq


def _decoded(text: str | bytes) -> dict[str, Any]:
    try:
        command = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        command = None
    if not isinstance(command, dict) or not isinstance(command.get("params", {}), dict):
        raise ApiError("MALFORMED_JSON", "a command is a JSON object, and so are its params")
    return command


def _check(command: str, params: dict[str, Any]) -> None:
    for name in params:
        if name not in COMMANDS[command]:
            raise invalid_field(name[:64], "is not a parameter of this command")


def _texts(params: dict[str, Any], name: str, default: list[str]) -> list[str]:
    found = params.get(name, default)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise invalid_field(name, "must be a list of texts")
    return found
