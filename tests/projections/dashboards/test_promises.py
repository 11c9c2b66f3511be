"""The promises of docs/sql.md beside names and types: its examples run, its values and sums are those of the rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from projections.dashboards.views import PAGE, VIEWS
from tests.projections.dashboards.queries import rows_of

if TYPE_CHECKING:
    from psycopg import Connection

TEXT = PAGE.read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)

COLUMNS = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \| (.*) \|$", TEXT, re.MULTILINE)
PROMISED = [(view.name, column, about.about) for view in VIEWS.values() for column, about in view.columns.items()]

CHOICES = {
    (view, column): re.split(r", | or ", match[1])
    for view, column, about in PROMISED
    if (match := re.match(r"((?:\w+, )*\w+ or \w+)(?:$|[;,:])", about))
}
"""The values of each column that is one of a few words."""

EQUALITIES = {
    "positions": ["value = trunc(shares * price, 6)", "unrealized = value - cost_basis"],
    "profits": ["pnl = realized + unrealized"],
    "equity": ["equity = available + held + positions"],
    "ledger": ["cash + held + pool + fees + house + bonds + external = 0"],
    "odds": ["price BETWEEN 0 AND 1", "payout IS NULL OR payout BETWEEN 0 AND 1"],
    "trades": ["(resting_account_id IS NULL) = (source = 'amm')"],
    "markets": ["open_interest = 0 OR status NOT IN ('finalized', 'voided')"],
    "progress": ["(time IS NULL) = (position = 0)"],
}
"""What each row of a view promises."""


@pytest.mark.parametrize("query", QUERIES)
def test_an_example_runs(live: Connection[Any], query: str) -> None:
    """And brings rows."""
    assert rows_of(live, query)


def test_the_page_has_these_columns() -> None:
    """The tests below read the promises from the views; the page has the same, in the same order."""
    assert [(name, about) for name, _, about in COLUMNS] == [(name, about) for _, name, about in PROMISED]


def test_few_words_are_the_only_words(live: Connection[Any]) -> None:
    """A column that promises one of a few words has no other, and every such column has rows."""
    assert ("markets", "status") in CHOICES
    assert ("candles", "period") in CHOICES
    assert ("trades", "side") in CHOICES
    for (view, column), words in CHOICES.items():
        found = {word for (word,) in rows_of(live, f"SELECT DISTINCT {column} FROM dashboards.{view}")}
        assert found <= set(words), (view, column)
        assert found, (view, column)


def test_only_columns_that_say_so_are_null(live: Connection[Any]) -> None:
    """A column whose description does not speak of null has a value in every row."""
    nulls = [
        f"{view}.{column}"
        for view, column, about in PROMISED
        if "null" not in about and rows_of(live, f"SELECT 1 FROM dashboards.{view} WHERE {column} IS NULL LIMIT 1")
    ]

    assert nulls == []


def test_amounts_have_six_places(live: Connection[Any]) -> None:
    """`numeric`, six places at most, in all views."""
    for view in VIEWS.values():
        for name, column in view.columns.items():
            if column.type == "numeric":
                assert rows_of(live, f"SELECT max(scale(trim_scale({name}))) <= 6 FROM dashboards.{view.name}") != [
                    (False,)
                ]


@pytest.mark.parametrize(("view", "promise"), [(view, each) for view, all_of in EQUALITIES.items() for each in all_of])
def test_a_sum_is_as_promised(live: Connection[Any], view: str, promise: str) -> None:
    """In every row."""
    assert rows_of(live, f"SELECT count(*) FROM dashboards.{view} WHERE NOT ({promise})") == [(0,)]
    assert rows_of(live, f"SELECT count(*) > 0 FROM dashboards.{view}") == [(True,)]


def test_what_is_not_there_is_not_promised(live: Connection[Any]) -> None:
    """The schema has the views of the page and no others."""
    names = {name for (name,) in rows_of(live, "SELECT viewname FROM pg_views WHERE schemaname = 'dashboards'")}

    assert names == set(VIEWS) == set(re.findall(r"^## ([a-z_]+)$", TEXT, re.MULTILINE))
    with pytest.raises(psycopg.errors.UndefinedTable):
        live.execute("SELECT 1 FROM dashboards.nothing")
