"""The long-running processes: the whole exchange (`serve`), or its HTTP server or its projector alone.

The engine alone is `consumers.run_engine`. An exit stack starts everything here in order and stops it in reverse: a source
is stopped before what it feeds.
"""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from eventsourcing.persistence import OperationalError
from prometheus_client import CollectorRegistry

from api import key_store
from api.child_process import ChildProcess
from api.database import connect_migrated, connection_pool, dsn_of, with_database
from api.http.app import create_app, create_ops_app
from api.http.key_watch import KeyWatch
from api.http.server import HttpServer
from api.logs import announce
from api.page.app import add_pages
from api.page.set_aside import Letter
from api.projecting import start_projector
from api.stop_signals import wait_for_stop
from api.stream.hub import Hub, limits_of
from api.stream.metrics import StreamMetrics
from api.stream.replay import Archive
from api.stream.sse import EventStreams
from api.stream.ws import Sockets
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.metrics import EngineCollector
from consumers.gateway import LocalGateway
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.order_gate import OrderGate, Signer
from consumers.ops_server import ops_server
from consumers.webhooks.metrics import WebhookCollector
from consumers.webhooks.webhooks import Webhooks
from consumers.wiring import batch_limits, open_log, open_recorder, open_traces
from projections.machine.known_log import WHAT_TO_DO, LostEventsError, lost_events
from projections.machine.progress import Progress
from projections.machine.store import SCHEMA
from projections.reading import projection_status
from projections.searching import set_language

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventsourcing.persistence import ApplicationRecorder
    from prometheus_client.registry import Collector
    from psycopg import Connection

    from api.http.app import App
    from consumers.gateway import Gateway
    from consumers.traces import Traces
    from settings import Settings

READY_SECONDS: Final = 120.0
"""The longest wait for the engine, and for the first connection to the database."""


class Dependencies:
    """The dependencies of an HTTP server: the database, the keys, the log for reading, the positions of the read models.

    `first_key` is the first API key if this start made it, else None.
    """

    def __init__(self, settings: Settings, log: ApplicationRecorder, stack: contextlib.ExitStack) -> None:
        """Open everything, and migrate the database; the stack closes it."""
        self.settings = settings
        self.log = log
        self.pool = stack.enter_context(connection_pool(settings, settings.entry_connections_max))
        self.reads = stack.enter_context(connection_pool(settings, settings.pool_connections_max))
        for pool in (self.pool, self.reads):
            pool.wait(READY_SECONDS)
        self.progress = Progress(dsn_of(settings))
        self.progress.start()
        stack.callback(self.progress.stop)
        with contextlib.ExitStack() as own:
            connection = connect_migrated(settings, own)  # without the time limit of the pools
            refuse_lost_log(connection, log)
            set_language(connection, settings.search_language, SCHEMA)
            operator_key = settings.operator_key.get_secret_value() if settings.operator_key else None
            self.first_key = key_store.make_first_key(connection, operator_key)

    def app(self, gateway: Gateway, traces: Traces | None = None) -> App:
        """Return the application that submits to this gateway, and keeps spans of its requests if there are traces."""
        app = create_app(
            gateway=gateway,
            pool=self.pool,
            reads=self.reads,
            log=self.log,
            progress=self.progress,
            settings=self.settings,
            traces=traces,
        )
        add_pages(app, partial(open_letters, self.settings) if self.settings.log == "kafka" else None)
        return app


def open_letters(settings: Settings) -> list[Letter]:
    """Return the dead letters without a decision, for the desk; raises OperationalError when no broker answers."""
    with DeadLetters(settings) as letters:
        return [
            Letter(each.number, each.time, each.letter.reason, f"{each.letter.topic} {each.letter.partition} "
                   f"{each.letter.offset}", each.letter.value[:200])
            for each in letters.open()
        ]  # fmt: skip


def refuse_several_partitions(settings: Settings) -> None:
    """Raise ValueError if the log has several partitions: this sends to one only, and reads one only."""
    if settings.partitions > 1:
        raise ValueError(f"this process does not support {settings.partitions} partitions yet")


