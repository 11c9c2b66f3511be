"""The base of every command: its declaration, its exit codes, its error messages and its progress."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  argparse has no public name for it
    Run = Callable[[argparse.Namespace, Settings], int]

DONE: Final = 0
"""The command did what it was asked; for `verify`: everything agrees."""

NO: Final = 1
"""The answer is no: the server refused, or a check failed."""

WRONG_USE: Final = 2
"""An unknown option, an invalid setting or an unusable file. argparse ends with the same code."""

UNREACHABLE: Final = 3
"""A database, a broker or a server is missing, or the database is newer than this program."""

INTERRUPTED: Final = 130
"""Ctrl-C."""


def add_command(
    commands: Commands, name: str, run: Run, text: str, *, json: bool = False, knows_partitions: bool = False
) -> argparse.ArgumentParser:
    """Declare a command that `run` carries out and return its parser.

    `json` adds `--json`. Only a command that `knows_partitions` runs where the log has several.
    """
    parser = commands.add_parser(name, help=text, description=_sentence(text))
    parser.set_defaults(run=run, knows_partitions=knows_partitions)
    if json:
        add_json(parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_group(commands: Commands, name: str, text: str) -> Commands:
    """Declare a command that has commands of its own, as `tidings keys create`, and return what those are added to."""
    group: Any = commands.add_parser(name, help=text, description=_sentence(text))
    actions: Commands = group.add_subparsers(required=True, metavar="ACTION")
    return actions


def start_logs(settings: Settings) -> None:
    """Let this process write its log as the settings say, warnings and uncaught exceptions included."""
    from api import logs

    logs.configure(settings)
    logs.log_everything()


def complain(problem: object) -> None:
    """Print why a command does not go on, on stderr."""
    from api import logs

    logs.complain(problem)


def server_url(host: str, port: int) -> str:
    """Return the URL of a server on this machine that listens on this host and port."""
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def needs_kafka(command: str) -> int:
    """Say that the command works only with the log in Kafka, and return its exit code."""
    complain(f"`{command}` needs TIDINGS_LOG=kafka; `tidings serve` runs everything")
    return WRONG_USE


def mention_demo(settings: Settings) -> None:
    """Say that the log is empty, and where the demo's exchange is if one was played in this home."""
    folder = settings.home.absolute() / "demo"
    played = settings.dsn is None and (folder / "postgres").exists()
    there = (
        f"; the demo's exchange is in another home: export TIDINGS_HOME={shlex.quote(str(folder))}" if played else ""
    )
    complain(f"the log in {settings.home} is empty{there}" if settings.dsn is None else "the log is empty")


def check_kafka(settings: Settings) -> None:
    """Return at once if the log is in Kafka and a broker answers, or if it is not in Kafka; raises NoKafkaError."""
    from consumers.kafka.connection_check import check_connection

    if settings.log == "kafka":
        check_connection(settings)


def show_progress(line: str) -> None:
    """Overwrite the last line of a terminal on stderr; elsewhere print nothing."""
    if sys.stderr.isatty():
        print(f"\r{line} ", end="", file=sys.stderr, flush=True)


def _sentence(text: str) -> str:
    """Return the short text of a command as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
