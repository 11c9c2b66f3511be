"""LogReader and read_log: the log in batches, whatever the pages in which it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.engine.postgres_log import postgres_recorder, table_name
from projections.machine import log_reader, log_source
from projections.machine.log_reader import LogReader, read_log
from projections.machine.store import connect
from tests.projections.logs import stored
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    import pytest


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
