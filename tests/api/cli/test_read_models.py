"""The commands that look after read models, as a person runs them: processes, on the embedded PostgreSQL of a home."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from api.cli.database import DATABASE
from consumers.engine.postgres_log import postgres_recorder
from domain.exchange import Entry
from domain.market import MarketHalted
from local.postgres import Postgres
from local.processes import polls
from messages import schemas
from messages.stored import to_stored
from projections.machine.store import connect
from projections.reading import projection_status
from projections.registry import PROJECTIONS
from settings import Settings, environment
from tests.api.cli.test_main import tidings
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = simulate(31, 120)
EVENTS = len(LOG)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A home's own PostgreSQL, in which there is a log that nobody has folded yet."""
    home = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    with Postgres.start(home / "postgres", settings={"fsync": "off"}, end_with_process=True) as server:
        append(server.database(DATABASE), LOG)
        yield server
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def settings(server: Postgres) -> Settings:
    """The settings of that home; they name no database."""
    return Settings(home=server.folder.parent)


@pytest.fixture(scope="module")
def dsn(server: Postgres) -> str:
    """The database in that home."""
    return server.dsn(DATABASE)


def append(dsn: str, events: list[Any]) -> None:
    """Write events into the log; one without a known type is written as it is."""
    with postgres_recorder(dsn, 0) as recorder:
        recorder.insert_events(
            [to_stored(Entry(r.stream, r.version, r.event), r.time, r.command_id, r.digest) for r in events]
        )


def append_unknown(dsn: str) -> None:
    """Write an event of a type that nobody knows."""
    event = to_stored(Entry("market-m0", 99_999, MarketHalted("m0")), time=1, command_id="x")
    with postgres_recorder(dsn, 0) as recorder:
        recorder.insert_events([replace(event, topic="Odd.v9")])


def projected(settings: Settings, dsn: str, output: Path, positions: dict[str, int]) -> str:
    """Let `tidings projector` run until the read models have come to these positions; return what it printed."""

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


def test_projector_folds_all_and_is_quiet(settings: Settings, dsn: str, tmp_path: Path) -> None:
    """It catches up with the log, prints no line for each batch, and ends with 0 on SIGTERM."""
    printed = projected(settings, dsn, tmp_path / "projector.txt", dict.fromkeys(PROJECTIONS, EVENTS))

    shown = json.loads(tidings(settings, "lag", "--json").stdout)["projections"]
    assert {(row["position"], row["lag_events"], row["lag_seconds"]) for row in shown} == {(EVENTS, 0, 0)}
    assert "batch_projected" not in printed
    assert len(printed.splitlines()) <= 3, printed


def test_rebuild(settings: Settings, dsn: str) -> None:
    """A read model that was spoilt is as the log says again; `verify` sees both."""
    with connect(dsn) as connection:
        connection.execute("DELETE FROM stories")
    spoilt = tidings(settings, "verify", "--json")
    rebuilt = tidings(settings, "rebuild", "stories")
    verified = tidings(settings, "verify", "--json")

    wrong = [row["name"] for row in json.loads(spoilt.stdout)["compared"] if row["difference"]]
    assert (spoilt.returncode, wrong) == (1, ["stories"])
    assert (rebuilt.returncode, rebuilt.stdout) == (0, f"stories is rebuilt up to position {EVENTS}\n")
    assert (verified.returncode, json.loads(verified.stdout)["equal"]) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["rebuild", "nothing"],
        ["dead-letters", "retry", "nothing"],
    ],
    ids=" ".join,
)
def test_an_unknown_read_model_is_wrong_use(settings: Settings, arguments: list[str]) -> None:
    """It says which there are, and ends with 2."""
    done = tidings(settings, *arguments)

    assert (done.returncode, "there are timeline, stories, markets" in done.stderr) == (2, True), done.stderr


def test_dead_letters_of_commands_need_kafka(settings: Settings) -> None:
    """With the log in PostgreSQL no command can be lost on its way."""
    assert tidings(settings, "dead-letters", "list", "commands").returncode == 2


def test_dead_letters_listed_shown_retried_and_skipped(settings: Settings, dsn: str, tmp_path: Path) -> None:
    """An event that nobody can read is set aside in every read model; skipped by decision, each goes on without it."""
    append_unknown(dsn)
    position = str(EVENTS + 1)
    projected(settings, dsn, tmp_path / "projector.txt", dict.fromkeys(PROJECTIONS, EVENTS + 1) | {"timeline": EVENTS})

    rows = json.loads(tidings(settings, "dead-letters", "list", "--json").stdout)
    shown = tidings(settings, "dead-letters", "show", "markets", position)
    retried = tidings(settings, "dead-letters", "retry", "markets")
    refused = tidings(settings, "dead-letters", "skip", "markets", "1", "--reason", "no such")
    skipped = tidings(settings, "dead-letters", "skip", "markets", position, "--reason", "unknown to all")
    listed = tidings(settings, "dead-letters", "list", "markets")
    others = tidings(settings, "dead-letters", "list", "trades")

    assert {(row["projection"], row["position"], row["topic"]) for row in rows} == {
        (name, EVENTS + 1, "Odd.v9") for name in PROJECTIONS
    }
    assert json.loads(json.loads(shown.stdout)["state"])["command_id"] == "x"
    assert (retried.returncode, retried.stdout) == (1, "1 parked still\n")
    assert (refused.returncode, refused.stderr.startswith("tidings: markets has no event at 1")) == (1, True)
    assert (skipped.returncode, skipped.stdout) == (0, "skipped; 0 parked still\n")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert others.stdout.split()[:3] == ["trades", position, "Odd.v9"]


def test_schemas_are_printed(settings: Settings) -> None:
    """One JSON object with the schemas of everything that crosses a border, as they stand in docs/schemas."""
    done = tidings(settings, "schemas")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(schemas.all_schemas()))
    assert len(json.loads(done.stdout)) > 2
