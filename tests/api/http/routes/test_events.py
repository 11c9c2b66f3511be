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


def test_the_log_waits_and_ends_like_other_reads(exchange: Exchange) -> None:
    """`min_position` waits for a position, and `as_of_position` ends the log there, on every page."""
    first, last = exchange.market()["position"], exchange.market()["position"]

    page = exchange.api.get("/events", after=first - 1, as_of_position=last - 1, limit=1).json()
    rest = exchange.api.get("/events", after=first - 1, as_of_position=last - 1, limit=1000).json()
    early = exchange.api.get("/events", min_position=last + 1_000_000, wait_ms=10)

    assert page["next_cursor"] is not None
    assert {event["position"] for event in rest["data"]} <= set(range(first, last))
    assert (rest["next_cursor"], rest["as_of"]["position"]) == (None, last - 1)
    assert exchange.api.get("/events", min_position=last).status_code == 200
    assert (early.status_code, early.json()["code"]) == (503, "NOT_YET_PROJECTED")
