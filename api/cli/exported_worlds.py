"""Both worlds of `tidings whatif` as exports beside each other, in the folders `same` and `other`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from analysis.comparison import KeepWorlds


def exporting_worlds(
    folder: Path, dsn: str, names: Mapping[str, str], partition: int, progress: Callable[[str], None]
) -> KeepWorlds:
    """Return what exports both worlds as Parquet. `names` has the name of the log of each, by the name of the world.

    Raises:
        ExportRefusedError: the folder has exports of other worlds.
        MissingDuckDBError: Parquet needs DuckDB.
    """
    import psycopg

    from api.export.manifest import load
    from api.export.parquet import DuckDB
    from api.export.run import ExportOptions, export, refuse_other_log
    from api.export.snapshot import ExportSource
    from consumers.engine.postgres_log import postgres_recorder

    for world, name in names.items():
        refuse_other_log(folder / world, load(folder / world), name, partition)
    with DuckDB(folder):
        pass

    def keep(schemas: Mapping[str, str]) -> None:
        for world, schema in schemas.items():
            with (
                psycopg.connect(
                    dsn, autocommit=True, options=f"-c search_path={schema} -c jit=off -c enable_memoize=off"
                ) as connection,
                postgres_recorder(dsn, partition, schema=schema) as log,
            ):
                source = ExportSource(log, connection, partition, names[world])
                export(folder / world, source, ExportOptions(), lambda line, world=world: progress(f"{world}: {line}"))  # type: ignore[misc]

    return keep
