"""The part of a process that sends to webhooks: a worker for each one. Any number of processes may have it; one sends.

An advisory lock decides which one. When it ends, another one takes over within a second, from the places in the database.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

from consumers.webhooks import store
from consumers.webhooks.worker import Worker
from migrations import migrate
from projections.machine.log_reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

_log: Final = structlog.get_logger("webhooks")

LOOK_SECONDS: Final = 1.0
"""The interval at which the sender looks for changes that nobody announced, and others whether it has ended."""

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('tidings webhooks', 0))"


class Webhooks:
    """Sends to all webhooks, in threads of this process.

    Args:
        recorder: the log.
        dsn: the database with the webhooks.
        private: whether addresses that are not public may be reached.
        partition: the log's partition number.
    """

    def __init__(self, recorder: ApplicationRecorder, dsn: str, *, private: bool, partition: int = 0) -> None:
        self.workers: dict[str, Worker] = {}
        """The workers, by the id of their webhook; replaced as a whole, so any thread may read it."""
        self.known: list[store.Webhook] = []
        """All webhooks as they were when last looked at; likewise. Empty while another process sends."""
        self.connected = False
        """Whether the database can be reached."""
        self._recorder = recorder
        self._dsn = dsn
        self._private = private
        self._partition = partition
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    @property
    def running(self) -> bool:
        """Whether it works: it does until `stop`, unless a programming error has ended it."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop. Requests that are under way are given up, and sent again by whoever sends next."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    migrate(connection)
                    pause, self.connected = 0.1, True
                    if self._has_lock(connection):
                        self._send(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self.connected = False
                _log.warning("database_away", error=str(error), retry_seconds=pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, 5.0)

    def _has_lock(self, connection: Connection[Any]) -> bool:
        """Wait until no other process sends; return False when it is time to stop."""
        while not self._stopping.is_set():
            row = connection.execute(_LOCK).fetchone()
            if row is not None and row[0]:
                return True
            self._stopping.wait(LOOK_SECONDS)
        return False

    def _send(self, connection: Connection[Any]) -> None:
        """Keep a worker for each webhook that is not disabled, until it is time to stop or the connection is lost."""
        connection.execute(f"LISTEN {store.CHANNEL}")
        reader = LogReader(self._recorder, self._partition)
        with _running_loop() as loop:
            try:
                while not self._stopping.is_set():
                    self.known = store.every(connection)
                    wanted = {each.webhook_id for each in self.known if each.disabled_at is None}
                    kept = {name: each for name, each in self.workers.items() if each.running}
                    started = {
                        name: Worker(
                            name,
                            dsn=self._dsn,
                            recorder=self._recorder,
                            reader=reader,
                            loop=loop,
                            private=self._private,
                        )
                        for name in wanted - kept.keys()
                    }
                    self.workers = kept | started
                    for each in started.values():
                        each.start()
                    self._wait_for_news(connection)
            finally:
                for each in self.workers.values():
                    each.stop()
                reader.stop()
                for each in self.workers.values():
                    each.join()
                self.workers, self.known = {}, []

    def _wait_for_news(self, connection: Connection[Any]) -> None:
        """Wait for a change, for at most `LOOK_SECONDS`, or until `stop`."""
        for _ in range(5):
            if self._stopping.is_set() or list(connection.notifies(timeout=LOOK_SECONDS / 5, stop_after=1)):
                return
        connection.execute("SELECT 1")


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="webhooks-loop", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()  # does not wait for look-ups of names, which take as long as a name server likes
