"""A table of a read model, described by the type of its rows.

The columns are the fields of the row type, in their order. The row type also says how the table is created and how its
rows are written, read and compared.
"""

import types
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from projections.machine.columns import column_expression

Row = TypeVar("Row")

Values = NewType("Values", tuple[Any, ...])
"""The values of a row in the order of its columns."""

Big = Annotated[int, "numeric"]
"""An integer that may pass 64 bits: sums of squares."""

By = Literal["market", "account", "holding", "order", "story", "partition"]
"""The kinds of groups of rows. A holding is a pair of account and market."""

GROUP_COLUMNS: Final[dict[By, tuple[str, ...]]] = {
    "market": ("market_id",),
    "account": ("account_id",),
    "holding": ("account_id", "market_id"),
    "order": ("order_id",),
    "story": ("story_id",),
    "partition": ("partition",),
}
"""The columns that name a group, in the order of its key in `Batch.groups`."""

_PLAIN: Final[dict[object, str]] = {str: "text", int: "int8", bool: "bool"}


class Table(Generic[Row]):
    """A table with a unique key.

    Args:
        name: its name in SQL.
        row: the type of its rows: a `NamedTuple` where rows never change, a slotted dataclass where they do.
        key: the columns of the key. Folds name a row by their values: a tuple, or the value alone for a single column.
        by: what its rows are grouped by. Before a batch is folded, the machine loads all rows of the groups that its
            events name. Without it the machine loads nothing: `Rows.get` and `Rows.prefetch` look rows up.
        group: the columns that name what `Rows.prefetch` loads, where there is no `by`; the key by default.
        indexes: indexes for readers, such as `"slug"` or `"account_id, position DESC"`, with `WHERE` where wanted, or
            `"USING gist (...)"`.
        covered: other columns that the index of the key holds too: who asks only for these and the key reads no row.
        checks: conditions that PostgreSQL checks for every row.

    Indexes are created after the table has caught up with the log: building them on a full table takes a quarter of the
    time that maintaining them while it fills would take. The same holds for the index of the key, unless a fold needs it.
    """

    def __init__(
        self,
        name: str,
        row: type[Row],
        *,
        key: Sequence[str],
        by: By | None = None,
        group: Sequence[str] = (),
        indexes: Sequence[str] = (),
        covered: Sequence[str] = (),
        checks: Sequence[str] = (),
    ) -> None:
        hints = get_type_hints(row, include_extras=True)
        self.name = name
        self.row = row
        self.columns: tuple[str, ...] = tuple(hints)
        self.types: list[str] = []
        self.nullable: list[bool] = []
        for hint in hints.values():
            sql_type, nullable = _sql_type(hint)
            self.types.append(sql_type)
            self.nullable.append(nullable)
        self.key = tuple(key)
        self.by = by
        self.group = GROUP_COLUMNS[by] if by else tuple(group) or self.key
        assert set(self.group) <= set(self.key), "the index of the key must find a group"
        self.indexes = tuple(indexes)
        self.covered = tuple(covered)
        self.checks = tuple(checks)
        # A NamedTuple is its values.
        self.values_of: Callable[[Any], Any] = tuple if issubclass(row, tuple) else attrgetter(*self.columns)
        self.key_of: Callable[[Row], Hashable] = attrgetter(*self.key)
        self.group_of_key = _part(self.key, self.group)
        self.market_of_key = _part(self.key, ("market_id",)) if "market_id" in self.key else None
        self.market_of_group = _part(self.group, ("market_id",)) if "market_id" in self.group else None

    def __repr__(self) -> str:
        return f"Table({self.name})"

    @property
    def column_list(self) -> str:
        """The columns as SQL."""
        return ", ".join(self.columns)

    def type_of(self, column: str) -> str:
        """Return a column's type in SQL."""
        return self.types[self.columns.index(column)]

    def statements(self) -> list[str]:
        """Return the statements that create the table without any index, where it is missing.

        Autovacuum is off until the table has caught up: each run would read again what it has just read.
        """
        columns = [
            f"{name} {sql_type}{'' if nullable else ' NOT NULL'}"
            for name, sql_type, nullable in zip(self.columns, self.types, self.nullable, strict=True)
        ]
        body = ", ".join([*columns, *(f"CHECK ({c})" for c in self.checks)])
        # Pages keep room for the next versions of their rows: then an update touches no index.
        room = "" if issubclass(self.row, tuple) else ", fillfactor = 70"
        return [f"CREATE TABLE IF NOT EXISTS {self.name} ({body}) WITH (autovacuum_enabled = false{room})"]

    def vacuum_statement(self) -> str:
        """Return the statement that turns autovacuum on for the table."""
        return f"ALTER TABLE {self.name} RESET (autovacuum_enabled)"

    def key_statement(self) -> str:
        """Return the statement that creates the index of the key, where it is missing."""
        covered = f" INCLUDE ({', '.join(self.covered)})" if self.covered else ""
        return f"CREATE UNIQUE INDEX IF NOT EXISTS {self.name}_key ON {self.name} ({', '.join(self.key)}){covered}"

    def index_statements(self) -> list[str]:
        """Return the statements that create the index of the key and those for readers, where they are missing."""
        created = [self.key_statement()]
        for number, index in enumerate(self.indexes, 1):
            columns_part, _, where = index.partition(" WHERE ")
            where = f" WHERE {where}" if where else ""
            what = columns_part if columns_part.startswith("USING ") else f"({columns_part})"
            created.append(f"CREATE INDEX IF NOT EXISTS {self.name}_{number} ON {self.name} {what}{where}")
        return created

    @cached_property
    def insert_one(self) -> str:
        """The statement that inserts a row of parameters, which are numbered like the columns."""
        return f"INSERT INTO {self.name} ({self.column_list}) VALUES ({', '.join(self._parameters(self.columns))})"

    @cached_property
    def update_one(self) -> str:
        """The statement that overwrites a row, found by its key, with a row of such parameters."""
        rest = [column for column in self.columns if column not in self.key]
        changes = ", ".join(f"{column} = {value}" for column, value in zip(rest, self._parameters(rest), strict=True))
        return f"UPDATE {self.name} SET {changes} WHERE {self._where(self._parameters(self.key))}"

    @cached_property
    def delete_one(self) -> str:
        """The statement that deletes the row of a key, whose columns are the parameters."""
        return f"DELETE FROM {self.name} WHERE {self._where([f'${n}' for n in range(1, len(self.key) + 1)])}"

    @cached_property
    def insert_many(self) -> str:
        """The statement that inserts rows, whose columns are parameters: an array each (columns.py)."""
        return f"INSERT INTO {self.name} ({self.column_list}) SELECT {', '.join(self._column_expressions())}"

    @cached_property
    def update_many(self) -> str:
        """The statement that overwrites rows with those of such parameters."""
        named = (f"{value} AS {name}" for value, name in zip(self._column_expressions(), self.columns, strict=True))
        return self.update_from(f"(SELECT {', '.join(named)})")

    def update_from(self, source: str) -> str:
        """Return the statement that overwrites rows with those of `source`, a table with the same columns."""
        changes = ", ".join(f"{column} = n.{column}" for column in self.columns if column not in self.key)
        where = " AND ".join(f"t.{column} = n.{column}" for column in self.key)
        return f"UPDATE {self.name} AS t SET {changes} FROM {source} AS n WHERE {where}"

    def _column_expressions(self) -> list[str]:
        return [column_expression(sql_type, number) for number, sql_type in enumerate(self.types, 1)]

    def _parameters(self, columns: Sequence[str]) -> list[str]:
        return [f"${self.columns.index(column) + 1}" for column in columns]

    def _where(self, parameters: Sequence[str]) -> str:
        return " AND ".join(f"{column} = {value}" for column, value in zip(self.key, parameters, strict=True))

    def ordered(self) -> str:
        """Return the query for all rows in the order of the key, texts by code point: the same on every machine."""
        order = ", ".join(f'{column} COLLATE "C"' if self.type_of(column) == "text" else column for column in self.key)
        return f"SELECT {self.column_list} FROM {self.name} ORDER BY {order}"


def _part(columns: Sequence[str], wanted: Sequence[str]) -> Callable[[Any], Any]:
    """Return the function that takes the wanted columns out of a key: a tuple, or the value alone for a single column."""
    if tuple(columns) == tuple(wanted):
        return lambda key: key
    return itemgetter(*map(columns.index, wanted))


def _sql_type(hint: Any) -> tuple[str, bool]:
    if get_origin(hint) is Annotated:
        if "numeric" in get_args(hint)[1:]:
            return "numeric", False
        return _sql_type(get_args(hint)[0])
    if get_origin(hint) in {types.UnionType, Union}:
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return _sql_type(inner)[0], True
    if get_origin(hint) is list:
        return f"{_sql_type(get_args(hint)[0])[0]}[]", False
    return _PLAIN[hint], False
