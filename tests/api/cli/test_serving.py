"""Commands that serve, when they refuse to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings


def test_the_parts_apart_need_kafka(settings: Settings) -> None:
    """With the log in PostgreSQL, `api` and `engine` end with 2 and say what to run instead."""
    for part in ("api", "engine"):
        done = tidings(settings, part)
        assert (done.returncode, "tidings serve" in done.stderr) == (2, True)
