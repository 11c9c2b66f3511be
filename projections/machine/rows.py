"""The rows of one table as a fold sees them: read, changed and added in memory, written out together.

Rows stay in memory between batches. So a batch costs a query per table for the rows that are missing. Up to
`BY_STATEMENT_MAX` rows of a table are written by statements in a pipeline (pipeline.py, columns.py), more through a COPY. A row
that changes again and again within a transaction is written once. This is safe because one worker at a time folds a
projection. After any doubt (an error, a lost connection) the memory is discarded: the tables are the truth.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Final, Generic, cast

from projections.machine.adapters import IntegerList, TextList
from projections.machine.columns import columns_encoder
from projections.machine.pipeline import PipelineConnection, encoder
from projections.machine.table import Row, Table

ROWS_IN_MEMORY_MAX: Final = 300_000
"""The most rows of a table in memory: above it the rows of ended markets leave, then all rows of the table."""

ONE_BY_ONE_MAX: Final = 6
"""The most rows of a table that are written by a statement each; more are one statement with an array for each column."""

BY_STATEMENT_MAX: Final = 1_000
"""The most rows of a table that are written by statements, in a pipeline; more go through a COPY."""

ANALYZE_ROWS: Final = 1_000
"""A table is analyzed after this many new rows, then each time it has grown fourfold: autovacuum takes a minute to look."""


class Rows(Generic[Row]):
    """The rows of one table in a fold, with its four verbs and two that few folds need.

    get       returns a row, or None. Never change a row that `get` returned.
    edit      returns a row, to be changed in place; raises KeyError where it is not in memory.
    add       adds a row that a later event may change.
    append    adds a row that no fold will read or change again; it is not kept in memory.
    remove    deletes a row.
    prefetch  loads many rows at once that the machine does not load by itself.

    A key of one column is its value, a longer one a tuple.
    """

    __slots__ = (
        "_analyze_at",
        "_appended",
        "_cache",
        "_changed",
        "_column_formats",
        "_connection",
        "_encode",
        "_encode_columns",
        "_formats",
        "_gone",
        "_has_key",
        "_loaded",
        "_new",
        "_staged",
        "_whole",
        "_written",
        "append",
        "get",
        "table",
    )

    def __init__(self, table: Table[Row]) -> None:
        self.table = table
        self._cache: dict[Hashable, Row] = {}
        self._loaded: set[Hashable] = set()
        """The groups of which all rows are in memory."""
        self._changed: dict[Hashable, Row] = {}
        self._new: dict[Hashable, Row] = {}
        self._gone: set[Hashable] = set()
        self._whole = False
        """Whether memory holds all rows except appended ones, as for a table that began empty."""
        self._connection: PipelineConnection | None = None
        self._encode, self._formats = encoder(table.types, table.nullable)
        self._encode_columns, self._column_formats = columns_encoder(table.types)
        self._has_key = False
        self._staged = False
        self._written = 0
        self._analyze_at = ANALYZE_ROWS
        self._appended: list[tuple[Any, ...]] = []
        # Methods of the collections themselves: folds call these for every event.
        self.append: Callable[[Row | tuple[Any, ...]], None] = cast("Any", self._appended.append)
        self.get: Callable[[Hashable], Row | None] = self._cache.get if table.by else self._look_up

    @property
    def connection(self) -> PipelineConnection:
        """The connection of the transaction that the batch is folded in."""
        assert self._connection is not None, "a fold runs inside a transaction"
        return self._connection

    # --- for folds

    def edit(self, key: Hashable) -> Row:
        """Return a row that is in memory, to be changed in place: it is marked as changed."""
        row = self._changed[key] = self._cache[key]
        return row

    def add(self, row: Row) -> Row:
        """Add a row that was not there, and return it."""
        key = self.table.key_of(row)
        assert key not in self._cache, f"{self.table.name} has a row {key} already"
        self._cache[key] = self._new[key] = row
        return row

    def remove(self, key: Hashable) -> None:
        """Delete a row, if it is there."""
        if self._cache.pop(key, None) is not None:
            self._changed.pop(key, None)
            if self._new.pop(key, None) is None:
                self._gone.add(key)

    def prefetch(self, groups: Callable[[], Iterable[Hashable]]) -> None:
        """Load all rows of these groups, named by the values of the table's `group` columns, with one query.

        The groups are computed only where the table is not in memory as a whole.
        """
        if self._whole:
            return
        missing = [group for group in groups() if group not in self._loaded]
        if missing:
            self._load(missing)
            self._loaded.update(missing)

    def _look_up(self, key: Any) -> Row | None:
        """Return a row from memory, or else from the table."""
        row = self._cache.get(key)
        if (
            row is None
            and not self._whole
            and key not in self._gone
            and self.table.group_of_key(key) not in self._loaded
        ):
            self.make_key()
            where = " AND ".join(f"{column} = %s" for column in self.table.key)
            query = f"SELECT {self.table.column_list} FROM {self.table.name} WHERE {where}"
            parameters = key if isinstance(key, tuple) else (key,)
            values = self.connection.execute(query, parameters).fetchone()
            if values is not None:
                row = self._cache[key] = self.table.row(*values)
        return row

    # --- for the workspace

    def begin(self, connection: PipelineConnection, *, empty: bool) -> None:
        """Begin a transaction. Of a table that is `empty`, all rows will be in memory."""
        self._connection = connection
        self._staged = False
        self._whole = self._whole or empty

    def _load(self, missing: Sequence[Hashable]) -> None:
        self.make_key()
        table = self.table
        columns = table.group
        keys: Iterable[Iterable[Any]] = [missing]
        where = f"{columns[0]} = ANY(%s)"
        if len(columns) > 1:
            keys = zip(*cast("list[tuple[Any, ...]]", missing), strict=True)
            where = f"({', '.join(columns)}) IN (SELECT * FROM unnest({', '.join(['%s'] * len(columns))}))"
        parameters = [
            TextList(values) if table.type_of(column) == "text" else IntegerList(values)
            for column, values in zip(columns, keys, strict=True)
        ]
        query = f"SELECT {table.column_list} FROM {table.name} WHERE {where}"
        # A row that was changed or deleted in memory and not yet written is newer there.
        for values in self.connection.execute(query, parameters):
            row = table.row(*values)
            key = table.key_of(row)
            if key not in self._cache and key not in self._gone:
                self._cache[key] = row

    def make_key(self) -> None:
        """Create the index of the table's key, if it is missing: before a look-up by it."""
        if not self._has_key:
            there = self.connection.execute("SELECT to_regclass(%s)", [f"{self.table.name}_key"]).fetchone()
            if there == (None,):
                self.connection.execute(self.table.key_statement())
            self._has_key = True

    def flush_appended(self) -> int:
        """Write the appended rows, which nothing changes any more; return how many they are."""
        count = len(self._appended)
        if count:
            self._insert(self._appended, count)
            self._appended.clear()
        return count

    def flush(self) -> int:
        """Write what was added, changed and removed; return how many rows that is. Small changes are queued."""
        table, new = self.table, self._new
        changed = [row for key, row in self._changed.items() if key not in new] if new else [*self._changed.values()]
        count = len(self._appended) + len(new) + len(changed) + len(self._gone)
        if not count:
            return 0
        if self._gone:
            self._delete()
        if self._appended or new:
            self._insert(chain(self._appended, map(table.values_of, new.values())), len(self._appended) + len(new))
            self._appended.clear()
            new.clear()
        if changed:
            self._update(changed)
        self._changed.clear()
        return count

    def has_grown(self) -> bool:
        """Return whether the planner should look at the table again: true once for each time it has grown fourfold."""
        grown = self._written >= self._analyze_at
        if grown:
            self._analyze_at = 4 * self._written
        return grown

    def forget(self) -> None:
        """Discard all rows in memory, with everything that is not yet written."""
        self._cache.clear()
        self._loaded.clear()
        self._changed.clear()
        self._new.clear()
        self._gone.clear()
        self._appended.clear()
        self._whole = self._has_key = False

    @property
    def size(self) -> int:
        """The number of rows in memory, or of groups, of which there may be more: many have no row."""
        return max(len(self._cache), len(self._loaded))

    def is_full(self) -> bool:
        """Return whether there are more rows in memory than `ROWS_IN_MEMORY_MAX`."""
        return self.size > ROWS_IN_MEMORY_MAX

    def drop(self, markets: AbstractSet[str]) -> None:
        """Let the rows of these markets leave the memory, if the key names the market; everything must be written."""
        market_of_key, market_of_group = self.table.market_of_key, self.table.market_of_group
        if market_of_key is not None:
            for key in [key for key in self._cache if market_of_key(key) in markets]:
                del self._cache[key]
            if market_of_group is None:
                self._loaded.clear()
            else:
                self._loaded -= {group for group in self._loaded if market_of_group(group) in markets}
            self._whole = False

    def _update(self, rows: Sequence[Row]) -> None:
        """Write the changed rows over the stored ones: a few by statements, more through a COPY."""
        self.make_key()
        table = self.table
        if len(rows) <= BY_STATEMENT_MAX:
            self._queue(table.update_one, table.update_many, map(table.values_of, rows), len(rows))
            return
        new = f"{table.name}__new"
        self.connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {new} (LIKE {table.name}) ON COMMIT DELETE ROWS")
        if self._staged:  # a second time in the same transaction
            self.connection.execute(f"TRUNCATE pg_temp.{new}")
        self._staged = True
        self._copy(f"pg_temp.{new}", map(table.values_of, rows))
        self.connection.execute(table.update_from(f"pg_temp.{new}"))

    def _insert(self, rows: Iterable[tuple[Any, ...]], count: int) -> None:
        """Write new rows: a few by statements, more through a COPY."""
        if count <= BY_STATEMENT_MAX:
            self._queue(self.table.insert_one, self.table.insert_many, rows, count)
        else:
            self._copy(self.table.name, rows)
        self._written += count

    def _queue(self, of_one: str, of_many: str, rows: Iterable[tuple[Any, ...]], count: int) -> None:
        """Queue a statement for each row or, if there are more than `ONE_BY_ONE_MAX`, one for all of them."""
        if count > ONE_BY_ONE_MAX:
            self.connection.queue(of_many, self._encode_columns(rows), self._column_formats)
            return
        queue, encode, formats = self.connection.queue, self._encode, self._formats
        for row in rows:
            queue(of_one, encode(*row), formats)

    def _copy(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        table = self.table
        statement = f"COPY {name} ({table.column_list}) FROM STDIN (FORMAT BINARY)"
        self.connection.send()  # a row that is deleted by the queue may be there again
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(table.types)
            # As `copy.write_row` does, without a call for each row that only fills the buffer.
            write = copy.formatter.write_row
            for row in rows:
                if part := write(row):
                    copy.write(part)

    def _delete(self) -> None:
        self.make_key()
        table = self.table
        keys = [key if isinstance(key, tuple) else (key,) for key in self._gone]
        self._gone.clear()
        if len(keys) <= BY_STATEMENT_MAX:
            encode, formats = encoder([table.type_of(column) for column in table.key], [False] * len(table.key))
            for key in keys:
                self.connection.queue(table.delete_one, encode(*key), formats)
            return
        arrays = ", ".join(f"%s::{table.type_of(column)}[]" for column in table.key)
        self.connection.execute(
            f"DELETE FROM {table.name} WHERE ({', '.join(table.key)}) IN (SELECT * FROM unnest({arrays}))",
            [list(values) for values in zip(*keys, strict=True)],
        )
