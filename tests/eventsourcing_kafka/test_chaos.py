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


@pytest.mark.parametrize(
    ("journal", "says"),
    [
        ("told a.1.1.0/1 2", "a.1.1.0/1 was told at 2 and is at 1"),
        ("told a.1.9.0/1 7", "a.1.9.0/1 was told at 7 and is at None"),
        ("refused a.1.1.0/1 0", "a.1.1.0/1 was refused and is at 1"),
        ("read a.1.1.0/1 3", "a.1.1.0/1 was read at 3 and is at 1"),
        ("missing a.1.1.0/1 0", "a.1.1.0/1 was missing and is at 1"),
        ("unexpected a.1.1.0/1 0", "a.1.1.0/1 was unexpected and is at 1"),
        ("there a.1.9.0/1 0", "a.1.9.0/1 was there and is at None"),
    ],
    ids=lambda text: text.split()[0],
)
def test_the_referee_notices_each_broken_promise(journal: str, says: str, tmp_path: Path) -> None:
    """Each line of a journal that the log contradicts."""
    (tmp_path / "journal").write_text(f"sent a.1.1.0/1 0\n{journal}\n")
    assert chaos.differences([tmp_path / "journal"], {"a.1.1.0/1": 1})[0] == [says]


def test_the_referee_notices_a_part_of_a_batch() -> None:
    """A batch that is there in part, or not in one piece; and an event that nobody sent."""
    assert chaos.partial_batches([(1, "a.1.1.0/2"), (2, "a.1.1.1/2"), (3, "a.1.2.0/1")]) == []
    assert chaos.partial_batches([(1, "a.1.1.0/2"), (2, "a.1.2.0/1")]) == ["a.1.1 of 2"]
    assert chaos.partial_batches([(1, "a.1.1.0/2"), (2, "a.1.2.0/1"), (3, "a.1.1.1/2")]) == ["a.1.1 of 2"]
    assert chaos.differences([], {"a.1.1.0/1": 1})[0] == ["nobody sent ['a.1.1.0/1']"]
