"""The command line as a whole: exit codes for wrong use and for what is missing."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from api.cli.commands import parser
from settings import Settings, environment
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["keys"], ["demo", "--seed", "x"]], ids=str)
def test_wrong_use_is_2(settings: Settings, arguments: list[str]) -> None:
    """An unknown command or option prints the usage and ends with 2."""
    done = tidings(settings, *arguments)

    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_an_invalid_setting_is_2(settings: Settings) -> None:
    """The error names the setting."""
    done = subprocess.run(
        [sys.executable, "-m", "api", "settings"],
        env=environment(settings) | {"TIDINGS_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, "TIDINGS_PORT" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("command", "log"),
    [
        *[(name, "postgres") for name in ("serve", "api", "engine", "engine --standby", "projector", "feed", "demo")],
        *[(name, "kafka") for name in ("serve", "api", "feed", "demo")],
    ],
)
def test_a_log_of_two_partitions_is_refused(settings: Settings, command: str, log: str) -> None:
    """Whatever cannot work with it says so in one sentence and ends with 2: all but engine and projector with Kafka."""
    done = subprocess.run(
        [sys.executable, "-m", "api", *command.split()],
        env=environment(settings) | {"TIDINGS_PARTITIONS": "2", "TIDINGS_LOG": log},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    why = (
        "partitions is 2, expected 1 with a log in PostgreSQL" if log == "postgres" else "does not support 2 partitions"
    )
    assert re.fullmatch(rf"tidings: .*{why}.*\n", done.stderr)


def test_a_database_that_is_not_there_is_3(settings: Settings) -> None:
    """A command whose database does not answer ends with 3."""
    away = settings.model_copy(update={"dsn": "host=127.0.0.1 port=1 dbname=x connect_timeout=2"})

    assert tidings(away, "keys", "list").returncode == 3


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def test_help_explains_everything() -> None:
    """Each command has a description in one sentence, and each of its options and arguments a help text."""
    found = list(parsers(parser()))

    assert len(found) > 25
    for each in found:
        description = each.description or ""
        assert description[0].isupper(), each.prog
        assert description.endswith("."), each.prog
        mute = [action.dest for action in each._actions if not action.help and not isinstance(action.choices, dict)]
        assert mute == [], each.prog


@pytest.mark.parametrize("command", ["settings", "schemas", "--help"])
def test_who_reads_our_output_may_stop(settings: Settings, command: str) -> None:
    """As `head` does: no traceback, nothing on stderr."""
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "api", command],
        env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.close()

    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(30) in {0, 1}


def test_a_home_that_cannot_be_made_is_3(tmp_path: Path) -> None:
    """The complaint names the folder, without a traceback."""
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path / "file" / "home")

    for command in (("demo",), ("keys", "list"), ("serve",), ("replay",)):
        done = tidings(settings, *command)
        assert (done.returncode, str(tmp_path) in done.stderr, "Traceback" in done.stderr) == (3, True, False), (
            done.stderr
        )


def test_an_empty_log_is_said_and_the_demo_mentioned(server_folder: Path) -> None:
    """Whoever looks for the demo in the home itself learns where it is."""
    (server_folder / "demo" / "postgres").mkdir(parents=True)

    done = tidings(Settings(home=server_folder), "replay", "--market", "combat")

    assert done.returncode == 1
    assert f"is empty; the demo's exchange is in another home: export TIDINGS_HOME={server_folder}/demo" in done.stderr


def test_ctrl_c_while_it_starts_is_130(server_folder: Path) -> None:
    """Also while the program imports its modules: the import of a module that is used late is still to come."""
    child = subprocess.Popen(
        [sys.executable, "-v", "-m", "api", "demo"],
        env=environment(Settings(home=server_folder)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("import 'pydantic"):
            child.send_signal(signal.SIGINT)
            break
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()
    assert child.wait(30) == 130
