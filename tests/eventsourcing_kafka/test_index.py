"""The index gives the same answers as a scan of the whole log. A damaged index is rebuilt, never trusted."""

from __future__ import annotations

import shutil
import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_kafka import Batch, Checkpoint, KafkaApplicationRecorder, Reader, Settings, Writer
from eventsourcing_kafka.index import Damaged, Index, Run
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from collections.abc import Callable

names = st.sampled_from(["a", "b", "c"])


@st.composite
def batches_of_rows(draw: st.DrawFn) -> list[list[tuple[str, int]]]:
    """Batches in which no aggregate has a version twice. Versions may be in any order, with gaps."""
    rows = draw(st.lists(st.tuples(names, st.integers(0, 12)), max_size=24, unique=True))
    batches: list[list[tuple[str, int]]] = []
    for row in rows:
        if batches and draw(st.booleans()):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def indexed(index: Index, rows: list[list[tuple[str, int]]]) -> list[Batch]:
    """Advance the index by these batches, one at every third offset."""
    batches = []
    for found in rows:
        before = index.checkpoint
        batch = Batch("w", 1, before.next, [(name, v, "T", None) for name, v in found], before.offset + 2)  # type: ignore[misc]
        index.advance(before, [batch], Checkpoint(before.offset + 3, 1, "w", before.next + len(found)))
        batches.append(batch)
    return batches


@given(batches_of_rows(), names, st.none() | st.integers(-1, 13), st.none() | st.integers(-1, 13), st.booleans())
def test_runs_are_what_the_log_holds(
    rows: list[list[tuple[str, int]]], name: str, gt: int | None, lte: int | None, desc: bool
) -> None:
    """Within any bounds, in both orders, the runs name exactly the batches that hold such versions of the aggregate."""
    with closing(Index("", "log")) as index:
        batches = indexed(index, rows)
        runs = index.runs(name, gt=gt, lte=lte, desc=desc)

        found = {(batch.offset, v) for batch in batches for n, v, _, _ in batch.events if n == name}
        within = {o: v for o, v in found if (gt is None or v > gt) and (lte is None or v <= lte)}
        assert {run.offset for run in runs} >= set(within)
        assert {(run.offset, v) for run in runs for v in range(run.low, run.high + 1)} <= found
        assert [run.low for run in runs] == sorted((run.low for run in runs), reverse=desc)
        for version in range(14):
            assert index.holds(name, version) == any(v == version for _, v in found)


@given(batches_of_rows(), st.integers(0, 40))
def test_positions_lead_to_their_batches(rows: list[list[tuple[str, int]]], position: int) -> None:
    """The index finds the batch of a position. The checkpoint for it is at that batch, or at the end of the index."""
    with closing(Index("", "log")) as index:
        batches = indexed(index, rows)

        expected = [batch for batch in batches if batch.last >= position]
        assert [found.first for found in index.locations(position, 100)] == [batch.first for batch in expected]
        at = index.checkpoint_at(position)
        if expected and position > 0:
            assert at == (expected[0].offset, 1, "w", expected[0].first)
        elif position > 0:
            assert at == index.checkpoint


