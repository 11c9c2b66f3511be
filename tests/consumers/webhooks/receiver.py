"""A receiver of webhooks on loopback: it checks every signature, and can be told to fail, to be slow, or to go away."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from standardwebhooks import Webhook as Verifier

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


class Received(NamedTuple):
    """A delivery with a valid signature."""

    webhook_id: str
    body: dict[str, Any]

    @property
    def position(self) -> int:
        """The position of its event."""
        return int(self.body["data"]["position"])

    @property
    def market_id(self) -> str:
        """The market of its event."""
        return str(self.body["data"]["market_id"])


class Receiver:
    """What arrived. `answer` returns the status for a delivery; only those with 2xx are kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/hook?from=tidings"
        self.host = f"127.0.0.1:{port}"
        self.secrets: list[str] = []
        """A delivery must have a signature with each of these."""
        self.answer: Callable[[Received], int] = lambda _: 204
        self.headers: dict[str, str] = {}
        """Headers of each answer."""
        self.received: list[Received] = []
        self.refused: list[Received] = []
        self.problems: list[str] = []
        self.arrived = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Take a request; return the status of the answer."""
        if path != "/hook?from=tidings" or headers["host"] != self.host:
            self.problems.append(f"{path} {headers}")
        for secret in self.secrets:
            try:
                Verifier(secret).verify(body, headers)
            except Exception as error:  # noqa: BLE001  the test shows it
                self.problems.append(repr(error))
        found = Received(headers["webhook-id"], json.loads(body))
        status = self.answer(found)
        with self.arrived:
            (self.received if 200 <= status < 300 else self.refused).append(found)
            self.arrived.notify_all()
        return status

    def wait_for(self, enough: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with self.arrived:
            assert self.arrived.wait_for(enough, 30), (len(self.received), len(self.refused), self.problems)
        assert not self.problems, self.problems

    def positions(self) -> list[int]:
        """Return the positions of what arrived, without repetitions, in the order of their first arrivals."""
        return list(dict.fromkeys(each.position for each in self.received))

    def check_order(self) -> None:
        """Check that within each market the first arrivals are in the order of the log, and that ids are stable."""
        by_market: dict[str, list[int]] = {}
        ids: dict[int, str] = {}
        for each in self.received:
            assert ids.setdefault(each.position, each.webhook_id) == each.webhook_id
            if each.position not in by_market.setdefault(each.market_id, []):
                by_market[each.market_id].append(each.position)
        assert all(found == sorted(found) for found in by_market.values())
        assert len(set(ids.values())) == len(ids)


@contextmanager
def listening(receiver: Receiver, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Listen at the receiver's port while the context is open, with TLS if there is a context for it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # its sender was killed meanwhile
            status = receiver.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: senders are killed here."""

        request_queue_size = 64

    server = Server(("127.0.0.1", receiver.port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
