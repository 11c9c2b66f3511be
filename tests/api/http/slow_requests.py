"""Requests that take long, and an HTTP server without an engine for them."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from psycopg_pool import ConnectionPool

from api import key_store
from api.http.app import create_app
from api.http.server import HttpServer
from consumers.engine.command_source import LocalCommandSource
from consumers.gateway import LocalGateway
from local.processes import polls
from migrations import migrate
from projections.machine.progress import Progress
from projections.machine.store import CONNECT_OPTIONS, connect, ensure
from projections.registry import PROJECTIONS
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

NEVER = 2**63 - 1
QUICK = 10.0  # seconds; a wait takes 30
MAX = 3  # waits of each crowd


@dataclass
class Waiting:
    """A request on a connection of its own that nobody reads yet."""

    connection: socket.socket

    @classmethod
    def begin(cls, url: str, position: int = NEVER, key: str | None = None, wait_ms: int = 30_000) -> Waiting:
        """Send a read that waits for a position."""
        return cls.send(url, f"/v1/markets?min_position={position}&wait_ms={wait_ms}", key)

    @classmethod
    def send(cls, url: str, path: str, key: str | None = None) -> Waiting:
        """Send a read."""
        connection = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0), timeout=60)
        header = f"authorization: Bearer {key}\r\n" if key else ""
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n".encode())
        return cls(connection)

    def answer(self) -> str:
        """Return the whole answer, and hang up."""
        text = b""
        while part := self.connection.recv(65_536):
            text += part
        self.connection.close()
        return text.decode()


READ_MODELS = ("markets", "stories", "timeline")
"""What `/v1/markets` needs."""


@dataclass
class Served:
    """An HTTP server without an engine and a projector: the test moves the read models of `/v1/markets` itself."""

    url: str
    database: str
    pool: ConnectionPool
    progress: Progress
    key: str

    def waits(self) -> int:
        """Return the number of waits for the read models."""
        return sum(len(self.progress._waits.get(name, ())) for name in READ_MODELS)

    def wait_for(self, count: int) -> None:
        """Return when this many requests wait."""
        assert any(self.waits() == count for _ in polls(QUICK)), self.waits()

    def move(self, position: int) -> None:
        """Let the read models reach a position."""
        with connect(self.database) as connection:
            connection.execute("UPDATE projection_positions SET position = %s", [position])
            connection.execute("NOTIFY tidings_progress")


@contextmanager
def serve(log: ApplicationRecorder, database: str, home: Path) -> Iterator[Served]:
    """A server on which 3 requests of each crowd may wait."""
    settings = Settings(dsn=database, home=home, port=0, waits_max=MAX)
    with ExitStack() as stack:
        pool = stack.enter_context(ConnectionPool(database, kwargs=CONNECT_OPTIONS, min_size=1, max_size=2))
        with pool.connection() as connection:
            migrate(connection)
            ensure(connection, [PROJECTIONS[name] for name in READ_MODELS])
            key, _ = key_store.create(connection, key_store.NewKey(("analyst",)))
        progress = Progress(database)
        progress.start()
        stack.callback(progress.stop)
        app = create_app(
            gateway=LocalGateway(LocalCommandSource()),
            pool=pool,
            reads=pool,
            log=log,
            progress=progress,
            settings=settings,
        )
        server = stack.enter_context(HttpServer(app, settings))
        stack.callback(app.end_waits)
        yield Served(server.url, database, pool, progress, key)
