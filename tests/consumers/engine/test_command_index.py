"""The command index: exact, kept over restarts, and begun again where it cannot be trusted."""

import struct
from pathlib import Path

from consumers.engine import command_index
from consumers.engine.command_index import DiskCommandIndex


def test_every_command_is_found_and_no_other(tmp_path: Path) -> None:
    """Ids that were added are found at their positions, over many tables; no other id is found."""
    with DiskCommandIndex(tmp_path, first_slots=64) as index:
        for number in range(5_000):
            index.add(f"order:ac_1:{number}", number + 1)

        assert all(index.positions(f"order:ac_1:{number}") == [number + 1] for number in range(5_000))
        assert not any(index.positions(f"order:ac_2:{number}") for number in range(5_000))
        assert len(index) == 5_000


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    """A log that is read twice leaves one entry a command."""
    with DiskCommandIndex(tmp_path, first_slots=64) as index:
        index.add("a", 7)
        index.add("a", 7)

        assert index.positions("a") == [7]
        assert len(index) == 1


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    """A closed index opens with its entries and its position."""
    with DiskCommandIndex(tmp_path, first_slots=64) as index:
        for number in range(200):
            index.add(str(number), number)
        index.advance(200)
    with DiskCommandIndex(tmp_path, first_slots=64) as index:
        assert index.position == 200
        assert all(index.positions(str(number)) == [number] for number in range(200))


def test_it_is_kept_when_the_process_is_killed(tmp_path: Path) -> None:
    """Without a close, in the same run of the machine: all that the index had advanced over is there."""
    index = DiskCommandIndex(tmp_path, first_slots=64)
    index.add("a", 1)
    index.advance(1)
    with DiskCommandIndex(tmp_path, first_slots=64) as again:
        assert again.position == 1
        assert again.positions("a") == [1]


def test_it_begins_again_after_a_crash_of_the_machine(tmp_path: Path) -> None:
    """Not closed, and another boot id: pages may be lost, so the index starts empty at position 0."""
    index = DiskCommandIndex(tmp_path, first_slots=64)
    index.add("a", 1)
    index.advance(1)
    struct.pack_into("<16s", index._tables[0].map, len(command_index.MAGIC), b"another boot....")
    with DiskCommandIndex(tmp_path, first_slots=64) as again:
        assert again.position == 0
        assert again.positions("a") == []


def test_a_shared_fingerprint_gives_both_positions(tmp_path: Path) -> None:
    """Two ids with one fingerprint are both found: the caller sees in the log which one it is."""
    with DiskCommandIndex(tmp_path, first_slots=64, hashed=lambda _: 42) as index:
        index.add("a", 1)
        index.add("b", 2)

        assert index.positions("a") == [1, 2]
