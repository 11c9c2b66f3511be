"""Readers: they go on where they were, and fetch nothing while they rest."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from eventsourcing_kafka import KafkaApplicationRecorder, Reader, Settings, Writer
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from eventsourcing.persistence import StoredEvent


def events(count: int) -> list[StoredEvent]:
    """Return new events, each of an aggregate of its own."""
    return [stored(str(uuid4()), 1, "topic", b"{}") for _ in range(count)]


class Received:
    """The number of records that the broker has sent to each consumer, also those that nobody has read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._records: dict[str, int] = {}
        usual = Settings.rdkafka_consumer

        def with_statistics(settings: Settings, *more: Any) -> dict[str, Any]:
            return usual(settings, *more) | {"statistics.interval.ms": 20, "stats_cb": self._note}

        monkeypatch.setattr(Settings, "rdkafka_consumer", with_statistics)

    def _note(self, text: str) -> None:
        stats = json.loads(text)
        topics = stats["topics"].values()
        self._records[stats["name"]] = sum(each["rxmsgs"] for topic in topics for each in topic["partitions"].values())

    def after_a_moment(self, *readers: Reader) -> list[int]:
        """Return how many records the consumers of these readers have got by now."""
        found = []
        for reader in readers:
            sleep(0.3)
            self._records.clear()  # those of others, which were polled meanwhile
            reader._consumer.poll(0)  # it delivers the statistics
            (received,) = self._records.values()
            found.append(received)
        return found


def test_a_reader_that_rests_gets_nothing_and_goes_on_where_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends nothing that nobody reads; the next read returns every batch after the last one, once."""
    received = Received(monkeypatch)
    with Reader(settings) as reader, Writer.take_over(Reader(settings)) as writer:
        writer.append(events(2))
        assert [batch.first for batch in reader.read_to(reader.end())] == [1]
        reader.rest()
        (before,) = received.after_a_moment(reader)
        for _ in range(20):
            writer.append(events(1))
        assert received.after_a_moment(reader) == [before]

        assert [batch.first for batch in reader.read_to(reader.end())] == list(range(3, 23))
        reader.rest()
        reader.seek(reader.checkpoint)
        writer.append(events(1))
        assert [batch.first for batch in reader.read_to(reader.end())] == [23]


def test_a_recorder_that_has_answered_gets_no_events(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked a recorder once, as a health check does, is not sent the whole log from then on."""
    received = Received(monkeypatch)
    elsewhere = replace(settings, index_folder=str(tmp_path / "another"))
    with closing(KafkaApplicationRecorder(elsewhere)) as asked, closing(KafkaApplicationRecorder(settings)) as writer:
        for _ in range(20):
            writer.insert_events(events(1))
        assert asked.max_notification_id() == 20
        assert [n.id for n in asked.select_notifications(1, 20)] == list(range(1, 21))
        before = received.after_a_moment(asked._lookup._long_reader)
        for _ in range(20):
            writer.insert_events(events(1))

        assert received.after_a_moment(asked._lookup._long_reader) == before


def ids(notifications: Sequence[Any]) -> list[int]:
    """Return the positions."""
    return [n.id for n in notifications]


@pytest.mark.parametrize("limit", [7, 50, 60, 1000])
def test_a_long_stretch_of_small_batches_is_read_whole(settings: Settings, limit: int) -> None:
    """Page after page, from any position, with a stop, and after new events: each event once, in order."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        for count in [1, 2, 3, 4, 5] * 20:
            recorder.insert_events(events(count))
        found: list[int] = []
        while page := recorder.select_notifications(len(found) + 1, limit):
            assert len(page) <= limit
            found += ids(page)
        assert found == list(range(1, 301))
        assert ids(recorder.select_notifications(100, limit, stop=250)) == list(range(100, min(250, 99 + limit) + 1))
        assert ids(recorder.select_notifications(42, limit, inclusive_of_start=False)) == list(
            range(43, min(300, 42 + limit) + 1)
        )
        recorder.insert_events(events(3))
        assert ids(recorder.select_notifications(2, 1000)) == list(range(2, 304))


@pytest.mark.parametrize("pause", [Reader.rest, Reader.close])
def test_a_log_is_read_to_its_end_twice(settings: Settings, pause: Callable[[Reader], None]) -> None:
    """A reader that has been at the end, then paused and went back, reads all of it again."""
    with Reader(settings) as reader, Writer.take_over(Reader(settings)) as writer:
        for event in events(5):
            writer.append([event])
        start, end = reader.checkpoint, reader.end()
        first = [batch.first for batch in reader.read_to(end)]
        reader.read(0.5)  # there is nothing more, so the consumer reports the end
        pause(reader)
        reader.seek(start)

        assert [batch.first for batch in reader.read_to(end)] == first
