"""Positions and lags: HTTP, Prometheus and the command line report the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from psycopg_pool import ConnectionPool

from api.http.app import create_app, create_ops_app
from api.http.server import HttpServer
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.postgres_log import postgres_recorder
from consumers.gateway import LocalGateway
from domain.exchange import Entry
from messages.stored import to_stored
from messages.wire import format_time
from projections.machine.advance import advance
from projections.machine.batch import Batch
from projections.machine.progress import Progress
from projections.machine.store import CONNECT_OPTIONS, connect, ensure
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS
from settings import Settings
from tests.api.command_line import tidings
from tests.projections.simulation import START, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from domain.events import Recorded

REACHED = {"markets": 120, "stories": 200}
"""The positions of two read models; a third exists but has folded nothing, and the others do not exist."""


@pytest.fixture
def events(database: str) -> list[Recorded]:
    """A log of some days; one read model has folded more of it than another."""
    events = simulate(21, 100)
    with postgres_recorder(database, 0) as recorder:
        recorder.insert_events(
            [to_stored(Entry(r.stream, r.version, r.event), r.time, r.command_id, r.digest) for r in events]
        )
    with connect(database) as connection:
        ensure(connection, [PROJECTIONS[name] for name in ("markets", "stories", "accounts")])
        for name, position in REACHED.items():
            advance(connection, PROJECTIONS[name], Workspace(PROJECTIONS[name].tables), [Batch(0, events[:position])])
    return events


@pytest.fixture
def client(database: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """The server for operations on a database without an engine and a projector; it asks for no key."""
    settings = Settings(dsn=database, home=tmp_path, port=0)
    with (
        postgres_recorder(database, 0) as recorder,
        ConnectionPool(database, kwargs=CONNECT_OPTIONS, min_size=1, max_size=2) as pool,
    ):
        app = create_app(
            gateway=LocalGateway(LocalCommandSource()),
            pool=pool,
            reads=pool,
            log=recorder,
            progress=Progress(database),
            settings=settings,
        )
        with (
            HttpServer(create_ops_app(app, lambda: True), settings) as server,
            httpx.Client(base_url=server.url) as client,
        ):
            yield client


def prometheus(text: str) -> dict[str, float]:
    """Return the metrics of Tidings, by name and labels."""
    found = re.findall(r"^(tidings_(?:log|projection|status)\S*) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_all_three_report_the_same(database: str, events: list[Recorded], client: httpx.Client, tmp_path: Path) -> None:
    """HTTP reports the positions and lags of the log and the read models; Prometheus and `tidings lag` agree."""
    status = client.get("/v1/status").json()["data"]
    numbers = prometheus(client.get("/metrics").text)
    shown = tidings(Settings(dsn=database, home=tmp_path), "lag", "--json")

    head = events[-1]
    assert status["engine"] == {"position": head.position, "time": format_time(head.time)}
    rows = {row["projection"]: row for row in status["projections"]}
    assert set(rows) == {"accounts", "markets", "stories"}
    for name, position in REACHED.items():
        assert rows[name]["position"] == position
        assert rows[name]["lag_events"] == len(events) - position > 0
        assert rows[name]["lag_seconds"] == round((head.time - events[position - 1].time) / 1e6, 3) > 0
    assert (rows["accounts"]["position"], rows["accounts"]["lag_events"]) == (0, len(events))
    assert rows["accounts"]["lag_seconds"] == round((head.time - START) / 1e6, 3)

    assert (shown.returncode, json.loads(shown.stdout)) == (0, status), shown.stderr
    assert numbers.pop("tidings_status_up") == 1
    assert numbers.pop("tidings_log_lost_events") == 0
    assert numbers.pop("tidings_log_position") == head.position
    assert numbers == {
        f'tidings_projection_{metric}{{partition="0",projection="{name}"}}': row[field]
        for name, row in rows.items()
        for metric, field in (
            ("position", "position"), ("lag_events", "lag_events"), ("lag_seconds", "lag_seconds"),
            ("parked_events", "parked"),
        )
    }  # fmt: skip


def test_lag_for_people(database: str, events: list[Recorded], tmp_path: Path) -> None:
    """A line for the log and one for each read model."""
    lines = tidings(Settings(dsn=database, home=tmp_path), "lag").stdout.splitlines()

    assert lines[0] == f"log at {len(events)}"
    (markets,) = [line for line in lines if line.startswith("markets")]
    assert re.fullmatch(rf"markets +120  {len(events) - 120:,} events, \d+\.\d{{3}} s behind", markets)


def test_an_empty_database_has_no_lag(database: str, client: httpx.Client, tmp_path: Path) -> None:
    """In an empty log nothing is behind; the command creates the missing tables and reports that."""
    shown = tidings(Settings(dsn=database, home=tmp_path), "lag", "--json")

    assert json.loads(shown.stdout) == {
        "lost": None, "engine": {"position": 0, "time": None}, "projections": [], "streams": None,
    }  # fmt: skip
    assert client.get("/v1/status").json()["data"] == json.loads(shown.stdout)
