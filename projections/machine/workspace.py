"""The workspace of a fold: the rows of its read model's tables, loaded before each batch, and its notes."""

from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Generic, TypeVar

from projections.machine import rows as rows_module
from projections.machine.batch import Batch
from projections.machine.pipeline import PipelineConnection
from projections.machine.rows import Rows
from projections.machine.table import Row, Table

__all__ = ["Notes", "Rows", "Workspace"]

Note = TypeVar("Note")


class Notes(Generic[Note]):
    """Lists by market that a fold keeps in memory and stores nowhere: a shortcut to what it could read from its tables.

    A fold gives a market an empty list when it is drafted, so that its notes are complete or missing. They leave the
    memory with the market's rows, and after any error: then the fold has to read its tables.
    """

    def __init__(self, name: str) -> None:
        self.name = name


class Workspace:
    """All rows of one projection. `position` and `time` are those of the last event before the batch that is folded."""

    def __init__(self, tables: Iterable[Table[Any]]) -> None:
        self._rows: dict[str, Rows[Any]] = {table.name: Rows(table) for table in tables}
        self._connection: PipelineConnection | None = None
        self._generation = 0
        # The markets of which everything is in memory, and those of these that have ended.
        self._drafted: set[str] = set()
        self._ended: set[str] = set()
        self._notes: dict[str, dict[str, list[Any]]] = {}
        self.position = 0
        self.time = 0

    # --- for folds

    def rows(self, table: Table[Row]) -> Rows[Row]:
        """Return the rows of a table."""
        return self._rows[table.name]

    def notes_of(self, notes: Notes[Note]) -> dict[str, list[Note]]:
        """Return the notes by market; a market without a list has none that are complete."""
        return self._notes.setdefault(notes.name, {})

    def query(self, statement: str, values: Any, *tables: Table[Any]) -> list[Any]:
        """Run SQL in the transaction of the batch, and return its rows, none for a statement that returns none.

        Everything that the fold has done to `tables` is written before; without any, everything it has done to all.
        """
        if tables:
            for table in tables:
                self._rows[table.name].flush()
                self._rows[table.name].make_key()
        else:
            self.flush()
        cursor = self.connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    # --- for the machine

    @property
    def connection(self) -> PipelineConnection:
        """The connection of the transaction that the batch is folded in."""
        assert self._connection is not None, "a fold runs inside a transaction"
        return self._connection

    def begin(
        self, connection: PipelineConnection, position: int, time: int, generation: int = 0, *, empty: bool = False
    ) -> None:
        """Begin a transaction of this connection, after the event at this position and time.

        Another `generation` or position than before says that somebody else has changed the tables: the memory is discarded.
        Of tables that are `empty`, all rows will be in memory.
        """
        moved = position != self.position
        self._connection, self.position, self.time = connection, position, time
        if moved or generation != self._generation:
            self.forget()
            self._generation = generation
        for rows in self._rows.values():
            rows.begin(connection, empty=empty)

    def follow_markets(self, batch: Batch) -> None:
        """Note which markets a batch drafts and ends, before `load_batch`."""
        self._drafted |= batch.drafted
        self._ended |= batch.ended

    def load_batch(self, batch: Batch) -> None:
        """Load the rows of all groups that a batch names, for every table that is grouped.

        Nothing is looked up for a market that was drafted since the memory was last emptied: all its rows are there.
        While a projection catches up, that is so for most of them.
        """
        for rows in self._rows.values():
            if rows.table.by is not None:
                rows.prefetch(lambda table=rows.table: self._missing(table, batch))  # type: ignore[misc]

    def _missing(self, table: Table[Any], batch: Batch) -> Iterable[Hashable]:
        assert table.by is not None, "only grouped tables are loaded"
        market_of = table.market_of_group
        if market_of is None or not self._drafted:
            return batch.groups(table.by)
        markets = batch.markets - self._drafted
        return [group for group in batch.groups(table.by) if market_of(group) in markets] if markets else ()

    def flush_appended(self) -> int:
        """Write the appended rows, which nothing changes any more; return how many they are."""
        return sum(rows.flush_appended() for rows in self._rows.values())

    def flush(self) -> int:
        """Write everything; return how many rows that is. Statements for few rows wait in the connection's queue."""
        return sum(rows.flush() for rows in self._rows.values())

    def grown(self) -> list[str]:
        """Return the names of the tables that the planner should look at again, each once for each time it has grown."""
        return [name for name, rows in self._rows.items() if rows.has_grown()]

    def is_full(self) -> bool:
        """Return whether the memory has grown above its bound: then `flush` and `trim`."""
        return any(rows.is_full() for rows in self._rows.values()) or self._has_too_many_notes()

    def _has_too_many_notes(self) -> bool:
        return any(sum(map(len, markets.values())) > rows_module.ROWS_IN_MEMORY_MAX for markets in self._notes.values())

    def trim(self) -> None:
        """Keep the memory within its bound, after a flush: ended markets leave it first, then all rows of a full table."""
        if self.is_full():
            self._drop_ended()
            for rows in self._rows.values():
                if rows.is_full():
                    rows.forget()
                    self._drafted.clear()
            if self._has_too_many_notes():
                self._notes.clear()

    @property
    def size(self) -> int:
        """The number of rows and notes in memory."""
        notes = sum(len(one) for markets in self._notes.values() for one in markets.values())
        return notes + sum(rows.size for rows in self._rows.values())

    def shrink(self) -> None:
        """Free at least half of the memory, after a flush: ended markets leave it, and if that is too little, all rows."""
        before = self.size
        self._drop_ended()
        if 2 * self.size > before:
            self.forget()

    def _drop_ended(self) -> None:
        for rows in self._rows.values():
            rows.drop(self._ended)
        self._drafted -= self._ended
        self._drop_notes(self._ended)
        self._ended.clear()

    def _drop_notes(self, markets: AbstractSet[str]) -> None:
        for notes in self._notes.values():
            for market in markets & notes.keys():
                del notes[market]

    def forget(self) -> None:
        """Discard the memory, with everything that is not yet written."""
        self._drafted.clear()
        self._ended.clear()
        self._notes.clear()
        for rows in self._rows.values():
            rows.forget()