class ServingProcess(ABC):
    """An HTTP server with all that it needs. A context manager.

    While it runs, `settings` name its database.
    """

    settings: Settings
    dependencies: Dependencies
    gateway: Gateway
    http: HttpServer
    hub: Hub
    ops: HttpServer | None
    """The server of `TIDINGS_OPS_PORT`, None without one."""
    traces: Traces | None
    """The spans of this process, None while traces are off."""

    def __init__(self, settings: Settings) -> None:
        refuse_several_partitions(settings)
        self._given_settings = settings
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start everything; what was started is stopped again when the rest fails."""
        with contextlib.ExitStack() as stack:
            self.settings = with_database(self._given_settings, stack)
            self.traces = stack.enter_context(open_traces(self.settings, "api"))
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, in reverse order."""
        self._stack.close()

    @property
    def url(self) -> str:
        """The address of the HTTP server."""
        return self.http.url

    @property
    def first_key(self) -> str | None:
        """The first API key, if this start made it."""
        return self.dependencies.first_key

    def problem(self) -> str | None:
        """Return why the process cannot go on, or None."""
        if not self.dependencies.progress.running:
            return "the listener for the read models stopped"
        if self.hub.error is not None:
            return f"the stream stopped: {self.hub.error}"
        if (problem := self._key_watch.problem()) is not None:
            return problem
        servers = [self.http] if self.ops is None else [self.http, self.ops]
        return None if all(server.running for server in servers) else "the HTTP server stopped"

    @abstractmethod
    def _start(self, stack: contextlib.ExitStack) -> None:
        """Start what the process consists of, the HTTP server last."""

    def _serve(self, gateway: Gateway, stack: contextlib.ExitStack, *collectors: Collector) -> None:
        app = self.dependencies.app(gateway, self.traces)
        for collector in collectors:
            app.state.context.metrics.registry.register(collector)
        self._key_watch = watch = KeyWatch(dsn_of(self.settings), app.state.context.keys)
        watch.start()
        stack.callback(watch.stop)
        self.gateway = gateway
        self.hub = self._open_streams(app)
        self.http = stack.enter_context(HttpServer(app, self.settings))
        self.ops = self._serve_ops(app, stack)
        stack.callback(self.hub.stop)
        stack.callback(app.end_waits)  # first of all, so that the server need not wait for them

    def _open_streams(self, app: App) -> Hub:
        context = app.state.context
        archive = Archive(self.dependencies.log, self.dependencies.pool)
        hub = Hub(
            archive,
            self.dependencies.progress,
            limits_of(self.settings),
            StreamMetrics(context.metrics.registry),
            lambda: self.gateway.under_way,
        )
        app.streams = {"http /v1/stream": EventStreams(context, hub), "websocket /v1/ws": Sockets(context, hub)}
        return hub

    def _serve_ops(self, app: App, stack: contextlib.ExitStack) -> HttpServer | None:
        settings = self.settings
        if settings.ops_port is None:
            return None
        where = settings.model_copy(update={"host": settings.ops_host, "port": settings.ops_port})
        return stack.enter_context(HttpServer(create_ops_app(app, self.http.turns), where))


