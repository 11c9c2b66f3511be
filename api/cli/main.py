"""The command line `tidings`: puts the groups of commands together and turns errors into exit codes.

    0    done; for `verify`: everything agrees
    1    the answer is no: the server refused, `verify` found a difference, `simulate` a broken rule, a demo's check failed
    2    wrong use: an unknown option, an invalid setting, a file that is no story
    3    something needed is missing: a database (of a version this program knows), a broker, or a server that answers
    130  interrupted

Each group of commands has a file of its own: it declares its commands and runs them. A command imports what it needs when
it runs, so `tidings --help` stays quick.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from api.cli import (
    dead_letters,
    demo,
    describe,
    keys,
    load,
    read_models,
    replay,
    serving,
    simulate,
    sql_role,
    topics,
)
from api.cli.command import INTERRUPTED, NO, UNREACHABLE, WRONG_USE, complain
from local.compile import refuse_outdated
from settings import Settings, unknown_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.cli.command import Run

GROUPS: Final = (demo, serving, load, replay, read_models, dead_letters, simulate, keys, sql_role, describe, topics)
"""The groups of commands, in the order in which `--help` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    refuse_outdated()
    options = parser().parse_args(arguments)
    run: Run = options.run
    try:
        settings = Settings()
        for name in unknown_variables():
            complain(f"{name} is not a setting (see `tidings settings`)")
        return run(options, settings)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            complain(f"TIDINGS_{name}: {problem['msg']}")
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return NO
    except Exception as error:
        if type(error) not in _unreachable():
            raise
        complain(error)
        return UNREACHABLE


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    found = argparse.ArgumentParser(
        prog="tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        epilog="exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 something needed is not there, 130 interrupted",
    )
    commands = found.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    return found


def _unreachable() -> tuple[type[Exception], ...]:
    """Return the errors that mean that a server is missing, not that this program is wrong."""
    import eventsourcing.persistence as log
    import psycopg
    import psycopg_pool

    from local.processes import StartError
    from migrations import NewerDatabaseError
    from projections.machine.known_log import LostEventsError

    return (
        ConnectionRefusedError,
        OSError,
        TimeoutError,
        NewerDatabaseError,
        StartError,
        psycopg.OperationalError,
        psycopg_pool.PoolTimeout,
        log.OperationalError,
        log.InterfaceError,
        log.InternalError,  # the log has lost events, or the database is damaged
        LostEventsError,
    )


if __name__ == "__main__":
    sys.exit(main())
