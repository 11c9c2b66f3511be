"""Commands that serve, when they refuse to start."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from api.demo.run import free_or_other
from local.processes import free_port
from settings import Settings
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_parts_apart_need_kafka(settings: Settings) -> None:
    """With the log in PostgreSQL, `api` and `engine` end with 2 and say what to run instead."""
    for part in ("api", "engine"):
        done = tidings(settings, part)
        assert (done.returncode, "tidings serve" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "Address already in use; TIDINGS_PORT"),
        ({"host": "192.0.2.1"}, "of 192.0.2.1: Cannot assign requested address"),
        ({"host": "no-such-host.invalid"}, "of no-such-host.invalid: "),
    ],
    ids=str,
)
def test_an_address_that_cannot_be_listened_on_is_said_first(tmp_path: Path, change: dict[str, str], says: str) -> None:
    """Nothing is started, and the complaint names host, port and the settings that choose others."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = tidings(Settings(home=tmp_path / "home", port=port, **change), "serve")  # type: ignore[arg-type]

    assert (done.returncode, says in done.stderr, f"port {port} " in done.stderr) == (3, True, True), done.stderr
    assert not (tmp_path / "home").exists()


def test_the_demo_takes_another_port_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is free is taken as it is."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert free_or_other(port) != port
    assert f"Port {port} is in use" in capsys.readouterr().err

    free = free_port()
    assert free_or_other(free) == free
    assert capsys.readouterr().err == ""
