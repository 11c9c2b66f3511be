"""The answer to a write shows what was written as the reads show it, once they have reached its position."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Api, Exchange, Trader

LIMIT = {"type": "limit", "limit_price": "0.4", "quantity": "10"}
PLACES = {"position", "changed_position", "time", "changed_time"}
"""Where a row was made and changed last; an answer's `position` is the write's own."""


def agree(answer: dict[str, Any], read: dict[str, Any], *required: str) -> None:
    """Assert that the two have the same values under the same names, and all that are required."""
    shared = answer.keys() & read.keys() - PLACES
    assert shared >= set(required)
    assert {name: answer[name] for name in shared} == {name: read[name] for name in shared}


def read_order(api: Api, account_id: str, answer: dict[str, Any], position: int | None = None) -> dict[str, Any]:
    """Return an order as the account's list has it."""
    rows = api.data(f"/accounts/{account_id}/orders", min_position=position or answer["position"])
    found: dict[str, Any] = next(row for row in rows if row["order_id"] == answer["order_id"])
    return found


ORDER = ("status", "filled_quantity", "remaining_quantity", "client_order_id", "outcome", "side", "market_id")
MONEY = ("cost", "fee", "limit_price", "quantity", "reason", "type", "average_price")


def test_orders(exchange: Exchange) -> None:
    """Filled, resting, filled in part and canceled ones; with fees, too."""
    market, trader = exchange.market(fee_rate="0.02"), exchange.trader("1000")
    for fields in (
        {"quantity": "7.5"},
        {"quantity": None, "spend": "12.34"},
        LIMIT,
        LIMIT | {"limit_price": "0.7", "quantity": "500"},
        LIMIT | {"time_in_force": "IOC"},
        {"side": "sell", "quantity": "3"},
    ):
        placed = trader.place(market["market_id"], **fields)
        agree(placed, read_order(trader.api, trader.account_id, placed), *ORDER, *MONEY, "time_in_force", "spend")


def test_an_order_that_its_own_sweep_fills(exchange: Exchange) -> None:
    """What rests of a purchase of A is filled by the sweep: bids on B and C push the price of A down again."""
    market = exchange.market(outcomes=["A", "B", "C"], subsidy="100")["market_id"]
    maker, trader = exchange.trader("1000"), exchange.trader("1000")
    for outcome in ("B", "C"):
        maker.place(market, outcome=outcome, **LIMIT | {"limit_price": "0.32", "quantity": "40"})
    order = trader.order(market, outcome="A", **LIMIT | {"limit_price": "0.45", "quantity": "100"})

    quote = trader.api.done("/quotes", {name: value for name, value in order.items() if name != "client_order_id"})
    placed = trader.api.done("/orders", order)

    assert placed["status"] == "partially_filled"
    assert len(placed["fills"]) == 2
    agree(placed, read_order(trader.api, trader.account_id, placed), *ORDER, *MONEY)
    agree(quote, placed, *ORDER[:3], *MONEY, "fills", "prices")


def test_the_average_price_of_one_fill_is_its_price(exchange: Exchange) -> None:
    """Also of so few shares that rounding the cost moves it: for taker and maker, in answers and reads."""
    market, maker, taker = exchange.market(subsidy="1")["market_id"], exchange.trader("100"), exchange.trader("100")
    taker.api.done(f"/markets/{market}/split", {"amount": "20"})
    taker.place(market, side="buy", **LIMIT | {"limit_price": "0.6", "quantity": "5"})  # moves the price to 0.6
    taker.api.done("/orders/cancel", {"market_id": market})
    bid = maker.place(market, **LIMIT | {"limit_price": "0.6"})
    assert bid["status"] == "resting"

    sold = taker.place(market, side="sell", **LIMIT | {"limit_price": "0.6", "quantity": "0.013333"})

    assert [(fill["price"], fill["source"]) for fill in sold["fills"]] == [("0.600000", "book")]
    assert (sold["cost"], sold["average_price"]) == ("0.007999", "0.600000")
    agree(sold, read_order(taker.api, taker.account_id, sold), *ORDER, *MONEY)
    filled = read_order(maker.api, maker.account_id, bid, sold["position"])
    assert (filled["filled_quantity"], filled["average_price"]) == ("0.013333", "0.600000")


