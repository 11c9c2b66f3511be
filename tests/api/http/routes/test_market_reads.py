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
    assert exchange.api.get(f"{path}/candlesticks", outcome="Maybe").json()["code"] == "UNKNOWN_OUTCOME"


def test_without_an_outcome_there_is_no_favourite(exchange: Exchange) -> None:
    """All outcomes are returned, in their order, each with its name and what it has alone."""
    market, trader = exchange.market(outcomes=["Red", "Green", "Blue"]), exchange.trader("100")
    position = trader.place(market["market_id"], outcome="Green", quantity="5")["position"]
    path = f"/markets/{market['market_id']}/prices-history"

    histories = exchange.api.data(path, min_position=position)["histories"]

    alone = [exchange.api.data(path, outcome=name, as_of_position=position) for name in ("Red", "Green", "Blue")]
    assert histories == alone
    assert [each["outcome"] for each in histories] == ["Red", "Green", "Blue"]
    assert {len(each["history"]) for each in histories} == {2}


def test_candles_begin_with_the_market(exchange: Exchange) -> None:
    """A start long before the market, or none, begins with its first price; a start after it with that start."""
    market = exchange.market()
    path = f"/markets/{market['market_id']}/candlesticks"

    for start in ({}, {"start": "2001-01-01T00:00:00Z"}):
        rows = exchange.api.data(path, period="1m", outcome="Yes", min_position=market["position"], **start)
        assert rows[0]["start"] <= market["opened_at"] < rows[0]["end"]
        assert (rows[0]["open"], rows[0]["previous"]) == ("0.500000", None)
    assert exchange.api.data(path, start="2089-01-01T00:00:00Z") == []
    draft = exchange.market(draft=True)
    assert exchange.api.data(f"/markets/{draft['market_id']}/candlesticks", min_position=draft["position"]) == []


def test_candles(exchange: Exchange) -> None:
    """A candle has its prices, volume and quantity as strings, and the number of its fills as a number."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"], quantity="5")["position"]

    path = f"/markets/{market['market_id']}/candlesticks"
    candles = exchange.api.data(path, period="1m", min_position=position)

    yes, no = [candle for candle in candles if candle["trades"]][-1], candles[-1]
    assert (yes["outcome"], no["outcome"]) == ("Yes", "No")
    last = exchange.api.data(path, period="1m", outcome="Yes", as_of_position=position)[-1]
    assert (yes["start"], yes["close"]) == (last["start"], last["close"])
    assert {"open", "high", "low", "close", "previous", "volume", "quantity", "trades", "end"} <= set(last)
    assert (last["quantity"], last["trades"]) == ("5.000000", 1)


def test_filters_of_markets(exchange: Exchange) -> None:
    """Markets are filtered by status, story and category; an unknown status is a 422."""
    market = exchange.market()
    rows = exchange.api.data("/markets", story=market["story_id"], status="active", category="tests")
    assert [row["market_id"] for row in rows] == [market["market_id"]]
    assert exchange.api.data("/markets", story=market["story_id"], status="closed") == []
    assert exchange.api.get("/markets", status="asleep").json()["details"]["field"] == "status"
