"""Queries of reads: in threads and on database connections that they do not share with keys and orders.

Each is bounded in time, and canceled in the database when its client leaves. Costly reads wait for their turn.
"""

from __future__ import annotations

import asyncio
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from anyio import CapacityLimiter, to_thread
from psycopg.errors import QueryCanceled
from starlette.requests import ClientDisconnect

from api.http.costly_turns import CostlyTurns, places_for
from api.http.errors import ApiError
from api.http.waits import disconnected

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection
    from psycopg_pool import ConnectionPool
    from starlette.types import Receive

T = TypeVar("T")

QUICK_SECONDS: Final = 0.05
"""The time after which a read counts as slow: from then on it is watched whether its client is still there."""

CANCEL_SECONDS: Final = 0.1
"""The time between two attempts to cancel: a statement may begin just after one."""


class ReadThreads:
    """The threads of one server in which reads query the database."""

    def __init__(
        self, pool: ConnectionPool[Connection[Any]], *, threads: int, costly_max: int, seconds_max: float
    ) -> None:
        """Use one connection of the pool for each thread; a read may take `seconds_max`, the wait for a thread included.

        At most `costly_max` costly reads run at a time, fewer than there are threads; 0 is half of the CPUs.
        """
        self._pool = pool
        self._seconds = seconds_max
        self._threads = CapacityLimiter(threads)
        self._turns = CostlyTurns(places_for(costly_max, threads))

    async def run(
        self, receive: Receive, question: Callable[[Connection[Any]], T], *, costly_of: str | None = None
    ) -> T:
        """Return what the question finds in the database; `receive` tells when the client has gone.

        `costly_of` names the subject of a costly read.

        Raises:
            ApiError: READ_TIMEOUT, when it takes too long.
            ClientDisconnect: nobody waits for the answer any more.
        """
        job = _Job(self._pool, question)
        deadline = monotonic() + self._seconds
        task = asyncio.ensure_future(self._in_thread(job, costly_of))
        try:
            await asyncio.wait({task}, timeout=min(QUICK_SECONDS, self._seconds))
            if not task.done():
                await _while_wanted(task, receive, deadline - monotonic())
            if task.done():
                return task.result()
            raise self._too_late()
        except QueryCanceled as error:
            raise self._too_late() from error
        finally:
            if not task.done():
                await _end(task, job)

    async def _in_thread(self, job: _Job[T], costly_of: str | None) -> T:
        if costly_of is None:
            return await to_thread.run_sync(job.run, limiter=self._threads)
        async with self._turns.turn(costly_of):
            return await to_thread.run_sync(job.run, limiter=self._threads)

    def _too_late(self) -> ApiError:
        return ApiError(
            "READ_TIMEOUT",
            f"the read took longer than {self._seconds:g} s: ask for less, or later",
            {"seconds_max": self._seconds},
            retry_after_seconds=1,
        )


class _Job(Generic[T]):
    """A question to the database that can be canceled from another thread."""

    def __init__(self, pool: ConnectionPool[Connection[Any]], question: Callable[[Connection[Any]], T]) -> None:
        self._pool = pool
        self._question = question
        self._lock = Lock()
        self._connection: Connection[Any] | None = None
        self._canceled = False
        self.began = False

    def run(self) -> T:
        """Return what the question finds; raises QueryCanceled."""
        self.began = True
        with self._pool.connection() as connection:
            with self._lock:
                if self._canceled:
                    raise QueryCanceled
                self._connection = connection
            try:
                return self._question(connection)
            finally:
                with self._lock:  # whoever gets the connection next is not canceled
                    self._connection = None

    def cancel(self) -> None:
        """Cancel the statement that runs, and let no question begin."""
        with self._lock:
            self._canceled = True
            if self._connection is not None:
                self._connection.cancel_safe(timeout=2)


async def _while_wanted(task: asyncio.Future[Any], receive: Receive, seconds: float) -> None:
    """Wait for the task, at most so long; raises ClientDisconnect when its client leaves."""
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({task, gone}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if not task.done() and gone.done():
        raise ClientDisconnect


async def _end(task: asyncio.Future[Any], job: _Job[Any]) -> None:
    """Cancel the statement of a task until the task has ended; one that has no thread yet gets none."""
    if not job.began:
        task.cancel()
    while not task.done():
        await to_thread.run_sync(partial(job.cancel))
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    if not task.cancelled():
        task.exception()  # nobody asks for it any more
