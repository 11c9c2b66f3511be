"""Process applications: each event that is followed has its effect exactly once, whatever is killed, lost or damaged."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import IntegrityError, WaitInterruptedError

from eventsourcing_kafka import (
    Fenced,
    KafkaApplicationRecorder,
    KafkaProcessRecorder,
    LogRolledBack,
    Reader,
    Settings,
    Writer,
)
from eventsourcing_kafka.known_end import KnownEnd
from eventsourcing_kafka.library import DataError
from eventsourcing_kafka.producer import Producer
from eventsourcing_kafka.protocol import Batch, encode_batch
from tests.eventsourcing_kafka import exactly_once
from tests.eventsourcing_kafka.events import stored, tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventsourcing.persistence import StoredEvent


@pytest.fixture
def recorder(settings: Settings) -> Iterator[KafkaProcessRecorder]:
    """A recorder of a fresh log."""
    with closing(KafkaProcessRecorder(settings)) as recorder:
        yield recorder


def made(*versions: int, name: str = "a") -> list[StoredEvent]:
    """Return events of one aggregate."""
    return [stored(name, version, "Made", b"{}") for version in versions]


def tracked(settings: Settings) -> list[dict[str, int] | None]:
    """Return the tracking of each batch that counts."""
    with Reader(settings) as reader:
        return [batch.tracking for batch in reader.read_to(reader.end())]


def test_a_refused_tracking_appends_nothing(recorder: KafkaProcessRecorder, settings: Settings) -> None:
    """Neither its events. The positions of the events have no gap."""
    assert recorder.insert_events(made(1, 2), tracking=tracking("up", 5)) == [1, 2]
    assert recorder.insert_events([], tracking=tracking("up", 7)) == []
    for position in (4, 5, 7):
        with pytest.raises(IntegrityError, match=f"Event {position} of up was processed before, as all up to 7"):
            recorder.insert_events(made(3), tracking=tracking("up", position))
    with pytest.raises(IntegrityError):
        recorder.insert_events(made(2), tracking=tracking("up", 8))
    with pytest.raises(DataError):
        recorder.insert_events(made(3), tracking=tracking("other", -1))
    assert recorder.max_tracking_id("up") == 7
    assert recorder.insert_events(made(3), tracking=tracking("down", 1)) == [3]
    assert tracked(settings) == [{"up": 5}, {"up": 7}, {"down": 1}]


def test_a_sole_writer_may_leave_versions_unchecked_but_not_trackings(recorder: KafkaProcessRecorder) -> None:
    """A version that the caller knows to be right says nothing about what was processed."""
    recorder.insert_events(made(1), check_versions=False, tracking=tracking("up", 1))
    with pytest.raises(IntegrityError):
        recorder.insert_events(made(2), check_versions=False, tracking=tracking("up", 1))
    assert len(recorder.select_events("a")) == 1


def test_of_many_callers_with_one_tracking_one_succeeds(recorder: KafkaProcessRecorder, settings: Settings) -> None:
    """Even if they share a record, which then names the highest position of each application."""
    recorder.insert_events(made(0))

    def insert(number: int) -> str:
        name, position = ("up", "down")[number % 2], number // 10
        try:
            recorder.insert_events(made(number, name=f"{name}-{position}"), tracking=tracking(name, position))
        except IntegrityError:
            return "refused"
        return f"{name}-{position}"

    with ThreadPoolExecutor(20) as pool:
        outcomes = [outcome for outcome in pool.map(insert, range(200)) if outcome != "refused"]

    assert len(set(outcomes)) == len(outcomes) >= 2
    assert (recorder.max_tracking_id("up"), recorder.max_tracking_id("down")) == (19, 19)
    assert sorted(str(n.originator_id) for n in recorder.select_notifications(2, 1000)) == sorted(outcomes)
    found = [batch for batch in tracked(settings) if batch]
    for name in ("up", "down"):
        positions = [batch[name] for batch in found if name in batch]
        assert positions == sorted(set(positions))


def delete(path: Path) -> None:
    """Remove the index."""
    path.unlink()


def forget(path: Path) -> None:
    """Remove the trackings from the index."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM tracking")


def set_back(path: Path) -> None:
    """Change a tracking in the index."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE tracking SET position = position - 1")


def point_elsewhere(path: Path) -> None:
    """Let the trackings stand in another record."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute('UPDATE tracking SET "offset" = "offset" - 1')


