"""Sources: what is next after any position, and what comes, from PostgreSQL, Kafka and a recorder in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from consumers.engine.postgres_log import postgres_recorder
from consumers.wiring import open_recorder
from projections.machine import log_source
from projections.machine.log_reader import read_log
from projections.machine.log_source import AnySource, PostgresSource, StreamSource, source_of
from tests.consumers.processes import kafka_settings
from tests.projections.logs import Log, stored
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

    from projections.machine.log_source import Source

KINDS = {"postgres": PostgresSource, "kafka": StreamSource, "memory": AnySource}


@pytest.fixture(params=list(KINDS))
def recorder(request: pytest.FixtureRequest) -> Iterator[ApplicationRecorder]:
    """The recorder of an empty log of each kind."""
    if request.param == "postgres":
        with postgres_recorder(request.getfixturevalue("database"), 0) as opened:
            yield opened
    elif request.param == "kafka":
        folder: Path = request.getfixturevalue("tmp_path")
        kafka, prefix = request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix")
        with open_recorder(kafka_settings(folder, kafka, prefix)) as opened:
            yield opened
    else:
        yield Log()


def write(recorder: ApplicationRecorder, events: list[Any], size: int) -> None:
    """Append the events, so many at a time."""
    for start in range(0, len(events), size):
        recorder.insert_events(stored(events[start : start + size]))


def read_until(source: Source, after: int, until: int) -> list[Any]:
    """Read on until a position."""
    found: list[Any] = []
    while after < until:
        events = source.read(after, 10.0, 50)
        assert events, f"nothing came after {after}"
        found += events
        after = events[-1].position
    return found


def test_every_event_is_read_once_from_any_position(recorder: ApplicationRecorder) -> None:
    """From the beginning, from the middle of a record, again from an earlier position, and while it is being written."""
    events = simulate(3, 120)
    events[0] = replace(events[0], digest="0123456789abcdef")
    source = source_of(recorder)
    assert isinstance(source, tuple(KINDS.values()))
    try:
        assert source.read(0, 0.0, 50) == []
        write(recorder, events[:100], 7)
        for after in (0, 52, 3, 99):
            assert [one.position for one in read_until(source, after, 100)] == list(range(after + 1, 101))
        assert source.read(100, 0.05, 50) == []
        writer = threading.Thread(target=write, args=[recorder, events[100:], 3])
        writer.start()
        try:
            last = read_until(source, 100, len(events))
        finally:
            writer.join()
        assert [one.position for one in last] == list(range(101, len(events) + 1))
        whole = read_until(source, 0, len(events))
    finally:
        source.close()
    assert [(one.position, one.stream, one.version, one.time, one.event) for one in whole] == [
        (one.position, one.stream, one.version, one.time, one.event) for one in events
    ]
    assert [event for batch in read_log(recorder, 0, 0, len(events), whole=True) for event in batch.events] == events
    middle = [one.position for batch in read_log(recorder, 0, 10, 55) for one in batch.events]
    assert middle == list(range(11, 56))


def test_postgresql_is_asked_only_when_something_is_new(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader at the end of the log waits for a notification, and asks once for what came with it."""
    events = simulate(3, 30)
    asked: list[int] = []
    select = "projections.machine.log_source._select_rows"
    rows = log_source._select_rows
    monkeypatch.setattr(select, lambda recorder, after, *rest: (asked.append(after), rows(recorder, after, *rest))[1])
    with postgres_recorder(database, 0) as recorder:
        source = source_of(recorder)
        try:
            for _ in range(5):
                assert source.read(0, 0.01, 50) == []
            write(recorder, events[:10], 10)
            assert len(source.read(0, 10.0, 50)) == 10
            for _ in range(5):
                assert source.read(10, 0.01, 50) == []
        finally:
            source.close()
    assert asked == [0, 0]


@pytest.mark.parametrize("recorder", ["kafka"], indirect=True)
def test_a_read_does_not_wait_for_what_is_written_meanwhile(
    recorder: ApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events are wanted, a read returns those that are there while others are being written."""
    monkeypatch.setattr(log_source, "PAGE_EVENTS", 10)
    events = simulate(3, 300)
    write(recorder, events[:30], 10)
    enough = threading.Event()

    def write_on() -> None:
        for start in range(30, len(events), 2):
            if enough.wait(0.01):
                return
            write(recorder, events[start : start + 2], 2)

    source = source_of(recorder)
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        found = source.read(0, 10.0, 10 * len(events))
        assert writer.is_alive()
    finally:
        enough.set()
        writer.join()
        source.close()
    assert [one.position for one in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("recorder", ["kafka"], indirect=True)
def test_a_stream_that_nobody_reads_from_is_closed(
    recorder: ApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places that read models have left while they caught up are followed no longer; each fetched, and woke the process."""
    events = simulate(3, 100)
    write(recorder, events[:30], 10)
    source = StreamSource(recorder)
    try:
        assert len(source.read(0, 10.0, 30)) == 30
        write(recorder, events[30:60], 10)
        assert source.read(40, 10.0, 10)[-1].position == 60
        assert list(source._streams) == [30, 60]
        monkeypatch.setattr(log_source, "UNUSED_SECONDS", 0.0)
        assert source.read(60, 0.0, 10) == []
        assert list(source._streams) == [60]
    finally:
        source.close()
