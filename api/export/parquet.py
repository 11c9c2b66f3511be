"""Parquet, made by DuckDB from JSON lines with declared types. DuckDB is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from api.export.errors import MissingDuckDBError
from api.export.row_lines import LONG_BYTES

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from api.export.tables import ColumnType, ExportedTable

SETTINGS: Final[dict[str, Any]] = {
    "memory_limit": "400MB",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""DuckDB's settings: bounded, and without a network."""

_TYPES: Final[dict[ColumnType, str]] = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "smallint": "SMALLINT",
    "numeric": "DECIMAL(38,6)",
    "timestamp with time zone": "TIMESTAMPTZ",
    "boolean": "BOOLEAN",
    "json": "VARCHAR",
}


class DuckDB:
    """A connection to a DuckDB in memory, with a folder for what does not fit there."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingDuckDBError."""
        try:
            import duckdb  # noqa: PLC0415  an extra
        except ImportError:
            raise MissingDuckDBError from None
        self._connection: Any = duckdb.connect(
            ":memory:", config={**SETTINGS, "temp_directory": str(folder / ".spill")}
        )
        self._connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def convert(self, table: ExportedTable, lines: Path, target: Path, longest: int = 0) -> None:
        """Write the JSON lines of a table, the longest of which has so many bytes, as Parquet in their order."""
        # Each thread has several buffers for a line.
        columns = ", ".join(f"{_quoted(name)}: '{_TYPES[kind]}'" for name, kind in table.columns.items())
        self._connection.execute(
            f"COPY (SELECT * FROM read_json({_text(lines)}, format='newline_delimited', columns={{{columns}}}, "
            f"maximum_object_size={max(LONG_BYTES, longest + 2)})) "
            f"TO {_text(target)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {table.group_rows})"
        )

    def count(self, table: ExportedTable, path: Path) -> tuple[int, dict[str, str]]:
        """Return the number of rows of a Parquet file, and the sum of each column of amounts."""
        sums = ", ".join(f"coalesce(sum({_quoted(name)}), 0)::DECIMAL(38,6)::VARCHAR" for name in table.amounts)
        found = self._connection.execute(
            f"SELECT count(*){sums and ', ' + sums} FROM read_parquet({_text(path)})"
        ).fetchall()
        rows, *amounts = found[0]
        return rows, dict(zip(table.amounts, amounts, strict=True))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(path: Path) -> str:
    """Return a path as a literal of DuckDB's SQL."""
    return "'" + str(path).replace("'", "''") + "'"
