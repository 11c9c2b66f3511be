"""`tidings import`: makes an exchange out of a table of trades."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from api.cli.command import DONE, NO, WRONG_USE, add_command, check_kafka, complain, show_progress, start_logs

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from consumers.imports.history import ImportHistory
    from consumers.imports.plan import ImportPlan
    from consumers.imports.run import ImportReport
    from settings import Settings

BAD_ROWS_SHOWN: Final = 10
"""The most bad rows that people see; `--json` has more."""

_WRITABLE: Final = "an import makes a new exchange; TIDINGS_HOME or TIDINGS_DSN name another, empty one"


def add_commands(commands: Commands) -> None:
    """Declare `import`."""
    text = "make an exchange out of a table of trades, for study (docs/imports.md)"
    command = add_command(commands, "import", _import, text, json=True)
    command.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="trades: .csv, .json, .jsonl, .parquet, .gz"
    )
    command.add_argument("--mapping", type=Path, metavar="FILE", help="which column is which, in TOML")
    command.add_argument("--markets", type=Path, metavar="FILE", help="a table of the markets: questions, resolutions")
    command.add_argument("--check", action="store_true", help="read everything and say what would be done; do nothing")
    command.add_argument("--skip-bad-rows", action="store_true", help="leave out bad rows instead of refusing all")


def _import(options: Namespace, settings: Settings) -> int:
    from consumers.imports.cells import CellError
    from consumers.imports.history import ImportHistory
    from consumers.imports.mapping import ImportMapping, MappingError, read_mapping
    from consumers.imports.reading import read_plan
    from consumers.imports.tables import TableError

    try:
        mapping = ImportMapping() if options.mapping is None else read_mapping(options.mapping)
        plan = read_plan(options.files, mapping, now=time_ns() // 1_000, markets=options.markets)
        history = ImportHistory(plan)
    except MappingError as error:
        complain(f"{options.mapping}: {error}")
        return WRONG_USE
    except (TableError, CellError) as error:
        complain(error)
        return WRONG_USE
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else error)
        return WRONG_USE
    if plan.bad_count and not options.skip_bad_rows:
        _refuse(plan, as_json=options.json)
        return WRONG_USE
    if not plan.trades:
        complain("no row is a trade")
        return WRONG_USE
    if options.check:
        _print({**_described(plan, history), "bad": [bad._asdict() for bad in plan.bad]}, as_json=options.json)
        return DONE
    return _run(plan, history, settings, as_json=options.json)


def _run(plan: ImportPlan, history: ImportHistory, settings: Settings, *, as_json: bool) -> int:
    from api.database import with_database
    from consumers.imports.run import OccupiedLogError, check_log, run_import
    from consumers.wiring import batch_limits, open_log, open_recorder

    start_logs(settings.model_copy(update={"log_level": "warning"}))  # the engine logs each append
    check_kafka(settings)
    trades = len(plan.trades)

    def progress(commands: int) -> None:
        show_progress(f"{commands} commands of {trades} trades and more")

    try:
        with ExitStack() as stack:
            named = with_database(settings, stack) if settings.log == "postgres" else settings
            with open_recorder(named) as recorder:
                check_log(recorder, plan.digest)
            report = run_import(
                open_log(named),
                history,
                plan.digest,
                limits=batch_limits(named),
                partition=named.partition,
                folder=named.home / "engine",
                progress=progress,
            )
    except OccupiedLogError as error:
        complain(f"{error}: {_WRITABLE}")
        return NO
    _print({**_described(plan, history), **_done(report)}, as_json=as_json)
    return DONE


def _described(plan: ImportPlan, history: ImportHistory) -> dict[str, Any]:
    """Return what an import makes of its files."""
    from messages.wire import format_time

    markets = {trade.market for trade in plan.trades}
    ended = [number for number in markets if plan.markets[number].voided or plan.markets[number].resolved is not None]
    return {
        "trades": len(plan.trades),
        "accounts": len({trade.account for trade in plan.trades}),
        "renamed_accounts": history.renamed,
        "markets": len(markets),
        "ended_markets": len(ended),
        "first": format_time(plan.trades[0].time),
        "last": format_time(plan.trades[-1].time),
        "filtered_rows": plan.filtered,
        "duplicate_rows": plan.duplicates,
        "bad_rows": plan.bad_count,
    }


def _done(report: ImportReport) -> dict[str, Any]:
    """Return what became of an import's commands."""
    return {
        "commands": report.commands,
        "commands_before": report.before,
        "filled": report.orders["filled"],
        "partially_filled": report.orders["partially_filled"],
        "not_filled": report.orders["canceled"],
        "refused": dict(report.refused.most_common()),
        **({"others_refused": dict(report.others_refused)} if report.others_refused else {}),
        "position": report.position,
        "seconds": round(report.seconds, 3),
    }


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if name == "bad":
            for bad in value[:BAD_ROWS_SHOWN]:
                print(f"  {bad['file']}, row {bad['row']}: {bad['column']} {bad['problem']}")
        elif isinstance(value, dict):
            print(f"{name:<17} {sum(value.values())}")
            for code, count in value.items():
                print(f"  {code:<31} {count}")
        else:
            print(f"{name:<17} {value}")


def _refuse(plan: ImportPlan, *, as_json: bool) -> None:
    """Say which rows are bad. Nothing was done."""
    if as_json:
        print(json.dumps({"bad_rows": plan.bad_count, "bad": [bad._asdict() for bad in plan.bad]}))
    for bad in plan.bad[:BAD_ROWS_SHOWN]:
        complain(bad)
    more = plan.bad_count - min(plan.bad_count, BAD_ROWS_SHOWN)
    rest = f" ({more} more)" if more else ""
    complain(f"{plan.bad_count} bad rows{rest}, so nothing was imported; --skip-bad-rows leaves them out")
