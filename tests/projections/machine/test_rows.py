"""Rows and Workspace: what a fold sees with the verbs, what is loaded for it, and what is in the tables afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from projections.machine import rows as rows_module
from projections.machine.batch import Batch
from projections.machine.store import connect
from projections.machine.table import Table
from projections.machine.workspace import Notes, Workspace
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection


@dataclass(slots=True)
class Counter:
    """A row that changes."""

    market_id: str
    name: str
    count: int


class Mark(NamedTuple):
    """A row that never changes."""

    position: int
    text: str


BY_MARKET = Table("by_market", Counter, key=["market_id", "name"], by="market")
LOOKED_UP = Table("looked_up", Counter, key=["market_id", "name"])
PREFETCHED = Table("prefetched", Counter, key=["market_id", "name"], group=["market_id"])
MARKS = Table("marks", Mark, key=["position"])
NOTES = Notes[str]("notes")

TABLES = (BY_MARKET, LOOKED_UP, PREFETCHED, MARKS)


@pytest.fixture
def connection(database: str) -> Iterator[Connection[Any]]:
    """A connection to a database with these tables, which hold the counters of two markets."""
    with connect(database, "public") as connected:
        for table in TABLES:
            for statement in table.statements():
                connected.execute(statement)
        for table in (BY_MARKET, LOOKED_UP, PREFETCHED):
            connected.execute(f"INSERT INTO {table.name} VALUES ('m0', 'x', 1), ('m0', 'y', 2), ('m1', 'x', 3)")
        yield connected


@pytest.fixture
def workspace(connection: Connection[Any]) -> Workspace:
    """A workspace that knows nothing of the tables yet."""
    begun = Workspace(TABLES)
    begun.begin(connection, 0, 0)
    return begun


def contents(connection: Connection[Any], table: Table[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a table in the order of the key."""
    return connection.execute(table.ordered()).fetchall()


def test_the_verbs(connection: Connection[Any], workspace: Workspace) -> None:
    """Rows are looked up, changed, added, appended and removed; the tables have it all after a flush, and not before."""
    rows, marks = workspace.rows(LOOKED_UP), workspace.rows(MARKS)
    assert rows.get(("m0", "x")) == Counter("m0", "x", 1)
    assert rows.get(("m0", "z")) is None
    rows.edit(("m0", "x")).count = 10
    with pytest.raises(KeyError):
        rows.edit(("m1", "x"))
    added = rows.add(Counter("m2", "x", 4))
    added.count = 5
    assert rows.get(("m2", "x")) is added
    assert rows.get(("m0", "y")) is not None
    rows.remove(("m0", "y"))
    rows.remove(("m0", "nothing"))
    assert rows.get(("m0", "y")) is None
    marks.append(Mark(position=1, text="one"))
    before = contents(connection, LOOKED_UP)

    assert workspace.flush() == 4

    assert before == [("m0", "x", 1), ("m0", "y", 2), ("m1", "x", 3)]
    assert contents(connection, LOOKED_UP) == [("m0", "x", 10), ("m1", "x", 3), ("m2", "x", 5)]
    assert contents(connection, MARKS) == [(1, "one")]


def test_a_removed_row_may_be_added_again(connection: Connection[Any], workspace: Workspace) -> None:
    """A row that was stored, removed and added with the same key has its new values; one added and removed is nothing."""
    rows = workspace.rows(LOOKED_UP)
    assert rows.get(("m0", "x")) is not None
    rows.remove(("m0", "x"))
    rows.add(Counter("m0", "x", 7))
    rows.add(Counter("m9", "x", 8))
    rows.remove(("m9", "x"))
    workspace.flush()

    assert contents(connection, LOOKED_UP) == [("m0", "x", 7), ("m0", "y", 2), ("m1", "x", 3)]


def test_prefetch_loads_groups_once(connection: Connection[Any], workspace: Workspace) -> None:
    """Rows of prefetched groups are in memory, and a missing row of such a group is known to be missing."""
    rows = workspace.rows(PREFETCHED)
    rows.prefetch(lambda: ["m0", "m7"])
    connection.execute("UPDATE prefetched SET count = 99")
    rows.prefetch(lambda: ["m0"])

    assert rows.get(("m0", "y")) == Counter("m0", "y", 2)
    connection.execute("INSERT INTO prefetched VALUES ('m7', 'x', 1)")
    assert rows.get(("m7", "x")) is None
    assert rows.get(("m1", "x")) == Counter("m1", "x", 99)


def test_groups_of_a_batch_are_loaded_before_it(connection: Connection[Any], workspace: Workspace) -> None:
    """Of a grouped table the rows of the markets that events name are in memory, whatever else the table has."""
    events = simulate(1, 20)
    batch = Batch(0, [recorded for recorded in events if getattr(recorded.event, "market_id", None) == "m0"])
    workspace.load_batch(batch)
    connection.execute("DELETE FROM by_market")

    rows = workspace.rows(BY_MARKET)
    assert rows.get(("m0", "y")) == Counter("m0", "y", 2)
    assert rows.get(("m1", "x")) is None


def test_nothing_is_loaded_for_markets_that_were_just_drafted(
    connection: Connection[Any], workspace: Workspace
) -> None:
    """Rows of a market whose draft is in the batch cannot be in the table: they are not looked up, until the memory is lost."""
    batch = Batch(0, simulate(1, 20))
    assert "m0" in batch.drafted
    workspace.follow_markets(batch)
    workspace.load_batch(batch)
    assert workspace.rows(BY_MARKET).get(("m0", "x")) is None

    workspace.forget()
    workspace.load_batch(batch)
    assert workspace.rows(BY_MARKET).get(("m0", "x")) == Counter("m0", "x", 1)


def test_a_query_sees_what_the_fold_did(workspace: Workspace) -> None:
    """SQL of a fold reads its own changes of the tables that it names, and of all where it names none."""
    workspace.rows(MARKS).append(Mark(position=1, text="one"))
    assert workspace.query("SELECT count(*) FROM marks", [], LOOKED_UP) == [(0,)]
    assert workspace.query("SELECT text FROM marks WHERE position = %s", [1], MARKS) == [("one",)]
    workspace.rows(MARKS).append(Mark(position=2, text="two"))
    assert workspace.query("INSERT INTO marks SELECT 3, text FROM marks WHERE position = 2", []) == []
    assert workspace.query("SELECT count(*) FROM marks", []) == [(3,)]


def test_notes_leave_with_the_memory(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    """Notes are kept by market until there are too many; those of ended markets leave first, and all at an error."""
    notes = workspace.notes_of(NOTES)
    notes["m0"], notes["m1"] = ["a"], ["b"]
    workspace.trim()
    assert workspace.notes_of(NOTES) == {"m0": ["a"], "m1": ["b"]}

    monkeypatch.setattr(rows_module, "ROWS_IN_MEMORY_MAX", 1)
    workspace._ended.add("m0")
    workspace.trim()
    assert workspace.notes_of(NOTES) == {"m1": ["b"]}

    workspace.forget()
    assert workspace.notes_of(NOTES) == {}
