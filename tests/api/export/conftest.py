"""A log with everything in it, and an exchange that has it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from api.export import tables
from local.postgres import create_database, drop_database
from tests.api.export.exchange import fill
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.events import Recorded

FILE_POSITIONS = 500


@pytest.fixture(scope="session")
def log() -> list[Recorded]:
    """A log with everything in it: three files and a part of a fourth."""
    return simulate(41, 600)


@pytest.fixture(scope="session")
def dsn(postgres_dsn: str, log: list[Recorded]) -> Iterator[str]:
    """The database of an exchange with that log, which no test changes."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    dsn = make_conninfo(postgres_dsn, dbname=name)
    fill(dsn, log)
    yield dsn
    drop_database(postgres_dsn, name)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into few positions."""
    monkeypatch.setattr(tables, "FILE_POSITIONS", FILE_POSITIONS)
