"""Folding batch after batch into one read model: many in a transaction while it catches up, and around events that fail.

A row that changes with every batch of such a transaction is written once.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import monotonic, perf_counter
from typing import Final

import structlog

from projections.machine.advance import LogGapError, Member, advance
from projections.machine.batch import Batch
from projections.machine.fold_slots import FoldSlots
from projections.machine.fold_traces import FoldTraces
from projections.machine.parking import NO_FAULT_OF_THE_EVENT, park
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection
from projections.machine.store import analyze, position_of
from projections.machine.workspace import Workspace

_log: Final = structlog.get_logger()

LARGE_BATCH_EVENTS: Final = 1_000
"""A batch of at least this size needs a fold slot and may begin a catch-up transaction."""

TRANSACTION_EVENTS_MAX: Final = 500_000
"""The number of events after which a transaction of several batches ends."""

TRANSACTION_SECONDS_MAX: Final = 30.0
"""The time after which it ends: all of it is folded again after an interruption."""

NEXT_BATCH_SECONDS: Final = 5.0
"""The longest wait of a transaction for its next batch, which the log already has."""

NextBatch = Callable[[int, float], Batch | None]
"""Returns the batch after a position, or None if none came within these seconds."""


class Folder:
    """Folds batches into one read model; after an event that cannot be folded it goes on, unless everything depends on it.

    Args:
        connection: of this read model alone.
        projection: the read model.
        partition: the log's partition number.
        catch_up_to: the position up to which several batches may be one transaction.
        next_batch: reads the log.
        goes_on: whether this process still keeps the read model up to date; asked between the batches of a transaction.
        slots: shared by the threads of this process.
        gapless: whether the log's positions are 1, 2, 3, ... without a gap.
        traces: told of each transaction, except large ones: who catches up folds what is past.
    """

    def __init__(
        self,
        connection: PipelineConnection,
        projection: Projection,
        partition: int,
        *,
        catch_up_to: int,
        next_batch: NextBatch,
        goes_on: Callable[[], bool],
        slots: FoldSlots,
        gapless: bool,
        traces: FoldTraces | None = None,
    ) -> None:
        self.position, _ = position_of(connection, projection.name, partition)
        """The last position that is folded."""
        self.member = Member(projection, Workspace(projection.tables))
        """The read model, with its rows in memory."""
        self._connection = connection
        self._projection = projection
        self._workspace = self.member.workspace
        self._catch_up_to = catch_up_to
        self._next_batch = next_batch
        self._goes_on = goes_on
        self._slots = slots
        self._gapless = gapless
        self._traces = traces
        self._one_by_one_to = 0

    def fold(self, batch: Batch) -> None:
        """Fold the batch after the position and, while catching up, later ones in the same transaction.

        Raises:
            OperationalError: PostgreSQL is away.
            ProgrammingError: the code does not fit the tables, so that no event could be folded; none is parked.
            LogGapError: an event is missing.
            Exception: whatever the fold raised, if the read model stops at an event.
        """
        began = perf_counter()
        large = len(batch.events) >= LARGE_BATCH_EVENTS
        alone = not large or self.position < self._one_by_one_to
        transaction = CatchUpTransaction(batch, 0 if alone else self._catch_up_to, self._following)
        try:
            with self._slots.slot(self._projection.weight) if large else nullcontext():
                done = advance(self._connection, self._projection, self._workspace, transaction, gapless=self._gapless)
        except (*NO_FAULT_OF_THE_EVENT, LogGapError):
            raise
        except Exception as error:  # noqa: BLE001  whatever a fold raises
            self._after_error(transaction, error)
            return
        if self._traces is not None and not large:
            self._traces.folded([self._projection.name], self.position, done.position, perf_counter() - began)
        self.position = done.position
        analyze(self._connection, self._workspace.grown())
        _log.debug(  # there are many; what is worth knowing at any time is the lag
            "batch_projected",
            projection=self._projection.name,
            position=done.position,
            events=done.events,
            rows=done.rows,
            milliseconds=round((perf_counter() - began) * 1000, 1),
        )

    def _following(self, position: int) -> Batch | None:
        """Return the next batch of the transaction, and let others fold meanwhile; None where the transaction must end."""
        if self._workspace.is_full() or not self._goes_on():
            return None
        with self._slots.released(self._projection.weight):
            return self._next_batch(position, NEXT_BATCH_SECONDS)

    def _after_error(self, transaction: "CatchUpTransaction", error: Exception) -> None:
        name = self._projection.name
        if transaction.last is not transaction.first:
            self._one_by_one_to = transaction.last.last.position
            _log.warning("transaction_failed", projection=name, position=self._one_by_one_to, error=repr(error))
            return
        batch = transaction.first
        if self._projection.scope == "all":
            park_and_stop(self._connection, self._projection, batch)
            raise error
        _log.warning("batch_failed", projection=name, position=self.position, error=repr(error))
        fold_or_park(self._connection, self._projection, self._workspace, batch)
        self.position = batch.last.position


class CatchUpTransaction:
    """The batches of one transaction: `first`, and those after it up to a position and within `TRANSACTION_*_MAX`.

    `last` is the batch that was taken last; `following` returns the batch after a position, or None to end the transaction.
    """

    def __init__(self, first: Batch, until: int, following: Callable[[int], Batch | None]) -> None:
        self.first = first
        self.last = first
        self._until = until
        self._following = following

    def __iter__(self) -> Iterator[Batch]:
        ends = monotonic() + TRANSACTION_SECONDS_MAX
        events = 0
        batch: Batch | None = self.first
        while batch is not None:
            self.last = batch
            yield batch
            events += len(batch.events)
            position = batch.last.position
            more = position < self._until and events < TRANSACTION_EVENTS_MAX and monotonic() < ends
            batch = self._following(position) if more else None


def fold_or_park(connection: PipelineConnection, projection: Projection, workspace: Workspace, batch: Batch) -> None:
    """Fold a batch that failed as a whole: halve it until a failing event stands alone, and park that event."""
    try:
        advance(connection, projection, workspace, [batch])
    except NO_FAULT_OF_THE_EVENT:
        raise
    except Exception as error:  # noqa: BLE001  whatever a fold raises
        if len(batch.events) > 1:
            middle = len(batch.events) // 2
            fold_or_park(connection, projection, workspace, Batch(batch.partition, batch.events[:middle]))
            fold_or_park(connection, projection, workspace, Batch(batch.partition, batch.events[middle:]))
            return
        (recorded,) = batch.events
        with connection.transaction():
            park(connection, projection, batch.partition, recorded, repr(error))
            # The event is held back now, as is everything that depends on it; the position moves past it.
            advance(connection, projection, workspace, [batch])
        _log.error("event_parked", projection=projection.name, position=recorded.position, error=repr(error))


def park_and_stop(connection: PipelineConnection, projection: Projection, batch: Batch) -> None:
    """Fold a failed batch up to the event that fails, and park that event: the read model stops there."""
    workspace = Workspace(projection.tables)
    for recorded in batch.events:
        try:
            advance(connection, projection, workspace, [Batch(batch.partition, [recorded])])
        except NO_FAULT_OF_THE_EVENT:
            raise
        except Exception as error:  # noqa: BLE001  whatever a fold raises
            park(connection, projection, batch.partition, recorded, repr(error))
            _log.error("projection_halted", projection=projection.name, position=recorded.position, error=repr(error))
            return
