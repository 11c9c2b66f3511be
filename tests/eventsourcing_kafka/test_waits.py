"""Waits of librdkafka: one that is overdue is ended, and clients are replaced when the wall clock is set back."""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from time import monotonic, sleep, time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import confluent_kafka
import pytest

from eventsourcing_kafka import InDoubt, Reader, Settings, Writer, waits
from eventsourcing_kafka.clients import close_producer
from eventsourcing_kafka.waits import WaitGuard, end_poll
from tests.eventsourcing_kafka.chaos_writers import WriterProcess
from tests.eventsourcing_kafka.events import stored
from tests.stepped_clock import SteppedClock, has_compiler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eventsourcing.persistence import StoredEvent


def events(*names: str) -> list[StoredEvent]:
    """Return events with these originator ids."""
    return [stored(name, 1, "Made", b"{}") for name in names]


def test_a_wait_for_records_that_is_overdue_is_ended(settings: Settings) -> None:
    """From another thread, soon; then the consumer must be replaced. One that ends in time is left alone."""
    consumer = confluent_kafka.Consumer(settings.rdkafka_consumer(100))
    guard = WaitGuard(lambda: end_poll(consumer))
    with guard.at_most(0.05):
        consumer.poll(0.05)
    sleep(3 * waits.LOOK_SECONDS)
    assert not guard.stale

    began = monotonic()
    with guard.at_most(0.05):
        consumer.consume(1, 20)
    assert monotonic() < began + 5
    assert guard.stale
    guard.close(consumer)


@pytest.mark.parametrize("seconds", [0.0012, 0.0049, 0.1004, 0.9])
def test_a_wait_for_records_does_nothing_meanwhile(settings: Settings, seconds: float) -> None:
    """It does not look around all the time, above all not in its last millisecond, which librdkafka rounds away."""
    with Reader(settings) as reader:
        reader.read(1)
        waits_seen: list[float] = []
        consume = reader._consumer.consume
        reader._consumer = SimpleNamespace(
            consume=lambda most, left: waits_seen.append(left) or consume(most, left), close=reader._consumer.close
        )
        reader.read(seconds)

    assert len(waits_seen) <= 3


def test_a_wait_for_an_acknowledgement_that_is_overdue_is_ended() -> None:
    """What was sent has failed then, as far as the client can tell."""
    errors: list[object] = []
    silent = socket.create_server(("127.0.0.1", 0))
    producer = confluent_kafka.Producer({"bootstrap.servers": f"127.0.0.1:{silent.getsockname()[1]}"})
    guard = WaitGuard(producer.purge)
    producer.produce("topic", b"", on_delivery=lambda error, _: errors.append(error))
    began = monotonic()
    with guard.at_most(0.05):
        producer.poll(20)
    assert monotonic() < began + 5
    assert errors
    assert guard.stale
    guard.close(producer, partial(close_producer, producer))
    silent.close()


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Set the wall clock back by a minute, as `waits` sees it, and wait until it has seen it."""

    def step() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(waits, "time", lambda: time() - 60)
            sleep(3 * waits.LOOK_SECONDS)

    return step


def test_a_writer_and_a_reader_go_on_with_other_clients_after_the_clock_was_set_back(
    settings: Settings, set_back: Callable[[], None]
) -> None:
    """Nobody notices: the same claim, no gap, no event twice."""
    with Reader(settings) as reader, Writer.take_over(reader) as writer:
        assert writer.append(events("a", "b")) == range(1, 3)
        first_client, first_consumer = writer._producer._client, reader._consumer
        set_back()
        assert writer.append(events("c")) == range(3, 4)
        assert [row[0] for batch in reader.read_to(reader.end()) for row in batch.events] == ["a", "b", "c"]
        assert writer.checkpoint.epoch == 1
        assert writer._producer._client is not first_client
        assert reader._consumer is not first_consumer


def test_an_append_during_which_the_clock_is_set_back_is_confirmed(
    settings: Settings, set_back: Callable[[], None]
) -> None:
    """It was sent by the client before; the next one is sent by another."""
    with Reader(settings) as reader, Writer.take_over(reader) as writer:
        append = writer.begin(events("a"))
        set_back()
        assert append.result() == range(1, 2)
        assert writer.append(events("b")) == range(2, 3)


def test_a_writer_that_cannot_connect_again_sends_nothing(settings: Settings, set_back: Callable[[], None]) -> None:
    """The append is an error like any other, and the writer is closed."""
    with Reader(settings) as reader, Writer.take_over(reader) as writer:
        set_back()
        writer._producer._settings = replace(settings, bootstrap_servers="127.0.0.1:1", connect_timeout=0.2)
        with pytest.raises(InDoubt):
            writer.append(events("a"))
        assert list(reader.read_to(reader.end())) == []


def test_a_writer_whose_clock_is_ahead_appends(settings: Settings, tmp_path: Path) -> None:
    """By two hours: a broker refuses such a record unless the topic takes the broker's time. Set back, it goes on."""
    if not has_compiler():
        pytest.skip("no C compiler")
    clock = SteppedClock(tmp_path / "clock")
    clock.step(7200)
    writer = WriterProcess("writer", "a", settings, tmp_path, clock)
    writer.start()
    try:
        _await_told(writer, 10)
        clock.step(-3600)
        sleep(0.2)
        _await_told(writer, 10)
        assert "out" not in writer.journal.read_text()
        assert "doubt" not in writer.journal.read_text()
    finally:
        writer.kill()


def _await_told(writer: WriterProcess, count: int) -> None:
    """Wait until so many more events were acknowledged."""
    deadline = monotonic() + 20
    goal = count + (writer.journal.read_text().count("told") if writer.journal.exists() else 0)
    while not writer.journal.exists() or writer.journal.read_text().count("told") < goal:
        assert monotonic() < deadline, writer.journal.exists() and writer.journal.read_text()
        sleep(0.05)
