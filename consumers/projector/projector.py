"""The projector: folds the log into the read models for ever, each by itself.

Any number of processes may run it; they share the read models (`assignment.py`). One process at a time keeps a read model
up to date, which an advisory lock on its connection ensures. Each read model has its own thread, which catches up with
transactions and a connection of its own, so that one that fails or lags holds up no other. Those that have caught up fold
together what is new (projections/machine/group.py), and their threads wait. A batch of the log is read and decoded once for
all read models of a process that are level. While PostgreSQL or the log is away the projector waits, then continues where it
was.
"""

import threading
from collections.abc import Iterable
from time import monotonic
from typing import Final

import psycopg
import structlog
from eventsourcing.persistence import ApplicationRecorder, OperationalError

from consumers.projector.assignment import Assignment
from projections.dashboards import roles
from projections.dashboards.watchdog import Watchdog
from projections.machine.advance import Member
from projections.machine.background import Background
from projections.machine.catch_up import LARGE_BATCH_EVENTS, Folder
from projections.machine.fold_slots import FoldSlots
from projections.machine.fold_traces import FoldTraces
from projections.machine.group import Group
from projections.machine.known_log import LostEventsError, check_log
from projections.machine.log_reader import LogReader, read_log
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection
from projections.machine.rebuild import rebuild
from projections.machine.store import SCHEMA, connect, ensure, make_indexes, position_of, try_lock, unlock
from projections.registry import EVERY, PROJECTIONS

_log: Final = structlog.get_logger()

RETRY_SECONDS_MAX: Final = 5.0
"""The longest pause after a failure; the first is 0.1 seconds, each one twice the last."""

CHECK_SECONDS: Final = 60.0
"""The time after which a thread without news looks whether the log still has what was folded from it."""

LOCK_SECONDS: Final = 0.1
"""The pause between two attempts to take the lock that another process has."""

WAIT_SECONDS: Final = 0.5
"""The longest that a thread waits for news before it checks whether it should stop."""

_PARTITION: Final = 0
"""The partition that rows name: the schema says which partition of the log it is (`schema_of`)."""


