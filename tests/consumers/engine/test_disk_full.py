"""A disk without room for the engine's files: commands are decided all the same, and the log file says so once."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine import replica
from consumers.engine.command_index import DiskCommandIndex
from consumers.engine.log import Checkpoint
from consumers.engine.snapshots import EngineFolder, Snapshot
from domain.exchange import Exchange
from tests.consumers.engine.test_damaged_files import Home
from tests.consumers.exchange_fixtures import open_market, running


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Refuse every write beyond this size of a file, as a full disk would. Needs no root and no file system of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def add(index: DiskCommandIndex, first: int, end: int) -> None:
    """Add commands, and say so."""
    for number in range(first, end):
        index.add(str(number), number + 1)
        index.advance(Checkpoint(number + 1))


def finds(index: DiskCommandIndex, end: int) -> bool:
    """Return whether the index has all commands up to a number, and none after it."""
    return all(index.positions(str(number)) == [number + 1] for number in range(end)) and not index.positions(str(end))


def events_of(lines: list[Any]) -> list[str]:
    """Return what the log file says about the disk."""
    wanted = {
        "command_index_cannot_grow",
        "command_index_grows_again",
        "snapshot_not_written",
        "snapshots_written_again",
    }
    return [line["event"] for line in lines if line["event"] in wanted]


def test_an_index_that_cannot_grow_goes_on_in_memory(tmp_path: Path) -> None:
    """Everything is found; the files keep what they have, and say how far that goes."""
    with structlog.testing.capture_logs() as lines, DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        add(index, 0, 40)
        with file_size_limit(8192):
            add(index, 40, 500)
            assert finds(index, 500)
    assert events_of(lines) == ["command_index_cannot_grow"]
    assert [path.name for path in tmp_path.iterdir()] == ["commands-00"]

    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        assert index.position == 51
        assert finds(index, 51)
        add(index, 51, 500)
        assert finds(index, 500)


def test_an_index_grows_again_when_there_is_room(tmp_path: Path) -> None:
    """What was in memory goes into the files."""
    with structlog.testing.capture_logs() as lines:
        with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
            with file_size_limit(4096):
                index.begin_again()
                add(index, 0, 300)
            index._retry_at = 0.0
            add(index, 300, 301)
            assert finds(index, 301)
        with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
            assert index.position == 301
            assert finds(index, 301)
    assert events_of(lines) == ["command_index_cannot_grow", "command_index_grows_again"]


def test_a_failed_table_leaves_no_file(tmp_path: Path) -> None:
    """With no room at all the index is in memory, and the next process begins from the log."""
    with file_size_limit(4096), DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        add(index, 0, 100)
        assert finds(index, 100)
    assert list(tmp_path.iterdir()) == []
    with DiskCommandIndex(tmp_path, "log", first_slots=128) as index:
        assert index.position == 0


def test_the_space_of_a_table_is_there_before_it_is_mapped(tmp_path: Path) -> None:
    """The file has no holes: writing to a hole of a mapped file on a full disk would kill the process without a word."""
    with DiskCommandIndex(tmp_path, "log", first_slots=1 << 14):
        status = (tmp_path / "commands-00").stat()
    assert status.st_blocks * 512 >= status.st_size


def test_snapshots_that_cannot_be_written_are_told_once(tmp_path: Path) -> None:
    """Once for each reason, and once when they can be written again; the one that was there remains."""
    snapshot = Snapshot(Exchange(), Checkpoint(1), {}, [], [])
    with structlog.testing.capture_logs() as lines, EngineFolder(tmp_path, "log") as folder:
        folder.write(snapshot)
        snapshot.checkpoint = Checkpoint(2)
        with file_size_limit(100):
            for _ in range(3):
                folder.write_apart(snapshot)
                assert not folder.writing(wait=True)
                folder.write_last(snapshot)
        assert [path.name for path in folder.path.glob("snapshot-*")] == [f"snapshot-{1:020}"]
        folder.write_apart(snapshot)
        assert not folder.writing(wait=True)
        assert len(list(folder.path.glob("snapshot-*"))) == 2
    assert events_of(lines) == ["snapshot_not_written", "snapshots_written_again"]
    assert next(line["reason"] for line in lines if "reason" in line) == "File too large"


def test_an_engine_goes_on_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command is decided once; the next engine folds the log and knows every reply."""
    monkeypatch.setattr(replica, "SNAPSHOT_EVENTS", 1)
    monkeypatch.setattr(replica, "SNAPSHOT_SECONDS", 0.0)
    with structlog.testing.capture_logs() as lines, file_size_limit(100):
        home = Home(tmp_path, "log", Random(1))  # noqa: S311  no secret
        home.check()
    said = events_of(lines)
    assert said.count("command_index_cannot_grow") == 5, "five engines ran, and each said it once"
    assert 1 <= said.count("snapshot_not_written") <= 5
    home.check()


def test_an_engine_goes_on_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room even for the folder: said once, and every command is decided."""

    def no_room(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "mkdir", no_room)
    with (
        structlog.testing.capture_logs() as lines,
        running(POPOApplicationRecorder(), folder=tmp_path / "home") as (engine, gateway, _),
    ):
        open_market(gateway.submit_blocking)
    assert engine.error is None
    assert [line["event"] for line in lines if line["log_level"] != "info"] == ["engine_folder_left_out"]
