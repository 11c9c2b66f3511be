"""The analyst: tables that have grown are analyzed beside whoever folds, because ANALYZE takes as long as many transactions."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

import structlog
from psycopg import Connection

from projections.machine.background import DATABASE_FAULTS, Background
from projections.machine.store import analyze

_log: Final = structlog.get_logger()


class Analyst:
    """Lets the planner look at tables, one request after the other, in a thread and connections of its own.

    A request that fails because PostgreSQL is away is forgotten: autovacuum looks at the tables later. Any other error ends
    the thread, and `problem` tells it.

    Args:
        connect: returns a new connection.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._requests: SimpleQueue[Sequence[str] | None] = SimpleQueue()  # None is the last one
        self._thread = Background(self._work, "analyze")
        self.problem = self._thread.problem

    def start(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after all requests so far."""
        self._requests.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def request(self, tables: Sequence[str]) -> None:
        """Have these tables analyzed soon; returns at once."""
        self._requests.put(tables)

    def _work(self) -> None:
        while (tables := self._requests.get()) is not None:
            try:
                with self._connect() as connection:
                    analyze(connection, tables)
            except DATABASE_FAULTS as error:
                _log.warning("tables_not_analyzed", tables=tables, error=str(error))
