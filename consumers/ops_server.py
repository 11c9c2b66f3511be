"""Metrics and health of a process that serves no other HTTP: the small server of `TIDINGS_OPS_PORT`.

    /healthz   200: the process lives
    /readyz    200 or 503: whether it does its work, and if not what is missing
    /metrics   its numbers, for Prometheus

The processes with the HTTP API serve the same paths by the application itself (api/http/routes/health.py).
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from settings import Settings

_log: Final = structlog.get_logger()

REQUEST_SECONDS: Final = 10.0
"""The longest wait for the next bytes of a request."""


class PortTakenError(OSError):
    """The server cannot listen on the port that the settings name."""


@contextmanager
def ops_server(
    settings: Settings, missing: Callable[[], list[str]], *registries: CollectorRegistry
) -> Iterator[str | None]:
    """Serve while the context is open, in threads; give the server's URL, or None where the settings name no port.

    Args:
        settings: `ops_host` and `ops_port`.
        missing: returns what the process lacks for its work; it is ready when that is nothing. Called in any thread.
        registries: metrics of this process, besides those that all processes have.

    Raises:
        PortTakenError: another program listens on the port, perhaps another process of this one.
    """
    if settings.ops_port is None:
        yield None
        return
    server = _listen(settings, missing, registries)
    thread = threading.Thread(target=server.serve_forever, name="ops-server", daemon=True)
    thread.start()
    url = f"http://{settings.ops_host}:{server.server_port}"
    _log.info("ops_server_started", url=url)
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listen(
    settings: Settings, missing: Callable[[], list[str]], registries: tuple[CollectorRegistry, ...]
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version, sys_version = "tidings", ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/healthz":
                self._answer(200, {"status": "ok"})
            elif path == "/readyz":
                lacking = missing()
                found: dict[str, object] = {"status": "not ready" if lacking else "ready"}
                if lacking:
                    found["missing"] = lacking
                self._answer(503 if lacking else 200, found)
            elif path == "/metrics":
                text = b"".join(map(generate_latest, (*registries, REGISTRY)))
                self._send(200, text, CONTENT_TYPE_LATEST)
            else:
                self._answer(404, {"code": "NOT_FOUND", "message": "there is no such path", "details": {"path": path}})

        def _answer(self, status: int, value: dict[str, object]) -> None:
            self._send(status, json.dumps(value).encode(), "application/json")

        def _send(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
            """Log nothing: probes come every few seconds."""

    try:
        return ThreadingHTTPServer((settings.ops_host, settings.ops_port or 0), Handler)
    except OSError as error:
        raise PortTakenError(
            f"cannot listen on port {settings.ops_port} of {settings.ops_host}: {error.strerror or error}; each process "
            "of a machine needs a TIDINGS_OPS_PORT of its own"
        ) from error
