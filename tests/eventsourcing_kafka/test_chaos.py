"""A short run of the chaos test; `make chaos` runs hundreds of rounds, and a cluster of three nodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from local.processes import StartError
from tests.eventsourcing_kafka import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
def test_clients_were_told_the_truth_whatever_failed(tmp_path: Path) -> None:
    """Three writers duel while writers and brokers, their network, disks and clocks fail. Every promise is kept."""
    try:
        problems, counts = chaos.run(rounds=7, seed=4, folder=tmp_path)
    except StartError as reason:
        pytest.skip(f"no Kafka: {reason}")

    assert problems == []
    assert counts["told"] > 100
    assert counts["won"] > 2


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.parametrize(("nodes", "rounds"), [(1, 300), (3, 250)])
def test_clients_were_told_the_truth_for_hundreds_of_rounds(nodes: int, rounds: int, tmp_path: Path) -> None:
    """The same for longer, on one broker and on a cluster of three that loses its leader. `KAFKA_CHAOS_SEED` sets the seed."""
    problems, counts = chaos.run(rounds, int(os.environ.get("KAFKA_CHAOS_SEED", "1")), nodes, folder=tmp_path)

    assert problems == []
    assert counts["told"] > 100 * rounds
