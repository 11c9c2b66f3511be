"""Tables as rows of texts: CSV, JSON and JSON lines, also gzipped, and Parquet through DuckDB.

A row has the number that its reader sees: in CSV the header is row 1, elsewhere the first row is 1. Nothing is guessed
here; a cell that has no value is an empty text.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from contextlib import closing
from itertools import count
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from consumers.imports.mapping import FileForm

NO_DUCKDB: Final = "reading Parquet needs DuckDB: install the package duckdb, or write the table as CSV"

_CELL_MAX: Final = 1_000_000
"""The most characters of a cell: a market's description may be long."""

_BLOCK: Final = 1 << 20
"""The least characters of a JSON array that are read at a time."""

_OBJECT_MAX: Final = 1 << 26
"""The most characters of an object."""

_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_VALUES: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)  # a number keeps all its digits

_PARQUET_ROWS: Final = 10_000
"""The rows of Parquet that are read at a time."""


class TableError(ValueError):
    """A table, or a row of it, cannot be read. The message names the row."""


class TableRow(NamedTuple):
    """A row: its number in its file, and its cells, as many as the table has columns; or what is wrong with the row."""

    number: int
    cells: Sequence[str]
    problem: str = ""


class OpenTable(NamedTuple):
    """The columns of a table, and its rows, which can be read once. A row that cannot be read raises TableError."""

    columns: Sequence[str]
    rows: Iterator[TableRow]


def open_table(path: Path, form: FileForm) -> OpenTable:
    """Open a table by the ending of its name. Raises TableError and OSError."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), ".csv")
    if kind == ".parquet":
        return _parquet(path)
    if kind in {".json", ".jsonl", ".ndjson"}:
        return _json(path, lines=kind != ".json")
    return _csv(path, form)


def _opened(path: Path, encoding: str) -> IO[str]:
    try:
        if path.suffix.lower() == ".gz":
            return cast("IO[str]", gzip.open(path, "rt", encoding=encoding, newline=""))
        return path.open(encoding=encoding, newline="")
    except LookupError:
        raise TableError(f"there is no encoding {encoding}") from None


# --- CSV


def _csv(path: Path, form: FileForm) -> OpenTable:
    rows = _csv_rows(path, form)
    header = next(rows, None)
    if header is None:
        raise TableError("the file is empty; expected a header and rows")
    columns = [name.strip() for name in header.cells]
    if twice := {name for name in columns if columns.count(name) > 1}:
        raise TableError(f"row 1: two columns are called {min(twice)!r}")
    return OpenTable(columns, _of_width(rows, len(columns)))


def _csv_rows(path: Path, form: FileForm) -> Iterator[TableRow]:
    csv.field_size_limit(_CELL_MAX)
    number = 0
    with _opened(path, form.encoding) as file:
        try:
            for number, cells in enumerate(csv.reader(file, delimiter=form.delimiter, strict=True), 1):
                if cells:  # an empty line is no row
                    yield TableRow(number, cells)
        except UnicodeDecodeError as error:
            raise TableError(f"after row {number}: not {form.encoding} ({error.reason})") from None
        except (csv.Error, EOFError, gzip.BadGzipFile) as error:
            raise TableError(f"row {number + 1}: {error}") from None


def _of_width(rows: Iterator[TableRow], width: int) -> Iterator[TableRow]:
    for row in rows:
        if len(row.cells) != width:
            yield TableRow(row.number, (), f"has {len(row.cells)} cells, the header has {width}")
        else:
            yield row


# --- JSON


def _json(path: Path, *, lines: bool) -> OpenTable:
    objects = _json_lines if lines else _json_array
    columns: dict[str, None] = {}  # an object may leave out what has no value, so all of them are asked
    for _, found in objects(path):
        columns.update(dict.fromkeys(found))
    names = list(columns)
    rows = (TableRow(number, [_text(found.get(name)) for name in names]) for number, found in objects(path))
    return OpenTable(names, rows)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    with _opened(path, "utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(_loads(line, f"row {number}"), number)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
            raise TableError(f"after row {number}: not JSON in UTF-8") from None


def _json_array(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    with _opened(path, "utf-8-sig") as file:
        try:
            for number, found in enumerate(_items(_JsonText(file)), 1):
                yield number, _object(found, number)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
            raise TableError(f"after row {number}: not JSON in UTF-8") from None
        except json.JSONDecodeError as error:  # its position counts from the block
            raise TableError(f"row {number + 1} is not JSON: {error.msg}") from None
        except RecursionError as error:
            raise TableError(f"row {number + 1} is not JSON: {error}") from None


def _items(text: _JsonText) -> Iterator[Any]:
    """Yield the items of an array."""
    if text.peek() != "[":
        raise TableError("expected an array of objects")
    text.skip()
    if text.peek() != "]":
        yield text.value()
        while text.peek() == ",":
            text.skip()
            yield text.value()
    if text.peek() != "]":
        raise TableError("the array has no end: is the file whole?")
    text.skip()
    if text.peek():
        raise TableError("expected nothing behind the array")


class _JsonText:
    """A JSON text of any length, of which one value and one block are in memory at a time."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is no blank, "" at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks is not None, "no blanks are blanks too"
            self._at = blanks.end()
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        """Go on behind the character that `peek` returned."""
        self._at += 1

    def value(self) -> Any:
        """Return the next value. Raises json.JSONDecodeError."""
        self.peek()
        while True:
            try:
                found, self._at = _VALUES.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > _OBJECT_MAX or not self._read():
                    raise
            else:
                return found

    def _read(self) -> bool:
        block = self._file.read(max(_BLOCK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)


def _loads(text: str, what: str) -> Any:
    try:
        return _VALUES.decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TableError(f"{what} is not JSON: {error}") from None


def _object(found: Any, number: int) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TableError(f"row {number} is not an object")
    return found


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case _:
            return json.dumps(value)


# --- Parquet


def _parquet(path: Path) -> OpenTable:
    try:
        import duckdb  # noqa: PLC0415  optional, and only Parquet needs it
    except ImportError:
        raise TableError(NO_DUCKDB) from None
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    rows = _parquet_rows(duckdb, path)
    return OpenTable(next(rows).cells, rows)


def _parquet_rows(duckdb: Any, path: Path) -> Iterator[TableRow]:
    settings = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}  # no network
    with closing(duckdb.connect(config=settings)) as database:
        try:
            database.execute("SET TimeZone = 'UTC'")
            found = database.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
            yield TableRow(0, [column[0] for column in found.description])
            numbers = count(1)
            while rows := found.fetchmany(_PARQUET_ROWS):
                for cells in rows:
                    yield TableRow(next(numbers), ["" if cell is None else cell for cell in cells])
        except duckdb.Error as error:
            raise TableError(f"not a Parquet file that can be read: {str(error).splitlines()[0]}") from None
