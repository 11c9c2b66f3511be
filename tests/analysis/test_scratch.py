"""Folding a world beside the process that decides it: the same rows, and every failure is told."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from analysis import scratch
from analysis.measures import measures
from analysis.scratch import FoldError, ScratchFold, scratch_schemas
from local.processes import polls
from migrations import migrate
from projections.machine.store import connect
from tests.analysis.random_logs import random_log
from tests.children import children_running

if TYPE_CHECKING:
    from analysis.measures import WorldMeasures

LOG = random_log(12, 200).log


@pytest.fixture
def dsn(database: str) -> str:
    """A migrated database."""
    with connect(database) as connection:
        migrate(connection)
    return database


def folded(dsn: str) -> WorldMeasures:
    """What becomes of the log, and of an order that was refused."""
    with scratch_schemas(dsn, "same") as (schema,), closing(ScratchFold(dsn, schema)) as fold:
        for recorded in LOG:
            fold.add(recorded)
        fold.add_refused("or_x", "INSUFFICIENT_FUNDS")
        fold.finish()
        with connect(dsn, schema) as connection:
            assert connection.execute("SELECT * FROM refused_orders").fetchall() == [("or_x", "INSUFFICIENT_FUNDS")]
        return measures(dsn, schema, fold.folded)


def test_a_long_world_is_folded_beside(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several batches by another process: the measures are those of one batch here; the process ends."""
    here = folded(dsn)
    monkeypatch.setattr(scratch, "BATCH_EVENTS", 150)

    assert folded(dsn) == here
    assert len(here.standings) > 0
    assert not children_running("analysis.fold_child")


def test_what_the_process_fails_with_is_told(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error, or that it was ended; nothing is left of either."""
    monkeypatch.setattr(scratch, "BATCH_EVENTS", 50)
    with scratch_schemas(dsn, "same") as (schema,):
        with closing(ScratchFold(dsn, f"{schema}\0")) as fold, pytest.raises(FoldError, match="Traceback"):
            add_all(fold)
        with closing(ScratchFold(dsn, schema)) as fold:
            for recorded in LOG[:50]:
                fold.add(recorded)
            children_running("analysis.fold_child")[0].kill()
            with pytest.raises(FoldError, match="ended with -9"):
                add_all(fold)
    assert not children_running("analysis.fold_child")


def test_a_database_that_is_lost_is_told_in_a_sentence(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of the program, so there is no traceback."""
    monkeypatch.setattr(scratch, "BATCH_EVENTS", 50)
    with closing(ScratchFold(dsn, f"{scratch.PREFIX}lost")) as fold, connect(dsn) as connection:
        for recorded in LOG[:50]:
            fold.add(recorded)
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        assert any(connection.execute(ending, [connection.info.dbname]).fetchall() for _ in polls(60))

        with pytest.raises(FoldError, match="the process that folds a world has lost the database: ") as told:
            add_all(fold)

    assert "\n" not in str(told.value)


def add_all(fold: ScratchFold) -> None:
    """Add events until the fold fails."""
    for _ in polls(60):
        for recorded in LOG:
            fold.add(recorded)
    fold.finish()
