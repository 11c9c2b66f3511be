r"""Rows of PostgreSQL as JSON lines, with the sum of each column of amounts.

PostgreSQL sends the text form of COPY: fields between tabs, NULL as an unescaped `\N`, and backslashes before what could be
mistaken. So a text that is `\N` itself is told apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from psycopg.sql import SQL, Composed, Identifier, Placeholder

from api.export.errors import ExportRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from psycopg import Connection

    from api.export.tables import ColumnType, ExportedTable

BLOCK_ROWS: Final = 5_000
"""The number of rows that are made at a time."""

LONG_BYTES: Final = 1 << 20
"""The length of a line from which on its length matters to whoever reads it."""

NULL: Final = "\\N"
"""NULL in the text form of COPY."""

_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Lines:
    """What was written: the number of rows, the bytes of the longest line, and the sums of amounts in micro-units.

    `longest` is 0 while no line is longer than `LONG_BYTES`.
    """

    def __init__(self, amounts: list[str]) -> None:
        self.rows = self.longest = 0
        self.sums = dict.fromkeys(amounts, 0)

    def note(self, block: bytes) -> bytes:
        """Note the lines of a block, and return it."""
        # Whoever reads lines has room for LONG_BYTES anyway, so others are not measured. A long one has no end in half of that.
        half = LONG_BYTES // 2
        if any(block.find(b"\n", start, start + half) < 0 for start in range(0, len(block), half)):
            self.longest = max(self.longest, *map(len, block.split(b"\n")))
        return block


def copy_lines(
    connection: Connection[Any],
    table: ExportedTable,
    values: Mapping[str, Any],
    where: Mapping[str, Sequence[str]],
    lines: Lines,
) -> Iterator[bytes]:
    """Yield the rows of a table as JSON lines in the order of its key, and count them in `lines`.

    Must run in a transaction. `values` are the parameters of the table's query. `where` names columns, each with the values
    that are wanted.
    """
    names = list(table.columns)
    converters = [_CONVERTERS[kind] for kind in table.columns.values()]
    row_type = msgspec.defstruct("Row", [(name, Any) for name in names])
    encode = msgspec.json.Encoder().encode_lines
    block: list[Any] = []
    # The planner expects few rows of the past, and would look the positions of an account up again for each market.
    connection.execute("SET LOCAL enable_nestloop = off")
    for line in copied(
        connection, _copy(table, where), {**values, **{f"of_{name}": list(of) for name, of in where.items()}}
    ):
        fields = line.split("\t")
        block.append(row_type(*[convert(field) for convert, field in zip(converters, fields, strict=True)]))
        if len(block) == BLOCK_ROWS:
            _count(lines, block)
            yield lines.note(encode(block))
            block = []
    if block:
        _count(lines, block)
        yield lines.note(encode(block))


def copied(connection: Connection[Any], statement: Composed, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield each row of a COPY without its newline: its fields between tabs, texts as `plain_text` reads them."""
    with connection.cursor() as cursor, cursor.copy(statement, values) as copy:
        for data in copy:
            yield bytes(data)[:-1].decode()


def _copy(table: ExportedTable, where: Mapping[str, Sequence[str]]) -> Composed:
    """Return the COPY of a table's rows."""
    columns = SQL(", ").join(_selected(name, kind) for name, kind in table.columns.items())
    conditions = [SQL("{} = ANY({})").format(Identifier(name), Placeholder(f"of_{name}")) for name in where]
    keys = SQL(", ").join(_sorted(name, table.columns[name]) for name in table.key)
    return SQL("COPY (SELECT {} FROM ({}) q WHERE {} ORDER BY {}) TO STDOUT").format(
        columns,
        SQL(table.query),
        SQL(" AND ").join(conditions) if conditions else SQL("true"),
        keys,
    )


def _selected(name: str, kind: ColumnType) -> Composed:
    if kind == "timestamp with time zone":
        return SQL("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").format(Identifier(name))
    return SQL("{}").format(Identifier(name))


def _sorted(name: str, kind: ColumnType) -> Composed:
    """Return a column to sort by: texts by their bytes, so that every database sorts them alike."""
    return SQL('q.{} COLLATE "C"' if kind == "text" else "q.{}").format(Identifier(name))


def _count(lines: Lines, block: list[Any]) -> None:
    """Count the rows, and add their amounts to the sums as integers.

    Raises ExportRefusedError where an amount has not six decimals: DuckDB would round it without a word.
    """
    lines.rows += len(block)
    for name in lines.sums:
        amounts = [amount for row in block if (amount := getattr(row, name)) is not None]
        if any(amount[-7:-6] != "." for amount in amounts):
            raise ExportRefusedError(f"an amount in the column {name} has not six decimals")
        lines.sums[name] += sum(map(int, "".join([f"{amount} " for amount in amounts]).replace(".", "").split()))


def plain_text(field: str) -> str | None:
    """Return the text that stands in a field."""
    if field == NULL:
        return None
    return _ESCAPE.sub(_unescaped, field) if "\\" in field else field


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[1], found[1])


def _plain(field: str) -> str | None:
    return None if field == NULL else field


def _whole(field: str) -> int | None:
    return None if field == NULL else int(field)


def _flag(field: str) -> bool | None:
    return None if field == NULL else field == "t"


_CONVERTERS: Final[dict[ColumnType, Callable[[str], Any]]] = {
    "text": plain_text,
    "bigint": _whole,
    "numeric": _plain,
    "timestamp with time zone": _plain,
    "boolean": _flag,
}
