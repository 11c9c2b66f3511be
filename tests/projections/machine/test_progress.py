"""Progress: tells how far read models are, and believes only what their table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections.machine.progress import Progress
from projections.machine.store import connect, ensure
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 60.0


@pytest.fixture
def progress(database: str) -> Iterator[Progress]:
    """Listens to the read models of the database."""
    listening = Progress(database)
    listening.start()
    yield listening
    listening.stop()


def test_a_false_notification_is_not_believed(database: str, progress: Progress) -> None:
    """Anybody who may connect can notify, even a dashboard: a position counts once it is in the table."""
    with connect(database) as connection:
        ensure(connection, [PROJECTIONS["stories"]])
        for said in ("stories 0 7", "nonsense"):
            connection.execute("SELECT pg_notify('tidings_progress', %s)", [said])

        assert not progress.wait(["stories"], 7, 1)

        connection.execute("UPDATE projection_positions SET position = 7 WHERE projection = 'stories'")
        connection.execute("NOTIFY tidings_progress")

        assert progress.wait(["stories"], 7, WAIT)
