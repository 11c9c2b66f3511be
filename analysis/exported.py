"""The events of an export: files of `tidings export`, in either of its formats, read in the order of their positions.

    DIR/events/partition=0/events-000000000001-000000100000.parquet    or .jsonl

A row has the envelope of `/v1/events`, and `data` as JSON text in the public form. Parquet is read by DuckDB, which the extra
`analysts` installs.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from domain.events import Recorded
from messages.events import UnreadableEventError
from messages.public_events import event_of_public
from messages.wire import parse_time
from projections.machine.batch import Batch
from projections.machine.parking import UnreadableEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

BATCH_ROWS: Final = 10_000
"""The most rows of a batch."""

COLUMNS: Final = ("position", "type", "version", "time", "command_id", "digest", "stream", "stream_version", "data")
"""The columns that are read; an export has more."""

_NAME: Final = re.compile(r"events-(\d+)-(\d+)\.(jsonl|parquet)")


class ExportError(Exception):
    """A folder is no export, or its events cannot be read here."""


class _ExportedRow(msgspec.Struct):
    """A line of a JSON lines file; `data` is a text that holds JSON, or the object itself."""

    position: int
    type: str
    version: int
    time: str
    command_id: str
    digest: str | None
    stream: str
    stream_version: int
    data: msgspec.Raw


class _ExportedFile(msgspec.Struct):
    """What the manifest says about a file."""

    name: str
    bytes: int


class _ExportManifest(msgspec.Struct):
    """The part of `manifest.json` that says whether the events are whole."""

    markets: list[str] | None
    files: list[_ExportedFile]


_decode_line: Final = msgspec.json.Decoder(_ExportedRow).decode


def read_export(folder: Path, partition: int = 0) -> tuple[Callable[[int, int], Iterator[Batch]], Callable[[], int]]:
    """Return what reads the batches after one position up to another, and what tells the last position.

    Raises ExportError when there are no events of this partition, or not all of them.
    """
    files = _files(folder / "events" / f"partition={partition}")
    if not files:
        raise ExportError(
            f"{folder} has no events of partition {partition}: is it a folder that `tidings export` wrote?"
        )
    _refuse_holes(folder, partition, files)

    def read(after: int, until: int) -> Iterator[Batch]:
        for first, last, path in files:
            if last > after and first <= until:
                yield from _batches(_rows(path, after, until), partition)

    def end() -> int:
        return _last_position(files[-1][2])

    return read, end


def _files(folder: Path) -> list[tuple[int, int, Path]]:
    """Return the files of events with the first and last position of each, in their order."""
    found = [(match, path) for path in folder.glob("events-*") if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match[1]), int(match[2]), path) for match, path in found)


def _refuse_holes(folder: Path, partition: int, files: list[tuple[int, int, Path]]) -> None:
    """Raise ExportError where a file is missing or shorter than it was, or where events of some markets only are there."""
    expected = 1
    for first, last, path in files:
        if first != expected:
            raise ExportError(
                f"{folder} has no events from position {expected:,} to {first - 1:,}: the file before {path.name} is missing"
            )
        expected = last + 1
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=_ExportManifest)
    except FileNotFoundError:
        return  # the export has not ended
    except msgspec.DecodeError as error:
        raise ExportError(f"{folder / 'manifest.json'} is not the manifest of an export: {error}") from None
    if manifest.markets is not None:
        raise ExportError(f"{folder} has the events of some markets only: the state of the exchange needs all")
    present = {path.relative_to(folder).as_posix() for _, _, path in files}
    for file in manifest.files:
        if not file.name.startswith(f"events/partition={partition}/"):
            continue
        path = folder / file.name
        if file.name not in present:
            raise ExportError(f"{path} is missing, and the manifest names it: run `tidings export` again")
        if (size := path.stat().st_size) != file.bytes:
            raise ExportError(f"{path} has {size:,} bytes, and {file.bytes:,} were written: run `tidings export` again")


def _batches(rows: Iterable[tuple[Any, ...]], partition: int) -> Iterator[Batch]:
    events: list[Recorded] = []
    for row in rows:
        events.append(_recorded(*row))
        if len(events) == BATCH_ROWS:
            yield Batch(partition, events)
            events = []
    if events:
        yield Batch(partition, events)


def _recorded(  # noqa: PLR0917  the columns of a row, in their order
    position: int,
    kind: str,
    version: int,
    time: int,
    command_id: str,
    digest: str | None,
    stream: str,
    stream_version: int,
    data: bytes | str,
) -> Recorded:
    event: Any
    try:
        event = event_of_public(kind, version, data)
    except UnreadableEventError as error:
        event = UnreadableEvent(f"{kind}.v{version}", str(error))
    return Recorded(position, stream, stream_version, time, command_id, event, digest)


def _rows(path: Path, after: int, until: int) -> Iterator[tuple[Any, ...]]:
    return _parquet_rows(path, after, until) if path.suffix == ".parquet" else _json_rows(path, after, until)


def _json_rows(path: Path, after: int, until: int) -> Iterator[tuple[Any, ...]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = _decode_line(line)
                time = parse_time(row.time)
                text = bytes(row.data)
                data = msgspec.json.decode(text, type=str) if text.startswith(b'"') else text
            except ValueError as error:  # also those of msgspec
                raise ExportError(f"{path}, line {number} cannot be read: {error}. Is the file whole?") from None
            if after < row.position <= until:
                yield (
                    row.position, row.type, row.version, time, row.command_id, row.digest, row.stream, row.stream_version,
                    data,
                )  # fmt: skip


def _parquet_rows(path: Path, after: int, until: int) -> Iterator[tuple[Any, ...]]:
    columns = ", ".join(f"epoch_us({name})" if name == "time" else name for name in COLUMNS)
    with _duckdb(path) as connection:
        found = connection.execute(
            f"SELECT {columns} FROM read_parquet(?) WHERE position > ? AND position <= ? ORDER BY position",
            [str(path), after, until],
        )
        while rows := found.fetchmany(BATCH_ROWS):
            yield from rows


def _last_position(path: Path) -> int:
    if path.suffix == ".parquet":
        with _duckdb(path) as connection:
            found = connection.execute("SELECT max(position) FROM read_parquet(?)", [str(path)]).fetchall()
        return int(found[0][0] or 0)
    return max((position for position, *_ in _json_rows(path, 0, sys.maxsize)), default=0)


@contextmanager
def _duckdb(path: Path) -> Iterator[Any]:
    """Yield a connection to DuckDB that never uses the network, to read a file.

    Raises ExportError without DuckDB, and where the file cannot be read.
    """
    try:
        import duckdb  # noqa: PLC0415  an extra
    except ImportError:
        raise ExportError("Parquet files are read by DuckDB: pip install 'tidings[analysts]'") from None
    settings: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    try:
        with duckdb.connect(config=settings) as connection:
            yield connection
    except duckdb.Error as error:
        raise ExportError(f"{path} cannot be read: {str(error).splitlines()[0]}. Is the file whole?") from None
