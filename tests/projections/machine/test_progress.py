"""Progress: tells how far read models are, and believes only what their table says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.processes import polls
from projections.machine.progress import Progress
from projections.machine.store import connect, ensure
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

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


def test_no_position_of_a_burst_is_missed(database: str, progress: Progress) -> None:
    """Notifications that come while the last one is looked up count too: each wait ends, also when nothing follows."""
    with connect(database) as connection:
        ensure(connection, [PROJECTIONS["stories"]])
        for position in range(1, 301):
            connection.execute("UPDATE projection_positions SET position = %s WHERE projection = 'stories'", [position])
            connection.execute("NOTIFY tidings_progress")
            if position % 20 == 0:
                assert progress.wait(["stories"], position, WAIT)


NAMES = ("a", "b", "c")
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sets(st.sampled_from(NAMES)), st.integers(0, 5)),
    st.tuples(st.just("reach"), st.sampled_from(NAMES), st.integers(0, 5)),
    st.tuples(st.just("give up"), st.integers(0, 9), st.none()),
)


@given(steps=st.lists(STEPS, max_size=30))
def test_a_wait_ends_exactly_when_all_have_reached_its_position(steps: list[tuple[str, Any, Any]]) -> None:
    """In whatever order read models move and others give up; nothing is kept for those who have given up."""
    progress = Progress("")
    reached = dict.fromkeys(NAMES, 0)
    open_waits: list[tuple[ExitStack, Future[bool], set[str], int]] = []
    for kind, what, position in steps:
        match kind:
            case "wait":
                stack = ExitStack()
                open_waits.append((stack, stack.enter_context(progress.waiting(what, position)), what, position))
            case "reach":
                progress._reach(what, position)
                reached[what] = max(reached[what], position)
            case _ if what < len(open_waits):
                open_waits.pop(what)[0].close()
        for _, future, names, awaited in open_waits:
            assert future.done() == all(reached[name] >= awaited for name in names)

    progress.stop()
    for stack, future, _, _ in open_waits:
        assert future.done()
        stack.close()
    assert not any(progress._waits.values())


def test_positions_fall_with_those_of_the_table(database: str, progress: Progress) -> None:
    """A crash of PostgreSQL takes the last transactions of the read models, and every connection: then all is looked up."""
    with connect(database) as connection:
        ensure(connection, [PROJECTIONS["stories"]])
        move = "UPDATE projection_positions SET position = %s WHERE projection = 'stories'"
        connection.execute(move, [7])
        connection.execute("NOTIFY tidings_progress")
        assert progress.wait(["stories"], 7, WAIT)
        connection.execute(move, [5])
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        assert any(progress.position(["stories"]) == 5 for _ in polls(WAIT))
        assert not progress.wait(["stories"], 6, 0.1)
        connection.execute(move, [6])
        connection.execute("NOTIFY tidings_progress")
        assert progress.wait(["stories"], 6, WAIT)
