"""The ways it runs: everything in one process (`serve`), or the parts apart (`api`, `projector`; the engine runs itself).

Everything here is started in order and stopped in reverse, by an exit stack: what feeds is stopped before what is fed.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import structlog
import uvicorn
from psycopg_pool import ConnectionPool

from api import key_store
from api.cli.database import with_database
from api.http.app import create_app
from consumers.engine.command_source import LocalSource
from consumers.engine.engine import Engine, Limits
from consumers.gateway import LocalGateway
from consumers.kafka.gateway import KafkaGateway
from consumers.projector.projector import Projector
from consumers.wiring import open_log, open_recorder
from migrations import migrate
from projections.machine.progress import Progress
from projections.machine.store import CONNECT_OPTIONS

if TYPE_CHECKING:
    from types import FrameType

    from eventsourcing.persistence import ApplicationRecorder
    from fastapi import FastAPI
    from psycopg import Connection

    from consumers.gateway import Gateway
    from settings import Settings

READY_SECONDS = 120.0


class HttpServer:
    """uvicorn on a socket that is bound at once, so that the port is known, and whoever comes early waits."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._socket = socket.create_server((settings.host, settings.port), backlog=2048)
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=settings.stop_ms // 1000 or 1,
                lifespan="off",
            )
        )
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Serve in a thread of its own."""
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
        """Whether it has not stopped by itself."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


class Parts:
    """What an HTTP server stands on: database, keys, the log for reading, the positions of the read models."""

    def __init__(self, settings: Settings, log: ApplicationRecorder, stack: contextlib.ExitStack) -> None:
        assert settings.dsn is not None, "the database was chosen"
        self.settings = settings
        self.log = log
        pool: ConnectionPool[Connection[Any]] = ConnectionPool(
            settings.dsn,
            kwargs=CONNECT_OPTIONS,
            min_size=1,
            max_size=settings.pool_connections_max,
            open=False,
            timeout=5,
        )
        stack.enter_context(pool).wait(READY_SECONDS)
        self.pool = pool
        self.progress = Progress(settings.dsn)
        self.progress.start()
        stack.callback(self.progress.stop)
        with pool.connection() as connection:
            migrate(connection)
            given = settings.operator_key.get_secret_value() if settings.operator_key else None
            self.first_key = key_store.make_first_key(connection, given)

    def app(self, gateway: Gateway) -> FastAPI:
        """Return the application that submits to this gateway."""
        return create_app(
            gateway=gateway,
            pool=self.pool,
            log=self.log,
            progress=self.progress,
            sender_sets_time=self.settings.clock == "command",
            public_reads=self.settings.public_reads,
            body_bytes_max=self.settings.body_bytes_max,
            wait_ms=self.settings.wait_ms,
            wait_ms_max=self.settings.wait_ms_max,
        )


class Embedded:
    """The whole exchange in this process: engine, projector and HTTP, on one PostgreSQL. A context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start everything; when this returns, orders are taken."""
        with contextlib.ExitStack() as stack:
            settings = with_database(self._settings, stack)
            assert settings.dsn is not None, "just chosen"
            recorder = stack.enter_context(open_recorder(settings))
            start_projector(settings, stack)
            source = LocalSource(commands_max=settings.queue_commands_max)
            limits = Limits(settings.batch_commands_max, settings.batch_events_max, settings.batch_bytes_max)
            self.engine = Engine(
                open_log(settings),
                source,
                partition=settings.partition,
                clock=settings.clock,
                limits=limits,
                folder=settings.home / "engine",
            )
            self.engine.start()
            stack.callback(self.engine.stop)
            self.engine.wait_until_ready(READY_SECONDS)
            parts = Parts(settings, recorder, stack)
            gateway = LocalGateway(source, timeout_seconds=settings.reply_ms / 1000)
            self.http = stack.enter_context(HttpServer(parts.app(gateway), settings))
            self.settings, self.first_key, self.url = settings, parts.first_key, self.http.url
            self.pool = parts.pool
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, in order."""
        self._stack.close()

    def broken(self) -> str | None:
        """Return why it cannot go on, or None."""
        if self.engine.error is not None:
            return f"the engine stopped: {self.engine.error}"
        return None if self.http.running else "the HTTP server stopped"


class HttpProcess:
    """Only the HTTP server, in front of an engine elsewhere, through Kafka. A context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start it; it takes orders as soon as there is an engine."""
        with contextlib.ExitStack() as stack:
            settings = with_database(self._settings, stack)
            parts = Parts(settings, stack.enter_context(open_recorder(settings)), stack)
            gateway = stack.enter_context(KafkaGateway(settings))
            self.http = stack.enter_context(HttpServer(parts.app(gateway), settings))
            self.first_key, self.url = parts.first_key, self.http.url
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, in order."""
        self._stack.close()

    def broken(self) -> str | None:
        """Return why it cannot go on, or None."""
        return None if self.http.running else "the HTTP server stopped"


def start_projector(settings: Settings, stack: contextlib.ExitStack) -> None:
    """Fold the log into the read models, in threads of their own, until the stack closes. Needs a DSN."""
    assert settings.dsn is not None, "the database was chosen before"
    recorder = stack.enter_context(open_recorder(settings))
    projector = Projector(recorder, settings.dsn, partition=settings.partition, gapless=settings.log == "kafka")
    projector.start()
    stack.callback(projector.stop)


def run_projector(settings: Settings) -> None:
    """Fold the log into the read models until SIGINT or SIGTERM."""
    with contextlib.ExitStack() as stack:
        start_projector(with_database(settings, stack), stack)
        with Stop() as stop:
            stop.wait()


class Stop:
    """SIGINT and SIGTERM, as something to wait for instead of an exception in the middle of something. A context manager."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        for name in (signal.SIGINT, signal.SIGTERM):
            self._before[name] = signal.signal(name, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until one of them comes; return whether it came in this time."""
        return self._asked.wait(seconds)

    def _ask(self, number: int, _: FrameType | None) -> None:
        structlog.get_logger("process").info("stopping", signal=signal.Signals(number).name)
        self._asked.set()


def wait_for_stop(running: Embedded | HttpProcess) -> str | None:
    """Wait for SIGINT or SIGTERM, or until it cannot go on; return why it could not."""
    with Stop() as stop:
        while not stop.wait(1.0):
            problem = running.broken()
            if problem is not None:
                return problem
    return None
