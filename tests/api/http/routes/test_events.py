"""The event log over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.api.conftest import Api, Exchange


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


def test_what_an_account_asked_for_in_vain_is_private(exchange: Exchange) -> None:
    """The body of a refused order, and of a cancel without effect: for its account and the operator, null for all others."""
    market, trader, other = exchange.market(), exchange.trader("1"), exchange.trader("1")
    before = exchange.head()
    order = trader.order(market["market_id"], quantity=None, spend="50", max_cost="60.5")
    assert trader.api.post("/orders", order).json()["code"] == "INSUFFICIENT_FUNDS"
    trader.api.done("/orders/cancel", {"market_id": market["market_id"]})

    def bodies(api: Api) -> list[Any]:
        events = [event for event in api.data("/events", after=before) if event["type"].startswith("Command")]
        return [event["data"]["body"] for event in events if event["type"] != "CommandsRead"]

    refused, canceled = bodies(trader.api)
    assert (refused["spend"], refused["max_cost"]) == ("50.000000", "60.500000")
    assert refused["account_id"] == canceled["account_id"] == trader.account_id
    assert bodies(exchange.api) == [refused, canceled]
    assert bodies(other.api) == bodies(exchange.api.as_key(None)) == [None, None]
