"""Folding batches into read models in one transaction, of one of them or of several that stand together.

Rows and positions change in one transaction, and events at or before a read model's position are left out: what is delivered
twice, or again after a crash, changes nothing. The transaction waits for PostgreSQL twice, however many read models it has:
for their positions, and for everything that they write.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter
from typing import Final

from prometheus_client import Counter, Histogram

from projections.machine.adapters import TextListDumper
from projections.machine.batch import Batch
from projections.machine.parking import hold_back, unreadable
from projections.machine.pipeline import PipelineConnection, encoder
from projections.machine.projection import Projection
from projections.machine.store import CHANNEL, analyze
from projections.machine.workspace import Workspace

PUSH_EVENTS: Final = 10
"""The least events of a batch for which PostgreSQL writes one read model while the next one is folded."""

BATCHES_TOGETHER: Final = 10
"""The number of batches in a transaction when a whole log is folded; all of it is folded again after an interruption."""


_SECONDS: Final = Histogram("tidings_projector_transaction_seconds", "Seconds of a transaction that folds events")
_EVENTS: Final = Counter(
    "tidings_projector_folded_events", "Events folded by transactions, each counted once a transaction"
)
_FAILURES: Final = Counter("tidings_projector_failures", "Transactions that failed, and were rolled back")


class LogGapError(RuntimeError):
    """A position is missing between the last folded event and the next one, in a log without gaps."""


class UnreadableBatchError(RuntimeError):
    """A batch holds an event that the codec could not read."""


class VersionError(RuntimeError):
    """The tables are those of another version of the read model: it must be rebuilt."""


class BusyError(RuntimeError):
    """Somebody else holds a read model still: a rebuild that exchanges its tables, a retry of parked events."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The result of a transaction: the position reached, the number of new events, and the number of rows written."""

    position: int
    events: int
    rows: int


@dataclass(frozen=True, slots=True)
class Member:
    """A read model that a transaction folds, with its rows in memory."""

    projection: Projection
    workspace: Workspace


def advance(
    connection: PipelineConnection,
    projection: Projection,
    workspace: Workspace,
    batches: Iterable[Batch],
    *,
    gapless: bool = False,
) -> Advance:
    """Fold consecutive batches of one partition, at least one, in one transaction; waits for whoever holds the read model.

    After any error nothing has changed and the workspace is empty.

    Raises:
        LogGapError: the log should be `gapless`, and a batch does not begin right after the position.
        UnreadableBatchError: a batch holds an event that cannot be read.
        VersionError: the tables are those of another version.
    """
    return _Transaction(connection, [Member(projection, workspace)], gapless=gapless).run(batches, _WAIT)


def advance_together(
    connection: PipelineConnection, members: Sequence[Member], batch: Batch, *, gapless: bool = False
) -> Advance:
    """Fold a batch into several read models in one transaction; the rows are those that `advance` gives for each.

    The members' positions may differ: each is given what comes after its own. After any error nothing has changed and all
    workspaces are empty. `error.owner` is the name of the read model that failed, "" if it was none of them.

    Raises:
        BusyError: somebody else holds a read model still, or its row is missing.
        LogGapError, UnreadableBatchError, VersionError: as `advance`.
    """
    return _Transaction(connection, members, gapless=gapless).run([batch], _SKIP)


def advance_through(
    connection: PipelineConnection, projection: Projection, workspace: Workspace, batches: Iterable[Batch]
) -> Iterator[Advance]:
    """Fold consecutive batches, `BATCHES_TOGETHER` in one transaction; yield what each transaction did."""
    remaining = iter(batches)
    for first in remaining:
        done = advance(connection, projection, workspace, chain([first], islice(remaining, BATCHES_TOGETHER - 1)))
        analyze(connection, workspace.grown())
        yield done


_POSITIONS: Final = (
    "SELECT p.projection, p.position, p.time, p.version, p.generation, "
    "(EXISTS (SELECT FROM projection_parked AS x WHERE x.projection = p.projection AND x.partition = p.partition) OR "
    "EXISTS (SELECT FROM projection_skipped AS x WHERE x.projection = p.projection AND x.partition = p.partition "
    "AND x.position > p.position))::int FROM projection_positions AS p "
    "WHERE p.projection = ANY($1::text[]) AND p.partition = $2::int8 FOR UPDATE OF p"
)
_WAIT: Final = _POSITIONS
_SKIP: Final = f"{_POSITIONS} SKIP LOCKED"

_MOVE: Final = (
    "UPDATE projection_positions SET position = $3::int8, time = $4::int8, "
    "updated_at = (extract(epoch FROM clock_timestamp()) * 1000000)::int8 "
    "WHERE projection = ANY($1::text[]) AND partition = $2::int8"
)
_NOTIFY: Final = "SELECT pg_notify($1::text, $2::text)"

