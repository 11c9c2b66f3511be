"""The HTTP server: uvicorn in a thread of its own."""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Final, Self

import uvicorn

from api.http.connections import Connections
from settings import listed

if TYPE_CHECKING:
    from fastapi import FastAPI

    from settings import Settings


USER_TIMEOUT_MS: Final = 30_000
"""The longest time for which what was sent may stay unacknowledged."""


class HttpServer:
    """uvicorn on a socket that is bound at once: its port is known, and requests that come early wait. A context manager."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._socket = socket.create_server((settings.host, settings.port), backlog=2048)
        # A client that vanished without a word is noticed after this time, not after 15 minutes. Its connections inherit it.
        if sys.platform == "linux":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        connections = Connections(settings, app.state.context.metrics)
        proxies = listed(settings.proxies)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=connections.protocol,  # type: ignore[arg-type]  # a class is meant; it is only called
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
                ws="websockets-sansio",
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
        self._server.should_exit = True
        assert self._thread is not None, "it was started"
        self._thread.join()
        self._socket.close()

    @property
    def running(self) -> bool:
        """True while it serves; False when it has stopped by itself."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
