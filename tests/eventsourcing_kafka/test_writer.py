"""The writer on a real broker: taking over, appending, being fenced, being in doubt."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from eventsourcing_kafka import (
    Batch,
    Checkpoint,
    ClaimLost,
    Fenced,
    Fetcher,
    InDoubt,
    KafkaApplicationRecorder,
    LogTruncated,
    Reader,
    RecordsMissing,
    Settings,
    Writer,
    ensure_topic,
)
from eventsourcing_kafka.library import DataError, OperationalError, ProgrammingError
from eventsourcing_kafka.protocol import START, encode_batch, encode_claim
from local.processes import polls
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

    from local.kafka import Broker
    from tests.eventsourcing_kafka.own_threads import OwnThreads


def made(*versions: int, name: str = "a") -> list[StoredEvent]:
    """Return events of one aggregate."""
    return [stored(name, version, "Made", b'{"n":%d}' % version) for version in versions]


def taken(settings: Settings, at: Checkpoint = START) -> Writer:
    """Take over with a reader that is closed afterwards."""
    with Reader(settings, at) as reader:
        return Writer.take_over(reader)


def send(settings: Settings, *values: bytes) -> None:
    """Append records of another program to the topic."""
    with closing(KafkaProducer(bootstrap_servers=settings.bootstrap_servers)) as producer:
        for value in values:
            producer.send(settings.topic, value=value, partition=settings.partition).get(5)


def read(settings: Settings, at: Checkpoint = START) -> list[Batch]:
    """Return every event that counts."""
    with Reader(settings, at) as reader:
        return list(reader.read_to(reader.end()))


def test_appended_events_are_read_at_their_positions(settings: Settings) -> None:
    """Positions begin at 1 and have no gap, even if the writer changes."""
    with taken(settings) as writer:
        assert writer.append(made(1, 2)) == range(1, 3)
        assert writer.append(made(3)) == range(3, 4)
    with taken(settings) as writer:
        assert writer.append(made(4)) == range(4, 5)

    notifications = [n for batch in read(settings) for n in batch.notifications()]
    assert [(n.id, n.originator_version, n.state) for n in notifications] == [
        (i, i, b'{"n":%d}' % i) for i in range(1, 5)
    ]


def test_a_former_writer_is_fenced_at_its_next_append(settings: Settings) -> None:
    """Its append after the claim is invalid for ever. Every further call raises `Fenced`."""
    with taken(settings) as former:
        former.append(made(1))
        with taken(settings) as holder:
            for _ in range(2):
                with pytest.raises(Fenced):
                    former.append(made(2))
            assert holder.append(made(2, name="b")) == range(2, 3)

    assert [row[0] for batch in read(settings) for row in batch.events] == ["a", "b"]


def test_work_may_be_done_while_an_append_is_in_flight(settings: Settings) -> None:
    """`begin` returns at once. One append is in flight at a time. Its result may be asked for again."""
    with taken(settings) as writer:
        append = writer.begin(made(1, 2))
        with pytest.raises(ProgrammingError, match="in flight"):
            writer.begin(made(3))
        assert append.result() == range(1, 3)
        assert append.done()
        assert append.result() == range(1, 3)
        assert writer.begin(made(3)).result() == range(3, 4)


def test_of_two_claims_of_one_epoch_the_first_wins(settings: Settings) -> None:
    """The other one raises `ClaimLost`, and fences nobody."""
    with Reader(settings) as reader:
        end = reader.end

        def other_claims_meanwhile() -> int:
            offset = end()
            send(settings, encode_claim("rival", 1, 1), encode_batch("rival", 1, 1, made(1)))
            return offset

        reader.end = other_claims_meanwhile  # type: ignore[method-assign]
        found: list[Batch] = []
        with pytest.raises(ClaimLost):
            Writer.take_over(reader, found.append)

        assert [batch.writer for batch in found] == ["rival"]
        assert reader.checkpoint.state == (1, "rival", 2)


def test_whatever_else_is_in_the_topic_is_skipped(settings: Settings) -> None:
    """Records of other programs, old claims, batches of former writers, and copies do not disturb the writer."""
    with taken(settings) as writer:
        writer.append(made(1))
        mine = writer.checkpoint
        send(
            settings,
            b"hello",
            encode_claim("late", 1, 1),
            encode_batch("zombie", 0, 2, made(9)),
            encode_batch(mine.writer, mine.epoch, 1, made(1)),
        )
        assert writer.append(made(2)) == range(2, 3)

    assert [batch.first for batch in read(settings)] == [1, 2]


def test_a_batch_that_counts_by_an_earlier_copy_counts(settings: Settings) -> None:
    """The acknowledged copy is invalid, but an earlier copy of the same record counts."""
    with taken(settings) as writer:
        mine = writer.checkpoint
        send(settings, encode_batch(mine.writer, mine.epoch, 1, made(1)))

        assert writer.append(made(1)) == range(1, 2)
        assert writer.append(made(2)) == range(2, 3)

    assert [batch.first for batch in read(settings)] == [1, 2]


def test_a_batch_that_counts_before_another_claim_is_the_writers_last(settings: Settings) -> None:
    """The append succeeds, and then the writer is fenced."""
    with taken(settings) as writer:
        mine = writer.checkpoint
        send(settings, encode_batch(mine.writer, mine.epoch, 1, made(1)), encode_claim("next", mine.epoch + 1, 2))

        assert writer.append(made(1)) == range(1, 2)
        with pytest.raises(Fenced):
            writer.append(made(2))


def test_too_much_for_a_record_is_refused_before_it_is_sent(settings: Settings) -> None:
    """The writer stays open."""
    with taken(replace(settings, record_bytes_max=1000)) as writer:
        with pytest.raises(DataError, match="limit of 1000"):
            writer.append([stored("a", 1, "Made", b"x" * 1000)])
        assert writer.append(made(1)) == range(1, 2)


def test_a_large_record_gets_through(settings: Settings) -> None:
    """A record of nearly 7 MiB is written and read."""
    state = b'{"text":"%s"}' % (b"x" * 1_000_000)
    with taken(settings) as writer:
        writer.append([stored("a", version, "Made", state) for version in range(6)])

    assert [event.state == state for batch in read(settings) for event in batch.stored_events()] == [True] * 6


def test_partitions_are_logs_of_their_own(settings: Settings) -> None:
    """Each has its own claims and positions."""
    other = replace(settings, partition=1)
    with taken(settings) as writer, taken(other) as second:
        assert writer.append(made(1, 2)) == range(1, 3)
        assert second.append(made(1, name="b")) == range(1, 2)
        assert writer.append(made(3)) == range(3, 4)

    assert [row[0] for batch in read(other) for row in batch.events] == ["b"]


def test_a_reader_starts_in_the_middle(settings: Settings) -> None:
    """From any checkpoint it sees the same as a reader that began at the start, even if invalid records follow."""
    for owner in range(3):
        with taken(settings) as writer:
            for version in range(3):
                writer.append(made(version, version + 1, name=f"w{owner}"))
                send(settings, encode_batch("zombie", owner, 1, made(1)))
    checkpoints = [(Checkpoint(), 0)]
    everything: list[Batch] = []
    with Reader(settings) as reader:
        for batch in reader.read_to(reader.end()):
            everything.append(batch)
            checkpoints.append((reader.checkpoint, len(everything)))

    assert len(everything) == 9
    for checkpoint, count in checkpoints:
        assert read(settings, checkpoint) == everything[count:]


def test_a_reader_follows_within_milliseconds(settings: Settings) -> None:
    """An appended batch arrives without waiting for the end of a poll."""
    with taken(settings) as writer, Reader(settings) as reader:
        list(reader.read_to(reader.end()))
        waits = []
        for version in range(20):
            start = monotonic()
            writer.append(made(version))
            assert [batch.first for batch in reader.read(5)] == [version + 1]
            waits.append(monotonic() - start)

    assert sorted(waits)[10] < 0.1


def test_deleted_records_are_noticed(settings: Settings) -> None:
    """A reader that needs them raises an error. It does not continue with the records that are left."""
    with taken(settings) as writer:
        for version in range(5):
            writer.append(made(version))
    middle = Checkpoint(2, 1, writer.checkpoint.writer, 2)
    with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
        admin.delete_records({TopicPartition(settings.topic, 0): 4})

    for at in (Checkpoint(), middle, Checkpoint(1000, 1, "w", 900)):
        with Reader(settings, at) as reader, pytest.raises(LogTruncated):
            reader.read(5)


def test_lost_records_stop_every_reader(settings: Settings) -> None:
    """What stands before the gap is read; then each read raises, and nobody can take over or look anything up."""
    with taken(settings) as writer:
        writer.append(made(1))
        at = writer.checkpoint
    send(settings, encode_batch(at.writer, at.epoch, 5, made(5)), encode_batch(at.writer, at.epoch, 2, made(2)))

    with Reader(settings) as reader:
        found: list[Batch] = []
        while not found:
            found = reader.read(5)
        assert [batch.first for batch in found] == [1]
        for _ in range(2):
            with pytest.raises(RecordsMissing, match="positions 2 to 4"):
                reader.read(5)
            with pytest.raises(RecordsMissing):
                list(reader.read_to(reader.end()))
    with pytest.raises(RecordsMissing):
        taken(settings)
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        for call in (recorder.max_notification_id, lambda: recorder.insert_events(made(2))):
            with pytest.raises(RecordsMissing):
                call()


def test_a_claim_tells_of_events_that_were_lost_after_it_was_made(settings: Settings) -> None:
    """The claim names the position up to which its writer had read: if the log has less, its end was lost."""
    with taken(settings) as writer:
        writer.append(made(1))
        epoch = writer.checkpoint.epoch
    send(settings, encode_claim("next", epoch + 1, 3))

    with pytest.raises(RecordsMissing, match="positions 2 to 2"):
        read(settings)


def test_a_strangers_records_do_not_stop_anybody(settings: Settings) -> None:
    """Neither a record nested 1,500 levels deep nor a claim of the highest epoch."""
    with taken(settings) as writer:
        writer.append(made(1))
    send(settings, b'{"writer":' + b"[" * 1_500, encode_claim("stranger", 2**53 - 1, 0))
    with taken(settings) as writer:
        assert writer.append(made(2)) == range(2, 3)

    assert [batch.first for batch in read(settings)] == [1, 2]


def test_an_acknowledgement_without_an_offset_is_doubt(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Librdkafka gives no offset if the broker reports a duplicate, because it may be of any record."""
    with taken(settings) as writer:
        sent = writer._producer.send(b"invalid")
        sent.offset(5)
        sent._offset = confluent_kafka.OFFSET_INVALID
        monkeypatch.setattr(writer._producer, "send", lambda *_: sent)
        for _ in range(2):
            with pytest.raises(InDoubt):
                writer.append(made(1))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
