"""The command line as a whole: exit codes for wrong use and for what is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from settings import environment
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings


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


@pytest.mark.parametrize("log", ["postgres", "kafka"])
@pytest.mark.parametrize(
    "command",
    [["serve"], ["api"], ["engine"], ["engine", "--standby"], ["projector"], ["feed"], ["demo"]],
    ids=" ".join,
)
def test_a_log_of_two_partitions_is_refused(settings: Settings, command: list[str], log: str) -> None:
    """Whatever would start with it says so in one sentence and ends with 2."""
    done = subprocess.run(
        [sys.executable, "-m", "api", *command],
        env=environment(settings) | {"TIDINGS_PARTITIONS": "2", "TIDINGS_LOG": log},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert re.fullmatch(r"tidings: TIDINGS_PARTITIONS: .*a log of 2 partitions is not supported yet.*\n", done.stderr)


def test_a_database_that_is_not_there_is_3(settings: Settings) -> None:
    """A command whose database does not answer ends with 3."""
    away = settings.model_copy(update={"dsn": "host=127.0.0.1 port=1 dbname=x connect_timeout=2"})

    assert tidings(away, "keys", "list").returncode == 3
