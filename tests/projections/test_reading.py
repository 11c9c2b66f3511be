"""Queries say which read models they need, and are called like their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projections.reading import AsOf, needs_of, query, read

if TYPE_CHECKING:
    from psycopg import Connection

    from tests.projections.folding import ReadModels


@query("stories")
def count_stories(connection: Connection[Any], as_of: AsOf, *, category: str) -> int:
    """Return how many stories a category has."""
    row = connection.execute(
        "SELECT count(*) FROM stories WHERE category = %s AND position <= %s", [category, as_of.position]
    ).fetchone()
    return row[0] if row else 0


@query("markets", count_stories)
def count_twice(connection: Connection[Any], as_of: AsOf, category: str) -> int:
    """Return twice as many."""
    return 2 * count_stories(connection, as_of, category=category)


def test_a_query_needs_what_its_queries_need(read_models: ReadModels) -> None:
    """A query that calls another one needs the read models of both, and `read` holds them."""
    assert count_stories.needs == {"stories"}
    assert count_twice.needs == {"markets", "stories"}
    assert needs_of(["book", count_twice]) == {"book", "markets", "stories"}
    assert count_twice.__doc__ == "Return twice as many."

    copy = read_models.copy(["stories", "markets"])
    with read(copy.connection, count_twice) as as_of:
        assert count_twice(copy.connection, as_of, "nothing") == 0
