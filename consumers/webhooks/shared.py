"""What the workers of all webhooks share: a few threads with as many connections, and one reader of the log.

However many webhooks there are, the threads and the connections are as many as `THREADS` says. While nothing happens in the
log, one of them wakes twice a second, and nothing else does.
"""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

import structlog
from eventsourcing.persistence import PersistenceError
from psycopg_pool import ConnectionPool

from projections.machine.log_reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = structlog.get_logger("webhooks")

THREADS: Final = 4
"""The most threads, each with a connection, that ask the database and read the log for the workers."""

WAIT_SECONDS: Final = 0.5
"""The longest wait for news of the log before its follower looks whether it should stop."""

RETRY_SECONDS: Final = 1.0
"""The pause before a log that is away is asked again."""


class Shared:
    """See the module's docstring. It belongs to one event loop; close it there."""

    def __init__(self, recorder: ApplicationRecorder, dsn: str, *, private: bool, partition: int) -> None:
        self.recorder = recorder
        self.private = private
        """Whether addresses that are not public may be reached."""
        self.head = 0
        """The log's last position, as far as it was followed."""
        self.reader = LogReader(recorder, partition)
        self._threads = ThreadPoolExecutor(THREADS + 1, thread_name_prefix="webhooks")  # one follows the log
        self._pool = ConnectionPool(
            dsn,
            kwargs={"autocommit": True, "application_name": "tidings webhooks"},
            min_size=0,
            max_size=THREADS,
            open=False,
            check=ConnectionPool.check_connection,
            timeout=5.0,
            num_workers=1,
        )
        self._numbers = itertools.count()
        self._asked: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.stop()
        self._threads.shutdown()
        self._pool.close()

    async def ask(
        self, question: Callable[Concatenate[Connection[Any], P], T], *arguments: P.args, **more: P.kwargs
    ) -> T:
        """Call a function with a connection, in a thread; return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._with_connection(lambda connection: question(connection, *arguments, **more))
        )

    def _with_connection(self, question: Callable[[Connection[Any]], T]) -> T:
        number = next(self._numbers)
        self._asked[number] = monotonic()
        try:
            with self._pool.connection() as connection:
                return question(connection)
        finally:
            del self._asked[number]

    def longest_seconds(self) -> float:
        """Return for how long the longest question that has no answer yet is asked; for any thread."""
        return monotonic() - min([*self._asked.values()], default=monotonic())

    async def follow(self, news: Callable[[], object]) -> None:
        """Follow the end of the log for ever, and tell when it has moved. Tries again while the log is away."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.head = await loop.run_in_executor(self._threads, lambda: self.recorder.max_notification_id() or 0)
                news()
                while True:
                    batch = await loop.run_in_executor(
                        self._threads, self.reader.after, self.head, WAIT_SECONDS, "webhooks"
                    )
                    if batch is not None:
                        self.head = batch.last.position
                        news()
            except PersistenceError as error:
                _log.warning("log_away", error=str(error), retry_seconds=RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)
