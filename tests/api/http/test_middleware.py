"""What surrounds every request: a NUL gets no further."""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING

from api.http.middleware import Bodies
from api.http.quick_answers import QuickCycle

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

ROUTES_MIN = 40  # fewer mean that this test has lost sight of them


def test_a_nul_is_found_nowhere(exchange: Exchange) -> None:
    """In every parameter of every route: 404 in a path, 400 in a query string."""
    paths = exchange.api.client.get("/openapi.json").json()["paths"]
    wrong = []
    routes = 0
    for path, methods in paths.items():
        for method, operation in methods.items():
            routes += 1
            body = {} if "requestBody" in operation else None
            names = {each["name"]: each["in"] for each in operation.get("parameters", [])}
            plain = re.sub(r"\{\w+\}", "x", path)
            tries = [(re.sub(r"\{\w+\}", "x", path.replace(f"{{{name}}}", nul)), (404, "NOT_FOUND"))
                     for name, place in names.items() if place == "path" for nul in ("%00", "a%00b")]  # fmt: skip
            tries += [(f"{plain}?{name}={nul}", (400, "INVALID_QUERY"))
                      for name, place in names.items() if place == "query" for nul in ("%00", "a%00b")]  # fmt: skip
            for url, expected in [*tries, (f"{plain}?%00=1", (400, "INVALID_QUERY"))]:
                response = exchange.api.client.request(
                    method, url, json=body, headers={"authorization": f"Bearer {exchange.api.key}"}
                )
                if (response.status_code, response.json()["code"]) != expected:
                    wrong.append((method, url, response.status_code))

    assert wrong == []
    assert routes >= ROUTES_MIN


def test_one_subject_leaves_room_for_the_bodies_of_others() -> None:
    """It may have a quarter of all bytes, or one whole body where that is more."""
    bodies = Bodies(each_max=10, all_max=100)

    assert bodies.take("a", 20)
    assert not bodies.take("a", 6)
    assert all(bodies.take(each, 25) for each in "bcd")
    assert not bodies.take("e", 6), "all together"
    bodies.give_back("a", 20)
    assert bodies.take("e", 6)
    assert bodies.held == 81
    assert Bodies(each_max=10, all_max=10).take("a", 10)


def test_a_request_leaves_nothing_to_the_collector_of_garbage(exchange: Exchange) -> None:
    """All requests stand still while it works: what served a request is gone without it, however the request ended."""
    market, trader = exchange.market(), exchange.trader()
    market_id, orders = market["market_id"], "/v1/orders"
    key = {"authorization": f"Bearer {trader.api.key}"}
    send = exchange.api.client.request
    rounds = 10
    others = {id(each) for each in cycles()}
    gc.disable()
    try:
        for _ in range(rounds):
            order = trader.order(market_id)
            quote = {name: value for name, value in order.items() if name != "client_order_id"}
            ends = [
                send("POST", orders, json=order, headers=key),
                send("POST", orders, json=order | {"outcome": "Maybe", "client_order_id": "x"}, headers=key),
                send("POST", orders, json={}, headers=key),
                send("POST", orders, json=order),
                send("POST", f"{orders}/batch", json={"orders": [trader.order(market_id)]}, headers=key),
                send("POST", "/v1/quotes", json=quote, headers=key),
                send("GET", f"/v1/markets/{market_id}", headers=key),
                send("GET", "/v1/markets/none", headers=key),
                send("GET", "/v1/leaderboard", headers=key),
                send("GET", "/"),
                send("GET", "/page/that/is/not/there"),
            ]
        left = [each for each in cycles() if id(each) not in others]
    finally:
        gc.enable()

    assert [each.status_code for each in ends] == [201, 422, 422, 401, 200, 200, 200, 404, 200, 200, 404]
    assert len(left) <= len(ends)  # those of the last requests of each connection


def cycles() -> list[QuickCycle]:
    """Return what serves the requests of all connections, or has served them and is still there."""
    return [each for each in gc.get_objects() if isinstance(each, QuickCycle)]
