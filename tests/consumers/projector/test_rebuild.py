"""Rebuilding read models and verifying them, while a projector runs and readers read."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg

from consumers.projector.projector import Projector
from projections import stories
from projections.dashboards import roles
from projections.machine.log_reader import read_log
from projections.machine.rebuild import rebuild
from projections.machine.store import connect, position_of
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.verify import verify
from tests.consumers.projector.projecting import NAMES, WAIT, all_digests, expected_digests, run
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    import pytest

    from projections.machine.progress import Progress
    from tests.projections.logs import Log


def test_rebuild_under_readers_and_load(database: str, log: Log, progress: Progress) -> None:
    """A read model is rebuilt while it is read and while events arrive: every answer is complete, and the rows are the log's."""
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
                database,
                PROJECTIONS[name],
                lambda a, u: read_log(log, 0, a, u),
                lambda: log.max_notification_id() or 0,
                views=roles,
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
    """The projector rebuilds a read model whose version was raised, without a command."""
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


def test_verify_names_the_first_difference_of_each_table(database: str, log: Log, progress: Progress) -> None:
    """An untouched read model agrees with the log; a changed, a missing and an added row are named."""
    events = simulate(11, 200)
    log.write(events)
    run(log, database, progress, len(events))

    def problems() -> dict[str, Any]:
        return {
            compared.name: [difference.details for difference in compared.differences]
            for compared in verify(database, "read_models", PROJECTIONS.values(), lambda a, u: read_log(log, 0, a, u))
            if compared.differences
        }

    assert problems() == {}
    with psycopg.connect(database, autocommit=True, options="-c search_path=read_models") as connection:
        connection.execute("UPDATE accounts SET available = available + 1 WHERE account_id = 'a1'")
        connection.execute("DELETE FROM stories WHERE story_id = 's0'")
        connection.execute("INSERT INTO market_traders VALUES ('nobody', 'm0')")
        connection.execute("UPDATE markets SET volume = 1 WHERE market_id = 'm0'")
    found = problems()
    assert {"accounts", "stories", "markets"} == set(found)
    (account,), (story,), (market, trader) = found["accounts"], found["stories"], found["markets"]
    assert (account["table"], account["found"]["account_id"]) == ("accounts", "a1")
    assert account["found"]["available"] - account["expected"]["available"] == 1
    assert None is not story["expected"]["story_id"]
    assert (market["table"], market["found"]["volume"]) == ("markets", 1)
    assert trader["found"]["account_id"] == "nobody"
