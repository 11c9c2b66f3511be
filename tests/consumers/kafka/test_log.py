"""The log in Kafka: no event is skipped after an error, and old events are found by few checkpoints."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from eventsourcing.persistence import OperationalError, ProgrammingError, StoredEvent, Tracking

import eventsourcing_kafka as es_kafka
from consumers.engine.log import (
    START,
    Checkpoint,
    EventBatch,
    Fenced,
    InDoubt,
    LogLost,
    StaleCheckpoint,
    UnsafeLog,
    mapped_errors,
)
from consumers.kafka import log as kafka_log
from consumers.kafka.errors import APPEND_ERRORS, READ_ERRORS
from consumers.kafka.log import CheckpointIndex, KafkaLog
from tests.consumers.processes import kafka_settings


@pytest.fixture(autouse=True)
def _kafka_contract() -> None:
    """Do not hold these records to the AsyncAPI page: their events are of no type of ours."""


@pytest.fixture
def log(tmp_path: Path, kafka: str, topic_prefix: str) -> Iterator[KafkaLog]:
    """A fresh log on the run's broker."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    with closing(KafkaLog(settings)) as made:
        yield made


def test_events_on_which_the_reader_failed_are_read_again(log: KafkaLog) -> None:
    """An error of ours on the first batch: the next take-over from the same checkpoint begins with that batch."""
    log.take_over(lambda _: None)
    for version in (1, 2, 3):
        log.begin([StoredEvent("market-a", version, "T.v1", b"{}")]).result()

    def fail(_: EventBatch) -> None:
        raise RuntimeError("an error of ours")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            log.take_over(fail)
    with pytest.raises(RuntimeError):
        log.follow(fail, START, 1.0)
    handled: list[int] = []
    log.take_over(lambda batch: handled.extend(batch.positions))

    assert handled == [1, 2, 3]


def test_trackings_of_another_program_are_passed_over(log: KafkaLog) -> None:
    """A batch that only tracks has no event, and no position; an engine that folds it would fail on that."""
    log.take_over(lambda _: None)
    log.begin([StoredEvent("market-a", 1, "T.v1", b"{}")]).result()
    with closing(es_kafka.KafkaProcessRecorder(replace(log._settings, index_folder="temporary"))) as other:
        other.insert_tracking(Tracking("another", 1))
        other.insert_events([StoredEvent("market-b", 1, "T.v1", b"{}")], tracking=Tracking("another", 2))
        other.insert_tracking(Tracking("another", 3))

    handled: list[int] = []
    log.take_over(lambda batch: handled.append(batch.positions[0]))
    log.take_over(lambda batch: handled.append(batch.positions[0]), log.checkpoint)
    log.begin([StoredEvent("market-a", 2, "T.v1", b"{}")]).result()

    assert handled == [1, 2]
    assert [event.id for event in log.read(1, 10)] == [1, 2, 3]


def test_a_checkpoint_of_another_log_is_stale(log: KafkaLog) -> None:
    """One after the end of the log, and one after a batch of another writer."""
    log.take_over(lambda _: None)
    log.begin([StoredEvent("market-a", 1, "T.v1", b"{}")]).result()
    known = log.checkpoint

    for wrong in (known._replace(offset=known.offset + 100), known._replace(writer="another")):
        with pytest.raises(StaleCheckpoint):
            log.take_over(lambda _: None, wrong)
    log.take_over(lambda _: None, known)


@pytest.mark.parametrize(
    ("error", "reading", "appending"),
    [
        (es_kafka.Fenced("x"), Fenced, Fenced),
        (es_kafka.ClaimLost("x"), Fenced, Fenced),
        (es_kafka.LogTruncated("x"), StaleCheckpoint, InDoubt),
        (es_kafka.InDoubt("x"), InDoubt, InDoubt),
        (OperationalError("x"), InDoubt, InDoubt),
        (ProgrammingError("x"), ProgrammingError, InDoubt),
        (es_kafka.UnsafeTopic("x"), UnsafeLog, InDoubt),
        (es_kafka.RecordsMissing("x"), LogLost, InDoubt),
    ],
)
def test_each_error_of_the_library_becomes_one_of_ours(
    error: Exception, reading: type[Exception], appending: type[Exception]
) -> None:
    """A wrong use of the library stays what it is while reading; in an append it leaves a doubt."""
    for table, expected in ((READ_ERRORS, reading), (APPEND_ERRORS, appending)):
        with pytest.raises(expected, match=r"^x$"), mapped_errors(table):
            raise error


def test_few_checkpoints_are_kept_of_a_long_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is bounded, they are in order, and the one before an event is never after it."""
    monkeypatch.setattr(kafka_log, "CHECKPOINTS_MAX", 16)
    index = CheckpointIndex()
    for position in range(1, 2_000):
        index.note(Checkpoint(position, position - 1, 1, "w"))

    assert len(index.checkpoints) <= 16
    assert index.checkpoints == sorted(index.checkpoints)
    assert index.before(1) == START
    assert all(1_000 - 400 < index.before(position).position < position for position in (1_000, 1_500, 1_999))