def test_no_wait_outlasts_its_deadline_when_the_broker_is_paused(own_threads: OwnThreads, own_kafka: Broker) -> None:
    """Appending, taking over and reading give up after their own time limits. Afterwards all of them work again."""
    settings = Settings(
        bootstrap_servers=own_kafka.bootstrap,
        topic="paused",
        replication_factor=1,
        index_folder="temporary",
        append_timeout=1.0,
        read_timeout=1.0,
        connect_timeout=1.0,
    )
    ensure_topic(settings)
    recorder = KafkaApplicationRecorder(settings)
    await_answer(recorder.take_over)  # a broker that has just started may need a moment
    recorder.insert_events(made(1))
    reader = Reader(settings)
    list(reader.read_to(reader.end()))
    writer = taken(settings)
    own_kafka.pause()
    start = monotonic()
    for kind, work in (
        (InDoubt, lambda: writer.append(made(2))),
        (OperationalError, lambda: Writer.take_over(reader)),
        (OperationalError, lambda: taken(settings)),
        (OperationalError, lambda: recorder.select_events("a")),
        (OperationalError, lambda: recorder.insert_events(made(3))),
        (OperationalError, lambda: KafkaApplicationRecorder(settings)),
    ):
        before = monotonic()
        with pytest.raises(kind):
            work()
        assert monotonic() - before < 4, kind
    assert reader.read(0.1) == []
    writer.close()
    reader.close()
    assert monotonic() - start < 15
    own_kafka.resume()

    assert await_answer(lambda: recorder.insert_events(made(4))) is not None
    versions = [event.originator_version for event in recorder.select_events("a")]
    assert versions in ([1, 4], [1, 2, 4])  # version 2 was in doubt; now it is known
    recorder.close()
    assert own_threads.left() == []


