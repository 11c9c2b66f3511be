"""Reads of many markets: each has what the read of it alone has, whatever the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    import pytest

    from tests.api.conftest import Exchange


def joined(exchange: Exchange, path: str, part: str, **parameters: Any) -> dict[str, list[Any]]:
    """All rows of all pages, by market."""
    found: dict[str, list[Any]] = {}
    cursor: dict[str, str] = {}
    while True:
        body = exchange.api.get(path, **parameters, **cursor).json()
        for row in body["data"]:
            rows = row[part]
            if part == "histories":
                rows = [(each["outcome"], point["position"], point["p"]) for each in rows for point in each["history"]]
            found.setdefault(row["market"], []).extend(rows)
        if body["next_cursor"] is None:
            return found
        cursor = {"cursor": body["next_cursor"]}


def test_each_market_has_what_it_has_alone(exchange: Exchange) -> None:
    """Histories, candles and books, in the order of the names, page by page, now and then."""
    made, trader = [exchange.market() for _ in range(3)], exchange.trader("100")
    for number in range(7):
        trader.place(made[number % 2]["market_id"], quantity="2")
    at = trader.place(made[0]["market_id"], type="limit", limit_price="0.2", quantity="5")["position"]
    trader.place(made[0]["market_id"], quantity="2")
    names = [made[2]["slug"], made[0]["market_id"], made[1]["slug"]]
    when = {"markets": ",".join(names), "as_of_position": at}

    books = exchange.api.data("/books", **when)
    assert [row["market"] for row in books] == [made[number]["slug"] for number in (2, 0, 1)]
    for row in books:
        assert row["books"] == exchange.api.data(f"/markets/{row['market_id']}/book", as_of_position=at)
    for limit in (1, 3, 1000):
        found = joined(exchange, "/candlesticks", "candlesticks", period="1m", limit=limit, **when)
        points = joined(exchange, "/prices-history", "histories", limit=limit, **when)
        for market in made:
            path = f"/markets/{market['slug']}"
            assert found[market["slug"]] == exchange.api.data(f"{path}/candlesticks", period="1m", as_of_position=at)
            alone = exchange.api.data(f"{path}/prices-history", as_of_position=at)["histories"]
            expected = {(each["outcome"], point["position"], point["p"]) for each in alone for point in each["history"]}
            assert set(points[market["slug"]]) == expected
            assert len(points[market["slug"]]) == len(expected)


def test_what_may_be_named(exchange: Exchange) -> None:
    """An unknown market is a 404 that names it; more than 100, and none, are a 422."""
    market = exchange.market()
    unknown = exchange.api.get("/books", markets=f"{market['slug']},nowhere", min_position=market["position"])
    assert (unknown.status_code, unknown.json()["details"]) == (404, {"market": "nowhere"})
    for path in ("/books", "/candlesticks", "/prices-history"):
        for named in ("", ",", ",".join(map(str, range(101)))):
            refused = exchange.api.get(path, markets=named)
            assert (refused.status_code, refused.json()["details"]["field"]) == (422, "markets"), named
        assert exchange.api.get(path).status_code == 422


def test_all_markets_are_looked_up_at_once(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of many markets asks no more often for the markets than a read of one; likewise for their books."""
    made = [exchange.market() for _ in range(5)]
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        statements.append(str(query))
        return execute(self, query, *arguments, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)

    def looked_up(path: str, named: list[str], **more: Any) -> tuple[int, int]:
        statements.clear()
        data = exchange.api.data(path, markets=",".join(named), min_position=made[-1]["position"], **more)
        assert len(data) == len(named)
        return tuple(sum(f"FROM {table} " in each for each in statements) for table in ("markets", "book_levels"))  # type: ignore[return-value]

    names = [made[0]["slug"], *(each["market_id"] for each in made[1:])]
    for path in ("/books", "/candlesticks", "/prices-history"):
        for when in ({}, {"as_of_position": made[-1]["position"]}):
            assert looked_up(path, names, **when) == looked_up(path, names[:1], **when) == (1, path == "/books")
            looked_up(path, names, **when)
            of_all = len(statements)
            looked_up(path, names[:1], **when)
            assert of_all == len(statements), statements
