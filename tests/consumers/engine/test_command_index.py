"""The command index: exact, kept over restarts, and begun again where it cannot be trusted."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from crc32c import crc32c

from consumers.engine.command_index import DiskCommandIndex
from consumers.engine.command_table import CHECKSUM, HEADER, TableHeader
from consumers.engine.log import Checkpoint


def test_every_command_is_found_and_no_other(tmp_path: Path) -> None:
    """Ids that were added are found at their positions, over many tables; no other id is found."""
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        for number in range(5_000):
            index.add(f"order:ac_1:{number}", number + 1)

        assert all(index.positions(f"order:ac_1:{number}") == [number + 1] for number in range(5_000))
        assert not any(index.positions(f"order:ac_2:{number}") for number in range(5_000))
        assert len(index) == 5_000


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    """A log that is read twice leaves one entry a command."""
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        index.add("a", 7)
        index.add("a", 7)

        assert index.positions("a") == [7]
        assert len(index) == 1


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    """A closed index opens with its entries and its position."""
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        for number in range(200):
            index.add(str(number), number)
        index.advance(Checkpoint(200))
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        assert index.position == 200
        assert all(index.positions(str(number)) == [number] for number in range(200))


def test_it_is_kept_when_the_process_is_killed(tmp_path: Path) -> None:
    """Without a close, in the same run of the machine: all that the index had advanced over is there."""
    index = DiskCommandIndex(tmp_path, "log", first_slots=128)
    index.add("a", 1)
    index.advance(Checkpoint(1))
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as again:
        assert again.position == 1
        assert again.positions("a") == [1]


def restart_machine(path: Path) -> None:
    """Have the file say that it was written in another run of the machine."""
    with path.open("r+b") as file:
        for copy in (0, 512):
            file.seek(copy)
            magic, *fields = HEADER.unpack(file.read(HEADER.size))
            header = TableHeader(*fields)._replace(boot=b"another boot....")
            packed = HEADER.pack(magic, *header)
            file.seek(copy)
            file.write(packed + CHECKSUM.pack(crc32c(packed)))


def test_it_begins_again_after_a_crash_of_the_machine(tmp_path: Path) -> None:
    """Not closed, and another boot id: pages may be lost, so the index starts empty at position 0."""
    index = DiskCommandIndex(tmp_path, "log", first_slots=128)
    index.add("a", 1)
    index.advance(Checkpoint(1))
    restart_machine(tmp_path / "commands-00")
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as again:
        assert again.position == 0
        assert again.positions("a") == []


def test_it_needs_no_boot_id_when_it_was_closed(tmp_path: Path) -> None:
    """Closed before the machine went down: everything is on the disk."""
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        index.add("a", 1)
        index.advance(Checkpoint(1))
    restart_machine(tmp_path / "commands-00")
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as again:
        assert (again.position, again.positions("a")) == (1, [1])


def test_a_shared_fingerprint_gives_both_positions(tmp_path: Path) -> None:
    """Two ids with one fingerprint are both found: the caller sees in the log which one it is."""
    with DiskCommandIndex(tmp_path, "log", first_slots=128, hashed=lambda _: 42) as index:
        index.add("a", 1)
        index.add("b", 2)

        assert index.positions("a") == [1, 2]


def fill(index: DiskCommandIndex, first: int, end: int) -> None:
    """Add commands, and say so every tenth time."""
    for number in range(first, end):
        index.add(str(number), number + 1)
        if number % 10 == 9:
            index.advance(Checkpoint(number + 1, number, 1, "w"))


def test_a_killed_process_leaves_one_entry_undone(tmp_path: Path) -> None:
    """Killed while it adds an entry, at any step: the next one takes that entry back, and has all others."""
    for step in range(1, 4):
        index = DiskCommandIndex(tmp_path / str(step), "log", first_slots=128)
        fill(index, 0, 30)
        table = index._tables[0]
        slot = next(slot for slot in range(128) if not table.cells[2 * slot])
        steps: list[tuple[memoryview, int, int]] = [
            (table.word, 0, slot << 31 | 31),
            (table.cells, 2 * slot + 1, 31),
            (table.cells, 2 * slot, 42),
        ]
        for target, at, value in steps[:step]:
            target[at] = value
        with DiskCommandIndex(tmp_path / str(step), "log", first_slots=128) as again:
            assert again.position == 30
            assert all(again.positions(str(number)) == [number + 1] for number in range(30))
            assert not table.cells[2 * slot]


def test_tables_of_different_moments_are_older_or_in_doubt(tmp_path: Path) -> None:
    """Any mixture of files of four moments: what the index says it has, it has."""
    moments: list[dict[str, bytes]] = []
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        for end in (40, 80, 290, 600):
            fill(index, len(index), end)
            moments.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert len(moments[-1]) == 3
    rebuilt = 0
    for choice in product([None, *range(4)], repeat=3):
        for path in tmp_path.iterdir():
            path.unlink()
        for number, moment in enumerate(choice):
            name = f"commands-{number:02}"
            if moment is not None and name in moments[moment]:
                (tmp_path / name).write_bytes(moments[moment][name])
        with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
            rebuilt += index.position == 0
            assert all(number + 1 in index.positions(str(number)) for number in range(index.position))
    assert 0 < rebuilt < 5**3


def test_an_index_of_another_writer_does_not_fit(tmp_path: Path) -> None:
    """The log lost its end and went on: another writer wrote the event at the index's position."""
    for at, fits in (((30, "w"), True), ((30, "x"), False), ((31, "w"), False), ((29, "x"), True)):
        with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
            index.advance(Checkpoint(30, 29, 1, "w"))
        with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
            assert index.fits(Checkpoint(at[0], 29, 1, at[1])) == fits


ADD_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from consumers.engine.command_index import DiskCommandIndex
from consumers.engine.log import Checkpoint
index = DiskCommandIndex(Path(sys.argv[1]), "log", first_slots=1 << 14)
for number in count(index.position):
    index.add(str(number), number + 1)
    if number % 7 == 6:
        index.advance(Checkpoint(number + 1, number, 1, "w"))
        if number % 70 == 69:
            print(number + 1, flush=True)
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.chaos)])
def test_kill_9_costs_no_rebuild(tmp_path: Path, rounds: int) -> None:
    """Killed at any moment: the index goes on from the last position that it noted, and has everything up to there."""
    for number in range(1, rounds + 1):
        with subprocess.Popen(
            [sys.executable, "-c", ADD_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(number % 50 + 1):
                noted = int(process.stdout.readline())
            process.kill()
        with DiskCommandIndex(tmp_path, "log", first_slots=1 << 14) as index:
            assert index.position >= noted
            assert all(set(index.positions(str(each))) == {each + 1} for each in range(index.position))
