"""The projector: folds the log into the read models, each on its own, for ever.

Any number of processes may run it, and share the read models (`crew.py`); one is worked by one process at a time, which an
advisory lock on its connection sees to. Each has a thread, a connection, transactions and a position of its own, so that
one that fails or lags holds up no other; a batch is read and decoded once for all in a process that are abreast. While
PostgreSQL or the log is away it waits, and goes on exactly where it was.

A batch is a transaction; while a read model catches up with the log, many are: see `CatchUpTransaction`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from time import monotonic, perf_counter
from typing import Final

import psycopg
import structlog
from eventsourcing.persistence import ApplicationRecorder

from consumers.projector.assignment import Assignment
from projections.dashboards import roles
from projections.machine.batch import Batch
from projections.machine.fold_slots import FoldSlots
from projections.machine.log_reader import Feed, read_log
from projections.machine.parking import park
from projections.machine.projection import Projection
from projections.machine.rebuild import rebuild
from projections.machine.store import SCHEMA, LogGapError, advance, connect, ensure, make_indexes, position_of, try_lock
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS

_log: Final = structlog.get_logger()

RETRY_SECONDS_MAX: Final = 5.0
LARGE_BATCH_EVENTS: Final = 1_000
"""From so many events on, a batch waits for its turn."""

STRETCH_EVENTS_MAX: Final = 500_000
STRETCH_SECONDS_MAX: Final = 30.0
"""So much may be lost, and is folded again, when a read model that catches up is interrupted."""

STRETCH_WAIT_SECONDS: Final = 5.0
"""So long does a stretch wait for its next batch, which is in the log, while other read models are further behind."""

LOCK_SECONDS: Final = 0.1
"""So often does a thread look whether another process has let go of a read model."""

WAIT_SECONDS: Final = 0.5
"""How long a thread waits for news before it looks whether it should stop."""


class Projector:
    """Works the read models of one partition in threads of this process.

    Args:
        recorder: the log.
        dsn: the database of the read models.
        names: those to work, which other processes with the same names share; all by default.
        partition: the partition that the log is.
        gapless: whether the log's positions are 1, 2, 3, ... without a gap (Kafka): then a gap stops a read model.
    """

    def __init__(
        self,
        recorder: ApplicationRecorder,
        dsn: str,
        names: Iterable[str] | None = None,
        *,
        partition: int = 0,
        gapless: bool = False,
        schema: str = SCHEMA,
    ) -> None:
        chosen = PROJECTIONS if names is None else {name: PROJECTIONS[name] for name in names}
        self._recorder = recorder
        self._dsn = dsn
        self._partition = partition
        self._gapless = gapless
        self._schema = schema
        self._feed = Feed(recorder, partition)
        self._crew = Assignment(dsn, schema, partition, chosen.values())
        # A process that is alone folds two large batches at a time, one in Python while PostgreSQL works for the other one.
        self._turns = FoldSlots(lambda: 2 if self._crew.size == 1 else 1)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=[projection], name=f"project-{name}", daemon=True)
            for name, projection in chosen.items()
        ]

    def start(self) -> None:
        """Begin; returns at once."""
        self._feed.start()
        self._crew.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the batches that are being folded."""
        self._stopping.set()
        self._feed.stop()
        self._crew.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work(self, projection: Projection) -> None:
        """Fold for ever; after any trouble begin again from what the database says, after a pause that grows."""
        pause = 0.1
        while not self._stopping.is_set():
            if not self._crew.wait(projection.name, WAIT_SECONDS):
                continue
            worked = False
            try:
                with connect(self._dsn, self._schema) as connection:
                    ensure(connection, [projection], self._partition, self._schema, roles)
                    if self._lock(connection, projection):
                        self._rebuild_if_old(connection, projection)
                        for _ in self._fold(connection, projection):
                            worked = True
            except psycopg.OperationalError as error:
                _log.warning("database_away", projection=projection.name, error=str(error), retry_seconds=pause)
            except Exception:  # noqa: BLE001  whatever it is, this read model begins again and the others go on
                _log.exception("projection_failed", projection=projection.name, retry_seconds=pause)
            self._feed.leave(projection.name)
            pause = 0.1 if worked else min(2 * pause, RETRY_SECONDS_MAX)
            self._stopping.wait(pause)

    def _works(self, projection: Projection) -> bool:
        """Whether the read model is still this process's to work."""
        return self._crew.has(projection.name) and not self._stopping.is_set()

    def _lock(self, connection: psycopg.Connection, projection: Projection) -> bool:
        """Take the read model's lock, waiting while another process has it; False where it is no more ours to work."""
        while self._works(projection):
            if try_lock(connection, projection.name, self._partition, self._schema):
                return True
            self._stopping.wait(LOCK_SECONDS)
        return False

    def _rebuild_if_old(self, connection: psycopg.Connection, projection: Projection) -> None:
        _, version = position_of(connection, projection.name, self._partition)
        if version != projection.version and self._works(projection):
            _log.info("rebuild_begun", projection=projection.name, version=projection.version, from_version=version)
            position = rebuild(
                self._dsn,
                projection,
                lambda after, until: read_log(self._recorder, self._partition, after, until),
                lambda: self._recorder.max_notification_id() or 0,
                views=roles,
                partition=self._partition,
                schema=self._schema,
            )
            _log.info("rebuild_done", projection=projection.name, version=projection.version, position=position)

    def _fold(self, connection: psycopg.Connection, projection: Projection) -> Iterable[int]:
        """Fold batch after batch, yielding each position reached; make the indexes when the log's end of now is reached."""
        workspace = Workspace(projection.tables)
        position, _ = position_of(connection, projection.name, self._partition)
        end: int | None = self._recorder.max_notification_id() or 0
        failed = 0  # up to here batches are folded one by one
        while self._works(projection):
            if end is not None and position >= end:
                make_indexes(connection, projection)
                end = None
            batch = self._feed.after(position, WAIT_SECONDS, projection.name)
            if batch is None:
                connection.execute("SELECT 1")  # whether we still have the connection, and with it the lock
                continue
            began = perf_counter()
            large = len(batch.events) >= LARGE_BATCH_EVENTS
            until = end if large and end is not None and position >= failed else position
            stretch = CatchUpTransaction(batch, until, lambda at: self._next_of_stretch(projection, workspace, at))
            try:
                with self._turns.turn(projection.weight) if large else nullcontext():
                    done = advance(connection, projection, workspace, stretch, gapless=self._gapless)
            except (psycopg.OperationalError, LogGapError):
                raise
            except Exception as error:
                if stretch.last is not batch:
                    failed = stretch.last.last.position
                    _log.warning("stretch_not_digested", projection=projection.name, position=failed, error=repr(error))
                    continue
                if projection.scope == "all":
                    self._note_halt(connection, projection, batch, error)
                    raise
                _log.warning("batch_not_digested", projection=projection.name, position=position, error=repr(error))
                fold_or_park(connection, projection, workspace, batch)
                position = batch.last.position
            else:
                position = done.position
                _log.debug(  # there are many; what is worth knowing at any time is the lag
                    "batch_projected",
                    projection=projection.name,
                    position=position,
                    events=done.events,
                    rows=done.rows,
                    milliseconds=round((perf_counter() - began) * 1000, 1),
                )
            yield position

    def _next_of_stretch(self, projection: Projection, workspace: Workspace, position: int) -> Batch | None:
        """Return the batch behind a position, having let others fold meanwhile; None where the stretch has to end."""
        if workspace.is_full() or not self._works(projection):
            return None
        with self._turns.given_way(projection.weight):
            return self._feed.after(position, STRETCH_WAIT_SECONDS, projection.name)

    def _note_halt(
        self, connection: psycopg.Connection, projection: Projection, batch: Batch, error: Exception
    ) -> None:
        """A read model in which all depends on all stops at the event: find it and show it."""
        workspace = Workspace(projection.tables)
        for recorded in batch.events:
            one = Batch(batch.partition, [recorded])
            try:
                advance(connection, projection, workspace, [one])
            except psycopg.OperationalError:
                raise
            except Exception as cause:  # noqa: BLE001  whatever it is, it is shown
                park(connection, projection, batch.partition, recorded, repr(cause))
                _log.error(
                    "projection_halted", projection=projection.name, position=recorded.position, error=repr(error)
                )
                return


