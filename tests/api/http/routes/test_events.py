"""The event log over HTTP."""

from __future__ import annotations

import json
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
    assert rest["next_cursor"] is None
    assert set(events[0]) == {"position", "type", "version", "time", "command_id", "stream", "stream_version", "data"}
    assert exchange.api.get("/events", type="Nothing").status_code == 422


def test_the_events_are_those_of_one_moment(exchange: Exchange) -> None:
    """`as_of` has the position and time of the log's last event as it was read, also with filters, limits, and nothing found."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"])["position"]

    for parameters in ({"limit": 1}, {"market": market["market_id"]}, {"type": "MarketVoided", "after": position}):
        as_of = exchange.api.get("/events", **parameters, min_position=position).json()["as_of"]
        (last,) = exchange.api.data("/events", before=as_of["position"] + 1, limit=1)
        assert (last["position"], last["time"]) == (as_of["position"], as_of["time"])
        assert as_of["position"] >= position
    early = exchange.api.get("/events", min_position=position + 1_000_000, wait_ms=10)
    assert (early.status_code, early.json()["code"]) == (503, "NOT_YET_PROJECTED")
    then = exchange.api.get("/events", before=2**62, as_of_position=position).json()
    assert (then["data"][0]["position"], then["as_of"]["position"]) == (position, position)


def test_what_was_replied_is_in_the_log(exchange: Exchange) -> None:
    """Whoever has the reply to a command finds its events at once, by every filter."""
    market, trader = exchange.market(), exchange.trader("100")
    for _ in range(20):
        order = trader.place(market["market_id"])
        for name, value in (("market", market["slug"]), ("account", trader.name), ("story", market["story_id"])):
            events = exchange.api.data("/events", **{name: value}, type="OrderPlaced", before=2**62, limit=1)
            assert [event["data"]["order_id"] for event in events] == [order["order_id"]]


def test_a_search_in_a_long_log_has_no_empty_pages(exchange: Exchange) -> None:
    """The two events of a market are on one page, whatever is between them: one of 1,100 orders of another market."""
    market, busy, trader = exchange.market(), exchange.market(), exchange.trader("100")
    first = trader.place(market["market_id"])
    for _ in range(11):
        orders = [trader.order(busy["market_id"], quantity="0.01") for _ in range(100)]
        exchange.api.done("/orders/batch", {"orders": [{**order, "account": trader.name} for order in orders]})
    second = trader.place(market["market_id"])

    page = exchange.api.get("/events", market=market["market_id"], type="OrderPlaced", limit=2).json()

    assert [event["data"]["order_id"] for event in page["data"]] == [first["order_id"], second["order_id"]]
    assert page["next_cursor"] is None


def test_filters_by_time_story_and_account(exchange: Exchange) -> None:
    """A story has the events of its markets; start is inside and end outside; several types are alternatives."""
    market, trader = exchange.market(), exchange.trader("100")
    trader.place(market["market_id"])
    story = exchange.api.data("/events", story=market["story_id"])
    kinds = [event["type"] for event in story]
    assert kinds[:3] == ["StoryPublished", "MarketDrafted", "MarketActivated"]
    assert "OrderPlaced" in kinds

    def found(**parameters: Any) -> list[str]:
        return [event["type"] for event in exchange.api.data("/events", **parameters)]

    assert found(story=market["story_id"], start=story[-1]["time"]) == [
        event["type"] for event in story if event["time"] == story[-1]["time"]
    ]
    assert found(story=market["story_id"], end=story[0]["time"]) == []
    assert found(account=trader.name, type="AccountOpened,CashDeposited") == ["AccountOpened", "CashDeposited"]
    assert found(account=trader.name, type="CashDeposited,AccountOpened.v1") == ["AccountOpened", "CashDeposited"]
    assert found(account=trader.name, before=2**62)[-1] == "AccountOpened"


def test_events_of_the_life_of_a_market(exchange: Exchange) -> None:
    """They are filtered by type and time as those of the whole log."""
    market = exchange.market()
    path = f"/markets/{market['market_id']}"
    position = exchange.api.done(f"{path}/close")["position"]

    events = exchange.api.data(f"{path}/events", min_position=position)
    assert [event["type"] for event in events] == ["MarketClosed", "MarketActivated", "MarketDrafted"]
    assert exchange.api.data(f"{path}/events", type="MarketClosed,MarketDrafted") == [events[0], events[2]]
    assert exchange.api.data(f"{path}/events", start=events[0]["time"]) == events[:1]
    assert exchange.api.data(f"{path}/events", end=events[0]["time"]) == events[1:]
    assert exchange.api.get(f"{path}/events", type="Nothing").json()["details"]["field"] == "type"


def test_events_of_an_account_are_its_own(exchange: Exchange) -> None:
    """Its key sees them, and an admin's; other keys and none do not. The whole log is for analysts and admins."""
    trader, other = exchange.trader(), exchange.trader()
    analyst = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["analyst"]})["key"])

    assert trader.api.data("/events", account=trader.account_id)
    assert other.api.get("/events", account=trader.account_id).status_code == 403
    assert exchange.api.as_key(None).get("/events", account=trader.account_id).status_code == 401
    assert analyst.data("/events", account=trader.account_id)
    assert analyst.data("/events", limit=1) == exchange.api.data("/events", limit=1)
    assert trader.api.get("/events").status_code == 403
    assert exchange.api.as_key(None).get("/events").status_code == 401


