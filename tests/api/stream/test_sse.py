"""`GET /v1/stream` of a real server: what it sends, where it resumes, whom it refuses."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from api.stream.sse import _EventStream
from local.processes import polls
from tests.api.stream.reading import Block, opened

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def _reached(position: int) -> object:
    return lambda block: block.last_id != "" and int(block.last_id) >= position


def test_a_stream_says_hello_then_what_happens(exchange: Exchange) -> None:
    """The headers, the hello with an id, and the trade with its prices while it happens."""
    market, trader = exchange.market(), exchange.trader()
    with opened(exchange.running.url) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        (hello,) = stream.until(lambda block: block.event == "hello")
        assert stream.retry is not None
        assert 1_000 <= stream.retry <= 4_000
        assert hello.own_id
        assert hello.data["after"] == int(hello.last_id) == hello.data["head"]
        assert hello.data["channels"] == ["lifecycle", "prices", "trades"]
        order = trader.place(market["market_id"])
        trade, price = stream.until(lambda block: block.event == "prices")
    assert (trade.event, trade.own_id, price.own_id) == ("trades", False, True)
    assert int(price.last_id) == order["position"]
    rows = exchange.api.data(f"/markets/{market['slug']}/trades", min_position=order["position"])
    parties = {"account_id", "account", "order_id", "resting_account_id", "resting_account", "resting_order_id"}
    assert trade.data == {n: v for n, v in rows[0].items() if n not in parties} | {"market": market["slug"]}
    assert price.data["prices"] == exchange.api.data(f"/markets/{market['slug']}")["odds"]


def test_a_stream_that_ended_leaves_nothing_to_the_collector_of_garbage(exchange: Exchange) -> None:
    """There are thousands, and the collector holds all others up."""
    before = streams()  # kept, so that no other one gets the place of one
    gc.disable()
    try:
        for _ in range(5):
            with opened(exchange.running.url) as stream:
                stream.until(lambda block: block.event == "hello")
                assert [each for each in streams() if each not in before]
        assert any(len([each for each in streams() if each not in before]) == 0 for _ in polls(30))
    finally:
        gc.enable()


def streams() -> list[_EventStream]:
    """Return the streams that are open, or have ended and are still there."""
    return [each for each in gc.get_objects() if isinstance(each, _EventStream)]


def test_a_market_is_told_from_the_log_on_and_resumes_at_any_block(exchange: Exchange) -> None:
    """`after=0` tells the whole story; whoever resumes at any id gets exactly the rest."""
    market, trader = exchange.market(), exchange.trader()
    for _ in range(5):
        trader.place(market["slug"])
    end = exchange.api.done(f"/markets/{market['slug']}/halt")["position"]
    enough = _reached(end)
    query = f"?market={market['slug']}&after=0"
    with opened(exchange.running.url, query) as stream:
        whole = stream.until(enough)[1:]  # type: ignore[arg-type]
    assert [block.event for block in whole][:2] == ["lifecycle", "prices"] or whole[0].event == "lifecycle"
    assert [block.event for block in whole].count("trades") == 5
    assert {block.data["market"] for block in whole if block.event != "beat"} == {market["slug"]}
    positions = [block.data["position"] for block in whole if block.event != "beat"]
    assert positions == sorted(positions)
    for number, block in enumerate(whole[:-1]):
        if not block.own_id:
            continue
        with opened(exchange.running.url, f"?market={market['market_id']}", Last_Event_ID=block.last_id) as stream:
            assert _texts(stream.until(enough)[1:]) == _texts(whole[number + 1 :])  # type: ignore[arg-type]


def _texts(blocks: list[Block]) -> list[tuple[str, object]]:
    return [(block.event, block.data) for block in blocks if block.event != "beat"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?after=-1", 400, "INVALID_FIELD"),
        ("?after=x", 400, "INVALID_FIELD"),
        (f"?after={2**63}", 400, "INVALID_FIELD"),
        ("?channels=odds", 400, "INVALID_FIELD"),
        ("?channels=", 400, "INVALID_FIELD"),
        ("?conflate=1", 400, "INVALID_FIELD"),
        ("?" + "&".join(["market=m"] * 101), 400, "INVALID_FIELD"),
        ("?market=nowhere", 404, "MARKET_NOT_FOUND"),
        ("?key=secret", 400, "UNKNOWN_PARAMETER"),
        ("?access_token=secret", 400, "UNKNOWN_PARAMETER"),
        ("?after=1&after=2", 400, "INVALID_QUERY"),
        ("?log=another", 409, "LOG_CHANGED"),
        ("?channels=orders", 401, "UNAUTHENTICATED"),
        ("?channels=events", 401, "UNAUTHENTICATED"),
    ],
)
def test_bad_requests_are_refused(exchange: Exchange, query: str, status: int, code: str) -> None:
    """With a status and a code, before the stream begins; a key in the query counts as an unknown parameter."""
    with opened(exchange.running.url, query) as stream:
        assert (stream.status, stream.body()["code"]) == (status, code)


def test_a_bad_last_event_id_is_refused_and_wins_over_after(exchange: Exchange) -> None:
    """The header is what a browser sends by itself."""
    with opened(exchange.running.url, "?after=1", Last_Event_ID="1.5") as stream:
        assert (stream.status, stream.body()["code"]) == (400, "INVALID_FIELD")
    with opened(exchange.running.url, "?after=1", Last_Event_ID="3") as stream:
        assert next(iter(stream)).data["after"] == 3


def test_after_beyond_the_end_is_a_reset(exchange: Exchange) -> None:
    """Positions of another log, or of events that were lost."""
    head = exchange.head()
    with opened(exchange.running.url, f"?after={head + 1_000_000}") as stream:
        hello, reset = stream.until(lambda block: block.event == "reset")
    assert reset.data == {"log": hello.data["log"], "head": hello.data["after"]}
    assert hello.data["after"] >= head


def test_private_orders_reach_no_other_key(exchange: Exchange) -> None:
    """Each key gets the orders of its own account, without the parties that it traded with."""
    market, ada, bob = exchange.market(), exchange.trader(), exchange.trader()
    start = exchange.head()
    ada.place(market["slug"], type="limit", quantity="10", limit_price="0.4", client_order_id="resting")
    last = bob.place(market["slug"], side="buy", outcome="No", quantity="60")["position"]
    end = exchange.api.done(f"/markets/{market['slug']}/halt")["position"]
    found = {}
    for trader in (ada, bob):
        with opened(exchange.running.url, f"?channels=orders,lifecycle&after={start}", key=trader.api.key) as stream:
            blocks = stream.until(lambda block: block.event == "lifecycle" and block.data["position"] >= end)
        found[trader.account_id] = [block.data for block in blocks if block.event == "orders"]
    for account_id, orders in found.items():
        assert orders
        assert {order["account_id"] for order in orders} == {account_id}
        others = str(next(other for other in found if other != account_id))
        assert others not in str(orders)
    kinds = [order["type"] for order in found[ada.account_id]]
    assert kinds[0] == "OrderPlaced"
    assert "TradeSettled" in kinds
    assert [order["type"] for order in found[bob.account_id]] == ["OrderPlaced"]
    assert found[bob.account_id][0]["position"] == last


def test_events_are_for_analysts_and_admins(exchange: Exchange) -> None:
    """They are those of `/v1/events`, refused commands with their bodies included."""
    trader = exchange.trader()
    with opened(exchange.running.url, "?channels=events", key=trader.api.key) as stream:
        assert (stream.status, stream.body()["code"]) == (403, "FORBIDDEN")
    start = exchange.head()
    market = exchange.market()
    assert trader.api.post("/orders", trader.order(market["slug"], quantity="100000")).status_code == 422
    end = exchange.head()
    with opened(exchange.running.url, f"?channels=events&after={start}", key=exchange.api.key) as stream:
        blocks = stream.until(_reached(end))  # type: ignore[arg-type]
    events = [block.data for block in blocks if block.event == "events" and block.data["position"] <= end]
    assert events == exchange.api.data("/events", after=start, limit=1000)[: len(events)]
    assert events[-1]["position"] == end
