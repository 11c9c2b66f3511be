"""A log in the embedded PostgreSQL of a home, and a projector that folds it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from consumers.engine.postgres_log import postgres_recorder
from domain.exchange import Entry
from domain.market import MarketHalted
from local.processes import polls
from messages.stored import to_stored
from projections.machine.store import connect
from projections.reading import projection_status
from settings import Settings, environment
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

LOG = simulate(31, 120)
EVENTS = len(LOG)


def append(dsn: str, events: list[Any]) -> None:
    """Write events into the log."""
    with postgres_recorder(dsn, 0) as recorder:
        recorder.insert_events(
            [to_stored(Entry(r.stream, r.version, r.event), r.time, r.command_id, r.digest) for r in events]
        )


def append_unknown(dsn: str) -> None:
    """Write an event of an unknown type into the log."""
    event = to_stored(Entry("market-m0", 99_999, MarketHalted("m0")), time=1, command_id="x")
    with postgres_recorder(dsn, 0) as recorder:
        recorder.insert_events([replace(event, topic="Odd.v9")])


def projected(settings: Settings, dsn: str, output: Path, positions: dict[str, int]) -> str:
    """Run `tidings projector` until the read models have reached these positions; return what it printed."""

    def reached() -> dict[str, int]:
        try:
            return {row.projection: row.position for row in projection_status(connection)}
        except psycopg.errors.UndefinedTable:
            return {}

    with output.open("w") as file, connect(dsn) as connection:
        child = subprocess.Popen(
            [sys.executable, "-m", "api", "projector"], env=environment(settings), stdout=file, stderr=file
        )
        try:
            for _ in polls(60):
                assert child.poll() is None, output.read_text()
                if reached() == positions:
                    break
            else:
                pytest.fail(f"still behind: {reached()}\n{output.read_text()}")
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0, output.read_text()
        finally:
            child.kill()
            child.wait()
    return output.read_text()