def test_an_account_does_not_see_with_whom_it_traded(exchange: Exchange) -> None:
    """Neither the other account, nor its order, nor the id of its command; nor whether an order of somebody else exists."""
    market, maker, taker = exchange.market(), exchange.trader(), exchange.trader()
    rest = maker.place(market["market_id"], type="limit", limit_price="0.4", quantity="5")
    take = taker.place(market["market_id"], side="buy", outcome="No", type="limit", limit_price="0.65", quantity="80")
    assert taker.api.send("DELETE", f"/orders/{rest['order_id']}").status_code == 404
    assert {fill["source"] for fill in take["fills"]} >= {"book"}

    for me, other, others_order in ((maker, taker, take), (taker, maker, rest)):
        events = me.api.data("/events", account=me.account_id, min_position=exchange.head(), limit=1000)
        text = json.dumps([event for event in events if event["type"] != "CommandRejected"])
        assert me.account_id in text
        for secret in (other.account_id, others_order["order_id"], others_order["client_order_id"] + '"'):
            assert secret not in text
    refused = taker.api.data("/events", account=taker.account_id, type="CommandRejected")
    assert [event["data"]["code"] for event in refused] == ["ORDER_NOT_OPEN"]


def test_events_of_what_is_not_there(exchange: Exchange) -> None:
    """They are a 404, not an empty list."""
    for name, value in (("market", "nope"), ("story", "st_" + "0" * 26), ("account", "nobody")):
        response = exchange.api.get("/events", **{name: value})
        assert (response.status_code, response.json()["code"]) == (404, f"{name.upper()}_NOT_FOUND")


def test_what_an_account_asked_for_in_vain_is_private(exchange: Exchange) -> None:
    """The body of a refused order, and of a cancel without effect: for its account, analysts and admins."""
    market, trader, other = exchange.market(), exchange.trader("1"), exchange.trader("1")
    before = exchange.head()
    order = trader.order(market["market_id"], quantity=None, spend="50", max_cost="60.5")
    assert trader.api.post("/orders", order).json()["code"] == "INSUFFICIENT_FUNDS"
    trader.api.done("/orders/cancel", {"market_id": market["market_id"]})

    def bodies(api: Api) -> list[Any]:
        events = api.data("/events", after=before, account=trader.account_id)
        return [event["data"]["body"] for event in events if event["type"].startswith("Command")]

    refused, canceled = bodies(trader.api)
    assert (refused["spend"], refused["max_cost"]) == ("50.000000", "60.500000")
    assert refused["account_id"] == canceled["account_id"] == trader.account_id
    assert bodies(exchange.api) == [refused, canceled]
    analyst = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["analyst"]})["key"])
    assert bodies(analyst) == [refused, canceled]
    assert other.api.get("/events", account=trader.account_id).status_code == 403
