"""Reads of markets: price history, candles, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_the_history_of_prices(exchange: Exchange) -> None:
    """There is a tick for each change, oldest first, with position and time; the last one is the current price."""
    market, trader = exchange.market(), exchange.trader("100")
    for _ in range(3):
        position = trader.place(market["market_id"], quantity="5")["position"]
    path = f"/markets/{market['market_id']}"

    history = exchange.api.data(f"{path}/prices-history", outcome="Yes", min_position=position)["history"]

    now = exchange.api.data(path)["outcomes"][0]["price"]
    assert (history[0]["p"], history[-1]["p"], history[-1]["position"]) == ("0.500000", now, position)
    assert [point["position"] for point in history] == sorted(point["position"] for point in history)
    assert set(history[0]) == {"t", "p", "position"}
    unknown = exchange.api.get(f"{path}/prices-history", outcome="Maybe")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "UNKNOWN_OUTCOME")


def test_candles(exchange: Exchange) -> None:
    """A candle has its prices, volume and quantity as strings, and the number of its fills as a number."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"], quantity="5")["position"]

    candles = exchange.api.data(f"/markets/{market['market_id']}/candlesticks", period="1m", min_position=position)

    last = candles[-1]
    assert {"open", "high", "low", "close", "previous", "volume", "quantity", "trades", "end"} <= set(last)
    assert (last["quantity"], last["trades"]) == ("5.000000", 1)


def test_filters_of_markets(exchange: Exchange) -> None:
    """Markets are filtered by status, story and category; an unknown status is a 422."""
    market = exchange.market()
    rows = exchange.api.data("/markets", story=market["story_id"], status="active", category="tests")
    assert [row["market_id"] for row in rows] == [market["market_id"]]
    assert exchange.api.data("/markets", story=market["story_id"], status="closed") == []
    assert exchange.api.get("/markets", status="asleep").json()["details"]["field"] == "status"
