"""Reads: the envelope, waiting for a position, the past, cursors, and that money is never a JSON number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Exchange


def floats(value: Any, path: str = "") -> Iterator[str]:
    """The places of floats in a JSON value."""
    if isinstance(value, float):
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from floats(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from floats(item, f"{path}[]")


def test_every_read_has_the_envelope_and_no_float(exchange: Exchange) -> None:
    """`data` and `as_of` everywhere, `next_cursor` on lists; amounts are strings with 6 decimals."""
    market, trader = exchange.market(fee_rate="0.02"), exchange.trader("100")
    trader.place(market["market_id"], quantity="20")
    trader.place(market["market_id"], type="limit", limit_price="0.2", quantity="5")
    position = trader.place(market["market_id"], side="sell", quantity="5")["position"]
    m, a = f"/markets/{market['market_id']}", f"/accounts/{trader.account_id}"
    pages = ["/stories", "/markets", f"{m}/trades", f"{m}/events", f"{a}/orders", f"{a}/fills", f"{a}/settlements",
             f"{a}/ledger", "/accounts"]  # fmt: skip
    others = [m, f"{m}/prices-history", f"{m}/candlesticks", f"{m}/book", f"{m}/holders", a, f"{a}/positions",
              f"{a}/equity-history", "/leaderboard", "/calibration", "/ledger", f"/stories/{market['story_id']}"]  # fmt: skip

    for path in pages + others:
        response = exchange.api.get(path, min_position=position)
        body = response.json()
        assert response.status_code == 200, (path, body)
        assert set(body) == {"data", "as_of"} | ({"next_cursor"} if path in pages else set()), path
        assert body["as_of"]["position"] >= position
        assert body["as_of"]["time"].endswith("Z")
        assert list(floats(body)) == [], path


def test_a_read_waits_for_its_position(exchange: Exchange) -> None:
    """With the position of a write, the read shows it; with one that is not there in time, 503 and Retry-After."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"], quantity="10")["position"]

    rows = trader.api.data(f"/accounts/{trader.account_id}/positions", min_position=position)
    assert [(row["outcome"], row["shares"]) for row in rows] == [("Yes", "10.000000")]
    early = exchange.api.get("/markets", min_position=position + 1_000_000, wait_ms=10)
    assert (early.status_code, early.json()["code"]) == (503, "NOT_YET_PROJECTED")
    assert int(early.headers["retry-after"]) >= 1


def test_the_past_stays_as_it_was(exchange: Exchange) -> None:
    """`as_of_position` and `as_of` give prices and positions of then, whatever came later."""
    market, trader = exchange.market(), exchange.trader("100")
    path, held = f"/markets/{market['market_id']}", f"/accounts/{trader.account_id}/positions"
    position = trader.place(market["market_id"], quantity="10")["position"]
    then = exchange.api.get(path, min_position=position).json()
    shares = exchange.api.data(held, min_position=position)
    later = trader.place(market["market_id"], quantity="30")["position"]

    now = exchange.api.get(path, min_position=later).json()
    by_position = exchange.api.get(path, as_of_position=position).json()
    by_time = exchange.api.get(path, as_of=then["data"]["time"]).json()

    assert now["data"]["outcomes"] != then["data"]["outcomes"]
    assert by_position["data"]["outcomes"] == then["data"]["outcomes"] == by_time["data"]["outcomes"]
    assert by_position["as_of"]["position"] == position
    assert exchange.api.data(held, as_of_position=position) == shares
    opening = exchange.api.data(path, as_of_position=market["position"])
    assert [row["price"] for row in opening["outcomes"]] == ["0.500000", "0.500000"]


def test_position_and_time_exclude_each_other(exchange: Exchange) -> None:
    """Both at once is a 422, as is a time that is none."""
    both = exchange.api.get("/markets", as_of_position=1, as_of="2024-10-24T10:02:00Z")
    assert (both.status_code, both.json()["details"]["field"]) == (422, "as_of")
    assert exchange.api.get("/markets", as_of="yesterday").json()["details"]["field"] == "as_of"
    assert exchange.api.get("/markets", as_of_position=-1).json()["details"]["field"] == "as_of_position"


def test_pages_have_no_gap_and_no_repeat(exchange: Exchange) -> None:
    """Following the cursors gives what one large page gives."""
    market, trader = exchange.market(), exchange.trader("100")
    for _ in range(7):
        position = trader.place(market["market_id"])["position"]
    path = f"/markets/{market['market_id']}/trades"
    whole = exchange.api.data(path, min_position=position)

    seen, cursor = [], None
    for _ in range(9):
        page = exchange.api.get(path, limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == whole
    assert len(whole) == 7


def test_a_cursor_belongs_to_its_query(exchange: Exchange) -> None:
    """With another path, other parameters or a changed character it is a 400; another limit is fine."""
    exchange.market()
    exchange.market()
    cursor = exchange.api.get("/markets", limit=1).json()["next_cursor"]

    assert exchange.api.get("/markets", limit=2, cursor=cursor).status_code == 200
    wrong = [
        exchange.api.get("/stories", cursor=cursor),
        exchange.api.get("/markets", status="closed", cursor=cursor),
        exchange.api.get("/markets", cursor=cursor[:-2]),
        exchange.api.get("/markets", cursor="x"),
        exchange.api.get("/markets", cursor="é"),
    ]
    assert [(response.status_code, response.json()["code"]) for response in wrong] == [(400, "INVALID_CURSOR")] * 5


def test_the_history_of_prices(exchange: Exchange) -> None:
    """A tick for each change, oldest first, with position and time; the last one is the price of now."""
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
    """Open, high, low, close and what was traded, as strings."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"], quantity="5")["position"]

    candles = exchange.api.data(f"/markets/{market['market_id']}/candlesticks", period="1m", min_position=position)

    last = candles[-1]
    assert {"open", "high", "low", "close", "previous", "volume", "quantity", "trades", "end"} <= set(last)
    assert (last["quantity"], last["trades"]) == ("5.000000", 1)


@pytest.mark.parametrize(
    "path", ["/markets/nowhere", "/stories/nowhere", "/accounts/nobody", "/markets/nowhere/trades"]
)
def test_what_is_not_there_is_404(exchange: Exchange, path: str) -> None:
    """With the code of its kind."""
    response = exchange.api.get(path)

    assert response.status_code == 404
    assert response.json()["code"].endswith("_NOT_FOUND")


def test_filters_of_markets(exchange: Exchange) -> None:
    """By status, story and category; a status that does not exist is a 422."""
    market = exchange.market()
    rows = exchange.api.data("/markets", story=market["story_id"], status="active", category="tests")
    assert [row["market_id"] for row in rows] == [market["market_id"]]
    assert exchange.api.data("/markets", story=market["story_id"], status="closed") == []
    assert exchange.api.get("/markets", status="asleep").json()["details"]["field"] == "status"


def test_the_log_by_type_and_market(exchange: Exchange) -> None:
    """`/v1/events` from a position, filtered, page by page, each event as its schema says."""
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


def test_the_leaderboard_and_the_ledger(exchange: Exchange) -> None:
    """Who traded is ranked, with profit as realized plus unrealized; all books together are zero."""
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
