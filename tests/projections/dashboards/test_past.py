"""A view as it was at a position equals the view of read models that stopped there."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from projections import timeline
from projections.dashboards.past import past_query
from projections.dashboards.views import VIEWS
from projections.machine.store import CONNECT_OPTIONS
from projections.registry import PROJECTIONS
from projections.times import MINUTE
from tests.projections.folding import Copy
from tests.projections.simulation import Simulation, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from domain.events import Recorded

EVENTS = ("ticks", "trades", "settlements", "equity", "ledger")
"""The views whose rows are events: they only grow."""


def rows(connection: Connection[Any], query: str, **values: Any) -> list[Any]:
    """Return the rows of a query, in one order for all."""
    return sorted(connection.execute(query.encode(), values or None).fetchall(), key=repr)


def values_at(connection: Connection[Any], at: int, after: int = 0) -> dict[str, int]:
    """Return the parameters of a query for the past."""
    time = timeline.time_of(connection, at)
    before = timeline.position_before(connection, time - time % MINUTE)
    return {"at": at, "after": after, "partition": 0, "time": time, "before_minute": before}


@pytest.fixture
def whole(database: str, log: list[Recorded]) -> Iterator[Connection[Any]]:
    """A connection to read models that have folded the whole log."""
    Copy(database, "read_models", PROJECTIONS.values()).fold(log, 500).connection.close()
    with psycopg.connect(database, autocommit=True, **CONNECT_OPTIONS) as connection:
        yield connection


SLOW = simulate(41, 300)
QUICK = Simulation(43, pace=20_000_000).run(250)
"""A log in which many events fall into one minute, hour and day."""


@pytest.mark.parametrize("log", [SLOW, QUICK], ids=["slow", "quick"])
def test_the_past_is_what_was(whole: Connection[Any], database: str, log: list[Recorded]) -> None:
    """At each of some positions, in every view, to the last column; the end of the log included."""
    views = [view for view in VIEWS.values() if view.name != "progress"]
    stopped = Copy(database, "stopped", PROJECTIONS.values())
    before, seen = 0, set()
    for at in [3, *range(len(log) // 5, len(log), len(log) // 5), len(log)]:
        stopped.fold(log[before:at], 500)
        before = at
        with psycopg.connect(database, autocommit=True, **CONNECT_OPTIONS) as then:
            then.execute(SQL("SET search_path = {}").format(Identifier("stopped")))
            for view in views:
                found = rows(whole, past_query(view), **values_at(whole, at))
                assert found == rows(then, view.query), (view.name, at)
                seen |= {view.name} if found else set()
    assert log is QUICK or seen == {view.name for view in views}
    stopped.connection.close()


@pytest.mark.parametrize("log", [SLOW])
def test_ranges_join_without_a_seam(whole: Connection[Any], log: list[Recorded]) -> None:
    """The rows of a view of events are those of its ranges together, each once."""
    cuts = [0, 7, len(log) // 2, len(log) // 2 + 1, len(log)]
    for name in EVENTS:
        query = past_query(VIEWS[name])
        parts = [row for after, at in pairwise(cuts) for row in rows(whole, query, **values_at(whole, at, after))]
        assert sorted(parts, key=repr) == rows(whole, VIEWS[name].query), name
