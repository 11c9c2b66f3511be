"""The projector: goes on by itself, each read model apart, through whatever happens to the database and to the log."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.postgres_log import postgres_recorder, table_name
from consumers.projector.projector import Projector
from domain.exchange import Entry
from domain.market import MarketHalted
from domain.orders import OrderPlaced
from local.processes import polls
from messages.stored import to_stored
from projections import stories
from projections.machine import log_reader, parking
from projections.machine.log_reader import Feed, decode, read_log
from projections.machine.parking import list_parked
from projections.machine.progress import Progress
from projections.machine.rebuild import rebuild
from projections.machine.store import connect, ensure, position_of
from projections.reading import projection_status, read
from projections.registry import PROJECTIONS
from projections.verify import digest, verify
from tests.projections.folding import Copy
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing.persistence import StoredEvent

    from domain.events import Recorded
    from local.postgres import Postgres
    from projections.machine.batch import Batch
    from projections.machine.projection import Projection
    from projections.machine.rows import Workspace

NAMES = list(PROJECTIONS)
WAIT = 60.0


def stored(events: list[Recorded]) -> list[StoredEvent]:
    """Return the events as a log holds them."""
    return [
        to_stored(Entry(r.stream, r.version, r.event), time=r.time, command_id=r.command_id, digest=r.digest)
        for r in events
    ]


class Log(POPOApplicationRecorder):
    """A log in memory that a test writes, and may take away for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def write(self, events: list[Recorded]) -> None:
        """Append events."""
        self.insert_events(stored(events))

    def select_notifications(self, *arguments: Any, **named: Any) -> Any:
        """Return events, unless the log is away."""
        if self.away:
            raise ConnectionError("the log is away")
        return super().select_notifications(*arguments, **named)


@pytest.fixture
def log() -> Log:
    """An empty log."""
    return Log()


def all_digests(dsn: str) -> dict[str, str]:
    """Return the hash of every live read model."""
    with connect(dsn) as connection, connection.transaction():
        return {projection.name: digest(connection, projection) for projection in PROJECTIONS.values()}


def expected_digests(dsn: str, events: list[Recorded]) -> dict[str, str]:
    """Return the hashes that a log gives when it is folded at once."""
    copy = Copy(dsn, "expected", PROJECTIONS.values()).fold(events, 5000)
    try:
        return copy.digests()
    finally:
        copy.connection.close()


@pytest.fixture
def progress(database: str) -> Iterator[Progress]:
    """Tells how far the read models are."""
    listening = Progress(database)
    listening.start()
    yield listening
    listening.stop()


def test_it_catches_up_and_follows(database: str, log: Log, progress: Progress) -> None:
    """What was in the log before and what comes while it runs is all projected, and the waiting are told."""
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


