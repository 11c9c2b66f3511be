"""The recorders: their promises beyond the library's own cases."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

from eventsourcing_kafka import Batch, Checkpoint, Fenced, KafkaAggregateRecorder, KafkaApplicationRecorder, Reader
from eventsourcing_kafka.fetcher import Fetcher
from eventsourcing_kafka.library import DataError, NotSupportedError, ProgrammingError
from tests.eventsourcing_kafka.events import stored, tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing_kafka import Settings


def made(*versions: int, name: str = "a", topic: str = "Made", state: bytes = b"{}") -> list[StoredEvent]:
    """Return events of one aggregate."""
    return [stored(name, version, topic, state) for version in versions]


@pytest.fixture
def recorder(settings: Settings) -> Iterator[KafkaApplicationRecorder]:
    """A recorder of a fresh log."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        yield recorder


def end(settings: Settings) -> int:
    """Return the number of records in the log."""
    with Reader(settings) as reader:
        return reader.end()


def test_reading_writes_nothing(recorder: KafkaApplicationRecorder, settings: Settings) -> None:
    """Only an insert claims the partition, and it claims once."""
    recorder.select_events("a")
    recorder.select_notifications(1, 10)
    recorder.max_notification_id()
    recorder.insert_events([])
    assert end(settings) == 0
    assert recorder.writer is None

    recorder.insert_events(made(1))
    recorder.insert_events(made(2))
    assert end(settings) == 3


def test_many_callers_share_a_record(recorder: KafkaApplicationRecorder, settings: Settings) -> None:
    """While one append is in flight the other calls wait; then they share one record. Each gets its own positions."""
    recorder.insert_events(made(0))
    with ThreadPoolExecutor(32) as pool:
        calls = [pool.submit(recorder.insert_events, made(1, 2, name=f"b{i}")) for i in range(320)]
        positions = [call.result() for call in calls]

    assert all(p is not None and p[1] == p[0] + 1 for p in positions)
    assert sorted(p for pair in positions for p in pair or ()) == list(range(2, 642))
    assert end(settings) < 320  # with a record for each call it would be over 321
    notifications = {n.id: n.originator_id for n in recorder.select_notifications(1, 1000)}
    assert [notifications[(pair or [0])[0]] for pair in positions] == [f"b{i}" for i in range(320)]


