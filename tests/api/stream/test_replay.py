"""The state that the stream begins with."""

from __future__ import annotations

from eventsourcing.popo import POPOApplicationRecorder
from psycopg_pool import ConnectionPool

from api.stream.replay import Archive
from projections.machine.store import CONNECT_OPTIONS, connect, ensure
from projections.registry import PROJECTIONS


def test_it_begins_while_read_models_are_still_being_made(database: str) -> None:
    """Each has its tables at another moment of the first start. Until all are there, the stream begins with the log."""
    with ConnectionPool(database, min_size=1, kwargs=CONNECT_OPTIONS) as pool, connect(database) as connection:
        archive = Archive(POPOApplicationRecorder(), pool)
        for name in ("trades", "markets"):
            assert archive.seed().position == 0
            ensure(connection, [PROJECTIONS[name]])
        assert archive.seed().followed.markets == {}
