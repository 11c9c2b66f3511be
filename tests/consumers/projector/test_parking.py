"""Events that cannot be folded: only what depends on them waits, until somebody decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.exchange import Entry
from domain.market import MarketHalted
from domain.orders import OrderPlaced
from messages.stored import to_stored
from projections.dashboards import roles
from projections.machine import log_reader, parking
from projections.machine.log_reader import read_log
from projections.machine.log_source import decode
from projections.machine.parking import list_parked
from projections.machine.rebuild import rebuild
from projections.machine.store import connect
from projections.reading import projection_status
from projections.registry import PROJECTIONS
from tests.consumers.projector.projecting import NAMES, all_digests, digest_of, expected_digests, run
from tests.projections.folding import Copy
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from projections.machine.batch import Batch
    from projections.machine.progress import Progress
    from projections.machine.projection import Projection
    from projections.machine.workspace import Workspace
    from tests.projections.logs import Log


def failing(name: str, position: int) -> Projection:
    """Return a read model that cannot fold the event at a position."""
    projection = PROJECTIONS[name]

    def fold(batch: Batch, workspace: Workspace) -> None:
        projection.fold(batch, workspace)
        if any(recorded.position == position for recorded in batch.events):
            raise ValueError("cannot fold this")

    return replace(projection, fold=fold)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a read model fail at a position, until the test repairs it."""

    def break_at(name: str, position: int) -> None:
        monkeypatch.setitem(PROJECTIONS, name, failing(name, position))

    return break_at


@pytest.mark.parametrize(
    ("name", "size"),
    [("orders", 50_000), ("markets", 50_000), ("positions", 50_000), ("orders", 90), ("positions", 90)],
)
def test_a_parked_event_holds_up_only_what_depends_on_it(  # noqa: PLR0917  fixtures
    database: str, log: Log, progress: Progress, broken: Any, name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that cannot be folded is parked with everything that shares its key, also amid a transaction of many batches.

    After the read model is repaired and the events are retried, nothing tells the difference.
    """
    monkeypatch.setattr(log_reader, "BATCH_EVENTS", size)
    monkeypatch.setattr("projections.machine.catch_up.LARGE_BATCH_EVENTS", 90)
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
        assert "cannot fold this" in str(parked[0].error)
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
    """The decision to go on without an event is kept, also when the read model is rebuilt."""
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

    rebuild(database, whole, lambda a, u: read_log(log, 0, a, u), lambda: len(events), views=roles)
    with connect(database) as connection:
        assert skipped == digest_of(connection, whole)


def test_an_unreadable_event_is_parked_everywhere(database: str, log: Log, progress: Progress) -> None:
    """An event of an unknown topic is parked with its error in every read model, and holds up its stream."""
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
