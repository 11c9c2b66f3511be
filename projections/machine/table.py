"""A table of a read model, described by the type of its rows.

The columns are the fields of the row type, in their order: a `NamedTuple` where rows are only ever added, a slotted
dataclass where they change. From it come the table itself, how rows are written, read and compared.
"""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

Row = TypeVar("Row")

Big = Annotated[int, "numeric"]
"""An integer that may pass 64 bits: sums of squares."""

_PLAIN: Final[dict[object, str]] = {str: "text", int: "int8", bool: "bool"}


class Table(Generic[Row]):
    """A table: its rows are found by `key`; a fold loads all rows of a `group` (columns, the first ones of the key) at once.

    `indexes` are texts as `"slug"` or `"account_id, position DESC"`, with `WHERE` where wanted, or
    `"USING gist (...)"`. They are made when the table has been filled up to the log's end: to make one of a full table
    costs a quarter of keeping it while the table is being filled. So is that of the key, if no fold has asked for it before.
    """

    def __init__(
        self,
        name: str,
        row: type[Row],
        *,
        key: Sequence[str],
        group: Sequence[str] = (),
        indexes: Sequence[str] = (),
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
        self.group = tuple(group) or self.key
        self.indexes = tuple(indexes)
        self.checks = tuple(checks)

    def __repr__(self) -> str:
        return f"Table({self.name})"

    @property
    def column_list(self) -> str:
        """The columns as SQL."""
        return ", ".join(self.columns)

    def statements(self) -> list[str]:
        """Return the statements that make the table where it is missing, without any index.

        The server does not vacuum it while it is being filled: each time it would read again what it has just read.
        """
        columns = [
            f"{name} {sql_type}{'' if nullable else ' NOT NULL'}"
            for name, sql_type, nullable in zip(self.columns, self.types, self.nullable, strict=True)
        ]
        body = ", ".join([*columns, *(f"CHECK ({c})" for c in self.checks)])
        # Room on each page for the next version of its rows: then a change touches no index.
        room = "" if issubclass(self.row, tuple) else ", fillfactor = 70"
        return [f"CREATE TABLE IF NOT EXISTS {self.name} ({body}) WITH (autovacuum_enabled = false{room})"]

    def vacuum_statement(self) -> str:
        """Return the statement after which the server vacuums the table by itself, as it does others."""
        return f"ALTER TABLE {self.name} RESET (autovacuum_enabled)"

    def key_statement(self) -> str:
        """Return the statement that makes the index of the key where it is missing."""
        return f"CREATE UNIQUE INDEX IF NOT EXISTS {self.name}_key ON {self.name} ({', '.join(self.key)})"

    def index_statements(self) -> list[str]:
        """Return the statements that make all indexes where they are missing, that of the key and those for readers."""
        made = [self.key_statement()]
        for number, index in enumerate(self.indexes, 1):
            columns_part, _, where = index.partition(" WHERE ")
            where = f" WHERE {where}" if where else ""
            what = columns_part if columns_part.startswith("USING ") else f"({columns_part})"
            made.append(f"CREATE INDEX IF NOT EXISTS {self.name}_{number} ON {self.name} {what}{where}")
        return made

    def update(self, source: str | None = None) -> str:
        """Return the statement that writes the rows of a like table, or one row of parameters, over those with their keys."""
        rest = [column for column in self.columns if column not in self.key]
        if source is None:
            values = ", ".join(f"%s::{sql_type}" for sql_type in self.types)
            source = f"(VALUES ({values})) AS n ({self.column_list})"
        else:
            source += " AS n"
        changes = ", ".join(f"{column} = n.{column}" for column in rest)
        where = " AND ".join(f"t.{column} = n.{column}" for column in self.key)
        return f"UPDATE {self.name} AS t SET {changes} FROM {source} WHERE {where}"

    def ordered(self) -> str:
        """Return the query for all rows in the order of the key, texts by code point: the same on every machine."""
        order = ", ".join(
            f'{column} COLLATE "C"' if self.types[self.columns.index(column)] == "text" else column
            for column in self.key
        )
        return f"SELECT {self.column_list} FROM {self.name} ORDER BY {order}"


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