class CatchUpTransaction:
    """Batches that are folded in one transaction: the first one, and those behind it up to a position and to the bounds of
    `STRETCH_*`.

    So what changes with every batch is written once. `last` is the batch that was taken last, `following` returns the
    one behind a position, or None to end here.
    """

    def __init__(self, first: Batch, until: int, following: Callable[[int], Batch | None]) -> None:
        self.last = first
        self._until = until
        self._following = following

    def __iter__(self) -> Iterator[Batch]:
        ends = monotonic() + STRETCH_SECONDS_MAX
        events = 0
        batch: Batch | None = self.last
        while batch is not None:
            self.last = batch
            yield batch
            events += len(batch.events)
            position = batch.last.position
            more = position < self._until and events < STRETCH_EVENTS_MAX and monotonic() < ends
            batch = self._following(position) if more else None


def fold_or_park(connection: psycopg.Connection, projection: Projection, workspace: Workspace, batch: Batch) -> None:
    """Fold a batch that failed as a whole: halve it until the event stands alone that cannot be digested, and park that."""
    try:
        advance(connection, projection, workspace, [batch])
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, it is shown
        if len(batch.events) > 1:
            middle = len(batch.events) // 2
            fold_or_park(connection, projection, workspace, Batch(batch.partition, batch.events[:middle]))
            fold_or_park(connection, projection, workspace, Batch(batch.partition, batch.events[middle:]))
            return
        (recorded,) = batch.events
        with connection.transaction():
            park(connection, projection, batch.partition, recorded, repr(error))
            # Held back now, as everything behind it will be; the position moves past it.
            advance(connection, projection, workspace, [batch])
        _log.error("event_parked", projection=projection.name, position=recorded.position, error=repr(error))
