"""The HTTP server: uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

import uvicorn

from api.http.bounded_http import AbortableSocket, BoundedHttp
from api.http.connections import Connections
from api.http.door import Door
from settings import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from settings import Settings


USER_TIMEOUT_MS: Final = 30_000
"""The longest time for which what was sent may stay unacknowledged."""

RECEIVED_BYTES: Final = 16 * 1024
"""What the system takes of a connection before it is read (Linux doubles it); by itself it takes up to 6 MB of each. It is
also what comes in one round trip: a batch of 100 orders takes two, the longest body over 100 ms five seconds."""
UNSENT_BYTES_MAX: Final = 128 * 1024
"""The most bytes that the system takes of one connection before they can be sent."""

LOOK_SECONDS: Final = 1.0
"""The time between two looks at the connections. The header `Date` is that old at most."""

STUCK_SECONDS: Final = 5.0
"""The time without a look after which the event loop counts as stuck: it answers no request meanwhile."""


class _Server(uvicorn.Server):
    """uvicorn that wakes once a second, and at once when it is to stop. It wakes ten times a second by itself."""

    _wake: Callable[[], object] = staticmethod(lambda: None)
    _doors: Sequence[Door] = ()
    looked_at: float | None = None
    """When the event loop had its last look at the connections, by `time.monotonic`; None before the first."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. uvicorn itself would let in all that wait at a time."""
        await super().startup(sockets=[])
        self._doors = [Door(each, self._make_protocol) for each in sockets or ()]

    def _make_protocol(self) -> asyncio.Protocol:
        options = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        return self.config.http_protocol_class(**options)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, then end what there is."""
        for each in self._doors:
            each.close()
        await super().shutdown(sockets=sockets)

    async def main_loop(self) -> None:
        """Run until `stop` is called."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(stopping.set)
        while not await self.on_tick(0):  # 0: with all that is done once a second
            self.looked_at = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stopping.wait()

    def stop(self) -> None:
        """Let requests in progress end, then stop. From any thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # the loop has ended by itself
            self._wake()


class HttpServer:
    """uvicorn on a socket that is bound at once: its port is known, and requests that come early wait. A context manager."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._socket = socket.create_server((settings.host, settings.port), backlog=2048)
        # The connections inherit all options.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        # A client that vanished without a word is noticed after this time, not after 15 minutes.
        if sys.platform == "linux":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            # The system would keep megabytes for each client that reads nothing, and nobody would see that it does.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        connections = Connections(settings, app.state.context.metrics)
        proxies = listed(settings.proxies)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=partial(BoundedHttp, connections),  # type: ignore[arg-type]  # a class is meant; it is only called
                callback_notify=connections.check,
                timeout_notify=0,  # every second
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=max(1, settings.idle_ms // 1000),
                timeout_graceful_shutdown=settings.stop_ms // 1000 or 1,
                lifespan="off",
                ws=AbortableSocket,
                ws_per_message_deflate=False,  # with it, thousands of sockets take gigabytes
                ws_max_size=65_536,
            )
        )
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let requests in progress end, then stop."""
        self._server.stop()
        assert self._thread is not None, "it was started"
        self._thread.join()
        self._socket.close()

    @property
    def running(self) -> bool:
        """True while it serves; False when it has stopped by itself."""
        return self._thread is not None and self._thread.is_alive()

    def turns(self) -> bool:
        """Return whether the event loop takes up work; for any thread. It does not before it serves, nor while it is stuck."""
        looked_at = self._server.looked_at
        return looked_at is not None and monotonic() - looked_at < STUCK_SECONDS

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