_names: Final = TextListDumper(list).dump
_ints, _ = encoder(["int8"] * 3, [False] * 3)


class _Transaction:
    """One transaction of a few read models."""

    def __init__(self, connection: PipelineConnection, members: Sequence[Member], *, gapless: bool) -> None:
        self._connection = connection
        self._members = members
        self._gapless = gapless
        self._held: set[str] = set()
        self._moved: set[str] = set()
        self._events = self._rows = 0

    def run(self, batches: Iterable[Batch], positions: str) -> Advance:
        began = perf_counter()
        try:
            done = self._run(batches, positions)
        except BaseException as error:
            if not hasattr(error, "owner"):
                error.owner = self._connection.owner  # type: ignore[attr-defined]
            _FAILURES.inc()
            self._connection.roll_back()
            for member in self._members:
                member.workspace.forget()
            raise
        finally:
            self._connection.owner = ""
        _SECONDS.observe(perf_counter() - began)
        _EVENTS.inc(done.events)
        for member in self._members:
            member.workspace.trim()
        return done

    def _run(self, batches: Iterable[Batch], positions: str) -> Advance:
        remaining = iter(batches)
        batch = next(remaining)
        partition = batch.partition
        self._begin(partition, positions)
        self._fold(batch)
        for batch in remaining:
            if self._events:
                self._rows += self._each(lambda workspace: workspace.flush_appended())
            self._fold(batch)
        if self._events:
            self._rows += self._each(lambda workspace: workspace.flush())
            self._queue_position(partition, batch)
        self._connection.queue_commit()
        self._connection.send()
        return Advance(max(member.workspace.position for member in self._members), self._events, self._rows)

    def _begin(self, partition: int, positions: str) -> None:
        """Begin the transaction, lock the members' positions, and tell the workspaces where they stand."""
        connection = self._connection
        connection.queue_begin()
        names = [member.projection.name for member in self._members]
        connection.queue(positions, [_names(names), *_ints(partition, 0, 0)[:1]], [1, 1])
        found = connection.send()[-1]
        rows = {}
        for number in range(found.ntuples):
            values = [found.get_value(number, column) or b"" for column in range(found.nfields)]
            rows[values[0].decode()] = [int(value) for value in values[1:]]
        for member in self._members:
            name = connection.owner = member.projection.name
            if name not in rows and positions is _SKIP:
                raise BusyError(f"somebody else holds {name}")
            if name not in rows or rows[name][2] != member.projection.version:
                raise VersionError(f"{name} has no tables of version {member.projection.version}")
            position, time, _, generation, held = rows[name]
            member.workspace.begin(connection, position, time, generation, empty=position == 0)
            if held:
                self._held.add(name)
        connection.owner = ""

    def _fold(self, batch: Batch) -> None:
        """Fold into each member what comes after its position."""
        most = 0
        for member in self._members:
            workspace = member.workspace
            name = self._connection.owner = member.projection.name
            fresh = batch.after(workspace.position)
            if fresh is None:
                continue
            if self._gapless and fresh.events[0].position != workspace.position + 1:
                raise LogGapError(f"{name} is at {workspace.position}, the next event at {fresh.events[0].position}")
            self._fold_one(member, fresh)
            if len(self._members) > 1 and len(fresh.events) >= PUSH_EVENTS:
                self._rows += workspace.flush()
                self._connection.push()
            self._moved.add(name)
            most = max(most, len(fresh.events))
        self._connection.owner = ""
        self._events += most

    def _fold_one(self, member: Member, batch: Batch) -> None:
        """Fold the part of a batch that is not held back, and move the workspace's position to the end of the batch."""
        workspace, projection = member.workspace, member.projection
        foldable = hold_back(self._connection, projection, batch) if projection.name in self._held else batch
        if foldable is not None:
            if (bad := unreadable(foldable)) is not None:
                raise UnreadableBatchError(f"position {bad.position} cannot be read: {bad.event}")
            workspace.follow_markets(foldable)
            workspace.load_batch(foldable)
            projection.fold(foldable, workspace)
        workspace.position, workspace.time = batch.last.position, batch.last.time

    def _each(self, write: Callable[[Workspace], int]) -> int:
        rows = 0
        for member in self._members:
            self._connection.owner = member.projection.name
            rows += write(member.workspace)
        self._connection.owner = ""
        return rows

    def _queue_position(self, partition: int, batch: Batch) -> None:
        last = batch.last
        names = sorted(self._moved)
        values = _ints(partition, last.position, last.time)
        self._connection.queue(_MOVE, [_names(names), *values], [1] * 4)
        news = f"{','.join(names)} {partition} {last.position}"
        self._connection.queue(_NOTIFY, [CHANNEL.encode(), news.encode()], [1, 1])