def test_of_many_callers_with_one_version_one_succeeds(recorder: KafkaApplicationRecorder) -> None:
    """Even if they are in one group. The other calls of the group succeed."""

    def insert(i: int) -> str:
        try:
            recorder.insert_events(made(1 + i // 10, state=b"%d" % i) + made(i, name="other"))
        except IntegrityError:
            return "conflict"
        return "inserted"

    with ThreadPoolExecutor(20) as pool:
        outcomes = Counter(pool.map(insert, range(100)))

    assert outcomes == {"inserted": 10, "conflict": 90}
    assert [event.originator_version for event in recorder.select_events("a")] == list(range(1, 11))
    assert len(recorder.select_events("other")) == 10


def test_events_that_cannot_be_written_harm_nobody_else(recorder: KafkaApplicationRecorder) -> None:
    """Their caller gets the error. The other calls of the group succeed."""

    def insert(i: int) -> str:
        try:
            recorder.insert_events(made(2**60 if i % 5 == 0 else 1, name=f"b{i}"))
        except DataError:
            return "refused"
        return "inserted"

    with ThreadPoolExecutor(20) as pool:
        outcomes = Counter(pool.map(insert, range(100)))

    assert outcomes == {"inserted": 80, "refused": 20}
    assert recorder.max_notification_id() == 80


def test_two_recorders_that_write_in_turn_lose_nothing(settings: Settings) -> None:
    """Each insert fences the other recorder. After `Fenced` its next insert claims again. Versions stay unique."""

    def write(name: str) -> list[int]:
        written = []
        with closing(KafkaApplicationRecorder(replace(settings, index_folder=f"{settings.index_folder}{name}"))) as own:
            while len(written) < 25:
                version = len(own.select_events("a")) + 1
                try:
                    own.insert_events(made(version, state=b'{"by":"%b"}' % name.encode()))
                except (Fenced, IntegrityError):
                    continue
                written.append(version)
        return written

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(write, ["one", "two"])

    assert sorted(one + two) == list(range(1, 51))
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        events = recorder.select_events("a")
    assert [event.originator_version for event in events] == list(range(1, 51))
    assert [v for v in range(1, 51) if b"one" in events[v - 1].state] == one


def test_a_recorder_sees_what_another_one_appended(recorder: KafkaApplicationRecorder, settings: Settings) -> None:
    """A read returns everything that was acknowledged to anybody before the call."""
    with closing(KafkaApplicationRecorder(settings)) as other:
        for version in range(20):
            recorder.insert_events(made(version))
            assert len(other.select_events("a")) == version + 1
            assert other.max_notification_id() == version + 1


def test_versions_may_go_unchecked(recorder: KafkaApplicationRecorder) -> None:
    """A sole writer that knows them may skip the look-up in the index. A later check still finds them."""
    assert recorder.insert_events(made(1), check_versions=False) == [1]
    assert recorder.insert_events(made(2), check_versions=False) == [2]
    with pytest.raises(IntegrityError):
        recorder.insert_events(made(2))
    assert len(recorder.select_events("a")) == 2


def test_taking_over_gives_everything_before(recorder: KafkaApplicationRecorder, settings: Settings) -> None:
    """`take_over` passes on all batches, or those after a checkpoint. Then this recorder is the writer."""
    with closing(KafkaApplicationRecorder(settings)) as former:
        for version in range(3):
            former.insert_events(made(version))
        found: list[Batch] = []
        writer = recorder.take_over(found.append)
        assert [batch.first for batch in found] == [1, 2, 3]
        assert recorder.writer is writer
        with pytest.raises(Fenced):
            former.insert_events(made(3))
    found.clear()
    recorder.take_over(found.append, Checkpoint(3, 1, found[0].writer, 3) if found else writer.checkpoint)
    assert found == []
    assert recorder.insert_events(made(3)) == [4]


@pytest.mark.parametrize("state", [b"", b"text", b'{"a":1}', b'{"a":1} ', b"[1]", b"null", bytes(range(256))])
def test_any_bytes_are_a_state(recorder: KafkaApplicationRecorder, state: bytes) -> None:
    """It may be JSON, text, compressed, encrypted or empty."""
    recorder.insert_events(made(1, state=state))
    assert recorder.select_events("a")[0].state == state
    assert recorder.select_notifications(1, 1)[0].state == state


def test_notifications_of_some_topics_from_a_long_log(recorder: KafkaApplicationRecorder) -> None:
    """They are found across many batches, within start, stop and limit."""
    for version in range(0, 200, 4):
        recorder.insert_events(made(version, version + 1, version + 2) + made(version + 3, topic="Rare"))

    rare = recorder.select_notifications(1, 1000, topics=["Rare"])
    assert [n.id for n in rare] == list(range(4, 201, 4))
    assert [n.id for n in recorder.select_notifications(9, 3, topics=["Rare"])] == [12, 16, 20]
    assert [n.id for n in recorder.select_notifications(9, 100, stop=17, topics=["Rare"])] == [12, 16]
    assert [n.id for n in recorder.select_notifications(7, 4)] == [7, 8, 9, 10]
    assert [n.id for n in recorder.select_notifications(198, 10)] == [198, 199, 200]
    assert recorder.select_notifications(201, 10) == []
    assert recorder.select_notifications(5, 0) == []


def test_paging_fetches_each_record_once(
    recorder: KafkaApplicationRecorder, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch brings hundreds of small records, and the next pages use them. Before, each page fetched and parsed them anew."""
    with recorder.take_over() as writer:
        for version in range(1, 301):
            writer.append([stored("a", version, "T", b"{}")])
    fetched: list[int] = []
    fetch = Fetcher._records_from

    def counted(self: Fetcher, offset: int) -> list[object]:
        fetched.append(offset)
        return fetch(self, offset)

    monkeypatch.setattr(Fetcher, "_records_from", counted)

    with closing(KafkaApplicationRecorder(settings)) as other:
        found = [n.id for start in range(1, 301, 10) for n in other.select_notifications(start, 10)]

    assert found == list(range(1, 301))
    assert len(fetched) <= 3


def test_a_subscription_is_quick_and_ends_at_once(recorder: KafkaApplicationRecorder) -> None:
    """An event arrives within milliseconds; `stop` from another thread ends a waiting iteration."""
    recorder.insert_events(made(0))
    subscription = recorder.subscribe(gt=1)
    waits: list[float] = []
    started = [0.0]
    arrived = threading.Semaphore(0)

    def follow() -> None:
        with subscription:
            for _ in subscription:
                waits.append(monotonic() - started[0])
                arrived.release()

    thread = threading.Thread(target=follow)
    thread.start()
    for version in range(1, 21):
        started[0] = monotonic()
        recorder.insert_events(made(version))
        assert arrived.acquire(timeout=10)
    stopped = monotonic()
    subscription.stop()
    thread.join(5)

    assert not thread.is_alive()
    assert monotonic() - stopped < 0.5
    assert sorted(waits)[10] < 0.1


def test_closing_a_recorder_ends_its_subscriptions(recorder: KafkaApplicationRecorder) -> None:
    """A runner that waits for events stops waiting."""
    thread = threading.Thread(target=lambda: list(recorder.subscribe()))
    thread.start()
    recorder.close()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(ProgrammingError, match="closed"):
        recorder.insert_events(made(1))
    with pytest.raises(ProgrammingError, match="closed"):
        recorder.select_events("a")


def test_a_subscription_starts_in_the_middle(recorder: KafkaApplicationRecorder) -> None:
    """It may start at every position, also within a batch and beyond the index."""
    for version in range(0, 12, 3):
        recorder.insert_events(made(version, version + 1, version + 2))
    for gt in range(12):
        with recorder.subscribe(gt=gt) as subscription:
            assert next(subscription).id == gt + 1


def test_tracking_is_refused(recorder: KafkaApplicationRecorder) -> None:
    """By a recorder that could not say later what it has tracked."""
    with pytest.raises(NotSupportedError, match="KafkaApplicationRecorder keeps no tracking"):
        recorder.insert_events(made(1), tracking=tracking("upstream", 1))


def test_aggregate_recorder_gives_no_positions(settings: Settings) -> None:
    """As in the library."""
    with closing(KafkaAggregateRecorder(settings)) as recorder:
        assert recorder.insert_events(made(1)) is None
        assert recorder.select_events("a") == made(1)


def test_the_default_index_folder_is_the_users_cache(
    settings: Settings, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = replace(settings, index_folder="").index_path()
    assert path == os.path.join(tmp_path, "eventsourcing_kafka", f"{settings.topic}-0.sqlite")  # noqa: PTH118
