"""`tidings simulate`: a run that can be repeated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings


def test_a_simulation_is_repeatable(settings: Settings) -> None:
    """The same seed ends in the same state, and every invariant holds at every position."""
    first, second = (
        json.loads(tidings(settings, "simulate", "--seed", "7", "--commands", "300", "--json").stdout) for _ in range(2)
    )

    assert first["state_hash"] == second["state_hash"]
    assert first["commands"] == 300