def claim_another_epoch(path: Path) -> None:
    """Let the trackings be of another writer."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE tracking SET epoch = epoch + 1")


@pytest.mark.parametrize("damage", [None, delete, forget, set_back, point_elsewhere, claim_another_epoch])
def test_trackings_are_known_after_a_restart(settings: Settings, damage: Callable[[Path], None] | None) -> None:
    """The index holds them. It is rebuilt from the log if it is absent or damaged, before the first answer."""
    with closing(KafkaProcessRecorder(settings)) as recorder:
        for position in range(1, 6):
            recorder.insert_events(made(position), tracking=tracking("up", position))
        recorder.insert_events([], tracking=tracking("down", 3))
    if damage is not None:
        damage(Path(settings.index_path()))

    with closing(KafkaProcessRecorder(settings)) as recorder:
        assert recorder.has_tracking_id("up", 5)
        assert not recorder.has_tracking_id("up", 6)
        assert (recorder.max_tracking_id("down"), recorder.max_tracking_id("other")) == (3, None)
        with pytest.raises(IntegrityError):
            recorder.insert_events(made(9), tracking=tracking("up", 5))
        recorder.insert_events(made(9), tracking=tracking("up", 6))


@pytest.mark.parametrize("damage", [set_back, point_elsewhere, claim_another_epoch])
def test_trackings_damaged_while_in_use_are_rebuilt(
    recorder: KafkaProcessRecorder, settings: Settings, damage: Callable[[Path], None]
) -> None:
    """Each answer is compared with the record of the log that says so."""
    for position in (1, 2):
        recorder.insert_events(made(position), tracking=tracking("up", position))
    damage(Path(settings.index_path()))

    assert recorder.max_tracking_id("up") == 2


def test_a_log_without_the_last_tracking_is_refused(settings: Settings) -> None:
    """The tracking has no event, so the last position is the same as before. Another record at its place tells."""
    with closing(KafkaProcessRecorder(settings)) as recorder:
        recorder.insert_events(made(1), tracking=tracking("up", 1))
        identity, lost = recorder.identity, Batch("another writer", 1, 2, [], 2, {"up": 2})
    with closing(KnownEnd(settings.index_path(), identity)) as known_end:
        known_end.note(lost)
    with closing(KafkaProcessRecorder(settings)) as recorder, pytest.raises(LogRolledBack, match="ends at offset 2"):
        recorder.max_tracking_id("up")


def test_waiting_for_a_tracking(recorder: KafkaProcessRecorder, settings: Settings) -> None:
    """Another process waits until an event has been processed, for a time, or until it is interrupted."""
    recorder.insert_tracking(tracking("up", 1))
    with closing(KafkaProcessRecorder(replace(settings, index_folder="temporary"))) as other:
        other.wait("up", 1)
        with pytest.raises(TimeoutError):
            other.wait("up", 2, timeout=0.1)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.wait, "up", 2, timeout=10)
            recorder.insert_tracking(tracking("up", 2))
            waiting.result()
        interrupt = threading.Event()
        interrupt.set()
        with pytest.raises(WaitInterruptedError):
            other.wait("up", 3, interrupt=interrupt)


def test_the_slower_of_two_that_process_one_event_appends_nothing(settings: Settings) -> None:
    """It is fenced; when it claims again, the tracking is there."""
    with (
        closing(KafkaProcessRecorder(settings)) as slow,
        closing(KafkaProcessRecorder(replace(settings, index_folder="temporary"))) as fast,
    ):
        slow.insert_events(made(1), tracking=tracking("up", 1))
        fast.insert_events(made(2), tracking=tracking("up", 2))
        with pytest.raises(Fenced):
            slow.insert_events(made(2, name="b"), tracking=tracking("up", 2))
        with pytest.raises(IntegrityError):
            slow.insert_events(made(2, name="b"), tracking=tracking("up", 2))
        assert slow.select_events("b") == []
        assert slow.max_tracking_id("up") == 2


def test_a_late_copy_of_a_tracking_is_not_taken_for_the_next_batch(settings: Settings) -> None:
    """A batch that only tracks has the first position of the next batch. What a fenced writer had in flight is refused."""
    with Reader(settings) as reader, Writer.take_over(reader) as writer, closing(Producer(settings)) as late:
        at = writer.checkpoint
        writer.append([], tracking={"up": 1})
        late.send(encode_batch(at.writer, at.epoch, at.next, [], tracking={"up": 1})).offset(10)
        with Reader(settings, writer.checkpoint) as other, Writer.take_over(other), pytest.raises(Fenced):
            writer.append(made(1))


def test_others_read_a_log_with_trackings(recorder: KafkaProcessRecorder, settings: Settings) -> None:
    """Positions, notifications, subscriptions and other recorders see the events alone."""
    for position in range(1, 9):
        events = made(position, name=f"a{position % 2}") if position % 3 else []
        recorder.insert_events(events, tracking=tracking("up", position))
    expected = [(1, "a1"), (2, "a0"), (3, "a0"), (4, "a1"), (5, "a1"), (6, "a0")]

    with closing(KafkaApplicationRecorder(replace(settings, index_folder="temporary"))) as other:
        assert [(n.id, n.originator_id) for n in other.select_notifications(1, 100)] == expected
        for gt in range(6):
            with other.subscribe(gt=gt) as subscription:
                assert next(subscription).id == gt + 1
        assert other.max_notification_id() == 6
        assert other.insert_events(made(10)) == [7]
    assert recorder.max_tracking_id("up") == 8


@pytest.mark.timeout(180)
def test_a_process_application_that_is_killed_counts_each_event_once(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """It is killed twice in the middle, and started again."""
    exactly_once.run(kafka, topic_prefix, tmp_path, kills=2, followers=1, events_a_kill=40)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("followers", "kills"), [(1, 60), (2, 10)])
def test_process_applications_that_are_killed_and_paused_count_each_event_once(
    followers: int, kills: int, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """For longer. Two at a time also fence each other, and each is killed, or paused and continued."""
    exactly_once.run(kafka, topic_prefix, tmp_path, kills=kills, followers=followers, events_a_kill=30)
