"""Cursors: pages without gap or repeat, each cursor for one query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from api.http import cursors

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


# Sort keys that no server made. A list has a key of one to three parts, so at least most of them have the wrong shape.
FORGED: list[list[Any]] = [
    [], [""], ["x"], ["\0"], [0], [-1], [2**63], [2**64 - 1], ["1", "x"], [1, "x\0"], [-1, "x"], [2**63, "x"], [1, "x", 2],
    [1, 2], [1, -2], [1, 2**63], [1, 2, 3], [2**63 - 1], [2**63 - 1, "\U0010ffff"], [2**63 - 1, 2**63 - 1],
    ["x", "y"], ["x", "\0"], ["\U0010ffff", ""], [1, "x", "y"], [2**63 - 1, "x", ""], [-1, "x", "y"], [1, "x", "\0"],
]  # fmt: skip


def test_a_forged_cursor_is_no_error_of_the_server(exchange: Exchange) -> None:
    """Whatever it holds, with a right check, every list answers 400, or with rows where the key has its shape."""
    market, trader = exchange.market(), exchange.trader("100")
    trader.place(market["market_id"], type="limit", limit_price="0.2", quantity="5")
    position = trader.place(market["market_id"])["position"]
    m, a = f"/v1/markets/{market['market_id']}", f"/v1/accounts/{trader.account_id}"
    lists = ["/v1/stories", f"/v1/stories/{market['story_id']}", "/v1/markets", f"{m}/trades", f"{m}/events",
             f"{m}/holders", f"{m}/prices-history", f"{m}/candlesticks", "/v1/accounts", f"{a}/positions", f"{a}/orders",
             f"{a}/fills", f"{a}/settlements", f"{a}/ledger", f"{a}/equity-history", "/v1/leaderboard", "/v1/events",
             "/v1/invitations", "/v1/orders", "/v1/trades", f"{a}/portfolio"]  # fmt: skip
    parameters = {
        path
        for path, methods in exchange.api.client.get("/openapi.json").json()["paths"].items()
        if any(each["name"] == "cursor" for each in methods.get("get", {}).get("parameters", []))
    }
    assert len(parameters) == len(lists) + 2  # those of many markets go on as those of one

    for path in lists:
        assert exchange.api.get(path, min_position=position).status_code == 200
        request = Request({"type": "http", "path": path, "query_string": b"", "headers": [], "server": ("x", 80)})
        forged = [cursors.encode(request, position, key) for key in FORGED]
        answers = [exchange.api.get(path, cursor=cursor) for cursor in forged]
        codes = [(each.status_code, each.json().get("code")) for each in answers]
        assert set(codes) == {(200, None), (400, "INVALID_CURSOR")}, path
        assert codes.count((200, None)) <= 3, path


def test_a_forged_position_is_no_error_of_the_server(exchange: Exchange) -> None:
    """One that no log has is a 400, one that the log has not reached is not projected yet."""
    exchange.market()
    request = Request({"type": "http", "path": "/v1/stories", "query_string": b"", "headers": [], "server": ("x", 80)})
    forged = [(-1, 400), ("1", 400), (2**63, 400), (2**63 - 1, 503), (0, 200)]

    for position, status in forged:
        cursor = cursors.encode(request, position, [1, "x"])  # type: ignore[arg-type]
        assert exchange.api.get("/stories", cursor=cursor, wait_ms=0).status_code == status, position
