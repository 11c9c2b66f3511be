"""An exchange without its processes: a log, and read models that have folded it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from api.export.run import ExportOptions, ExportReport, export
from api.export.snapshot import ExportSource
from consumers.engine.postgres_log import postgres_recorder
from projections.machine.store import CONNECT_OPTIONS
from projections.registry import PROJECTIONS
from tests.projections.folding import Copy
from tests.projections.logs import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

    from domain.events import Recorded


def fill(dsn: str, log: list[Recorded]) -> None:
    """Append events to the log in a database, and fold all that it has there."""
    with postgres_recorder(dsn, 0) as recorder:
        for start in range(
            0, len(log), 200
        ):  # the library sends all of a call before it reads: a large one can get stuck
            recorder.insert_events(stored(log[start : start + 200]))
    fold(dsn, log)


def fold(dsn: str, log: list[Recorded]) -> None:
    """Fold events into the live read models."""
    Copy(dsn, "read_models", PROJECTIONS.values()).fold(log, 500).connection.close()


@contextmanager
def opened(dsn: str, log: ApplicationRecorder | None = None) -> Iterator[ExportSource]:
    """Open a database for an export, with the log in it or another one."""
    with (
        psycopg.connect(dsn, autocommit=True, **CONNECT_OPTIONS) as connection,
        postgres_recorder(dsn, 0) as recorder,
    ):
        yield ExportSource(log or recorder, connection)


def exported(dsn: str, folder: Path, **options: Any) -> ExportReport:
    """Export a database into a folder."""
    with opened(dsn) as source:
        return export(folder, source, ExportOptions(**options))


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its name, but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def tables(folder: Path) -> dict[str, bytes]:
    """Return the files that have rows: what follows from the events alone, and not from the log's identity."""
    return {name: data for name, data in files(folder).items() if name not in {"manifest.json", "README.md"}}
