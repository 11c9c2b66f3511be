"""Processes that this program starts are made of this program, whatever the user's folder has."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from analysis.scratch import ScratchFold, scratch_schemas
from analysis.strategy_process import StrategyProcess
from api.child_process import ChildProcess
from api.export.event_blocks import EventForm
from api.export.event_process import blocks_beside
from local.processes import polls
from migrations import migrate
from projections.machine.store import connect
from settings import Settings
from tests.analysis.random_logs import random_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An analyst's folder, in which the user is: its modules have names of ours."""
    for name in ("analysis", "api", "domain", "messages", "projections", "settings"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is the module of the user')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_events_become_lines_there() -> None:
    """The process of `tidings export`."""
    (block,) = blocks_beside(EventForm(True, None), [[]])

    assert (block.rows, block.lines) == (0, b"")


def test_a_world_is_folded_there(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of `tidings whatif` and `tidings backtest`."""
    with connect(database) as connection:
        migrate(connection)
    monkeypatch.setattr("analysis.scratch.BATCH_EVENTS", 50)

    with scratch_schemas(database, "same") as (schema,), closing(ScratchFold(database, schema)) as fold:
        for recorded in random_log(12, 60).log:
            fold.add(recorded)
        fold.finish()

    assert fold.folded > 50


def test_a_strategy_is_asked_there(folder: Path) -> None:
    """The process of a strategy of `tidings backtest`."""
    (folder / "mine.py").write_text("def nothing(seen):\n    return []\n")

    with StrategyProcess(folder / "mine.py", "nothing", "a1") as process:
        assert process.step(0, []) == []


def test_a_command_is_run_there(folder: Path) -> None:
    """A process of `tidings serve` and `make demo`."""
    with (folder / "output").open("w") as output:
        child = ChildProcess("settings", Settings(), output=output)
        assert any(child.exit_code is not None for _ in polls(30))
        child.stop()

    assert child.exit_code == 0, (folder / "output").read_text()
