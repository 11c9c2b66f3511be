"""Queries of the tests' own, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection


def rows_of(connection: Connection[Any], query: str) -> list[Any]:
    """Return the rows of a query."""
    return connection.execute(query.encode()).fetchall()
