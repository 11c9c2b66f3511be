"""The commands that look after read models: verify, lag and rebuild."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from api.database import DATABASE
from local.postgres import Postgres
from projections.machine.store import connect
from projections.registry import PROJECTIONS
from settings import Settings
from tests.api.cli.read_model_home import EVENTS, LOG, append, projected
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_projector_folds_all_and_is_quiet(home_settings: Settings, home_dsn: str, tmp_path: Path) -> None:
    """It catches up with the log, prints no line for each batch, and ends with 0 on SIGTERM."""
    printed = projected(home_settings, home_dsn, tmp_path / "projector.txt", dict.fromkeys(PROJECTIONS, EVENTS))

    shown = json.loads(tidings(home_settings, "lag", "--json").stdout)["projections"]
    assert {(row["position"], row["lag_events"], row["lag_seconds"]) for row in shown} == {(EVENTS, 0, 0)}
    assert "batch_projected" not in printed
    assert len(printed.splitlines()) <= 3, printed


def test_rebuild(home_settings: Settings, home_dsn: str) -> None:
    """A rebuild repairs a damaged read model; `verify` sees the damage and the repair."""
    with connect(home_dsn) as connection:
        connection.execute("DELETE FROM stories")
    spoilt = tidings(home_settings, "verify", "--json")
    rebuilt = tidings(home_settings, "rebuild", "stories")
    verified = tidings(home_settings, "verify", "--json")

    wrong = [row["name"] for row in json.loads(spoilt.stdout)["compared"] if row["difference"]]
    assert (spoilt.returncode, wrong) == (1, ["stories"])
    assert (rebuilt.returncode, rebuilt.stdout) == (0, f"stories is rebuilt up to position {EVENTS}\n")
    assert (verified.returncode, json.loads(verified.stdout)["equal"]) == (0, True)


def test_an_empty_home_has_nothing_to_verify() -> None:
    """Where no projector has ever worked, there is nothing to compare; the ledger is checked once there is a log."""
    home = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    settings = Settings(home=home)
    try:
        empty = tidings(settings, "verify")
        as_json = tidings(settings, "verify", "--json")
        with Postgres.start(home / "postgres", own=home, end_with_process=True) as server:
            append(server.database(DATABASE), LOG[:20])
        unprojected = tidings(settings, "verify")
    finally:
        shutil.rmtree(home)

    assert (empty.returncode, empty.stdout.partition(":")[0]) == (0, "nothing to verify"), empty.stderr
    assert json.loads(as_json.stdout) == {"equal": True, "compared": []}
    ledger, last = unprojected.stdout.splitlines()
    assert (unprojected.returncode, ledger.split()) == (0, ["ledger", "at", "20", "equal"])
    assert last.startswith("no read model to verify")


def test_an_unknown_read_model_is_wrong_use(home_settings: Settings) -> None:
    """The error names the read models, and the command ends with 2."""
    done = tidings(home_settings, "rebuild", "nothing")

    assert (done.returncode, "there are timeline, stories, markets" in done.stderr) == (2, True), done.stderr


def test_verify_and_lag(exchange: Exchange, settings: Settings) -> None:
    """Every read model agrees with the log, and none has parked an event."""
    position = exchange.trader("10").place(exchange.market()["market_id"])["position"]
    exchange.api.data("/leaderboard", min_position=position)

    verified = tidings(settings, "verify", "--json")
    lag = json.loads(tidings(settings, "lag", "--json").stdout)

    assert (verified.returncode, json.loads(verified.stdout)["equal"]) == (0, True), verified.stdout
    assert lag["engine"]["position"] >= position
    assert {row["parked"] for row in lag["projections"]} == {0}
