"""A short run of the chaos test; `make chaos` runs hundreds of rounds, and a cluster of three nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.processes import StartError
from tests.kafka import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(240)
def test_clients_were_told_the_truth_whatever_failed(tmp_path: Path) -> None:
    """Writers and broker are killed and paused, the network is cut, two writers duel: every promise is kept."""
    try:
        problems, counts = chaos.run(rounds=7, seed=4, folder=tmp_path)
    except StartError as reason:
        pytest.skip(f"no Kafka: {reason}")

    assert problems == []
    assert counts["told"] > 100
    assert counts["won"] > 2