class Projector:
    """Keeps the read models of one partition up to date, in threads of this process.

    Args:
        recorder: the log.
        dsn: the database of the read models.
        names: the read models, which processes with the same names share; by default all of a log with one partition.
        gapless: whether the log's positions are 1, 2, 3, ... without a gap (Kafka): then a gap stops a read model.
        schema: where the read models of this partition are; each partition of a log has a schema of its own.
        traces: follows sampled commands into the read models.
        watchdog: runs as long as the projector.
    """

    def __init__(
        self,
        recorder: ApplicationRecorder,
        dsn: str,
        names: Iterable[str] | None = None,
        *,
        gapless: bool = False,
        schema: str = SCHEMA,
        traces: FoldTraces | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        chosen = PROJECTIONS if names is None else {name: EVERY[name] for name in names}
        self.recorder = recorder
        """The log."""
        self._dsn = dsn
        self._gapless = gapless
        self._traces = traces
        self._watchdog = watchdog
        self._schema = schema
        self._log_reader = LogReader(recorder, _PARTITION, traces)
        self._assignment = Assignment(dsn, schema, _PARTITION, chosen.values())
        # A process that is alone folds two large batches at a time: one in Python while PostgreSQL works for the other one.
        self._slots = FoldSlots(lambda: 2 if self._assignment.members == 1 else 1)
        self._stopping = threading.Event()
        self._checked = monotonic()
        self._group = Group(
            connect=lambda: connect(dsn, schema),
            log=self._log_reader,
            is_ours=self._is_ours,
            check=self._check,
            schema=schema,
            gapless=gapless,
            traces=traces,
        )
        self.error: LostEventsError | None = None
        """Why the projector stopped by itself, or None."""
        self._threads = [Background(self._work, f"project-{name}", projection) for name, projection in chosen.items()]

    def start(self) -> None:
        """Start; returns at once."""
        self._assignment.start()
        self._group.start()
        for thread in self._threads:
            thread.start()
        if self._watchdog is not None:
            self._watchdog.start()

    def problem(self) -> str | None:
        """Return why the projector cannot go on, or None."""
        if self.error is not None:
            return f"the projector stopped: {self.error}"
        problems = [self._assignment.problem(), self._group.problem(), *(each.problem() for each in self._threads)]
        if self._watchdog is not None:
            problems.append(self._watchdog.problem())
        return next(filter(None, problems), None)

    def stop(self) -> None:
        """Stop after the batches that are being folded."""
        self._stopping.set()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._log_reader.stop()
        self._assignment.stop()
        self._group.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work(self, projection: Projection) -> None:
        """Keep a read model up to date for ever.

        After a failure pause, each time for longer, and start again from what the database says.
        """
        pause = 0.1
        while not self._stopping.is_set():
            if not self._assignment.wait(projection.name, WAIT_SECONDS):
                continue
            caught_up: Member | None = None
            try:
                with connect(self._dsn, self._schema) as connection:
                    ensure(connection, [projection], _PARTITION, self._schema, roles)
                    if self._lock(connection, projection):
                        check_log(connection, self.recorder, projection, _PARTITION)
                        self._rebuild_if_old(connection, projection)
                        caught_up = self._fold(connection, projection)
                        unlock(connection, projection.name, _PARTITION, self._schema)
            except psycopg.OperationalError as error:
                _log.warning("database_away", projection=projection.name, error=str(error), retry_seconds=pause)
            except LostEventsError as error:
                self._fail(error)
            except OperationalError as error:
                _log.warning("log_away", projection=projection.name, error=str(error), retry_seconds=pause)
            except Exception:  # noqa: BLE001  whatever it is, this read model starts again and the others continue
                _log.exception("projection_failed", projection=projection.name, retry_seconds=pause)
            self._log_reader.leave(projection.name)
            if caught_up is not None:
                self._group.follow(caught_up)
            pause = 0.1 if caught_up else min(2 * pause, RETRY_SECONDS_MAX)
            self._stopping.wait(pause)

    def _fail(self, error: LostEventsError) -> None:
        """Have all threads stop: no read model may be folded from this log."""
        if self.error is None:
            self.error = error
            _log.error("projector_stopped", error=str(error))
        self._stopping.set()

    def _is_ours(self, name: str) -> bool:
        """Return whether the read model is still assigned to this process."""
        return self._assignment.has(name) and not self._stopping.is_set()

    def _lock(self, connection: psycopg.Connection, projection: Projection) -> bool:
        """Take the read model's lock, once no other process has it; return False if it is no longer assigned to this process."""
        while self._is_ours(projection.name):
            if try_lock(connection, projection.name, _PARTITION, self._schema):
                return True
            self._stopping.wait(LOCK_SECONDS)
        return False

    def _rebuild_if_old(self, connection: psycopg.Connection, projection: Projection) -> None:
        _, version = position_of(connection, projection.name, _PARTITION)
        if version != projection.version and self._is_ours(projection.name):
            _log.info("rebuild_begun", projection=projection.name, version=projection.version, from_version=version)
            position = rebuild(
                self._dsn,
                projection,
                lambda after, until: read_log(self.recorder, _PARTITION, after, until),
                lambda: self.recorder.max_notification_id() or 0,
                views=roles,
                partition=_PARTITION,
                schema=self._schema,
            )
            _log.info("rebuild_done", projection=projection.name, version=projection.version, position=position)

    def _fold(self, connection: PipelineConnection, projection: Projection) -> Member | None:
        """Fold batch after batch; make the indexes at the log's present end.

        Returns the read model once it has caught up and may fold with others, None when it is no longer ours.
        """
        end = self.recorder.max_notification_id() or 0
        folder = Folder(
            connection,
            projection,
            _PARTITION,
            catch_up_to=end,
            next_batch=lambda position, seconds: self._log_reader.after(position, seconds, projection.name),
            goes_on=lambda: self._is_ours(projection.name),
            slots=self._slots,
            gapless=self._gapless,
            traces=self._traces,
        )
        indexed, level = False, folder.position >= end
        while self._is_ours(projection.name):
            if not indexed and folder.position >= end:
                make_indexes(connection, projection)
                indexed = True
            if indexed and level and self._group.may_join(projection.name):
                return folder.member
            batch = self._log_reader.after(folder.position, WAIT_SECONDS, projection.name)
            level = batch is None or len(batch.events) < LARGE_BATCH_EVENTS
            if batch is not None:
                folder.fold(batch)
            else:
                self._check(connection, projection)
        return None

    def _check(self, connection: PipelineConnection, projection: Projection) -> None:
        """Raise where the connection is lost, and with it the lock, or, every `CHECK_SECONDS`, where the log lost events."""
        connection.execute("SELECT 1")
        if monotonic() >= self._checked + CHECK_SECONDS:
            check_log(connection, self.recorder, projection, _PARTITION)
            self._checked = monotonic()
