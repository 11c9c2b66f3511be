"""Reads: the envelope, waiting for a position, the past, and that money is never a JSON number."""

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
             f"{a}/ledger", "/accounts", f"{m}/prices-history", f"{m}/candlesticks", f"{m}/book", f"{m}/holders",
             f"{a}/positions", f"{a}/equity-history", "/leaderboard", f"/stories/{market['story_id']}"]  # fmt: skip
    others = [m, a, "/calibration", "/ledger"]

    for path in pages + others:
        response = exchange.api.get(path, min_position=position)
        body = response.json()
        assert response.status_code == 200, (path, body)
        assert set(body) == {"data", "as_of"} | ({"next_cursor"} if path in pages else set()), path
        assert body["as_of"]["position"] >= position
        assert body["as_of"]["time"].endswith("Z")
        assert list(floats(body)) == [], path


def test_a_read_waits_for_its_position(exchange: Exchange) -> None:
    """A read with the position of a write includes the write; when the position is not reached in time, 503 and Retry-After."""
    market, trader = exchange.market(), exchange.trader("100")
    position = trader.place(market["market_id"], quantity="10")["position"]

    rows = trader.api.data(f"/accounts/{trader.account_id}/positions", min_position=position)
    assert [(row["outcome"], row["shares"]) for row in rows] == [("Yes", "10.000000")]
    early = exchange.api.get("/markets", min_position=position + 1_000_000, wait_ms=10)
    assert (early.status_code, early.json()["code"]) == (503, "NOT_YET_PROJECTED")
    assert int(early.headers["retry-after"]) >= 1


def test_the_past_stays_as_it_was(exchange: Exchange) -> None:
    """`as_of_position` and `as_of` return the prices and positions of that moment, whatever came later."""
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
    """Both at once are a 422, and so is an invalid time."""
    both = exchange.api.get("/markets", as_of_position=1, as_of="2024-10-24T10:02:00Z")
    assert (both.status_code, both.json()["details"]["field"]) == (422, "as_of")
    assert exchange.api.get("/markets", as_of="yesterday").json()["details"]["field"] == "as_of"
    assert exchange.api.get("/markets", as_of_position=-1).json()["details"]["field"] == "as_of_position"


@pytest.mark.parametrize(
    "path", ["/markets/nowhere", "/stories/nowhere", "/accounts/nobody", "/markets/nowhere/trades"]
)
def test_what_is_not_there_is_404(exchange: Exchange, path: str) -> None:
    """The code says what was not found."""
    response = exchange.api.get(path)

    assert response.status_code == 404
    assert response.json()["code"].endswith("_NOT_FOUND")
