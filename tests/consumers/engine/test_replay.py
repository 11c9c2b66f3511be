"""Folding the log with files beside it: whether they belong to this log is seen while it is read."""

from pathlib import Path

import pytest

from consumers.engine.command_index import DiskCommandIndex, MemoryCommandIndex
from consumers.engine.log import START, Checkpoint, EventBatch, InDoubt, StaleCheckpoint
from consumers.engine.replay import Replay
from consumers.engine.snapshots import Snapshot
from domain.exchange import Exchange
from messages.stored import to_stored


def batch(position: int, offset: int, writer: str) -> EventBatch:
    """Return a batch of one event, as the log tells it."""
    entry = Exchange().commands_read("source", position)
    stored = to_stored(entry, 0, "")
    row = (str(stored.originator_id), position, stored.topic, stored.state)
    return EventBatch([position], [row], Checkpoint(position, offset, 1, writer))


def test_an_index_of_another_writer_is_made_again(tmp_path: Path) -> None:
    """The log lost its end, and went on: the index is emptied when that is seen, and the next replay fills it."""
    with DiskCommandIndex(tmp_path, "log") as index:
        index.add("lost", 3)
        index.advance(Checkpoint(3, 3, 1, "lost"))
    with DiskCommandIndex(tmp_path, "log") as index:
        replay = Replay(0, index)
        for position in (1, 2):
            replay.handle(batch(position, position, "w"))
        with pytest.raises(InDoubt):
            replay.handle(batch(3, 3, "w"))
        assert (index.position, index.positions("lost")) == (0, [])
        again = Replay(0, index)
        for position in (1, 2, 3, 4):
            again.handle(batch(position, position, "w"))
        assert index.position == 4


def test_an_index_of_another_writer_at_the_snapshot_is_made_again(tmp_path: Path) -> None:
    """The index ends where the snapshot ends, so no event would tell: their checkpoints do."""
    with DiskCommandIndex(tmp_path, "log") as index:
        index.advance(Checkpoint(3, 3, 1, "lost"))
    with DiskCommandIndex(tmp_path, "log") as index:
        replay = Replay(0, index, Snapshot(Exchange(), Checkpoint(3, 3, 1, "w"), {}, [], []))
        assert (index.position, replay.checkpoint) == (0, START)


def test_a_record_that_stands_twice_does_not_refuse_the_snapshot() -> None:
    """The writer's own offset is after the second copy, a reader's after the first; another writer is refused."""
    for writer, fits in (("w", True), ("x", False)):
        replay = Replay(0, MemoryCommandIndex(), Snapshot(Exchange(), Checkpoint(1, 2, 1, "w"), {}, [], []))
        if fits:
            replay.handle(batch(1, 1, writer))
            assert replay.checkpoint.position == 1
        else:
            with pytest.raises(StaleCheckpoint):
                replay.handle(batch(1, 1, writer))
