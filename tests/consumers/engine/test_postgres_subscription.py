"""Subscriptions to the log in PostgreSQL."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from eventsourcing.postgres import PostgresApplicationRecorder

from consumers.engine.postgres_log import postgres_recorder
from domain.exchange import Entry
from domain.market import MarketHalted
from messages.stored import to_stored

if TYPE_CHECKING:
    import pytest


def test_an_event_that_comes_before_the_subscription_listens_is_seen(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subscription has read what was there, but listens only after the event: no other event has to come."""
    with postgres_recorder(database, 0) as recorder:
        assert isinstance(recorder, PostgresApplicationRecorder)
        has_read, appended = threading.Event(), threading.Event()
        connection, select = recorder.datastore.get_connection, recorder.select_notifications

        def late_connection() -> Any:
            if "_listen" in threading.current_thread().name:
                appended.wait(10)
            return connection()

        def seen_select(*arguments: Any, **options: Any) -> Any:
            found = select(*arguments, **options)
            has_read.set()
            return found

        monkeypatch.setattr(recorder.datastore, "get_connection", late_connection)
        monkeypatch.setattr(recorder, "select_notifications", seen_select)
        with recorder.subscribe(gt=0) as subscription:
            assert has_read.wait(10)
            event = to_stored(Entry("market-m", 1, MarketHalted("m")), time=1, command_id="c")
            recorder.insert_events([event])
            appended.set()
            giving_up = threading.Timer(5, subscription.stop)
            giving_up.start()
            assert next(iter(subscription)).topic == event.topic
            giving_up.cancel()
