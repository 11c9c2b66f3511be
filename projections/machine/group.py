"""The group: read models that have caught up fold what is new together.

    alone, at the end of the log  --join-->  in the group  --leaves-->  alone, from its position on

One thread of the process reads the log for the whole group and folds each batch into all members, in one transaction of one
connection (`advance_together`). It holds the members' locks. A read model joins once it has caught up, with its rows in
memory. It leaves

- when it is no longer assigned to this process: the others go on;
- with all others, when a batch fails: each then folds it alone, so that the one that cannot fold it is found, and the others
  come back. Who failed may come back only after `ALONE_SECONDS`;
- with all others, when so much is new that each catches up faster alone.

After a transaction the group rests, `REST` times as long as it took: what arrives meanwhile is folded together, so the more
there is, the less each event costs. An event that comes after the rest is folded at once. Under load (`LOAD_EVENTS_PER_S`) it
may rest longer: orders need the CPU then. While there is more than fits into one transaction, the group does not rest.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

import psycopg
import structlog

from projections.machine.advance import Member, advance_together
from projections.machine.analyst import Analyst
from projections.machine.background import Background
from projections.machine.fold_traces import FoldTraces
from projections.machine.log_reader import LogReader
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection
from projections.machine.store import position_of, try_lock, unlock

_log: Final = structlog.get_logger()

REST: Final = 3.0
"""The rest after a transaction, as a multiple of the time that it took."""

REST_SECONDS_MAX: Final = 0.03
"""The longest rest without load."""

LOAD_REST_SECONDS_MAX: Final = 0.15
"""The longest rest under load."""

LOAD_ROUND_SECONDS: Final = 0.4
"""The longest transaction and rest together under load: readers see within a second what came at the beginning of both."""

LOAD_EVENTS: Final = 300
"""The fewest events of a transaction under load."""

LOAD_EVENTS_PER_S: Final = 5_000
"""The rate at which events come under load: twice that of the lag that readers are promised, a tenth of a second."""

TOGETHER_EVENTS_MAX: Final = 40_000
"""The most events that the group takes on at a time; for more, its members catch up alone."""

TRANSACTION_EVENTS_MAX: Final = 5_000
"""The most events of a transaction: readers see what it folded within a second, however much there is to fold."""

ALONE_SECONDS: Final = 60.0
"""The time for which a read model that failed stays out of the group."""

ROWS_MAX: Final = 200_000
"""The most rows in memory of all members together, about 60 MB: above it the member that has most drops rows."""

COUNT_SECONDS: Final = 1.0
"""The interval at which these rows are counted."""

WAIT_SECONDS: Final = 0.5
"""The longest wait for a batch before the group looks whether its members still belong to it."""

_READER: Final = "group"


def rest_seconds(events: int, gathered_seconds: float, took_seconds: float) -> float:
    """Return how long the group rests after a transaction.

    Args:
        events: the number of events that waited for it.
        gathered_seconds: the time in which they came.
        took_seconds: how long the transaction took.
    """
    if events > TRANSACTION_EVENTS_MAX:
        return 0.0
    most = REST_SECONDS_MAX
    if events >= max(LOAD_EVENTS, LOAD_EVENTS_PER_S * gathered_seconds):
        most = max(most, min(LOAD_REST_SECONDS_MAX, LOAD_ROUND_SECONDS - took_seconds))
    return min(REST * took_seconds, most)


class Group:
    """The read models of one process and partition that fold together.

    Args:
        connect: returns a new connection for the group.
        log: the process's reader of the log.
        is_ours: whether a read model of this name is still assigned to this process.
        check: called when nothing is new, with one of the members; raises where the log has lost events.
        schema: where the read models' tables are.
        gapless: whether the log's positions have no gap.
        traces: told of each transaction.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], PipelineConnection],
        log: LogReader,
        is_ours: Callable[[str], bool],
        check: Callable[[PipelineConnection, Projection], None],
        schema: str,
        gapless: bool,
        traces: FoldTraces | None = None,
    ) -> None:
        self._connect = connect
        self._log = log
        self._is_ours = is_ours
        self._check = check
        self._partition = log.partition
        self._schema = schema
        self._gapless = gapless
        self._traces = traces
        self._changed = threading.Condition()
        self._joining: list[Member] = []
        self._members: dict[str, Member] = {}
        self._alone_until: dict[str, float] = {}
        self._count_at = 0.0
        self._stopping = threading.Event()
        self._thread = Background(self._work, "project-together")
        self._analyst = Analyst(connect)

    def start(self) -> None:
        """Start; returns at once."""
        self._analyst.start()
        self._thread.start()

    def problem(self) -> str | None:
        """Return the error of ours that has ended one of its threads as a sentence, or None."""
        return self._thread.problem() or self._analyst.problem()

    def stop(self) -> None:
        """Stop after the batch that is being folded; all members leave."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._analyst.stop()

    @property
    def members(self) -> frozenset[str]:
        """The names of the read models that fold together now."""
        return frozenset(self._members)

    @property
    def rows_in_memory(self) -> int:
        """The number of rows that the members have in memory."""
        return sum(member.workspace.size for member in list(self._members.values()))

    def may_join(self, name: str) -> bool:
        """Return whether a read model may join: it has not failed lately."""
        return monotonic() >= self._alone_until.get(name, 0.0) and not self._stopping.is_set()

    def follow(self, member: Member) -> None:
        """Let a read model that has caught up fold with the others; returns once it has left.

        Its lock must be free: the group takes it. Its workspace is the group's until it has left.
        """
        name = member.projection.name
        with self._changed:
            if self._stopping.is_set():
                return
            self._joining.append(member)
            self._changed.notify_all()
            self._changed.wait_for(lambda: member not in self._joining and self._members.get(name) is not member)

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._joining or self._stopping.is_set())
            try:
                if not self._stopping.is_set():
                    with self._connect() as connection:
                        self._fold_together(connection)
            except Exception as error:  # noqa: BLE001  each member finds out alone whether it can go on
                self._note_failure(error)
            self._log.leave(_READER)
            with self._changed:
                self._joining.clear()
                self._members.clear()
                self._changed.notify_all()

    def _note_failure(self, error: Exception) -> None:
        name = getattr(error, "owner", "")
        if name and not isinstance(error, psycopg.OperationalError):  # that says that PostgreSQL is away
            self._alone_until[name] = monotonic() + ALONE_SECONDS
        _log.warning("group_dissolved", projection=name or None, error=repr(error))

    def _fold_together(self, connection: PipelineConnection) -> None:
        """Fold batch after batch, until there is no member left or too much to fold."""
        position = self._update_members(connection)
        read_at = monotonic()
        while position is not None:
            batch = self._log.after(position, WAIT_SECONDS, _READER)
            if batch is None:
                self._check(connection, next(iter(self._members.values())).projection)
            elif len(batch.events) > TOGETHER_EVENTS_MAX:
                return
            else:
                began = monotonic()
                gathered, read_at = began - read_at, began
                waiting = len(batch.events)
                batch = batch.first(TRANSACTION_EVENTS_MAX)
                advance_together(connection, list(self._members.values()), batch, gapless=self._gapless)
                if self._traces is not None:
                    self._traces.folded(list(self._members), position, batch.last.position, monotonic() - began)
                if grown := [table for member in self._members.values() for table in member.workspace.grown()]:
                    self._analyst.request(grown)
                self._bound_memory()
                self._stopping.wait(rest_seconds(waiting, gathered, monotonic() - began))
            position = self._update_members(connection)

    def _bound_memory(self) -> None:
        if monotonic() < self._count_at:
            return
        self._count_at = monotonic() + COUNT_SECONDS
        while self.rows_in_memory > ROWS_MAX:
            max((member.workspace for member in self._members.values()), key=lambda workspace: workspace.size).shrink()

    def _update_members(self, connection: PipelineConnection) -> int | None:
        """Let read models leave that are not ours any more, and those in that wait; return the least position of all.

        One whose lock somebody else has taken meanwhile is not let in. None where there is no member.
        """
        leaving = [name for name in self._members if not self._is_ours(name)]
        if leaving or self._joining:
            for name in leaving:
                unlock(connection, name, self._partition, self._schema)
            with self._changed:
                for name in leaving:
                    del self._members[name]
                joining, self._joining = self._joining, []
                for member in joining:
                    if self._may_be_let_in(connection, member):
                        self._members[member.projection.name] = member
                self._changed.notify_all()
        if self._stopping.is_set():
            return None
        return min((member.workspace.position for member in self._members.values()), default=None)

    def _may_be_let_in(self, connection: PipelineConnection, member: Member) -> bool:
        projection, workspace = member.projection, member.workspace
        if not try_lock(connection, projection.name, self._partition, self._schema):
            return False
        position, version = position_of(connection, projection.name, self._partition)
        if position != workspace.position:  # it has folded nothing yet, or another process has
            workspace.forget()
            workspace.position = position
        return version == projection.version
