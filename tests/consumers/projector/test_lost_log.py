"""The projector folds nothing on top of a log that has lost events: it stops, says why, and leaves the rows as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumers.projector import projector as projector_module
from consumers.projector.projector import Projector
from local.processes import polls
from projections.machine.known_log import LostEventsError, lost_events
from projections.machine.store import connect
from projections.reading import projection_status
from tests.consumers.projector.projecting import NAMES, WAIT, all_digests
from tests.projections.logs import Log
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from projections.machine.progress import Progress


class NamedLog(Log):
    """A log with an identity."""

    def __init__(self, identity: str) -> None:
        super().__init__()
        self.identity = identity


def stopped_by(log: Log, database: str) -> LostEventsError:
    """Run a projector until it stops by itself, and return why."""
    projector = Projector(log, database)
    projector.start()
    try:
        for _ in polls(WAIT):
            if projector.error is not None:
                return projector.error
        raise AssertionError("the projector goes on")
    finally:
        projector.stop()


@pytest.mark.parametrize(
    ("lost", "match"),
    [
        ("end", "it ends at 300"),
        ("end, and has grown again", "another event at position"),
        ("everything", "made anew"),
        ("all but its events", "made anew"),
    ],
)
def test_a_log_that_has_lost_events_stops_the_projector(
    database: str, progress: Progress, lost: str, match: str
) -> None:
    """Shorter, with other events, or another log: also when the other log holds the same events."""
    events = simulate(1, 400)
    log = NamedLog("one")
    log.write(events)
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        projector.stop()
    before = all_digests(database)
    other = NamedLog("one" if lost.startswith("end") else "another")
    if lost == "end":
        other.write(events[:300])
    elif lost == "end, and has grown again":
        other.write(simulate(2, 800))
    elif lost == "all but its events":
        other.write(events)

    for _ in range(2):
        error = stopped_by(other, database)
        assert match in str(error)
        assert "--accept-lost-log" in str(error)
    assert before == all_digests(database)
    with connect(database) as connection:
        assert match in (lost_events(other, projection_status(connection)) or "")
        assert lost_events(log, projection_status(connection)) is None


def test_a_log_that_loses_events_under_a_running_projector_is_noticed(
    database: str, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database of the log was restored while nothing came: threads without news look again."""
    monkeypatch.setattr(projector_module, "CHECK_SECONDS", 0.1)
    events = simulate(1, 100)
    log = Log()
    log.write(events)
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(NAMES, len(events), WAIT)
        with log._database_lock:
            del log._stored_events[100:]
        for _ in polls(WAIT):
            if projector.error is not None:
                break
    finally:
        projector.stop()
    assert "it ends at 100" in str(projector.error)
