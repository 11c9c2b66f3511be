"""docs/imports.md: its table can be imported, its mapping has every field with its default, its examples are mappings."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
from eventsourcing.popo import POPOApplicationRecorder

from consumers.imports.mapping import ColumnNames, ImportMapping, read_mapping
from settings import Settings
from tests.api.command_line import tidings
from tests.consumers.imports.tables import plan_of, run_plan
from tests.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GUIDE = (ROOT / "docs/imports.md").read_text()


def block(language: str) -> str:
    """Return the only block in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def test_the_table_can_be_imported(tmp_path: Path) -> None:
    """Without a mapping, as the guide says."""
    (tmp_path / "trades.csv").write_text(block("csv"))
    plan = plan_of(tmp_path / "trades.csv")

    assert (len(plan.trades), plan.accounts, plan.bad) == (3, ["ann", "bob"], [])


def test_the_mapping_is_whole(tmp_path: Path) -> None:
    """It can be read, names every field, and shows the defaults."""
    (tmp_path / "mapping.toml").write_text(block("toml"))
    shown = msgspec.to_builtins(read_mapping(tmp_path / "mapping.toml"))
    defaults: dict[str, Any] = msgspec.to_builtins(ImportMapping())
    named = tomllib.loads(block("toml"))

    assert {name: set(fields) for name, fields in named.items()} == {name: set(defaults[name]) for name in defaults} | {
        "columns": set(ColumnNames.__struct_fields__) - {"amount"}
    }
    for given in (shown, defaults):
        del given["columns"], given["amounts"]["negative"]
    assert shown == defaults


def test_the_known_tables_are_mappings() -> None:
    """What stands in the table in place of a file is TOML that a mapping may have."""
    (line,) = re.findall(r"^\| Kalshi, trades \| `([^`]*)`", GUIDE, re.MULTILINE)
    msgspec.convert(tomllib.loads(line), ImportMapping)


def test_the_known_dumps_can_be_imported() -> None:
    """Rows in the shape of each dump are trades; what nobody traded is left out, and the contracts say how markets ended."""
    folder = ROOT / "docs/imports"
    manifold, polymarket = (read_mapping(folder / f"{name}.toml") for name in ("manifold", "polymarket"))
    bets = plan_of(folder / "manifold-bets.json", manifold, folder / "manifold-contracts.json")
    trades = plan_of(folder / "polymarket-trades.json", polymarket)

    assert (bets.bad, bets.filtered, bets.accounts) == ([], 3, ["u-ann", "u-bob", "u-cat"])
    assert [(trade.sells, trade.shares, trade.credits) for trade in bets.trades] == [
        (False, 0, 20_000_000), (False, 0, 15_500_000), (True, 18_250_000, 0), (False, 0, 5_000_000),
    ]  # fmt: skip
    assert [(market.said["question"].text, market.resolved) for market in bets.markets] == [
        ("Will it rain on Monday?", 1), ("How likely is snow?", None),
    ]  # fmt: skip
    assert bets.markets[0].names[1] == "No"
    assert (trades.bad, trades.duplicates, len(trades.accounts)) == ([], 1, 3)
    assert [(market.outcomes(), market.said["story"].text) for market in trades.markets] == [
        (("Yes", "No"), "weather-on-monday"), (("Thunder", "Storm"), "thunder-storm"),
    ]  # fmt: skip
    report = run_plan(trades, POPOApplicationRecorder())
    assert (report.orders["filled"], dict(report.refused)) == (4, {"REDUCE_ONLY": 1})


def test_its_command_prints_what_it_shows(tmp_path: Path) -> None:
    """What would be imported of Manifold's rows."""
    command, shown = re.findall(r"```sh\n(tidings import docs.*)\n```\n\n```text\n(.*?)```", GUIDE, re.DOTALL)[0]
    done = tidings(Settings(home=tmp_path), *command.split()[1:])

    assert (done.returncode, done.stdout) == (0, shown)


def test_the_trades_of_a_chain_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who took, with the outcome and side that their tokens say; makers are left out."""
    monkeypatch.chdir(tmp_path)
    exchange, ann, bob = "0x4bFb41d5B3570DeFd03C39a9A4D8dE6Bd8B8982E", "0xa1", "0xb2"
    tables = {
        "markets": """SELECT 'rain' AS slug, 'Will it rain?' AS question, '["Yes", "No"]' AS outcomes,
            '["0", "1"]' AS outcome_prices, '["71", "72"]' AS clob_token_ids, true AS closed,
            TIMESTAMPTZ '2024-03-02 10:00:00Z' AS end_date""",
        "trades": f"""SELECT * FROM (VALUES
            (5, '{ann}', '{exchange}', '0', '71', 6200000, 10000000), (5, '{bob}', '{ann}', '71', '0', 10000000, 6200000),
            (6, '{ann}', '{exchange}', '71', '0', 4000000, 2300000), (6, '{bob}', '{exchange}', '0', '72', 500000, 1250000)
        ) t(block_number, maker, taker, maker_asset_id, taker_asset_id, maker_amount, taker_amount)""",
        "blocks": """SELECT * FROM (VALUES (5, '2024-03-01T10:00:00Z'), (6, '2024-03-01T10:00:02Z'))
            t(block_number, timestamp)""",
    }
    with duckdb.connect() as connection:
        for name, query in tables.items():
            (tmp_path / "data/polymarket" / name).mkdir(parents=True)
            connection.execute(f"COPY ({query}) TO 'data/polymarket/{name}/1.parquet'")
        connection.execute(block("sql"))

    plan = plan_of(tmp_path / "trades.parquet")

    assert plan.bad == []
    found = {(plan.accounts[each.account], each.outcome, each.sells, each.shares) for each in plan.trades}
    assert found == {(ann, 0, False, 10_000_000), (ann, 0, True, 4_000_000), (bob, 1, False, 1_250_000)}
    assert (plan.markets[0].names, plan.markets[0].resolved) == (["Yes", "No"], 1)
