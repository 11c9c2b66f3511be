"""All commands of `tidings`: their parser, and the exit code of one that is run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from api.cli import (
    backtest,
    dead_letters,
    demo,
    describe,
    export,
    imports,
    invitations,
    keys,
    load,
    read_models,
    replay,
    serving,
    simulate,
    sql_role,
    topics,
    transfers,
    whatif,
)
from api.cli.command import UNREACHABLE, WRONG_USE, complain, start_logs
from local.compile import refuse_outdated
from settings import Settings, unknown_variables, wants_json_logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.cli.command import Run

GROUPS: Final = (
    demo,
    serving,
    load,
    imports,
    replay,
    whatif,
    export,
    backtest,
    read_models,
    dead_letters,
    simulate,
    keys,
    invitations,
    sql_role,
    describe,
    topics,
    transfers,
)
"""The groups of commands, in the order in which `--help` lists them."""


def run_command(arguments: Sequence[str] | None) -> int:
    """Run one command and return its exit code. Raises what is an error of this program."""
    refuse_outdated()
    options = parser().parse_args(arguments)
    try:
        settings = Settings()
        if settings.log_format == "json":
            start_logs(settings)
        for name in unknown_variables():
            complain(f"{name} is not a setting (see `tidings settings`)")
        return _run(options, settings)
    except ValidationError as error:
        if wants_json_logs():
            start_logs(Settings.model_construct(log_format="json", log_level="info"))
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            said = problem["msg"].removeprefix("Value error, ")
            complain(f"TIDINGS_{name}: {said}" if name else said)  # no name: settings that do not fit together
        return WRONG_USE
    except BrokenPipeError:  # an OSError, but nothing is missing
        raise
    except _unreachable() as error:
        complain(error)
        return UNREACHABLE
    except ValueError as error:
        from consumers.kafka.connection_check import KafkaSettingsError

        if isinstance(error, KafkaSettingsError):
            complain(error)
            return WRONG_USE
        raise


def _run(options: argparse.Namespace, settings: Settings) -> int:
    """Run the command, unless it knows one partition and the log has several."""
    if settings.partitions > 1 and not options.knows_partitions:
        complain(
            f"TIDINGS_PARTITIONS: this command does not support {settings.partitions} partitions yet; leave it at 1"
        )
        return WRONG_USE
    run: Run = options.run
    return run(options, settings)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    found = argparse.ArgumentParser(
        prog="tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        epilog="Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 something needed is not there, 130 interrupted. "
        "`tidings settings` lists the settings; all are environment variables.",
    )
    commands = found.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    return found


def _unreachable() -> tuple[type[Exception], ...]:
    """Return the errors that mean that something around this program is missing: a server, a permission, a port."""
    import eventsourcing.persistence as log
    import psycopg
    import psycopg_pool

    from consumers.engine.log import LogError
    from eventsourcing_kafka import UnsafeTopic
    from local.processes import StartError
    from migrations import NewerDatabaseError
    from projections.machine.known_log import LostEventsError

    return (
        OSError,
        NewerDatabaseError,
        LostEventsError,
        StartError,
        psycopg.OperationalError,
        psycopg_pool.PoolTimeout,
        log.OperationalError,
        log.InterfaceError,
        LogError,
        UnsafeTopic,
        log.InternalError,  # the log has lost records, or was made anew
    )
