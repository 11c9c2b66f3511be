"""The README of an export: what each table has, and how to ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.export.tables import TABLES, about_column

if TYPE_CHECKING:
    from api.export.manifest import Manifest
    from api.export.tables import ExportedTable

_PARQUET: Final = """Query it with DuckDB, polars, pandas or whatever reads Parquet, from the folder that this file is in:

```sh
duckdb -c "SELECT slug, sum(cost) FROM 'trades/*.parquet' JOIN 'markets.parquet' USING (market_id) GROUP BY 1 ORDER BY 2"
python -c "import polars as pl; print(pl.scan_parquet('ticks/*.parquet').head().collect())"
duckdb -c "SELECT max(abs(cash+held+pool+fees+house+bonds+external)) FROM 'ledger/*.parquet'"
```
"""

_JSONL: Final = """Each line is a row as JSON. DuckDB reads it too, from the folder that this file is in:

```sh
duckdb -c "SELECT outcome, sum(cost::DECIMAL(38,6)) AS volume FROM 'trades/*.jsonl' GROUP BY 1 ORDER BY 2 DESC"
head -n 1 trades/*.jsonl
```
"""

_HEAD: Final = """# An export of a prediction market

{size} of the log `{log}`, partition {partition}. Every table stands at that position. `manifest.json` has every file with its
rows, its SHA-256 and the exact sum of each column of amounts.

- Amounts are decimal numbers of credits or shares with six places, exact: {amounts}. Tools that read
  decimals as floating-point numbers, JavaScript's among them, lose their last digits: cast them to text, or multiply by
  1,000,000 and take integers.
- Times are UTC, exact to the microsecond. Positions count the events of the log.
- `market_id`, `account_id` and `order_id` join the tables.

{how}"""


def readme(manifest: Manifest) -> str:
    """Return the text of README.md. It follows from the manifest alone."""
    parquet = manifest.format == "parquet"
    markets = "" if manifest.markets is None else f"{len(manifest.markets)} markets "
    head = _HEAD.format(
        size=f"{markets}up to position {manifest.until:,}".capitalize(),
        log=manifest.log,
        partition=manifest.partition,
        amounts="`DECIMAL(38,6)` in Parquet" if parquet else "strings in JSON",
        how=_PARQUET if parquet else _JSONL,
    )
    return head + "\n" + "\n".join(_section(TABLES[name], manifest.format) for name in manifest.tables)


def _section(table: ExportedTable, ending: str) -> str:
    """Return the description of a table and its columns."""
    where = table.file_name(1, ending, "1m")
    rows = "\n".join(f"| `{name}` | {kind} | {about_column(table, name)} |" for name, kind in table.columns.items())
    sort = ", ".join(f"`{name}`" for name in table.key)
    return (
        f"## {table.name}\n\n{table.about} `{where}`, sorted by {sort}.\n\n| column | type | |\n|---|---|---|\n{rows}\n"
    )
