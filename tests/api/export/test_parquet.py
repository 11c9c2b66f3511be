"""Parquet that DuckDB makes."""

from __future__ import annotations

import builtins
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from api.export.errors import MissingDuckDBError
from api.export.parquet import DuckDB
from api.export.tables import TABLES

if TYPE_CHECKING:
    from pathlib import Path

MARKETS, TICKS = 200, 60_000


def test_a_query_for_one_market_reads_few_row_groups(tmp_path: Path) -> None:
    """Less than 5 % of those of the ticks of many markets: the statistics of the others leave them out."""
    lines, target = tmp_path / "ticks.jsonl", tmp_path / "ticks.parquet"
    with lines.open("w") as file:
        for number in range(TICKS):
            market = f"m{number * MARKETS // TICKS:04}"
            row = {"market_id": market, "slug": market, "outcome": "Yes", "time": "2024-10-24T10:02:00.000001Z"}
            file.write(json.dumps({**row, "price": "0.500000", "position": number}) + "\n")

    with DuckDB(tmp_path) as writer:
        writer.convert(TABLES["ticks"], lines, target)

    with duckdb.connect() as reader:
        groups = reader.execute(
            f"SELECT stats_min_value, stats_max_value, compression FROM parquet_metadata('{target}') "
            "WHERE path_in_schema = 'market_id'"
        ).fetchall()
    read = [low <= "m0100" <= high for low, high, _ in groups]
    assert sum(read) / len(read) < 0.05
    assert {compression for *_, compression in groups} == {"ZSTD"}


def test_without_duckdb_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which format needs nothing."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "duckdb":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDuckDBError, match=r"tidings\[analysts\].*--format jsonl"):
        DuckDB(tmp_path)
