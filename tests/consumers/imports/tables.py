"""Tables of trades for the tests, written as CSV, and what an import made of them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from consumers.engine.batch import BatchLimits
from consumers.engine.log import RecorderLog
from consumers.imports.history import ImportHistory
from consumers.imports.mapping import ImportMapping
from consumers.imports.reading import read_plan
from consumers.imports.run import ImportReport, check_log, run_import
from messages.wire import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

    from consumers.imports.plan import ImportPlan

NOW = parse_time("2026-06-01T00:00:00Z")
HEADER = ("time", "account", "market", "outcome", "side", "amount")
ROWS = (
    ("2024-03-01T10:00:00Z", "ann", "rain", "Yes", "buy", "10"),
    ("2024-03-01T10:00:01Z", "bob", "rain", "No", "buy", "4.5"),
    ("2024-03-02 09:00:00+01:00", "ann", "rain", "YES", "SELL", "10"),
    ("2024-03-02T10:00:00Z", "bob", "snow", "No", "buy", "1"),
)


def write(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    """Write a CSV file and return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def plan_of(path: Path, mapping: ImportMapping | None = None, markets: Path | None = None) -> ImportPlan:
    """Return the plan of one file; `plan.bad` has what is wrong with it."""
    plan = read_plan([path], mapping or ImportMapping(), now=NOW, markets=markets)
    ImportHistory(plan)
    return plan


def run_plan(plan: ImportPlan, recorder: ApplicationRecorder) -> ImportReport:
    """Import a plan into the log of a recorder."""
    check_log(recorder, plan.digest)
    return run_import(RecorderLog(recorder), ImportHistory(plan), plan.digest, limits=BatchLimits(commands_max=7))
