"""Reading an export again: every file with its hash, its number of rows and its control sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from api.export.files import digest_of
from api.export.tables import TABLES
from domain.money import format_decimal

if TYPE_CHECKING:
    from pathlib import Path

    from api.export.manifest import FileEntry, Manifest
    from api.export.parquet import DuckDB


def problems_of(folder: Path, manifest: Manifest, duckdb: DuckDB | None) -> list[str]:
    """Return what is wrong with the files of an export, a sentence each; `duckdb` reads Parquet."""
    problems = []
    for entry in manifest.files:
        path = folder / entry.name
        if digest_of(path) != entry.sha256:
            problems.append(f"{entry.name} is not the file that was written: its SHA-256 differs")
            continue
        rows, sums = duckdb.count(TABLES[entry.table], path) if duckdb else _count(path, entry)
        if rows != entry.rows:
            problems.append(f"{entry.name} has {rows:,} rows, and {entry.rows:,} were written")
        problems += [
            f"{column} of {entry.name} sums to {sums[column]}, and {total} was written"
            for column, total in entry.sums.items()
            if sums[column] != total
        ]
    return problems


def _count(path: Path, entry: FileEntry) -> tuple[int, dict[str, str]]:
    """Return the number of lines of a file, and the sum of each column of amounts."""
    rows, sums = 0, dict.fromkeys(entry.sums, 0)
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as file:
        for line in file:
            rows += 1
            row = decode(line)
            for column in sums:
                sums[column] += int((row[column] or "0").replace(".", ""))
    return rows, {column: format_decimal(total) for column, total in sums.items()}
