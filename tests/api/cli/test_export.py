"""`tidings export` as a person uses it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings
    from tests.api.conftest import Exchange


def test_an_exchange_is_exported(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """As Parquet by default; a second run has nothing to do; a table that nobody knows and a bad time are wrong use."""
    market = exchange.market()
    position = exchange.trader("10").place(market["market_id"])["position"]
    folder = str(tmp_path / "x")

    first = tidings(settings, "export", folder, "--verify", "--json", "--until-position", str(position))
    second = tidings(settings, "export", folder, "--until-position", str(position))
    lines = tidings(
        settings, "export", str(tmp_path / "y"), "--format", "jsonl", "--what", "trades", "--market", market["slug"]
    )

    told = json.loads(first.stdout)
    assert (first.returncode, told["until"], told["format"], told["verified"]) == (0, position, "parquet", True), first
    assert told["files"] == len(told["written"]) == len(list((tmp_path / "x").rglob("*.parquet")))
    assert (second.returncode, second.stdout.splitlines()[-1].partition(": ")[2].split()[0]) == (0, "0"), second
    assert (lines.returncode, lines.stdout.split()[:2]) == (0, ["trades", "1"]), lines
    assert (tmp_path / "x" / "README.md").read_text().startswith("# An export")

    before = tidings(settings, "export", str(tmp_path / "z"), "--until-time", "1999-01-01", "--what", "events")
    assert (before.returncode, before.stderr) == (0, ""), "the log is not empty, only its beginning"
    other = tidings(settings, "export", folder, "--format", "jsonl")
    assert (other.returncode, other.stderr.count("Choose another folder")) == (1, 1), other
    for wrong in (
        ["--what", "trade"],
        ["--until-time", "yesterday"],
        ["--until-position", "-1"],
        ["--until-position", "1", "--until-time", "1"],
        ["--format", "csv"],
    ):
        assert tidings(settings, "export", folder, *wrong).returncode == 2, wrong