def partially_filled(exchange: Exchange, trader: Trader) -> dict[str, Any]:
    """Return a resting bid of 10 shares of which another account has filled some."""
    market_id = exchange.market(subsidy="1")["market_id"]
    order = trader.place(market_id, **LIMIT)
    other = exchange.trader("100")
    other.api.done(f"/markets/{market_id}/split", {"amount": "20"})
    sold = other.place(market_id, **LIMIT | {"side": "sell", "quantity": "4.5"})
    found = read_order(trader.api, trader.account_id, order, sold["position"])
    assert found["status"] == "partially_filled"
    return found


def test_amendments(exchange: Exchange) -> None:
    """One that changes nothing, fewer shares, another price, both, a price that trades: the order as it is afterwards."""
    trader = exchange.trader("100")
    order = partially_filled(exchange, trader)
    for change in (
        {"quantity": order["quantity"]},
        {},
        {"quantity": "9"},
        {"price": "0.35"},
        {"price": "0.36", "quantity": "12"},
        {"price": "0.7", "quantity": "11"},
    ):
        response = trader.api.send("PATCH", f"/orders/{order['order_id']}", change)
        amended = response.json()
        assert (response.status_code, amended["status"]) == (200, "partially_filled"), response.text
        assert {"fills", "prices", "position"} <= amended.keys()
        assert "no_effect" not in amended
        agree(amended, read_order(trader.api, trader.account_id, amended), *ORDER, *MONEY, "time_in_force", "open")


def test_cancellations(exchange: Exchange) -> None:
    """One order; all of an account or a market, in one shape for none, one and many."""
    market, other, trader = exchange.market()["market_id"], exchange.market()["market_id"], exchange.trader("100")
    part = partially_filled(exchange, trader)
    canceled = trader.api.send("DELETE", f"/orders/{part['order_id']}").json()
    agree(canceled, read_order(trader.api, trader.account_id, canceled), *ORDER)
    assert canceled["status"] == "canceled"

    trader.place(other, **LIMIT)
    for count in (0, 1, 2, 5):
        for _ in range(count):
            trader.place(market, **LIMIT | {"quantity": "1"})
        answer = trader.api.done("/orders/cancel", {"market_id": market})
        assert answer.keys() == {"canceled", "position"}
        assert len(answer["canceled"]) == count
        for order in answer["canceled"]:
            agree(order, read_order(trader.api, trader.account_id, order, answer["position"]), *ORDER)
    assert len(trader.api.done("/orders/cancel")["canceled"]) == 1
    assert trader.api.done("/orders/cancel").keys() == {"canceled", "position"}


def test_every_order_of_a_batch_has_a_position(exchange: Exchange) -> None:
    """Also one that the rules refuse: the place of its rejection. One that no rule has seen has none."""
    market, trader = exchange.market()["market_id"], exchange.trader("10")
    good, poor, bad = trader.order(market), trader.order(market, quantity="1000"), trader.order(market, quantity=7)
    unknown = trader.order("mk_" + "0" * 26)
    before = exchange.head()

    for orders in ([good, poor, unknown], [good, poor, unknown, bad]):  # the fast path, the general path
        answer = trader.api.done("/orders/batch", {"orders": orders})
        agree(answer["results"][0], read_order(trader.api, trader.account_id, answer["results"][0]), *ORDER, *MONEY)
        positions = [result["position"] for result in answer["results"]]
        assert positions[3:] == [None] * (len(orders) - 3)
        assert answer["position"] == positions[2]
        rejections = [event["position"] for event in exchange.events_after(before) if "code" in event["data"]]
        assert positions[1:3] == rejections
        for result in answer["results"][1:]:
            assert result.keys() == {"code", "message", "details", "position"}
            assert result["details"].get("position") == result["position"]
    assert trader.api.post("/orders", poor).json()["details"]["position"] == positions[1]


def test_accounts_and_sets(exchange: Exchange) -> None:
    """Opened, after deposits and withdrawals; positions after split and merge."""
    name = f"answered {exchange.head()}"
    opened = exchange.api.done("/accounts", {"name": name})
    path = f"/accounts/{opened['account_id']}"
    assert opened == exchange.api.data(path, min_position=opened["position"]) | {"position": opened["position"]}
    for act, amount in (("deposits", "50"), ("withdrawals", "20")):
        answer = exchange.api.done(f"{path}/{act}", {"amount": amount})
        read = exchange.api.data(path, min_position=answer["position"])
        agree(answer, read, "account_id", "name", "available", "held", "equity", "overdrawn")

    market = exchange.market()["market_id"]
    for act, amount in (("split", "4"), ("merge", "1.5"), ("merge", "2.5")):
        answer = exchange.api.done(f"/markets/{market}/{act}", {"amount": amount, "account": name})
        read = exchange.api.data(f"{path}/positions", market=market, closed="true", min_position=answer["position"])
        assert answer["positions"] == read


