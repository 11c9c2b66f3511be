"""Scratch schemas: read models of a world that was never live, folded beside the live ones and dropped afterwards.

One program at a time has them. The lock belongs to its connection, so it is free again whatever becomes of the program; what a
killed one has left behind is dropped by the next one.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg import sql

from analysis.scratch_log import append_to_log, make_log
from projections.machine.advance import Member, advance_together
from projections.machine.batch import Batch
from projections.machine.store import analyze, connect, ensure, make_indexes
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.events import Recorded
    from projections.machine.pipeline import PipelineConnection

PREFIX: Final = "whatif_"
"""The beginning of the schemas' names. No other schema has it."""

BATCH_EVENTS: Final = 10_000
"""The number of events that are folded together."""

BATCHES_WAITING: Final = 2
"""The most batches that wait to be folded: then whoever makes events waits."""

READ_MODELS: Final = ("timeline", "markets", "trades", "orders", "positions", "accounts")
"""The read models that are folded in any case: those that the measures are read from."""


class ScratchBusyError(Exception):
    """Another program has the scratch schemas."""


class RefusedOrder(NamedTuple):
    """An order that was refused: no read model has it."""

    order_id: str
    code: str


@contextmanager
def scratch_schemas(dsn: str, *names: str) -> Iterator[list[str]]:
    """Yield empty schemas of these names, each with the prefix; they are dropped at the end of the block.

    Raises ScratchBusyError.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"tidings {PREFIX}"]
        ).fetchone()
        if not row or not row[0]:
            raise ScratchBusyError("another what-if or backtest is at work on this database; wait for it, or end it")
        drop_scratch(connection)
        try:
            yield [PREFIX + name for name in names]
        finally:
            drop_scratch(connection)


def drop_scratch(connection: psycopg.Connection[Any]) -> None:
    """Drop all scratch schemas."""
    found = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX]).fetchall()
    for (name,) in found:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


class ScratchFold:
    """Folds events into the read models of a schema, in a thread of its own.

    A fold that is `whole` has all read models, and a log of the events: what an export reads.
    """

    def __init__(self, dsn: str, schema: str, partition: int = 0, *, whole: bool = False) -> None:
        self.folded = 0
        """The number of events that were added."""
        self._partition = partition
        self._events: list[Recorded] = []
        self._refused: list[RefusedOrder] = []
        self._batches: Queue[tuple[list[Recorded], list[RefusedOrder]] | None] = Queue(BATCHES_WAITING)
        self._error: BaseException | None = None
        self._is_dropped = False
        names = PROJECTIONS if whole else READ_MODELS
        self._members = [Member(PROJECTIONS[name], Workspace(PROJECTIONS[name].tables)) for name in names]
        self._opened = ExitStack()
        self._connection: PipelineConnection = self._opened.enter_context(connect(dsn, schema))
        ensure(self._connection, [member.projection for member in self._members], partition, schema)
        self._connection.execute("CREATE TABLE refused_orders (order_id text NOT NULL, code text NOT NULL)")
        self._log = make_log(dsn, schema, partition) if whole else None
        self._thread = threading.Thread(target=self._work, name=f"fold-{schema}", daemon=True)
        self._thread.start()

    def add(self, recorded: Recorded) -> None:
        """Take the next event. Raises what folding has raised."""
        self.folded += 1
        self._events.append(recorded)
        if len(self._events) >= BATCH_EVENTS:
            self._hand_over()

    def add_refused(self, order_id: str, code: str) -> None:
        """Take an order that was refused."""
        self._refused.append(RefusedOrder(order_id, code))

    def finish(self) -> None:
        """Fold what is left, make a whole fold's indexes for readers, and end. Raises what folding has raised."""
        if self._events:
            self._hand_over()
        self._stop()
        self._raise()
        if self._log is not None:
            for member in self._members:
                make_indexes(self._connection, member.projection)
                analyze(self._connection, [table.name for table in member.projection.tables])
        self._opened.close()

    def close(self) -> None:
        """End after the batch at hand, and let the others be. May be called again."""
        self._is_dropped = True
        self._stop()
        self._opened.close()

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._batches.put(None)
            self._thread.join()

    def _hand_over(self) -> None:
        self._raise()
        self._batches.put((self._events, self._refused))
        self._events, self._refused = [], []

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (found := self._batches.get()) is not None:
            if self._error is None and not self._is_dropped:
                try:
                    self._fold(*found)
                except BaseException as error:  # noqa: BLE001  the other thread raises it
                    self._error = error

    def _fold(self, events: list[Recorded], refused: list[RefusedOrder]) -> None:
        with self._connection.transaction():
            advance_together(self._connection, self._members, Batch(self._partition, events))
            if refused:
                with self._connection.cursor() as cursor, cursor.copy("COPY refused_orders FROM STDIN") as copy:
                    for row in refused:
                        copy.write_row(row)
            if self._log is not None:
                append_to_log(self._connection, self._log, events)
