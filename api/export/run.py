"""Writing an export into a folder, or going on with the one that is there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.export.errors import ExportRefusedError
from api.export.event_lines import position_at
from api.export.manifest import Manifest, TableEntry, load
from api.export.parquet import DuckDB
from api.export.snapshot import ExportSnapshot, snapshot
from api.export.tables import TABLES
from api.export.verify import problems_of
from api.export.writing import write_files
from local.processes import locked
from messages.wire import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from api.export.manifest import Format
    from api.export.snapshot import ExportSource
    from api.export.tables import ExportedTable


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is asked for; None where an earlier export in the folder decides, and else the whole log as Parquet."""

    format: Format | None = None
    tables: Sequence[str] | None = None
    markets: Sequence[str] | None = None
    until_position: int | None = None
    until_time: int | None = None
    verify: bool = False


@dataclass(slots=True)
class ExportReport:
    """What was done: the manifest, the names of the files that were written, and with `verify` what is wrong."""

    manifest: Manifest
    written: list[str] = field(default_factory=list)
    problems: list[str] | None = None


def export(
    folder: Path, source: ExportSource, options: ExportOptions, progress: Callable[[str], None] = lambda _: None
) -> ExportReport:
    """Write an export into a folder. Files that are there already are kept; the last ones are written anew.

    Raises:
        ExportRefusedError: the folder has an export of another log or of something else, or a read model is not ready.
        MissingDuckDBError: Parquet needs DuckDB.
        LostEventsError: the read models were folded from another log.
        StartError: another process exports into this folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportRefusedError(f"{folder} is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(locked(folder / ".lock", timeout_seconds=1))
        earlier = load(folder)
        chosen, file_format, references = _choose(folder, source, options, earlier)
        until = _until(source, options)
        duckdb = stack.enter_context(DuckDB(folder)) if file_format == "parquet" else None
        held = stack.enter_context(snapshot(source, chosen, until, references, duckdb, progress))
        manifest = _begin(folder, held, chosen, file_format, references, earlier)
        report = ExportReport(manifest)
        report.written = write_files(folder, held, chosen, manifest, progress, check=options.verify)
        if options.verify:
            report.problems = problems_of(folder, manifest, duckdb)
    return report


def _choose(
    folder: Path, source: ExportSource, options: ExportOptions, earlier: Manifest | None
) -> tuple[list[ExportedTable], Format, Sequence[str] | None]:
    """Return the tables, the format and the markets; raise if the folder has an export of something else."""
    if earlier is None:
        names = options.tables or [
            name for name, table in TABLES.items() if table.of_markets or options.markets is None
        ]
        chosen = [TABLES[name] for name in TABLES if name in names]
        if options.markets is not None and (whole := [table.name for table in chosen if not table.of_markets]):
            raise ExportRefusedError(f"--market cannot select rows of {', '.join(whole)}: these are not about markets")
        return chosen, options.format or "parquet", options.markets
    refuse_other_log(folder, earlier, source.identity, source.partition)
    for name, wanted, there in (
        ("--format", options.format, earlier.format),
        ("--what", options.tables and sorted(options.tables), sorted(earlier.tables)),
    ):
        if wanted is not None and wanted != there:
            told = there if isinstance(there, str) else ",".join(there)
            raise ExportRefusedError(f"{folder} has an export with {name} {told}. Choose another folder")
    return (
        [TABLES[name] for name in TABLES if name in earlier.tables],
        earlier.format,
        options.markets or earlier.markets,
    )


def refuse_other_log(folder: Path, earlier: Manifest | None, identity: str, partition: int) -> None:
    """Raise ExportRefusedError where the export that is in a folder, if there is one, is that of another log."""
    if earlier is not None and (earlier.log, earlier.partition) != (identity, partition):
        raise ExportRefusedError(
            f"{folder} has an export of the log {earlier.log}, partition {earlier.partition}; this log is {identity}, "
            f"partition {partition}. Choose another folder"
        )


def _until(source: ExportSource, options: ExportOptions) -> int:
    """Return the position at which the export ends."""
    end = source.end
    if options.until_time is not None:
        return position_at(source.log, options.until_time, end)
    if options.until_position is not None and options.until_position > end:
        raise ExportRefusedError(
            f"the log ends at position {end:,}, before --until-position {options.until_position:,}"
        )
    return end if options.until_position is None else options.until_position


def _begin(
    folder: Path,
    held: ExportSnapshot,
    chosen: Sequence[ExportedTable],
    file_format: Format,
    references: Sequence[str] | None,
    earlier: Manifest | None,
) -> Manifest:
    """Return the manifest of the export at its new end, with the files that are there already."""
    ids = None if references is None else list(held.markets or ())
    if earlier is not None and earlier.markets != ids and earlier.until:
        raise ExportRefusedError(f"{folder} has an export of other markets. Choose another folder")
    if earlier is not None and earlier.until > held.until:
        raise ExportRefusedError(
            f"{folder} has an export up to position {earlier.until:,}, and {held.until:,} is asked for. Choose another folder"
        )
    return Manifest(
        log=held.source.identity,
        partition=held.source.partition,
        until=held.until,
        time=format_time(held.time) if held.time else None,
        format=file_format,
        markets=ids,
        tables={table.name: TableEntry(held.until, dict(table.columns.items()), list(table.key)) for table in chosen},
        files=earlier.files if earlier else [],
    )
