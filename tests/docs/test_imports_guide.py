"""docs/imports.md: its table can be imported, its mapping has every field with its default, its examples are mappings."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.imports.mapping import ColumnNames, ImportMapping, read_mapping
from tests.consumers.imports.tables import plan_of
from tests.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

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
    """Each line of the table is TOML that a mapping may have."""
    lines = re.findall(r"^\| (?:Manifold|Polymarket|Kalshi).*?\| (.*) \|$", GUIDE, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        for text in re.findall(r"`((?:columns|rows|amounts)[^`]* = [^`]*)`", line):
            msgspec.convert(tomllib.loads(text), ImportMapping)