def await_answer(work: Any) -> Any:
    """Repeat the call until the broker answers again, for at most 20 s."""
    deadline = monotonic() + 20
    while True:
        try:
            return work()
        except OperationalError:
            if monotonic() > deadline:
                raise


def test_single_records_are_read_without_waiting(settings: Settings) -> None:
    """Reading ahead after a single record would make the next one, and the end of the log, wait for a fetch."""
    with taken(settings) as writer:
        for version in range(30):
            writer.append(made(version))
    with closing(Fetcher(settings)) as fetcher:
        fetcher.end()  # connects
        begun = monotonic()
        for offset in (5, 30, 3, 30, 17, 1) * 10:  # 30 is the last one
            fetcher.clear()
            assert list(fetcher.get([offset])) == [offset]
            assert fetcher.end() == 31
        assert monotonic() - begun < 3  # 0.05 s when quiet; with a long poll behind each record 6 s


def test_markers_of_transactions_hold_nobody_up(settings: Settings) -> None:
    """A stranger's transaction leaves a marker at the end of the log. A look at any batch before it ends there, in time."""
    with taken(settings) as writer:
        writer.append(made(1))
    stranger = confluent_kafka.Producer(settings.rdkafka_client() | {"transactional.id": settings.topic})
    stranger.init_transactions(10)
    stranger.begin_transaction()
    stranger.produce(settings.topic, b"hello", partition=settings.partition)
    stranger.flush(10)
    stranger.abort_transaction(10)
    with closing(Fetcher(replace(settings, read_timeout=3.0))) as fetcher, Reader(settings) as reader:
        for _ in polls(10):
            if reader.end() == 4:  # the coordinator writes the marker after it has answered
                break
        assert fetcher.end() == 4
        assert [batch.first for batch in fetcher.read_from(START)] == [1]
        assert [batch.first for batch in reader.read_to(4)] == [1]
    with taken(settings) as writer:
        assert writer.append(made(2)) == range(2, 3)
