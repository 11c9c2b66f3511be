"""The event log over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_the_log_by_type_and_market(exchange: Exchange) -> None:
    """`/v1/events` returns the events after a position, filtered and page by page, each in the form of its schema."""
    market, trader = exchange.market(), exchange.trader("100")
    other = exchange.market()
    trader.place(other["market_id"])
    placed = [trader.place(market["market_id"]) for _ in range(3)]
    path = {"market": market["market_id"], "type": "OrderPlaced", "after": market["position"]}

    page = exchange.api.get("/events", **path, limit=2).json()
    rest = exchange.api.get("/events", **path, limit=2, cursor=page["next_cursor"]).json()

    events = page["data"] + rest["data"]
    assert [event["data"]["order_id"] for event in events] == [order["order_id"] for order in placed]
    assert set(events[0]) == {"position", "type", "version", "time", "command_id", "stream", "stream_version", "data"}
    assert exchange.api.get("/events", type="Nothing").status_code == 422
