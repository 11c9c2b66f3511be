"""Orders over HTTP: which are accepted, which are refused with which code, and what the log has afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

LIMIT = {"type": "limit", "limit_price": "0.4"}
ORDER_FIELDS = {
    "order_id", "client_order_id", "status", "filled_quantity", "remaining_quantity", "average_price", "cost", "fee",
    "fills", "position",
}  # fmt: skip


def test_an_order_says_what_it_did(exchange: Exchange) -> None:
    """201 with all the fields of the contract; fills sum to the order, and the account has paid."""
    market, trader = exchange.market(), exchange.trader("100")

    answer = trader.place(market["market_id"], quantity="10")

    assert set(answer) >= ORDER_FIELDS
    assert answer["status"] == "filled"
    assert (answer["filled_quantity"], answer["remaining_quantity"]) == ("10.000000", "0.000000")
    assert answer["fills"] == [{"price": answer["average_price"], "quantity": "10.000000", "source": "amm"}]
    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=answer["position"])
    assert float(account["available"]) == pytest.approx(100 - float(answer["cost"]), abs=1e-9)


def test_a_market_goes_by_its_slug_too(exchange: Exchange) -> None:
    """`market_id` may be a slug."""
    market, trader = exchange.market(), exchange.trader()

    assert trader.place(market["slug"])["market_id"] == market["market_id"]


def test_a_limit_order_rests_and_is_canceled(exchange: Exchange) -> None:
    """A resting order is in the book and holds its cash; a cancel returns the cash, and a second cancel is refused."""
    market, trader = exchange.market(), exchange.trader("100")
    order = trader.place(market["market_id"], **LIMIT, quantity="10")
    assert order["status"] == "resting"

    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=order["position"])
    assert account["held"] == "4.000000"
    book = exchange.api.data(f"/markets/{market['market_id']}/book", min_position=order["position"])
    yes = next(side for side in book if side["outcome"] == "Yes")
    assert [(level["price"], level["quantity"]) for level in yes["bids"]] == [("0.400000", "10.000000")]

    canceled = trader.api.send("DELETE", f"/orders/{order['order_id']}").json()
    assert canceled["status"] == "canceled"
    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=canceled["position"])
    assert (account["held"], account["available"]) == ("0.000000", "100.000000")
    again = trader.api.send("DELETE", f"/orders/{order['order_id']}")
    assert (again.status_code, again.json()["code"]) == (409, "ORDER_NOT_OPEN")


def test_amend_and_cancel_many(exchange: Exchange) -> None:
    """An order gets a new price and quantity; then all orders of the account in one market are canceled at once."""
    market, other, trader = exchange.market(), exchange.market(), exchange.trader("100")
    order = trader.place(market["market_id"], **LIMIT, quantity="10")
    kept = trader.place(other["market_id"], **LIMIT, quantity="5")

    amended = trader.api.send("PATCH", f"/orders/{order['order_id']}", {"price": "0.3", "quantity": "20"}).json()
    assert (amended["limit_price"], amended["remaining_quantity"]) == ("0.300000", "20.000000")
    answer = trader.api.done("/orders/cancel", {"market_id": market["market_id"]})
    assert [row["order_id"] for row in answer["canceled"]] == [order["order_id"]]

    rows = trader.api.data(f"/accounts/{trader.account_id}/orders", open="true", min_position=answer["position"])
    assert [row["order_id"] for row in rows] == [kept["order_id"]]


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("a quantity as a JSON number", {"quantity": 1}, 422, "INVALID_FIELD"),
    ("a quantity as a JSON float", {"quantity": 1.5}, 422, "INVALID_FIELD"),
    ("seven decimals", {"quantity": "1.0000001"}, 422, "INVALID_FIELD"),
    ("an exponent", {"quantity": "1e3"}, 422, "INVALID_FIELD"),
    ("NaN", {"quantity": "NaN"}, 422, "INVALID_FIELD"),
    ("a sign", {"quantity": "-1"}, 422, "INVALID_FIELD"),
    ("nothing", {"quantity": "0"}, 422, "INVALID_FIELD"),
    ("no quantity", {"quantity": None}, 422, "INVALID_FIELD"),
    ("an unknown field", {"colour": "red"}, 422, "INVALID_FIELD"),
    ("an unknown side", {"side": "hold"}, 422, "INVALID_FIELD"),
    ("a limit order without a price", {"type": "limit"}, 422, "INVALID_FIELD"),
    ("spend on a limit order", {"type": "limit", "spend": "1", "quantity": None}, 422, "INVALID_FIELD"),
    ("a price off the tick", {**LIMIT, "limit_price": "0.4005"}, 422, "INVALID_PRICE"),
    ("a client's id of 65 characters", {"client_order_id": "x" * 65}, 422, "INVALID_FIELD"),
    ("an unknown outcome", {"outcome": "Maybe"}, 422, "UNKNOWN_OUTCOME"),
    ("an unknown market", {"market_id": "mk_nowhere"}, 404, "MARKET_NOT_FOUND"),
    ("a spend above the balance", {"quantity": None, "spend": "1000"}, 422, "INSUFFICIENT_FUNDS"),
    ("a resting buy above the balance", {**LIMIT, "quantity": "1000"}, 422, "INSUFFICIENT_FUNDS"),
    ("a sale of what is not held", {"side": "sell"}, 422, "INSUFFICIENT_SHARES"),
    ("a max_cost that would be broken", {"quantity": "10", "max_cost": "1"}, 422, "SLIPPAGE"),
    (
        "a post-only order that would trade",
        {**LIMIT, "limit_price": "0.9", "post_only": True},
        422,
        "POST_ONLY_WOULD_CROSS",
    ),
    ("reduce-only without a position", {"reduce_only": True, "side": "sell"}, 422, "REDUCE_ONLY"),
    (
        "expired before it came",
        {**LIMIT, "time_in_force": "GTD", "expires_at": "2001-01-01T00:00:00Z"},
        422,
        "ORDER_EXPIRED",
    ),
]
BY_FORM = {"INVALID_FIELD"}


@pytest.mark.parametrize(("name", "change", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_bad_order_has_its_code_and_no_effect(
    exchange: Exchange, name: str, change: dict[str, Any], status: int, code: str
) -> None:
    """Each has its status and code, and details with a field or numbers; the log has its rejection or nothing."""
    market, trader = exchange.market(), exchange.trader("100")
    before = exchange.head()

    response = trader.api.post("/orders", trader.order(market["market_id"], **change))

    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), (name, body)
    assert set(body) == {"code", "message", "details"}
    events = exchange.events_after(before)
    assert [event["type"] for event in events] in ([], ["CommandRejected"])
    if code not in BY_FORM:
        assert [event["data"]["code"] for event in events] == [code]
        assert body["details"]["position"] == events[0]["position"]


def test_a_market_that_is_not_active_takes_no_order(exchange: Exchange) -> None:
    """Draft, halted and closed markets refuse with 409."""
    trader = exchange.trader()
    draft = exchange.market(draft=True)["market_id"]
    halted = exchange.market()["market_id"]
    exchange.api.done(f"/markets/{halted}/halt")
    closed = exchange.market()["market_id"]
    exchange.api.done(f"/markets/{closed}/close")

    for market_id in (draft, halted, closed):
        response = trader.api.post("/orders", trader.order(market_id))
        assert (response.status_code, response.json()["code"]) == (409, "MARKET_NOT_ACTIVE")


def test_the_same_id_is_one_order(exchange: Exchange) -> None:
    """An order sent twice is one trade with one answer; with another body it is a 409, and nothing changes."""
    market, trader = exchange.market(), exchange.trader("100")
    body = trader.order(market["market_id"], quantity="3")
    first = trader.api.done("/orders", body)
    before = exchange.head()

    again = trader.api.done("/orders", body)
    other = trader.api.post("/orders", body | {"quantity": "4"})

    assert again == first
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")
    assert [event for event in exchange.events_after(before) if event["type"] != "CommandRejected"] == []


@pytest.mark.parametrize(("fields", "default"), [(LIMIT, "GTC"), ({"type": "market"}, "IOC")], ids=["limit", "market"])
def test_an_order_is_the_same_with_its_default_spelled_out(
    exchange: Exchange, fields: dict[str, Any], default: str
) -> None:
    """Sent again with the `time_in_force` that it has anyway, or without it, it gets its first answer."""
    market, trader = exchange.market(), exchange.trader("100")
    for first, second in [({}, {"time_in_force": default}), ({"time_in_force": default}, {})]:
        order = trader.order(market["market_id"], **fields)

        assert trader.api.done("/orders", order | second) == trader.api.done("/orders", order | first)

    other = trader.api.post("/orders", order | {"time_in_force": "FOK"})
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")


def test_a_refusal_is_the_reply_for_ever(exchange: Exchange) -> None:
    """A refused order stays refused, even when it would be accepted now."""
    market, trader = exchange.market(), exchange.trader("1")
    body = trader.order(market["market_id"], quantity=None, spend="50")
    first = trader.api.post("/orders", body)
    exchange.api.done(f"/accounts/{trader.account_id}/deposits", {"amount": "100"})

    again = trader.api.post("/orders", body)

    assert (again.status_code, again.json()) == (first.status_code, first.json())


def test_a_batch_has_a_result_each(exchange: Exchange) -> None:
    """The results have the order of the batch: an order, a field error, a refusal, an order."""
    market, trader = exchange.market(), exchange.trader("100")
    orders = [
        trader.order(market["market_id"]),
        trader.order(market["market_id"], quantity=1),
        trader.order(market["market_id"], quantity=None, spend="1000"),
        trader.order(market["market_id"], outcome="No"),
    ]

    answer = trader.api.done("/orders/batch", {"orders": orders})

    results = answer["results"]
    assert [result.get("code") or result["status"] for result in results] == [
        "filled", "INVALID_FIELD", "INSUFFICIENT_FUNDS", "filled"
    ]  # fmt: skip
    assert answer["position"] == max(result["position"] or 0 for result in results)


def test_a_batch_keeps_its_order_when_a_name_needs_a_look_up(exchange: Exchange) -> None:
    """Each order follows the one before it, whichever of them names its market by a slug, or is a dry run."""
    for slow in range(4):
        market, trader = exchange.market(), exchange.trader("100")
        names = [market["slug"] if number == slow else market["market_id"] for number in range(3)]
        orders = [
            trader.order(names[0], quantity="10"),
            trader.order(names[1], quantity="10", side="sell", dry_run=True),
            trader.order(names[2], quantity="10", side="sell"),
        ]

        results = trader.api.done("/orders/batch", {"orders": orders})["results"]

        assert [result.get("code") or result["status"] for result in results] == ["filled"] * 3
        assert "order_id" not in results[1]
        assert (results[1]["fills"], results[1]["cost"]) == (results[2]["fills"], results[2]["cost"])


def test_a_batch_has_1_to_100_orders(exchange: Exchange) -> None:
    """Batches of 0 and 101 orders are refused as a whole."""
    market, trader = exchange.market(), exchange.trader()
    for count in (0, 101):
        orders = [trader.order(market["market_id"]) for _ in range(count)]
        assert trader.api.post("/orders/batch", {"orders": orders}).json()["details"]["field"] == "orders"


@pytest.mark.parametrize(
    "fields",
    [
        {"quantity": "7.5"},
        {"quantity": None, "spend": "12.34"},
        {"type": "limit", "limit_price": "0.55", "quantity": "60"},
    ],
    ids=["quantity", "spend", "limit"],
)
def test_a_quote_is_what_the_order_does_next(exchange: Exchange, fields: dict[str, Any]) -> None:
    """Quote, dry run and the order itself agree to the micro-unit; the first two change nothing."""
    market, trader = exchange.market(fee_rate="0.02"), exchange.trader("100")
    order = trader.order(market["market_id"], **fields)
    before = exchange.head()

    quote = trader.api.done("/quotes", {name: value for name, value in order.items() if name != "client_order_id"})
    dry = trader.api.post("/orders", order | {"dry_run": True})
    assert exchange.head() == before
    assert dry.status_code == 200
    placed = trader.api.done("/orders", order)

    for name in ("status", "filled_quantity", "remaining_quantity", "average_price", "cost", "fee", "fills", "prices"):
        assert quote[name] == dry.json()[name] == placed[name]


def test_split_and_merge(exchange: Exchange) -> None:
    """Credits become a share of every outcome and back again; prices stay."""
    market, trader = exchange.market(), exchange.trader("10")

    split = trader.api.done(f"/markets/{market['market_id']}/split", {"amount": "4"})
    assert {row["outcome"]: row["shares"] for row in split["positions"]} == {"Yes": "4.000000", "No": "4.000000"}
    merged = trader.api.done(f"/markets/{market['market_id']}/merge", {"amount": "4"})

    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=merged["position"])
    assert account["available"] == "10.000000"
