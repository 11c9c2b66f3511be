"""The dashboard for Grafana: every query runs, by the role for dashboards, on the database that the demo left."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.demo.run import DATABASE
from local.postgres import Postgres
from projections.dashboards.views import VIEWS
from settings import Settings
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE: Final = Path(__file__).parents[2] / "docs" / "grafana" / "tidings.json"
DASHBOARD: Final[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
VARIABLES: Final[dict[str, dict[str, Any]]] = {one["name"]: one for one in DASHBOARD["templating"]["list"]}


def rendered(sql: str, values: dict[str, str]) -> str:
    """Return a query as Grafana sends it: with macros and variables replaced."""
    sql = re.sub(r"\$__timeFilter\(([\w.]+)\)", r"\1 BETWEEN '2024-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z'", sql)
    for name, value in values.items():
        quoted = value.replace("'", "''")
        sql = sql.replace(f"${{{name}:sqlstring}}", f"'{quoted}'")
    assert "$" not in sql, f"something was not replaced: {sql}"
    return sql


def test_the_file_is_a_dashboard() -> None:
    """Panels have unique ids, do not overlap, and use the chosen data source."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    sources = [panel["datasource"] for panel in PANELS]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    sources += [one["datasource"] for one in VARIABLES.values() if one["type"] == "query"]
    assert {json.dumps(source) for source in sources} == {
        '{"type": "grafana-postgresql-datasource", "uid": "${datasource}"}'
    }


def test_every_view_is_shown() -> None:
    """The dashboard leaves out no view, and names no other table."""
    queries = [target["rawSql"] for panel in PANELS for target in panel["targets"]]
    named = {name for query in queries for name in re.findall(r"(?:FROM|JOIN) ([\w.]+)", query)}

    assert named == {f"dashboards.{name}" for name in VIEWS}


@pytest.fixture(scope="module")
def reader() -> Iterator[psycopg.Connection[Any]]:
    """Grafana's connection: a role that the command line made, on the database that the demo left."""
    home = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    played = tidings(Settings(home=home), "demo", "--once", "--json")
    assert played.returncode == 0, played.stderr[-4000:]
    with Postgres.start(home / "demo" / "postgres", own=home, end_with_process=True) as server:
        settings = Settings(home=home, dsn=server.dsn(DATABASE))
        made = tidings(settings, "sql-role", "grafana", "--json")
        assert made.returncode == 0, made.stderr
        role = json.loads(made.stdout)
        dsn = make_conninfo(server.dsn(DATABASE), user=role["role"], password=role["password"])
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def values(reader: psycopg.Connection[Any]) -> dict[str, str]:
    """The first choice of every variable."""
    chosen: dict[str, str] = {}
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            row = reader.execute(rendered(variable["query"], chosen).encode()).fetchone()
            assert row is not None, f"nothing to choose for {name}"
            chosen[name] = str(row[-1])
        elif variable["type"] == "custom":
            chosen[name] = variable["current"]["value"]
    return chosen


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_has_something_to_show(
    panel: dict[str, Any], reader: psycopg.Connection[Any], values: dict[str, str]
) -> None:
    """Its query runs, returns rows, and has the columns that its type of panel needs."""
    for target in panel["targets"]:
        cursor = reader.execute(rendered(target["rawSql"], values).encode())
        rows = cursor.fetchall()
        columns = [column.name for column in cursor.description or ()]

        assert rows
        assert any(value is not None for value in rows[0])
        if target["format"] == "time_series" or panel["type"] == "candlestick":
            times = [row[columns.index("time")] for row in rows]
            assert times == sorted(times)
        if panel["type"] == "candlestick":
            assert {"open", "high", "low", "close"} <= set(columns)