def test_the_log_is_read_in_pages_and_ahead(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 7 make batches of 21, also over gaps in the positions, and the batch that is read ahead is the next one."""
    monkeypatch.setattr(log_reader, "PAGE_EVENTS", 7)
    monkeypatch.setattr(log_reader, "BATCH_EVENTS", 21)
    events = simulate(2, 100)
    positions = [position for position in range(1, len(events) + 1) if position != 8 and not 30 <= position <= 90]
    with postgres_recorder(database, 0) as recorder:
        recorder.insert_events(stored(events))
        with connect(database) as connection:
            connection.execute(f"DELETE FROM public.{table_name(0)} WHERE notification_id BETWEEN 30 AND 90")
            connection.execute(f"DELETE FROM public.{table_name(0)} WHERE notification_id = 8")

        batches = list(read_log(recorder, 0, 0, len(events)))
        reader = Feed(recorder)
        read_ahead: list[int] = []
        try:
            while batch := reader.after(read_ahead[-1] if read_ahead else 0, 0.1, "test"):
                read_ahead += [recorded.position for recorded in batch.events]
        finally:
            reader.stop()

    assert [recorded.position for batch in batches for recorded in batch.events] == positions
    assert {len(batch.events) for batch in batches[:-1]} == {21}
    assert read_ahead == positions


def test_a_table_is_vacuumed_from_the_time_on_that_it_is_full(database: str, log: Log) -> None:
    """Not while it is being filled, and by the server itself afterwards."""
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


def test_a_false_notification_is_not_believed(database: str, progress: Progress) -> None:
    """Who may connect may notify, a dashboard too: a position counts when it stands in the table, and not before."""
    with connect(database) as connection:
        ensure(connection, [PROJECTIONS["stories"]])
        for said in ("stories 0 7", "nonsense"):
            connection.execute("SELECT pg_notify('tidings_progress', %s)", [said])

        assert not progress.wait(["stories"], 7, 1)

        connection.execute("UPDATE projection_positions SET position = 7 WHERE projection = 'stories'")
        connection.execute("NOTIFY tidings_progress")

        assert progress.wait(["stories"], 7, WAIT)


def test_two_projectors_share_the_work(database: str, log: Log, progress: Progress) -> None:
    """A read model is worked by one projector at a time; when one ends the other takes over where it was."""
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
    """PostgreSQL killed and restarted again and again while events come: no row is lost or there twice."""
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
        progress.stop()  # what it heard before the last kill may have been lost with it, and comes again
        progress = Progress(dsn)
        progress.start()
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        projector.stop()
        progress.stop()

    assert expected_digests(dsn, events) == all_digests(dsn)


def test_the_log_away(database: str, log: Log, progress: Progress) -> None:
    """While the log cannot be read the projector waits, then it goes on."""
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
from tests.consumers.projector.test_projector import Log
from tests.projections.simulation import simulate
from consumers.projector import projector
from consumers.projector.projector import Projector
from projections.machine import log_reader
import threading
log_reader.BATCH_EVENTS = projector.LARGE_BATCH_EVENTS = 50
projector.STRETCH_EVENTS_MAX = 300
log = Log()
log.write(simulate(5, 900))
print("started", flush=True)
Projector(log, sys.argv[1]).start()
threading.Event().wait()
"""


def test_projector_killed_under_load(database: str, log: Log, progress: Progress) -> None:
    """Projectors killed at any moment, also amid many batches that are one transaction, leave nothing half done: the next one
    ends with the rows of the log.
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


# --- what cannot be digested


def failing(name: str, position: int) -> Projection:
    """Return a read model that cannot digest the event at a position."""
    projection = PROJECTIONS[name]

    def fold(batch: Batch, workspace: Workspace) -> None:
        projection.fold(batch, workspace)
        if any(recorded.position == position for recorded in batch.events):
            raise ValueError("cannot digest this")

    return replace(projection, fold=fold)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a read model fail at a position, until it is mended."""

    def break_at(name: str, position: int) -> None:
        monkeypatch.setitem(PROJECTIONS, name, failing(name, position))

    return break_at


def run(log: Log, database: str, progress: Progress, position: int, names: list[str] = NAMES) -> None:
    """Let a projector work until all of these read models have come to a position."""
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(names, position, WAIT)
    finally:
        projector.stop()


@pytest.mark.parametrize(
    ("name", "size"),
    [("orders", 50_000), ("markets", 50_000), ("positions", 50_000), ("orders", 90), ("positions", 90)],
)
def test_a_parked_event_holds_up_only_what_depends_on_it(  # noqa: PLR0917  fixtures
    database: str, log: Log, progress: Progress, broken: Any, name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that cannot be digested is parked with what shares its key, also in the midst of many batches that are one
    transaction; mended and retried, nothing tells the difference.
    """
    monkeypatch.setattr(log_reader, "BATCH_EVENTS", size)
    monkeypatch.setattr("consumers.projector.projector.LARGE_BATCH_EVENTS", 90)
    events = simulate(6, 400)
    kind = OrderPlaced if name != "positions" else None
    culprit = next(
        recorded
        for recorded in events[200:]
        if (type(recorded.event) is kind if kind else type(recorded.event).__name__ == "TradeSettled")
    )
    log.write(events)
    whole = PROJECTIONS[name]
    broken(name, culprit.position)
    run(log, database, progress, len(events))
    with connect(database) as connection:
        parked = list_parked(connection)
        status = {one.projection: one.parked for one in projection_status(connection)}

        assert {name} == {event.projection for event in parked}
        assert [culprit.position] == [event.position for event in parked if event.error]
        assert "cannot digest this" in str(parked[0].error)
        assert culprit.position == parked[0].position
        assert len(parked) == status[name] > 1
        assert sum(count for other, count in status.items() if other != name) == 0

        monkeypatch.setitem(PROJECTIONS, name, whole)
        waiting = [event for event in events if event.position in {one.position for one in parked}]
        assert parking.retry(connection, whole, waiting) == []
    expected = expected_digests(database, events)
    found = all_digests(database)
    if whole.scope == "holding":
        found.pop(name), expected.pop(name)
    assert expected == found


def test_a_skipped_event_stays_skipped(
    database: str, log: Log, progress: Progress, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision to go on without an event is kept, also when the read model is built anew."""
    events = simulate(7, 200)
    halted = next(recorded for recorded in events if isinstance(recorded.event, MarketHalted))
    log.write(events)
    whole = PROJECTIONS["lifecycle"]
    broken("lifecycle", halted.position)
    run(log, database, progress, len(events))
    with connect(database) as connection:
        with pytest.raises(LookupError):
            parking.skip(connection, whole, halted.position + 1, "not that one")
        parking.skip(connection, whole, halted.position, "known to be wrong")
        waiting = [event for event in events if event.position in {one.position for one in list_parked(connection)}]
        monkeypatch.setitem(PROJECTIONS, "lifecycle", whole)
        assert parking.retry(connection, whole, waiting) == []
        skipped = digest_of(connection, whole)
    without = [event for event in events if event.position != halted.position]
    copy = Copy(database, "without", [whole]).fold(without, 5000)
    assert copy.digests()["lifecycle"] == skipped
    copy.connection.close()

    rebuild(database, whole, lambda a, u: read_log(log, 0, a, u), lambda: len(events))
    with connect(database) as connection:
        assert skipped == digest_of(connection, whole)


def digest_of(connection: Any, projection: Projection) -> str:
    """Return the hash of one read model."""
    with connection.transaction():
        return digest(connection, projection)


def test_an_unreadable_event_is_parked_everywhere(database: str, log: Log, progress: Progress) -> None:
    """An event of a topic that nobody knows holds up its stream in every read model, and says so."""
    events = simulate(8, 100)
    unknown = replace(to_stored(Entry("market-m0", 99_999, MarketHalted("m0")), time=0, command_id="x"), topic="Odd.v9")
    log.write(events[:150])
    log.insert_events([unknown])
    log.write(events[150:])
    names = [name for name in NAMES if PROJECTIONS[name].scope != "all"]
    run(log, database, progress, len(events) + 1, names)

    with connect(database) as connection:
        errors = {event.projection for event in list_parked(connection) if event.error and event.position == 151}
    assert set(names) <= errors
    assert decode(log.select_notifications(151, 1))[0].event.TOPIC == "Odd.v9"


# --- rebuilding, verifying


def test_rebuild_under_readers_and_load(database: str, log: Log, progress: Progress) -> None:
    """A read model is built anew while it is read and while events come; every answer is whole; the rows are the log's."""
    events = simulate(9, 500)
    log.write(events[:1000])
    projector = Projector(log, database)
    projector.start()
    ended = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        with connect(database) as connection:
            while not ended.is_set():
                with read(connection, "stories") as as_of:
                    answers.append(len(stories.list_stories(connection, as_of)))

    asking = threading.Thread(target=ask)
    try:
        assert progress.wait(NAMES, 1000, WAIT)
        asking.start()
        for name in ("stories", "positions", "accounts"):
            rebuild(
                database, PROJECTIONS[name], lambda a, u: read_log(log, 0, a, u), lambda: log.max_notification_id() or 0
            )
        log.write(events[1000:])
        assert progress.wait(NAMES, len(events), WAIT)
    finally:
        ended.set()
        projector.stop()
        asking.join()

    assert {2} == set(answers)
    assert expected_digests(database, events) == all_digests(database)


def test_another_version_is_rebuilt_at_start(
    database: str, log: Log, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read model whose version was raised is built anew by the projector, without a command."""
    events = simulate(10, 100)
    log.write(events)
    run(log, database, progress, len(events))
    monkeypatch.setitem(PROJECTIONS, "orders", replace(PROJECTIONS["orders"], version=99))
    run(log, database, progress, len(events))
    projector = Projector(log, database, ["orders"])
    projector.start()
    try:
        with connect(database) as connection:
            while position_of(connection, "orders") != (len(events), 99):
                threading.Event().wait(0.05)
    finally:
        projector.stop()
    assert expected_digests(database, events) == all_digests(database)


def test_verify_names_the_first_difference(database: str, log: Log, progress: Progress) -> None:
    """An untouched read model agrees with the log; a changed, a missing and an added row are named."""
    events = simulate(11, 200)
    log.write(events)
    run(log, database, progress, len(events))

    def problems() -> dict[str, Any]:
        return {
            name: difference
            for name, _, difference in verify(
                database, "read_models", PROJECTIONS.values(), lambda a, u: read_log(log, 0, a, u)
            )
            if difference is not None
        }

    assert problems() == {}
    with psycopg.connect(database, autocommit=True, options="-c search_path=read_models") as connection:
        connection.execute("UPDATE accounts SET available = available + 1 WHERE account_id = 'a1'")
        connection.execute("DELETE FROM stories WHERE story_id = 's0'")
        connection.execute("INSERT INTO market_traders VALUES ('nobody', 'm0')")
    found = problems()
    assert {"accounts", "stories", "markets"} == set(found)
    assert (found["accounts"].table, found["accounts"].found["account_id"]) == ("accounts", "a1")
    assert found["accounts"].found["available"] - found["accounts"].expected["available"] == 1
    assert None is not found["stories"].expected["story_id"]
    assert found["markets"].found["account_id"] == "nobody"
