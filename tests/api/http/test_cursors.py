"""Cursors: pages without gap or repeat, each cursor for one query."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_pages_have_no_gap_and_no_repeat(exchange: Exchange) -> None:
    """The pages that follow the cursors have the rows of one large page."""
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
    """With another path, other parameters or a changed character, it is a 400; another limit is allowed."""
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
