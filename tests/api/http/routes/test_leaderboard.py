"""The leaderboard and the ledger over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_the_leaderboard_and_the_ledger(exchange: Exchange) -> None:
    """A trader has a rank, and a profit of realized plus unrealized; the sum of all books is zero."""
    market, trader = exchange.market(), exchange.trader("100")
    trader.place(market["market_id"], quantity="20")
    position = trader.place(market["market_id"], side="sell", quantity="20")["position"]

    board = exchange.api.data("/leaderboard", min_position=position, limit=1000)
    row = next(row for row in board if row["account_id"] == trader.account_id)
    assert {"rank", "account", "pnl", "realized", "unrealized", "volume", "roi", "brier", "trades"} <= set(row)
    assert row["account"] == trader.name
    assert float(row["pnl"]) == pytest.approx(float(row["realized"]) + float(row["unrealized"]))
    for sort in ("pnl", "volume", "roi", "brier"):
        assert exchange.api.get("/leaderboard", sort=sort, window="week").status_code == 200
    assert exchange.api.data("/ledger", min_position=position)["sum"] == "0.000000"
