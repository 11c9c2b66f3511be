"""One moment of the log and of all read models, from which the files of an export are written."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from api.export.equity_lines import equity_lines
from api.export.errors import ExportRefusedError
from api.export.event_lines import event_lines
from api.export.files import digest_of, finish, part_of, write_part
from api.export.manifest import FileEntry
from api.export.row_lines import Lines, copy_lines
from api.export.tables import EQUITY, EVENTS
from domain.money import format_decimal
from projections import timeline
from projections.machine.known_log import LostEventsError, log_identity, lost_events
from projections.markets import markets
from projections.reading import AsOf, hold_snapshot, projection_status
from projections.times import MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from api.export.parquet import DuckDB
    from api.export.tables import ExportedTable

    Progress = Callable[[str], None]

STILL_SECONDS: Final = 30.0
"""The longest wait for a read model that does not move."""

_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What is exported: the log of a partition, and the database of its read models (a connection in autocommit mode).

    `name` tells the log from all others where it has no lasting identity of its own.
    """

    log: ApplicationRecorder
    connection: Connection[Any]
    partition: int = 0
    name: str = ""

    @property
    def identity(self) -> str:
        """The identity of the log."""
        return self.name or log_identity(self.log)

    @property
    def end(self) -> int:
        """The last position of the log, 0 where it is empty."""
        return self.log.max_notification_id() or 0


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """The rows of a file as JSON lines, which stand in the file `rows` until the file at `path` is made of them."""

    table: ExportedTable
    path: Path
    rows: Path
    name: str
    first: int
    last: int
    lines: Lines


@dataclass(frozen=True, slots=True)
class ExportSnapshot:
    """The log up to `until`, and the read models in one transaction; `markets` are the ids of those wanted, None for all."""

    source: ExportSource
    until: int
    time: int
    before_minute: int
    markets: tuple[str, ...] | None
    duckdb: DuckDB | None
    """Writes Parquet; None for JSON lines."""

    @property
    def ending(self) -> str:
        """The ending of the names of files."""
        return "jsonl" if self.duckdb is None else "parquet"

    def write(self, table: ExportedTable, folder: Path, first: int = 1, part: str = "") -> FileEntry:
        """Write the file of a table that has the rows from position `first` on, or the state; return its entry."""
        return self.finish(self.write_rows(table, folder, first, part))

    def write_rows(
        self,
        table: ExportedTable,
        folder: Path,
        first: int = 1,
        part: str = "",
        go_on: Callable[[], None] = lambda: None,
    ) -> WrittenRows:
        """Write the rows of that file as JSON lines, for `finish`. `go_on` is asked at each page, and raises to end it."""
        name = table.file_name(first, self.ending, part)
        path = folder / name
        rows = part_of(path) if self.duckdb is None else path.with_name(f"{path.name}.rows.part")
        last = table.last(first, self.until)
        lines = Lines(table.amounts)
        write_part(rows, _asking(go_on, self._lines(table, first - 1, last, part, lines)))
        return WrittenRows(table, path, rows, name, first, last, lines)

    def finish(self, written: WrittenRows) -> FileEntry:
        """Make the file of these rows; return its entry. It needs no database, so another thread may do it."""
        part, lines = part_of(written.path), written.lines
        if self.duckdb is not None:
            self.duckdb.convert(written.table, written.rows, part, lines.longest)
            written.rows.unlink()
        size, digest = part.stat().st_size, digest_of(part)
        finish(written.path)
        sums = {column: format_decimal(amount) for column, amount in lines.sums.items()}
        return FileEntry(written.name, written.table.name, written.first, written.last, lines.rows, size, digest, sums)

    def _lines(self, table: ExportedTable, after: int, last: int, part: str, lines: Lines) -> Iterable[bytes]:
        if not self.until:
            return ()
        if table.name == EVENTS:
            wanted = None if self.markets is None else frozenset(self.markets)
            as_text = self.duckdb is not None
            return event_lines(self.source.log, after, last, lines, markets=wanted, data_as_text=as_text)
        where: dict[str, Sequence[str]] = {}
        if self.markets is not None:
            where["market_id"] = self.markets
        if table.apart:
            where[table.apart] = [part]
        values = {
            "at": last,
            "after": after,
            "partition": self.source.partition,
            "time": self.time,
            "before_minute": self.before_minute,
        }
        if table.name == EQUITY:
            return equity_lines(self.source.connection, values, lines)
        return copy_lines(self.source.connection, table, values, where, lines)


