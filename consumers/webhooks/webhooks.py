"""The part of a process that sends to webhooks: a worker for each one. Any number of processes may have it; one sends.

An advisory lock decides which one. When it ends, another one takes over within a second, from the places in the database.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

from consumers.webhooks import store
from consumers.webhooks.shared import Shared
from consumers.webhooks.worker import Worker
from migrations import migrate
from projections.machine.background import DATABASE_FAULTS, Background

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

_log: Final = structlog.get_logger("webhooks")

LOOK_SECONDS: Final = 5.0
"""The interval at which the sender looks for changes that nobody announced."""

TAKE_OVER_SECONDS: Final = 1.0
"""The interval at which others look whether the sender has ended."""

STUCK_SECONDS: Final = 10.0
"""The time beyond which a look that is due, or a question to the database, counts as stuck."""

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('tidings webhooks', 0))"


class Webhooks:
    """Sends to all webhooks, from an event loop in a thread of this process.

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
        self._shared: Shared | None = None
        self._looked_at = monotonic()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._thread = Background(self._run, "webhooks")
        self.problem = self._thread.problem

    def missing(self) -> list[str]:
        """Return what it lacks for its work: the database, or an event loop and threads that are not stuck."""
        if not self.connected:
            return ["database"]
        shared = self._shared
        asked = 0.0 if shared is None else shared.longest_seconds()
        is_stuck = monotonic() - self._looked_at > LOOK_SECONDS + STUCK_SECONDS or asked > STUCK_SECONDS
        return ["webhooks are stuck"] if is_stuck else []

    def start(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop. Requests that are under way are given up, and sent again by whoever sends next."""
        self._stopping = True
        if self._thread.ident is None:
            return
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._woken.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._keep_sending())
        finally:
            loop.close()  # does not wait for look-ups of names, which take as long as a name server likes

    async def _keep_sending(self) -> None:
        pause = 0.1
        while not self._stopping:
            try:
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    migrate(connection)
                    pause, self.connected = 0.1, True
                    if await self._has_lock(connection):
                        await self._send(connection)
            except DATABASE_FAULTS as error:
                self.connected = False
                _log.warning("database_away", error=str(error), retry_seconds=pause)
            await self._wait(pause)
            pause = min(2 * pause, 5.0)

    async def _wait(self, seconds: float) -> None:
        """Wait until woken, by news or by `stop`, at most this long."""
        self._looked_at = monotonic()
        if not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            self._woken.clear()

    async def _has_lock(self, connection: Connection[Any]) -> bool:
        """Wait until no other process sends; return False when it is time to stop."""
        while not self._stopping:
            row = connection.execute(_LOCK).fetchone()
            if row is not None and row[0]:
                return True
            await self._wait(TAKE_OVER_SECONDS)
        return False

    async def _send(self, connection: Connection[Any]) -> None:
        """Keep a worker for each webhook that is not disabled, until it is time to stop or the connection is lost."""
        connection.execute(f"LISTEN {store.CHANNEL}")
        with Shared(self._recorder, self._dsn, private=self._private, partition=self._partition) as shared:
            self._shared = shared
            tasks: dict[str, asyncio.Task[None]] = {}
            loop = asyncio.get_running_loop()
            socket = connection.fileno()  # which a connection that is lost does not tell
            loop.add_reader(socket, self._woken.set)
            try:
                while not self._stopping:
                    list(connection.notifies(timeout=0))
                    before, self.known = self.known, store.every(connection)
                    self._keep_workers(shared, tasks, {each.webhook_id for each in {*before} ^ {*self.known}})
                    await self._wait(LOOK_SECONDS)
            finally:
                loop.remove_reader(socket)
                for task in tasks.values():
                    task.cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)
                self._shared, self.workers, self.known = None, {}, []

    def _keep_workers(self, shared: Shared, tasks: dict[str, asyncio.Task[None]], changed: AbstractSet[str]) -> None:
        """Start a worker for each webhook that lacks one, and have those look again whose rows have changed.

        Raises whatever has ended a task: an error of ours.
        """
        for name, task in [*tasks.items()]:
            if task.done():
                del tasks[name]
                task.result()
        wanted = {each.webhook_id for each in self.known if each.disabled_at is None}
        self.workers = {name: each for name, each in self.workers.items() if name in tasks}
        for name in changed & self.workers.keys():
            self.workers[name].wake(changed=True)
        started = {name: Worker(name, shared) for name in wanted - self.workers.keys()}
        self.workers |= started
        coroutines = {name: worker.run() for name, worker in started.items()}
        if wanted and _FOLLOWER not in tasks:
            coroutines[_FOLLOWER] = shared.follow(self._tell_news)
        for name, coroutine in coroutines.items():
            tasks[name] = asyncio.create_task(coroutine, name=name)
            tasks[name].add_done_callback(lambda _: self._woken.set())

    def _tell_news(self) -> None:
        for each in self.workers.values():
            each.wake(changed=False)


_FOLLOWER: Final = "follower"
"""The name of the task that follows the log."""
