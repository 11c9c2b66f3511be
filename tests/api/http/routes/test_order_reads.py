"""Reads of orders over accounts: who sees which, by any filter, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

REST = {"type": "limit", "limit_price": "0.2", "quantity": "5"}


def test_an_order_by_its_id(exchange: Exchange) -> None:
    """For its account, analysts and admins; then as it was then; to others it is unknown."""
    market, trader, other = exchange.market(), exchange.trader("100"), exchange.trader("100")
    placed = trader.place(market["market_id"], **REST)
    path, at = f"/orders/{placed['order_id']}", placed["position"]
    canceled = trader.api.send("DELETE", path).json()["position"]

    now = trader.api.data(path, min_position=canceled)
    then = trader.api.data(path, as_of_position=at)
    listed = trader.api.data(f"/accounts/{trader.account_id}/orders", as_of_position=at)
    assert (now["status"], then["status"], then["open"]) == ("canceled", "resting", True)
    assert listed == [then]
    assert (then["market"], then["account"]) == (market["slug"], trader.name)
    assert exchange.api.data(path) == now
    for api, status in ((other.api, 404), (exchange.api.as_key(None), 401)):
        assert api.get(path).status_code == status
    assert trader.api.get(path, as_of_position=then["position"] - 1).json()["code"] == "ORDER_NOT_FOUND"


def test_orders_by_the_id_that_the_client_gave(exchange: Exchange) -> None:
    """It names one order of the account; a key that sees all accounts has to say of which."""
    market, trader, other = exchange.market(), exchange.trader("100"), exchange.trader("100")
    for each in (trader, other):
        at = each.place(market["market_id"], client_order_id="the one", **REST)["position"]

    for found, owner in (
        (trader.api.data("/orders", client_order_id="the one", min_position=at), trader),
        (exchange.api.data("/orders", client_order_id="the one", account=other.name, min_position=at), other),
    ):
        assert [row["account_id"] for row in found] == [owner.account_id]
    assert trader.api.data("/orders", client_order_id="another") == []
    refused = exchange.api.get("/orders", client_order_id="the one")
    assert (refused.status_code, refused.json()["details"]["field"]) == (422, "account")


def test_orders_of_one_and_of_all_accounts(exchange: Exchange) -> None:
    """By market, status and openness; the newest first; page by page."""
    market, trader, other = exchange.market(), exchange.trader("100"), exchange.trader("100")
    market_id = market["market_id"]
    for number in range(3):
        trader.place(market_id, **REST)
        other.place(market_id, quantity=str(number + 1))
    elsewhere = trader.place(exchange.market()["market_id"], **REST)
    at = trader.api.done("/orders/cancel", {"market_id": market_id})["position"]
    when = {"as_of_position": at, "min_position": at}

    everything = exchange.api.data("/orders", market=market["slug"], **when)
    mine = trader.api.data("/orders", **when)
    assert [row["position"] for row in everything] == sorted((row["position"] for row in everything), reverse=True)
    assert {row["account_id"] for row in everything} == {trader.account_id, other.account_id}
    assert len(everything) == 6
    assert [row["account_id"] for row in mine] == [trader.account_id] * 4
    assert exchange.api.data("/orders", account=trader.name, **when) == mine
    for status, number in (("filled", 3), ("canceled", 3), ("filled,canceled", 6), ("resting,partially_filled", 0)):
        assert len(exchange.api.data("/orders", market=market_id, status=status, **when)) == number, status
    assert [row["order_id"] for row in trader.api.data("/orders", open=True, **when)] == [elsewhere["order_id"]]
    assert elsewhere["order_id"] in {row["order_id"] for row in exchange.api.data("/orders", open=True, limit=1000)}

    first = exchange.api.get("/orders", market=market_id, limit=4, **when).json()
    rest = exchange.api.get("/orders", market=market_id, limit=4, cursor=first["next_cursor"], **when).json()
    assert first["data"] + rest["data"] == everything


def test_who_may_see_which_orders(exchange: Exchange) -> None:
    """Not those of another account; and without an account of its own, none."""
    trader, other = exchange.trader(), exchange.trader()
    operator = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["operator"]})["key"])
    assert trader.api.get("/orders", account=other.name).status_code == 403
    assert operator.get("/orders").status_code == 403
    assert exchange.api.as_key(None).get("/orders").status_code == 401
    wrong = trader.api.get("/orders", status="asleep")
    assert (wrong.status_code, wrong.json()["details"]["field"]) == (422, "status")


def test_the_tape_has_the_trades_of_all_markets(exchange: Exchange) -> None:
    """Newest first, as each market's own list has them; page by page."""
    made, trader = [exchange.market(), exchange.market()], exchange.trader("100")
    start = exchange.head()
    for number in range(4):
        at = trader.place(made[number % 2]["market_id"], quantity="2")["position"]

    tape = trader.api.data("/trades", limit=4, min_position=at, as_of_position=at)
    of_markets = [row for each in made for row in trader.api.data(f"/markets/{each['slug']}/trades", as_of_position=at)]
    assert tape == sorted(of_markets, key=lambda row: -row["position"])
    assert all(row["position"] > start for row in tape)
    first = trader.api.get("/trades", limit=3, as_of_position=at).json()
    assert first["data"] == tape[:3]
    assert trader.api.data("/trades", limit=3, as_of_position=at, cursor=first["next_cursor"])[0] == tape[3]