def test_stories_and_markets(exchange: Exchange) -> None:
    """Published, opened, and after every act in the life of a market."""
    market = exchange.market(draft=True, dispute_seconds=3600)
    story, path, trader = market["story_id"], f"/markets/{market['market_id']}", exchange.trader("100")
    payouts = {"payouts": {"Yes": "1"}, "evidence": "seen"}
    for act, body in (
        ("activate", {}),
        ("halt", {}),
        ("resume", {}),
        ("clarify", {"resolution_source": "them"}),
        ("add-liquidity", {"amount": "5"}),
        ("close", {}),
        ("determine", payouts),
        ("dispute", {"reason": "no", "account": trader.name}),
        ("uphold", {}),
        ("void", {}),
    ):
        answer = exchange.api.done(f"{path}/{act}", body)
        read = exchange.api.data(path, min_position=answer["position"])
        assert answer == read | {"position": answer["position"]}, act

    ended = exchange.market()["market_id"]
    for act, body in (("close", {}), ("determine", payouts), ("finalize", {}), ("correct", payouts)):
        answer = exchange.api.done(f"/markets/{ended}/{act}", body)
        read = exchange.api.data(f"/markets/{ended}", min_position=answer["position"])
        assert answer == read | {"position": answer["position"]}, act

    published = {"title": f"Answered {exchange.head()}", "body": "b", "category": "answers"}
    published = exchange.api.done("/stories", published | {"published_at": "2024-10-24T10:02:00Z"})
    read = exchange.api.data(f"/stories/{published['story_id']}", min_position=published["position"])
    assert published == read | {"position": published["position"]}
    assert exchange.api.data(f"/stories/{story}")["markets"][0]["status"] == "voided"


def test_keys(exchange: Exchange) -> None:
    """Made and revoked: as the list has them, and the secret once."""
    created = exchange.api.done("/keys", {"roles": ["operator"], "name": "answered"})
    revoked = exchange.api.send("DELETE", f"/keys/{created['key_id']}").json()

    (listed,) = [key for key in exchange.api.data("/keys") if key["key_id"] == created["key_id"]]
    assert revoked == listed | {"position": revoked["position"]}
    agree(created | {"revoked_at": None}, listed | {"revoked_at": None}, "roles", "name", "prefix", "account_id")


@pytest.mark.parametrize("outcomes", [["Yes", "No"], ["A", "B", "C"]], ids=["two outcomes", "three"])
def test_any_orders_and_amendments(exchange: Exchange, outcomes: list[str]) -> None:
    """Orders of odd sizes that meet the AMM and each other, and amendments of those that rest."""
    random = Random(len(outcomes))  # noqa: S311  no secret
    market = exchange.market(outcomes=outcomes, subsidy="20", fee_rate="0.01")["market_id"]
    traders = [exchange.trader("1000") for _ in range(2)]
    for trader in traders:
        trader.api.done(f"/markets/{market}/split", {"amount": "300"})
    resting: list[tuple[Trader, str]] = []
    for _ in range(60):
        quantity = f"{random.choice([3, 20, 80]) * random.random() + 0.01:.6f}"
        price = f"{random.randint(150, 850) / 1000:.3f}"
        if resting and random.random() < 0.25:
            trader, order_id = resting.pop()
            change = {"price": price} if random.random() < 0.5 else {"quantity": quantity}
            response = trader.api.send("PATCH", f"/orders/{order_id}", change)
        else:
            trader, side = random.choice(traders), random.choice(["buy", "sell"])
            kind = {"type": "limit", "limit_price": price} if random.random() < 0.8 else {"type": "market"}
            order = trader.order(market, outcome=random.choice(outcomes), side=side, quantity=quantity, **kind)
            response = trader.api.post("/orders", order)
        if not response.is_success:
            assert response.status_code in {409, 422}, response.text
            continue
        answer = response.json()
        agree(answer, read_order(trader.api, trader.account_id, answer), *ORDER, *MONEY)
        if answer["reason"] is None and answer["status"] != "filled":
            resting.append((trader, answer["order_id"]))
    assert resting