class Embedded(ServingProcess):
    """The whole exchange: engine and HTTP in this process, on one PostgreSQL. Started, it takes orders.

    The projector is a child process, so that folding and deciding use two CPUs, or with `one_process` a part of this one.
    """

    engine: Engine

    def __init__(self, settings: Settings, *, one_process: bool = False) -> None:
        super().__init__(settings)
        self._one_process = one_process
        self._projector_problem: Callable[[], str | None] = lambda: None
        self._wait_for_projector: Callable[[], None] = lambda: None

    def problem(self) -> str | None:
        """Return why the exchange cannot go on, or None."""
        if self.engine.error is not None:
            return f"the engine stopped: {self.engine.error}"
        return self._webhooks.problem() or self._projector_problem() or super().problem()

    def _start_projector(self, stack: contextlib.ExitStack) -> None:
        if self._one_process:
            projector = start_projector(self.settings, stack)
            self._projector_problem = projector.problem
        else:
            child = ChildProcess("projector", self.settings.model_copy(update={"ops_port": None}))  # the port is ours
            stack.callback(child.stop)
            self._wait_for_projector = partial(child.wait_until_started, READY_SECONDS)
            self._projector_problem = lambda: (
                None if child.exit_code is None else f"the projector ended with exit code {child.exit_code}"
            )

    def _start(self, stack: contextlib.ExitStack) -> None:
        settings = self.settings
        recorder = stack.enter_context(open_recorder(settings))
        self._start_projector(stack)
        source = LocalCommandSource(commands_max=settings.queue_commands_max)
        self.engine = Engine(
            open_log(settings),
            source,
            partition=settings.partition,
            clock=settings.clock,
            limits=batch_limits(settings),
            hold_seconds=settings.withdrawal_hold_seconds,
            folder=settings.home / "engine",
        )
        self.engine.start()
        stack.callback(self.engine.stop)
        self.engine.wait_until_ready(READY_SECONDS)
        self._wait_for_projector()
        self.dependencies = Dependencies(settings, recorder, stack)
        self._webhooks = start_webhooks(settings, recorder, stack)
        gateway = LocalGateway(source, timeout_seconds=settings.reply_ms / 1000)
        self._serve(gateway, stack, EngineCollector(self.engine), WebhookCollector(self._webhooks))


class HttpProcess(ServingProcess):
    """The HTTP server alone, in front of an engine that it reaches through Kafka. It takes orders once there is an engine."""

    def problem(self) -> str | None:
        """Return why the process cannot go on, or None."""
        return self._kafka_gateway.problem() or super().problem()

    def _start(self, stack: contextlib.ExitStack) -> None:
        recorder = stack.enter_context(open_recorder(self.settings))
        self.dependencies = Dependencies(self.settings, recorder, stack)
        self._kafka_gateway = stack.enter_context(KafkaGateway(self.settings, http=True, traces=self.traces))
        self._serve(self._kafka_gateway, stack)


def refuse_lost_log(connection: Connection[Any], log: ApplicationRecorder) -> None:
    """Raise LostEventsError when the log has lost events that the read models know."""
    if (problem := lost_events(log, projection_status(connection))) is not None:
        raise LostEventsError(f"The log has lost events: {problem}. {WHAT_TO_DO}")


def start_webhooks(settings: Settings, recorder: ApplicationRecorder, stack: contextlib.ExitStack) -> Webhooks:
    """Send to the webhooks, from a thread of its own, until the stack closes. Needs a DSN."""
    webhooks = Webhooks(
        recorder, dsn_of(settings), private=settings.webhook_private_addresses, partition=settings.partition
    )
    webhooks.start()
    stack.callback(webhooks.stop)
    return webhooks


def run_webhooks(settings: Settings) -> None:
    """Send to the webhooks until SIGINT or SIGTERM."""
    with contextlib.ExitStack() as stack:
        settings = with_database(settings, stack)
        webhooks = start_webhooks(settings, stack.enter_context(open_recorder(settings)), stack)
        registry = CollectorRegistry()
        registry.register(WebhookCollector(webhooks))
        stack.enter_context(ops_server(settings, webhooks.missing, registry))
        announce("Webhooks are sent")
        problem = wait_for_stop(webhooks.problem)
    if problem is not None:
        raise RuntimeError(problem)


def run_order_gate(settings: Settings) -> None:
    """Pass signed orders on until SIGINT or SIGTERM; must be called in the main thread."""
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(connection_pool(with_database(settings, stack), settings.entry_connections_max))

        def find(key_id: str) -> Signer | None:
            try:
                with pool.connection() as connection:
                    found = key_store.signer(connection, key_id)
            except psycopg.OperationalError as error:  # also: no connection in time
                raise OperationalError(str(error)) from error
            return None if found is None else Signer(*found)

        gate = OrderGate(settings, find)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: gate.request_stop())
        stack.enter_context(ops_server(settings, gate.missing))
        gate.run()
