"""LogReader and read_log: the log in batches, whatever the pages in which it is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from consumers.engine.postgres_log import postgres_recorder, table_name
from projections.machine import log_reader, log_source
from projections.machine.log_reader import LogReader, read_log
from projections.machine.store import connect
from tests.projections.logs import Log, stored
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    import pytest

    from domain.events import Recorded


def test_the_log_is_read_in_pages_and_ahead(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 7 make batches of 21, also across gaps in the positions, and the next batch is read ahead."""
    monkeypatch.setattr(log_source, "PAGE_EVENTS", 7)
    monkeypatch.setattr(log_reader, "BATCH_EVENTS", 21)
    events = simulate(2, 100)
    positions = [position for position in range(1, len(events) + 1) if position != 8 and not 30 <= position <= 90]
    with postgres_recorder(database, 0) as recorder:
        recorder.insert_events(stored(events))
        with connect(database) as connection:
            connection.execute(f"DELETE FROM public.{table_name(0)} WHERE notification_id BETWEEN 30 AND 90")
            connection.execute(f"DELETE FROM public.{table_name(0)} WHERE notification_id = 8")

        batches = list(read_log(recorder, 0, 0, len(events)))
        reader = LogReader(recorder)
        read_ahead: list[int] = []
        try:
            while batch := reader.after(read_ahead[-1] if read_ahead else 0, 0.1, "test"):
                read_ahead += [recorded.position for recorded in batch.events]
        finally:
            reader.stop()

    assert [recorded.position for batch in batches for recorded in batch.events] == positions
    assert {len(batch.events) for batch in batches[:-1]} == {21}
    assert read_ahead == positions


def test_readers_at_the_end_of_the_log_wait_together() -> None:
    """One of them waits for what is new, for all: nobody looks again and again. All are given it when it comes."""
    log, names = Log(), ("one", "two", "three")
    reader = LogReader(log)
    source = reader._source
    waits: list[float] = []

    class Counted:
        """The source, with the length of each wait."""

        def read(self, after: int, seconds: float, limit: int) -> list[Recorded]:
            waits.append(seconds)
            return source.read(after, seconds, limit)

        def close(self) -> None:
            source.close()

    reader._source = Counted()
    try:
        with ThreadPoolExecutor(len(names)) as threads:
            for name in names:
                assert reader.after(0, 0.0, name) is None
            waits.clear()
            assert list(threads.map(lambda name: reader.after(0, 0.3, name), names)) == [None] * 3
            assert len(waits) <= 2 * len(names)
            waiting = [threads.submit(reader.after, 0, 30.0, name) for name in names]
            events = simulate(2, 5)
            log.write(events)
            found = [each.result() for each in waiting]
    finally:
        reader.stop()

    assert [batch and batch.last.position for batch in found] == [len(events)] * 3
