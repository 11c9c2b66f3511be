"""The commands that serve, where they refuse to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings


def test_the_parts_apart_need_kafka(settings: Settings) -> None:
    """`api` and `engine` with the log in PostgreSQL are wrong use, and say what to do."""
    for part in ("api", "engine"):
        done = tidings(settings, part)
        assert (done.returncode, "tidings serve" in done.stderr) == (2, True)
