"""What a fold works on: the rows it needs in memory, those it changed, those it added; written out at once.

Rows stay in memory between batches, so that a batch costs one query per table for what is not there yet, and one COPY
per table for what it wrote; what changes again and again while several batches are folded in one transaction is written
once. That is safe because one worker at a time folds a projection; after any doubt (an error, a lost connection) the
memory is thrown away and the tables are the truth.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final, Generic, cast

from psycopg import Connection

from projections.machine.adapters import IntegerList, TextList
from projections.machine.batch import Batch
from projections.machine.table import Row, Table

ROWS_IN_MEMORY_MAX: Final = 300_000
"""Per table; above it rows of markets that are over leave the memory, or all rows of the table."""

ROWS_BY_STATEMENT_MAX: Final = 50
"""So many changed rows of a table are written by a statement each, sent together."""

ANALYZE_ROWS: Final = 1_000
"""After so many new rows of a table, and then whenever they are four times as many, the planner is told about them."""


class Rows(Generic[Row]):
    """The rows of one table, as one fold sees them.

    `get` sees only rows of groups that were loaded, or were put here. A row that the fold changes in place is marked by
    `change`; `put` writes a row that `get` has found (over it) or that nobody has (a new one that may change later); a new
    one that never will change is `append`ed, as a tuple of its values, and not kept in memory.
    """

    __slots__ = (
        "_values",
        "added",
        "analyze_at",
        "append",
        "cache",
        "changed",
        "gone",
        "keyed",
        "loaded",
        "new",
        "staged",
        "table",
        "whole",
        "written",
    )

    def __init__(self, table: Table[Row]) -> None:
        self.table = table
        self.cache: dict[Hashable, Row] = {}
        self.loaded: set[Hashable] = set()
        self.changed: dict[Hashable, Row] = {}
        self.new: dict[Hashable, Row] = {}
        self.gone: set[Hashable] = set()
        self.whole = False
        """Whether all rows that are not just appended are in memory: those of a table that was empty at first."""
        self.keyed = False
        """Whether the table is known to have the index of its key."""
        self.staged = False
        self.written = 0
        self.analyze_at = ANALYZE_ROWS
        self.added: list[tuple[Any, ...]] = []
        self.append: Callable[[tuple[Any, ...]], None] = self.added.append
        # A NamedTuple is its values.
        self._values: Callable[[Any], Any] = tuple if issubclass(table.row, tuple) else attrgetter(*table.columns)

    def get(self, key: Hashable) -> Row | None:
        """Return the row, or None; keys of one column are that value, others tuples."""
        return self.cache.get(key)

    def change(self, key: Hashable) -> None:
        """Mark a row that is in memory and was changed; in a hot loop, put it into `changed` instead."""
        self.changed[key] = self.cache[key]

    def put(self, key: Hashable, row: Row) -> None:
        """Write a row over the one with the same key in memory, or as a new one."""
        if key in self.cache and key not in self.new:
            self.changed[key] = row
        else:
            self.new[key] = row
        self.cache[key] = row

    def delete(self, key: Hashable) -> None:
        """Take a row out."""
        if self.cache.pop(key, None) is not None:
            self.changed.pop(key, None)
            if self.new.pop(key, None) is None:
                self.gone.add(key)

    def load(self, connection: Connection, groups: Callable[[], Iterable[Hashable]]) -> None:
        """Bring all rows of these groups into memory, if they are not there. Of a table that is, nobody asks for them."""
        if self.whole:
            return
        missing = [group for group in groups() if group not in self.loaded]
        if missing:
            self._load(connection, missing)
            self.loaded.update(missing)

    def _load(self, connection: Connection, missing: Sequence[Hashable]) -> None:
        self.make_key(connection)
        table = self.table
        columns = table.group
        keys: Iterable[Iterable[Any]] = [missing]
        where = f"{columns[0]} = ANY(%s)"
        if len(columns) > 1:
            keys = zip(*cast("list[tuple[Any, ...]]", missing), strict=True)
            where = f"({', '.join(columns)}) IN (SELECT * FROM unnest({', '.join(['%s'] * len(columns))}))"
        types = [table.types[table.columns.index(column)] for column in columns]
        parameters = [
            TextList(values) if of_type == "text" else IntegerList(values)
            for of_type, values in zip(types, keys, strict=True)
        ]
        query = f"SELECT {table.column_list} FROM {table.name} WHERE {where}"
        # Deleted or changed in memory and not yet written: what is in memory is newer.
        for values in connection.execute(query, parameters, prepare=True):
            row = table.row(*values)
            key = self._key(row)
            if key not in self.cache and key not in self.gone:
                self.cache[key] = row

    def fetch(self, connection: Connection, key: tuple[Any, ...]) -> Row | None:
        """Return one row by its whole key, from memory or from the table."""
        row = self.cache.get(key)
        if row is None and not self.whole and key not in self.gone:
            self.make_key(connection)
            where = " AND ".join(f"{column} = %s" for column in self.table.key)
            query = f"SELECT {self.table.column_list} FROM {self.table.name} WHERE {where}"
            values = connection.execute(query, key, prepare=True).fetchone()
            if values is not None:
                row = self.cache[key] = self.table.row(*values)
        return row

    def make_key(self, connection: Connection) -> None:
        """Make the index of the table's key, if it is not there: before a look-up by it."""
        if not self.keyed:
            there = connection.execute("SELECT to_regclass(%s)", [f"{self.table.name}_key"]).fetchone()
            if there == (None,):
                connection.execute(self.table.key_statement())
            self.keyed = True

    def make_ready(self, connection: Connection) -> None:
        """Write everything, and make the key: before a query of the fold's own."""
        self.flush(connection)
        self.make_key(connection)

    def flush_appended(self, connection: Connection) -> int:
        """Write what was appended, which nothing changes any more; return how many rows that is."""
        count = len(self.added)
        if count:
            self._copy(connection, self.table.name, self.added)
            self.written += count
            self.added.clear()
        return count

    def flush(self, connection: Connection) -> int:
        """Write what was added, changed and deleted; return how many rows that is."""
        table, new = self.table, self.new
        changed = [row for key, row in self.changed.items() if key not in new] if new else [*self.changed.values()]
        count = len(self.added) + len(new) + len(changed) + len(self.gone)
        if not count:
            return 0
        if self.gone:
            self._delete(connection)
        if self.added or new:
            self._copy(connection, table.name, chain(self.added, map(self._values, new.values())))
            self.written += len(self.added) + len(new)
            self.added.clear()
            new.clear()
        if changed:
            self._update(connection, changed)
        self.changed.clear()
        if self.written >= self.analyze_at:  # the server itself would not look at a new table for a minute
            connection.execute(f"ANALYZE {table.name}")
            self.analyze_at = 4 * self.written
        return count

    def forget(self) -> None:
        """Empty the memory: what is not yet written is lost on purpose."""
        self.cache.clear()
        self.loaded.clear()
        self.changed.clear()
        self.new.clear()
        self.gone.clear()
        self.added.clear()
        self.whole = self.keyed = False

    def is_full(self) -> bool:
        """Whether the memory has grown above its bound."""
        return len(self.cache) > ROWS_IN_MEMORY_MAX or len(self.loaded) > ROWS_IN_MEMORY_MAX

    def drop(self, markets: AbstractSet[str]) -> None:
        """Let go of the rows of these markets, if the table has its rows by market; everything must be written."""
        columns = self.table.key
        if "market_id" in columns:
            of_key, of_group = _market_in(columns), _market_in(self.table.group)
            self.cache = {key: row for key, row in self.cache.items() if of_key(key) not in markets}
            self.loaded = {group for group in self.loaded if of_group(group) not in markets}
            self.whole = False

    def _key(self, row: Row) -> Hashable:
        values = tuple(getattr(row, column) for column in self.table.key)
        return values[0] if len(values) == 1 else values

    def _update(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Write the changed rows over what is there; a few of them by statements, more by way of a COPY."""
        self.make_key(connection)
        table = self.table
        if len(rows) <= ROWS_BY_STATEMENT_MAX:
            with connection.cursor() as cursor:
                cursor.executemany(table.update(), list(map(self._values, rows)))
            return
        new = f"{table.name}__new"
        connection.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {new} (LIKE {table.name}) ON COMMIT DELETE ROWS", prepare=True
        )
        if self.staged:  # a second time in the same transaction
            connection.execute(f"TRUNCATE pg_temp.{new}", prepare=True)
        self.staged = True
        self._copy(connection, f"pg_temp.{new}", map(self._values, rows))
        connection.execute(table.update(f"pg_temp.{new}"), prepare=True)

    def _copy(self, connection: Connection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        table = self.table
        statement = f"COPY {name} ({table.column_list}) FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(table.types)
            # What `copy.write_row` does, without a call for each row that only fills the buffer.
            write = copy.formatter.write_row
            for row in rows:
                if part := write(row):
                    copy.write(part)

    def _delete(self, connection: Connection) -> None:
        self.make_key(connection)
        table = self.table
        arrays = ", ".join(f"%s::{table.types[table.columns.index(column)]}[]" for column in table.key)
        keys = [key if isinstance(key, tuple) else (key,) for key in self.gone]
        connection.execute(
            f"DELETE FROM {table.name} WHERE ({', '.join(table.key)}) IN (SELECT * FROM unnest({arrays}))",
            [list(values) for values in zip(*keys, strict=True)],
            prepare=True,
        )
        self.gone.clear()


def _market_in(columns: Sequence[str]) -> Callable[[Any], Any]:
    """Return the function that takes the market out of a key of these columns."""
    return itemgetter(columns.index("market_id")) if len(columns) > 1 else str


class Workspace:
    """All rows of one projection. `position` and `time` are those of the last event before the batch that is being folded."""

    def __init__(self, tables: Iterable[Table[Any]]) -> None:
        self._rows: dict[str, Rows[Any]] = {table.name: Rows(table) for table in tables}
        self._connection: Connection | None = None
        self._generation = 0
        self._born: set[str] = set()
        self._over: set[str] = set()
        self.notes: dict[str, list[Any]] = {}
        """What a fold notes by market, from its drafting on: it goes with the memory."""
        self.position = 0
        self.time = 0

    @property
    def connection(self) -> Connection:
        """The connection of the transaction that the batch is in."""
        assert self._connection is not None, "a fold runs inside a transaction"
        return self._connection

    def begin(
        self, connection: Connection, position: int, time: int, generation: int = 0, *, empty: bool = False
    ) -> None:
        """Let a transaction of this connection begin, behind this event.

        `generation` is another one when somebody else has changed the tables: then the memory is worth nothing.
        Of tables that are `empty` everything will be in memory.
        """
        self._connection, self.position, self.time = connection, position, time
        if generation != self._generation:
            self.forget()
            self._generation = generation
        for rows in self._rows.values():
            rows.staged = False
            rows.whole = rows.whole or empty

    def take(self, batch: Batch) -> None:
        """Note which markets come into being and which end in a batch that is about to be folded."""
        self._born |= batch.drafted
        self._over |= batch.over

    def rows(self, table: Table[Row]) -> Rows[Row]:
        """Return the rows of a table."""
        return self._rows[table.name]

    def load(self, table: Table[Row], groups: Callable[[], Iterable[Hashable]]) -> Rows[Row]:
        """Return the rows of a table, with those of these groups in memory. They are asked for only where they are needed."""
        rows = self._rows[table.name]
        rows.load(self.connection, groups)
        return rows

    def load_holdings(self, table: Table[Row], batch: Batch) -> Rows[Row]:
        """Return the rows of a table, with those of the batch's pairs of account and market in memory.

        While a log is caught up with, nothing is looked up of most: whatever there is of a market that was drafted since
        the memory was last emptied is in it.
        """

        def unknown() -> Iterable[Hashable]:
            markets = batch.markets - self._born
            return [holding for holding in batch.holdings if holding[1] in markets] if markets else ()

        return self.load(table, unknown)

    def flush_appended(self) -> int:
        """Write out what nothing changes any more; return how many rows were written."""
        return sum(rows.flush_appended(self.connection) for rows in self._rows.values())

    def flush(self) -> int:
        """Write everything out; return how many rows were written."""
        return sum(rows.flush(self.connection) for rows in self._rows.values())

    def is_full(self) -> bool:
        """Whether the memory has grown above its bound: then `flush` and `trim`."""
        return any(rows.is_full() for rows in self._rows.values()) or self._notes_are_full()

    def _notes_are_full(self) -> bool:
        return sum(map(len, self.notes.values())) > ROWS_IN_MEMORY_MAX

    def trim(self) -> None:
        """Keep the memory within its bound, after a flush: let go of markets that are over, of more if need be."""
        if self.is_full():
            for rows in self._rows.values():
                rows.drop(self._over)
            self._born -= self._over
            self.notes = {market: notes for market, notes in self.notes.items() if market not in self._over}
            self._over.clear()
            for rows in self._rows.values():
                if rows.is_full():
                    rows.forget()
                    self._born.clear()
            if self._notes_are_full():
                self.notes.clear()

    def forget(self) -> None:
        """Throw the memory away, with all that is not yet written."""
        self._born.clear()
        self._over.clear()
        self.notes.clear()
        for rows in self._rows.values():
            rows.forget()