def test_an_aggregate_in_one_batch_is_one_row() -> None:
    """Consecutive versions are one run, even if events of other aggregates stand between them."""
    with closing(Index("", "log")) as index:
        indexed(index, [[("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 7)]])

        assert index.runs("a") == [Run(1, 3, 1, 2, 1, "w"), Run(7, 7, 1, 2, 1, "w")]


def test_two_processes_advance_one_file_in_turn(tmp_path: Path) -> None:
    """The slower one adds nothing, and sees what the other one has added."""
    path = str(tmp_path / "index")
    with closing(Index(path, "log")) as first, closing(Index(path, "log")) as second:
        indexed(first, [[("a", 1)]])

        assert not second.advance(Checkpoint(), [], Checkpoint(9, 1, "w", 9))
        assert second.checkpoint == (3, 1, "w", 2)
        indexed(second, [[("a", 2)]])
        assert first.holds("a", 2)


def test_the_index_of_another_log_is_thrown_away(tmp_path: Path) -> None:
    """A topic that was recreated has another identity."""
    path = str(tmp_path / "index")
    with closing(Index(path, "log")) as index:
        indexed(index, [[("a", 1)]])
    with closing(Index(path, "another")) as index:
        assert index.checkpoint == Checkpoint()
        assert not index.holds("a", 1)


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_index_is_replaced(tmp_path: Path, content: bytes) -> None:
    """Any content of the file is replaced by an empty index."""
    path = tmp_path / "index"
    path.write_bytes(content)
    with closing(Index(str(path), "log")) as index:
        indexed(index, [[("a", 1)]])
        assert index.holds("a", 1)


def events(version: int) -> list[StoredEvent]:
    """Return the events of one batch."""
    return [stored(f"a{version % 5}", version, "Made", b"{}"), stored("all", version, "Made", b"{}")]


@pytest.fixture
def logged(settings: Settings) -> Settings:
    """A log of 60 batches and 120 events, indexed."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        for version in range(60):
            recorder.insert_events(events(version))
    return settings


def answers(settings: Settings) -> tuple[object, ...]:
    """Return everything that a new recorder reads, and check that it notices a conflict."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        with pytest.raises(IntegrityError):
            recorder.insert_events(events(17))
        return (
            [event.originator_version for event in recorder.select_events("all")],
            [event.originator_version for event in recorder.select_events("a3", desc=True, limit=3)],
            [(n.id, n.originator_id) for n in recorder.select_notifications(99, 3)],
            recorder.max_notification_id(),
        )


EXPECTED = (list(range(60)), [58, 53, 48], [(99, "a4"), (100, "all"), (101, "a0")], 120)


def flip_pages(path: Path) -> None:
    """Overwrite the file after its header."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def forget_everything(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def drop_table(path: Path) -> None:
    """Remove a table."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE run")


def shift_offsets(path: Path) -> None:
    """Change the offset of every batch."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute('UPDATE batch SET "offset" = "offset" - 1 WHERE "offset" > 1')


def shift_inner_offsets(path: Path) -> None:
    """The same, except for the last one, which is checked when the index is opened."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute('UPDATE batch SET "offset" = "offset" - 1 WHERE "offset" BETWEEN 2 AND 50')


def point_at_a_zombie(path: Path) -> None:
    """Change the epoch of a batch."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE batch SET epoch = 7 WHERE first = 101")


def follow_another_writer(path: Path) -> None:
    """Change the name of the writer: after a rollback another one has claimed the same epoch."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE writer SET name = 'another'")


def run_ahead(path: Path) -> None:
    """Move the checkpoint of the index beyond the end of the log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute('UPDATE log SET "offset" = 1000, next = 2000')


@pytest.mark.parametrize(
    "damage",
    [
        forget_everything,
        flip_pages,
        drop_table,
        shift_offsets,
        shift_inner_offsets,
        point_at_a_zombie,
        follow_another_writer,
        run_ahead,
    ],
)
def test_a_damaged_index_is_rebuilt(logged: Settings, damage: Callable[[Path], None]) -> None:
    """Whatever happened to the file, the answers are those of the log."""
    path = Path(logged.index_path())
    assert path.stat().st_size > 8192
    damage(path)

    assert answers(logged) == EXPECTED


def test_an_old_index_catches_up(logged: Settings, tmp_path: Path) -> None:
    """An index restored from a backup continues from its checkpoint."""
    path = Path(logged.index_path())
    shutil.copy(path, tmp_path / "old")
    with closing(KafkaApplicationRecorder(logged)) as recorder:
        recorder.insert_events([stored("new", 1, "Made", b"{}")])
    shutil.copy(tmp_path / "old", path)

    with closing(KafkaApplicationRecorder(logged)) as recorder:
        assert len(recorder.select_events("new")) == 1


def test_an_index_damaged_while_in_use_is_rebuilt(logged: Settings) -> None:
    """The recorder that has it open notices the damage."""
    with closing(KafkaApplicationRecorder(logged)) as recorder:
        assert len(recorder.select_events("all")) == 60
        shift_inner_offsets(Path(logged.index_path()))
        recorder._lookup._fetcher.clear()

        assert len(recorder.select_events("all")) == 60


def test_a_temporary_index_leaves_no_file(logged: Settings, tmp_path: Path) -> None:
    """With `temporary` the answers are the same, and no file remains."""
    before = set(tmp_path.rglob("*"))
    assert answers(replace(logged, index_folder="temporary")) == EXPECTED
    assert set(tmp_path.rglob("*")) == before


def test_memory_does_not_grow_with_the_log(settings: Settings) -> None:
    """Indexing and reading a log of 128 MB takes a fraction of its size of Python's memory."""
    state = b'{"text":"%s"}' % (b"x" * 1000)
    with Reader(settings) as reader, Writer.take_over(reader) as writer:
        for batch in range(256):
            writer.append([stored(f"a{batch % 7}", batch * 500 + i, "Made", state) for i in range(500)])
    with closing(KafkaApplicationRecorder(replace(settings, index_folder="temporary"))) as recorder:
        tracemalloc.start()
        try:
            assert recorder.max_notification_id() == 128_000
            assert len(recorder.select_notifications(30_000, 500)) == 500
            with Reader(settings) as reader:
                assert sum(len(batch.events) for batch in reader.read_to(reader.end())) == 128_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 80 * 2**20


def test_a_broken_promise_of_the_index_is_damage(tmp_path: Path) -> None:
    """A missing row is reported as damage, not as a crash."""
    path = tmp_path / "index"
    with closing(Index(str(path), "log")) as index:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("DELETE FROM log")
        with pytest.raises(Damaged):
            _ = index.checkpoint