def _asking(go_on: Callable[[], None], pages: Iterable[bytes]) -> Iterator[bytes]:
    for page in pages:
        go_on()
        yield page


@contextmanager
def snapshot(
    source: ExportSource,
    tables: Iterable[ExportedTable],
    until: int,
    references: Sequence[str] | None,
    duckdb: DuckDB | None,
    progress: Progress,
) -> Iterator[ExportSnapshot]:
    """Hold one moment of the read models, each of which has folded at least `until`; wait for those that have not.

    `references` are the ids or slugs of the markets that are wanted, None for all.

    Raises:
        ExportRefusedError: a read model does not move, or has set events aside; or there is no such market.
        LostEventsError: the read models were folded from another log.
    """
    needs = {name for table in tables for name in table.needs}
    if references is not None:
        needs |= {"markets"}
    if not needs or not until:
        yield ExportSnapshot(source, until, 0, 0, None if references is None else (), duckdb)
        return
    needs |= {"timeline"}
    wait_for(source, needs, until, progress)
    with source.connection.transaction():
        hold_snapshot(source.connection)
        _refuse_incomplete(source, needs)
        time, before = marks_of(source.connection, until, source.partition)
        chosen = None if references is None else _market_ids(source, until, references)
        yield ExportSnapshot(source, until, time, before, chosen, duckdb)


def marks_of(connection: Connection[Any], until: int, partition: int) -> tuple[int, int]:
    """Return the time of a position, and the last position before the minute in which that time lies."""
    time = timeline.time_of(connection, until, partition)
    return time, timeline.position_before(connection, time - time % MINUTE, partition)


def wait_for(source: ExportSource, needs: Iterable[str], until: int, progress: Progress) -> None:
    """Wait until these read models have folded a position.

    Raises ExportRefusedError if the slowest of them stands still for `STILL_SECONDS`.
    """
    reached, since = -1, monotonic()
    while True:
        positions = {row.projection: row.position for row in _status(source)}
        name, position = min(((name, positions.get(name, 0)) for name in sorted(needs)), key=lambda pair: pair[1])
        if position >= until:
            return
        if position != reached:
            reached, since = position, monotonic()
        elif monotonic() - since > STILL_SECONDS:
            raise ExportRefusedError(
                f"the read model {name} is at position {position:,} of {until:,} and does not move: start `tidings serve` or "
                "`tidings projector`, or export with --until-position"
            )
        progress(f"waiting for the read model {name}: position {position:,} of {until:,}")
        sleep(_POLL_SECONDS)


def _status(source: ExportSource) -> list[Any]:
    return [row for row in projection_status(source.connection) if row.partition == source.partition]


def _refuse_incomplete(source: ExportSource, needs: Iterable[str]) -> None:
    """Raise unless these read models hold every event that they have passed."""
    known = [row for row in _status(source) if row.projection in needs]
    if (problem := lost_events(source.log, known)) is not None:
        raise LostEventsError(f"The log has lost events: {problem}. See docs/lost-log.md")
    for row in known:
        if row.parked:
            raise ExportRefusedError(
                f"the read model {row.projection} has set {row.parked} events aside, so its rows are not complete: see "
                "`tidings dead-letters list`; --what events does not need it"
            )


def _market_ids(source: ExportSource, until: int, references: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of these markets in order."""
    found = markets.named(source.connection, AsOf(until, 0, past=True), references)
    for reference in references:
        if reference not in found:
            raise ExportRefusedError(f"there is no market {reference} at position {until:,}")
    return tuple(sorted({row.market_id for row in found.values()}))
