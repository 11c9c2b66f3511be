"""`tidings export`: the log and all tables as files, for analysts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, UNREACHABLE, WRONG_USE, add_command, complain, mention_demo, show_progress

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from api.export.run import ExportReport
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `export`."""
    export = add_command(commands, "export", _export, "the log and all tables as Parquet or JSON lines", json=True)
    export.add_argument("folder", type=Path, metavar="DIR", help="where to; an export that is there is gone on with")
    export.add_argument("--format", choices=["parquet", "jsonl"], help="of the files (default parquet)")
    export.add_argument(
        "--what", default=None, help="tables with commas between them, as events,trades; or all (default)"
    )
    export.add_argument(
        "--market", action="append", metavar="M", help="only rows about this market: id or slug; may be repeated"
    )
    until = export.add_mutually_exclusive_group()
    until.add_argument("--until-position", type=int, metavar="N", help="as it was after this position of the log")
    until.add_argument(
        "--until-time", metavar="TIME", help="as it was at this time: RFC 3339, a date, or seconds since 1970"
    )
    export.add_argument("--verify", action="store_true", help="read every file again: hashes, rows and control sums")


def _export(options: Namespace, settings: Settings) -> int:
    from api.cli.opening import opened
    from api.export.errors import ExportRefusedError, MissingDuckDBError
    from api.export.event_process import EventProcessError
    from api.export.run import ExportOptions, export
    from api.export.snapshot import ExportSource
    from api.export.tables import TABLES
    from messages.moments import parse_moment

    try:
        until_time = None if options.until_time is None else parse_moment(options.until_time)
    except ValueError as error:
        complain(f"--until-time {error}")
        return WRONG_USE
    tables = None if options.what in {None, "all"} else options.what.split(",")
    if unknown := [name for name in tables or () if name not in TABLES]:
        complain(f"--what: there is no table {unknown[0]}; there are {', '.join(TABLES)}")
        return WRONG_USE
    if options.until_position is not None and options.until_position < 0:
        complain("--until-position must be 0 or more")
        return WRONG_USE
    wanted = ExportOptions(options.format, tables, options.market, options.until_position, until_time, options.verify)
    try:
        with opened(settings) as (_, connection, log):
            report = export(options.folder, ExportSource(log, connection, settings.partition), wanted, show_progress)
    except ExportRefusedError as error:
        complain(error)
        return NO
    except (MissingDuckDBError, EventProcessError) as error:
        complain(error)
        return UNREACHABLE
    if not report.manifest.until and options.until_position is None and until_time is None:
        mention_demo(settings)
    _print(options, report)
    return NO if report.problems else DONE


def _print(options: Namespace, report: ExportReport) -> None:
    """Print what was done: as JSON, or a line for each table."""
    manifest = report.manifest
    rows = {name: sum(entry.rows for entry in manifest.files if entry.table == name) for name in manifest.tables}
    for problem in report.problems or ():
        complain(problem)
    if options.json:
        print(
            json.dumps(
                {
                    "folder": str(options.folder),
                    "log": manifest.log,
                    "until": manifest.until,
                    "time": manifest.time,
                    "format": manifest.format,
                    "rows": rows,
                    "files": len(manifest.files),
                    "written": report.written,
                    "verified": None if report.problems is None else not report.problems,
                }
            )
        )
        return
    for name, count in rows.items():
        print(f"{name:<14} {count:>14,}")
    checked = "; every file is as it was written" if report.problems == [] else ""
    files = f"{len(report.written)} of {len(manifest.files)} files written{checked}"
    print(f"{options.folder} is at position {manifest.until:,}: {files}")
