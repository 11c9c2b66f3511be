"""Waiting until read models have reached a position, without polling the database and without a thread for each wait.

A notification only says that it is time to look. Anybody who may connect can send one, so only the table is believed.
"""

import select
import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoResultError
from contextlib import contextmanager
from typing import Final

import psycopg
import structlog

from projections.machine.background import DATABASE_FAULTS, Background
from projections.machine.store import CHANNEL, SCHEMA

_log: Final = structlog.get_logger()

RETRY_SECONDS_MAX: Final = 5.0
"""The longest pause before it connects again; the first is 0.1 seconds, each one twice the last."""


class _Wait:
    """A wait for several read models. It always stands with one that lags, so that only that one's progress looks at it."""

    __slots__ = ("future", "lagging", "names", "position")

    def __init__(self, names: Iterable[str], position: int) -> None:
        self.names = tuple(names)
        self.position = position
        self.lagging = ""
        self.future: Future[bool] = Future()
        self.future.set_running_or_notify_cancel()  # whoever gives up cannot cancel what the listener is about to finish


class Progress:
    """The position of every read model, looked up at each notification, in one thread and one connection per process."""

    def __init__(self, dsn: str, partition: int = 0, schema: str = SCHEMA) -> None:
        self._dsn = dsn
        self._partition = partition
        self._schema = schema
        self._positions: dict[str, int] = {}
        self._waits: dict[str, set[_Wait]] = {}
        self._lock = threading.Lock()  # guards the waits
        self._stopping = threading.Event()
        self._thread = Background(self._listen, "progress")

    def start(self) -> None:
        """Start to listen."""
        self._waker, self._woken = socket.socketpair()  # when one is closed, the other one wakes the listener
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while it listens, or tries to; False when it has stopped by itself."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop listening; all waits end with False."""
        self._stopping.set()
        with self._lock:
            for wait in set().union(*self._waits.values()):
                self._finish(wait, is_reached=False)
        if self._thread.ident is not None:
            self._waker.close()
            self._thread.join()
            self._woken.close()

    def position(self, names: Iterable[str]) -> int:
        """Return the last known position that all of these read models have reached.

        It falls only when PostgreSQL has crashed: the last transactions of the read models are lost then, and made again.
        """
        return min((self._positions.get(name, 0) for name in names), default=0)

    def wait(self, names: Iterable[str], position: int, timeout_seconds: float) -> bool:
        """Block until all of these read models have folded the position; return whether they did in that time."""
        with self.waiting(names, position) as reached:
            try:
                return reached.result(max(0.0, timeout_seconds))
            except NoResultError:
                return False

    @contextmanager
    def waiting(self, names: Iterable[str], position: int) -> Iterator[Future[bool]]:
        """Yield a future: True once all of these read models have folded the position, False when the listener stops.

        It takes no thread. The end of the block forgets it, finished or not.
        """
        wait = _Wait(names, position)
        with self._lock:
            if self._stopping.is_set():
                wait.future.set_result(False)
            else:
                self._place(wait)
        try:
            yield wait.future
        finally:
            with self._lock:
                self._waits.get(wait.lagging, set()).discard(wait)

    def _place(self, wait: _Wait) -> None:
        """Let the wait stand with a read model that lags, or finish it when none does. Needs the lock."""
        for name in wait.names:
            if self._positions.get(name, 0) < wait.position:
                wait.lagging = name
                self._waits.setdefault(name, set()).add(wait)
                return
        self._finish(wait, is_reached=True)

    def _finish(self, wait: _Wait, *, is_reached: bool) -> None:
        if not wait.future.done():
            wait.future.set_result(is_reached)

    def _listen(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._dsn, autocommit=True, options=f"-c search_path={self._schema}"
                ) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._read_all(connection, anew=True)
                    pause = 0.1
                    # psycopg waits by looking ten times a second. So wait for its socket, or for `stop`.
                    arrived = select.poll()
                    arrived.register(connection.fileno(), select.POLLIN)
                    arrived.register(self._woken.fileno(), select.POLLIN)
                    while not self._stopping.is_set():
                        # One look-up for all notifications that came together; more may come with its answer.
                        while list(connection.notifies(timeout=0)):
                            self._read_all(connection)
                        arrived.poll()
            except DATABASE_FAULTS as error:
                _log.warning("progress_unknown", error=str(error), retry_seconds=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)

    def _read_all(self, connection: psycopg.Connection, *, anew: bool = False) -> None:
        """Look up all positions. After the connection was lost they may have fallen: a crash takes the last transactions."""
        try:
            rows = connection.execute(
                "SELECT projection, position FROM projection_positions WHERE partition = %s", [self._partition]
            ).fetchall()
        except psycopg.errors.UndefinedTable:
            return
        if anew:
            with self._lock:
                fallen = {name: position for name, position in rows if position < self._positions.get(name, 0)}
                self._positions.update(fallen)
            if fallen:
                _log.warning("read_models_fell_back", positions=fallen)
        for name, position in rows:
            self._reach(name, position)

    def _reach(self, name: str, position: int) -> None:
        with self._lock:
            if position <= self._positions.get(name, 0):
                return
            self._positions[name] = position
            waits = self._waits.get(name, set())
            reached = [wait for wait in waits if wait.position <= position]
            waits.difference_update(reached)
            for wait in reached:
                self._place(wait)
