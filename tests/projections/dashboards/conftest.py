"""Live read models with their views, and a role that may read the views only."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from migrations import migrate
from projections.dashboards.roles import make_role
from projections.machine.store import CONNECT_OPTIONS
from projections.registry import PROJECTIONS
from tests.projections.folding import Copy
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from domain.events import Recorded

ROLE_PASSWORD = "the password of a role of the tests"  # noqa: S105  it guards nothing


@pytest.fixture(scope="session")
def events() -> list[Recorded]:
    """A log with everything in it."""
    return simulate(41, 300)


@pytest.fixture
def live(database: str, events: list[Recorded]) -> Iterator[Connection[Any]]:
    """A connection to the live read models of that log, which the test may change."""
    Copy(database, "read_models", PROJECTIONS.values()).fold(events, 500).connection.close()
    with psycopg.connect(database, autocommit=True, **CONNECT_OPTIONS) as connection:
        yield connection


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The DSN of a role that `tidings sql-role` would make, in a database without views."""
    name = f"test_role_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        make_role(connection, name, ROLE_PASSWORD)
        yield make_conninfo(database, user=name, password=ROLE_PASSWORD)
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")
