"""Rows of PostgreSQL as JSON lines."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from api.export.errors import ExportRefusedError
from api.export.row_lines import Lines, copy_lines
from api.export.tables import ExportedTable

AMOUNTS = ExportedTable(
    name="amounts",
    about="Amounts.",
    columns={"amount": "numeric"},
    key=("amount",),
    grows=False,
    needs=(),
    query="SELECT amount FROM (VALUES (-0.000001), (12.123456), (NULL), (99999999999999999999.999999)) v(amount)",
)


def test_amounts_are_summed_as_integers(database: str) -> None:
    """NULL counts as nothing; nothing is rounded."""
    lines = Lines(["amount"])
    with psycopg.connect(database) as connection:
        written = b"".join(copy_lines(connection, AMOUNTS, {}, {}, lines))

    assert written.splitlines() == [
        b'{"amount":"-0.000001"}',
        b'{"amount":"12.123456"}',
        b'{"amount":"99999999999999999999.999999"}',
        b'{"amount":null}',
    ]
    assert (lines.rows, lines.sums) == (4, {"amount": 99999999999999999999999999 + 12123455})


@pytest.mark.parametrize("amount", ["12.1234567", "1", "1.5", "0.00000"])
def test_an_amount_without_six_decimals_is_refused(database: str, amount: str) -> None:
    """DuckDB would round it without a word."""
    table = replace(AMOUNTS, query=f"SELECT {amount} AS amount")
    with (
        psycopg.connect(database) as connection,
        pytest.raises(ExportRefusedError, match="amount has not six decimals"),
    ):
        list(copy_lines(connection, table, {}, {}, Lines(["amount"])))
