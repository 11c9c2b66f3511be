"""The projector: each read model goes on by itself through failures of the database, of the log and of its process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from consumers.projector import assignment
from consumers.projector.projector import Projector
from local.processes import polls
from projections.dashboards.watchdog import Watchdog
from projections.machine.progress import Progress
from projections.machine.store import connect, ensure
from projections.reading import projection_status
from projections.registry import PROJECTIONS
from tests.consumers.projector.projecting import NAMES, WAIT, all_digests, expected_digests
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from local.postgres import Postgres
    from tests.projections.logs import Log


def test_it_catches_up_and_follows(database: str, log: Log, progress: Progress) -> None:
    """Events from before the start and events that arrive later are all folded, and those who wait are told."""
    events = simulate(1, 400)
    log.write(events[:800])
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(NAMES, 800, WAIT)
        for recorded in events[800:]:
            log.write([recorded])
        assert progress.wait(NAMES, len(events), WAIT)
        assert not progress.wait(NAMES, len(events) + 1, 0.01)
    finally:
        projector.stop()

    assert expected_digests(database, events) == all_digests(database)
    with connect(database) as connection:
        assert {len(events)} == {status.position for status in projection_status(connection)}


def test_autovacuum_is_on_after_catching_up(database: str, log: Log) -> None:
    """Autovacuum is off while the tables fill, and on afterwards."""
    kept = "SELECT count(*) FROM pg_class WHERE 'autovacuum_enabled=false' = ANY(reloptions)"
    tables = sum(len(projection.tables) for projection in PROJECTIONS.values())
    with connect(database) as connection:
        ensure(connection, PROJECTIONS.values())
        assert connection.execute(kept).fetchone() == (tables,)

        log.write(simulate(1, 100))
        projector = Projector(log, database)
        projector.start()
        try:
            for _ in polls(WAIT):
                left = connection.execute(kept).fetchone()
                if left == (0,):
                    break
        finally:
            projector.stop()
        assert left == (0,)


def test_two_projectors_share_the_work(database: str, log: Log, progress: Progress) -> None:
    """One projector at a time keeps a read model up to date; when it stops, the other one continues at the same position."""
    events = simulate(2, 300)
    one, other = Projector(log, database), Projector(log, database)
    one.start()
    other.start()
    try:
        log.write(events[:500])
        assert progress.wait(NAMES, 500, WAIT)
        one.stop()
        log.write(events[500:])
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        one.stop()
        other.stop()

    assert expected_digests(database, events) == all_digests(database)


def test_postgresql_killed_under_load(own_postgres: Postgres, log: Log) -> None:
    """PostgreSQL is killed and restarted repeatedly while events arrive: no row is lost or doubled."""
    dsn = own_postgres.database("tidings")
    events = simulate(3, 700)
    projector = Projector(log, dsn)
    projector.start()
    progress = Progress(dsn)
    progress.start()
    try:
        step = len(events) // 4
        for part in range(4):
            log.write(events[part * step : (part + 1) * step if part < 3 else len(events)])
            progress.wait(NAMES[:1], part * step + step // 2, WAIT)
            own_postgres.kill()
            own_postgres.restart()
        progress.stop()  # the kill may have undone positions that it was told before
        progress = Progress(dsn)
        progress.start()
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        projector.stop()
        progress.stop()

    assert expected_digests(dsn, events) == all_digests(dsn)


def test_the_log_away(database: str, log: Log, progress: Progress) -> None:
    """While the log cannot be read, the projector waits; then it continues."""
    events = simulate(4, 200)
    log.write(events[:300])
    log.away = True
    projector = Projector(log, database)
    projector.start()
    try:
        assert not progress.wait(NAMES, 1, 0.3)
        log.away = False
        log.write(events[300:])
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        projector.stop()

    assert expected_digests(database, events) == all_digests(database)


_KILLED = """
import sys
from tests.projections.logs import Log
from tests.projections.simulation import simulate
from projections.machine import catch_up
from consumers.projector.projector import Projector
from projections.machine import log_reader
import threading
log_reader.BATCH_EVENTS = catch_up.LARGE_BATCH_EVENTS = 50
catch_up.TRANSACTION_EVENTS_MAX = 300
log = Log()
log.write(simulate(5, 900))
print("started", flush=True)
Projector(log, sys.argv[1]).start()
threading.Event().wait()
"""


def test_projector_killed_under_load(database: str, log: Log, progress: Progress) -> None:
    """A projector that is killed at any moment, also amid a transaction of many batches, leaves nothing half done.

    The next projector ends with the rows of the log.
    """
    events = simulate(5, 900)
    for reach in (1, len(events) // 3, 2 * len(events) // 3):
        process = subprocess.Popen([sys.executable, "-c", _KILLED, database], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert b"started" in process.stdout.readline()
        progress.wait(NAMES[-1:], reach, WAIT)
        process.kill()
        process.wait()
        process.stdout.close()
    log.write(events)
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        projector.stop()

    assert expected_digests(database, events) == all_digests(database)


@pytest.mark.parametrize("part", ["assignment", "watchdog"])
def test_an_error_of_ours_is_told(database: str, log: Log, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A thread beside the folds that ends by one would leave dashboards unwatched or new members unseen: the process ends."""
    watchdog = Watchdog(database, look_seconds=0.05)
    projector = Projector(log, database, watchdog=watchdog)
    if part == "watchdog":
        monkeypatch.setattr(watchdog, "_limits", {})  # psycopg says that the statement lacks a value
    projector.start()
    try:
        if part == "assignment":
            assert projector.problem() is None
            monkeypatch.setattr(assignment, "assign", lambda *_: 1 / 0)
            with connect(database) as connection:
                for _ in polls(WAIT):
                    connection.execute(f"NOTIFY {assignment.CHANNEL}")
                    if projector.problem() is not None:
                        break
        assert any(projector.problem() is not None for _ in polls(WAIT))
        assert str(projector.problem()).startswith(f"{part} stopped: ")
    finally:
        projector.stop()
