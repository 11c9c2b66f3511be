"""What is shown as the price of a trade or an order is never worse than the limit, though costs are whole micro-credits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.money import MICRO
from domain.orders import AmendOrder, PlaceOrder, SplitSets
from messages.results import result_of
from projections.orders import account_orders
from projections.reading import read
from projections.trades.trades import account_fills
from tests.domain.scenario import TRADERS, Scenario, a_market, buy, given, sell
from tests.projections.trades.test_price_after import log_of

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels


def market_at(price: int) -> Scenario:
    """Return a deep market with this price of Yes."""
    terms = {"initial_prices": (price, MICRO - price), "subsidy": 1_000_000 * MICRO}
    return given(*a_market(**terms), *TRADERS, SplitSets("bob", "m", 100 * MICRO))


@pytest.mark.parametrize(
    ("price", "order"),
    [
        (509_999, buy("bob", "Yes", quantity=11_111, limit_price=510_000)),
        (510_001, sell("bob", "Yes", quantity=11_111, limit_price=510_000)),
    ],
)
def test_a_taker_sees_no_price_beyond_its_limit(price: int, order: PlaceOrder) -> None:
    """The cost of 0.011111 share is a micro-credit more than at the limit, or less for a sale; the limit is shown."""
    scenario = market_at(price).when(order)
    execution = scenario.placed.execution
    assert execution.cost == (5667 if order.side == "buy" else 5666)
    assert [fill.price for fill in execution.fills] == [510_000]
    assert result_of(scenario.events)["average_price"] == "0.510000"


def test_several_fills_have_no_average_beyond_the_limit() -> None:
    """Each purchase is rounded up: from the AMM, from an order at the limit, and the average of both."""
    scenario = market_at(509_999).given(sell("bob", "Yes", quantity=11_111, limit_price=510_000))
    scenario.when(buy("alice", "Yes", quantity=60_000_000 + 11_111, limit_price=510_000))
    execution = scenario.placed.execution
    assert len(execution.fills) > 1
    assert result_of(scenario.events)["average_price"] <= "0.510000"


def test_a_resting_order_shows_no_price_beyond_its_limit(read_models: ReadModels) -> None:
    """The AMM fills bids of sizes that cost no whole micro-credits at their limit: trades, fills and orders show the limit."""
    scenario = given(*a_market(("A", "B", "C"), initial_prices=(200_000, 300_000, 500_000)), *TRADERS)
    for number in range(5):
        scenario.given(buy("alice", "B", name=f"b{number}", quantity=10_001 + number, limit_price=299_000))
    scenario.given(buy("bob", "A", quantity=1_030_000))
    while scenario.resting("b4"):
        scenario.given(buy("bob", "A", name=f"a{scenario.number}", quantity=10_000))
    copy = read_models.copy(["trades", "orders"]).fold(log_of(scenario), 3)
    with read(copy.connection, account_orders, account_fills) as as_of:
        orders = account_orders(copy.connection, as_of, "alice")
        fills = account_fills(copy.connection, as_of, "alice")

    assert all(fill.price <= 299_000 for fill in fills)
    assert all(order.average_price is not None and order.average_price <= 299_000 for order in orders)
    assert any(fill.cost * MICRO > 299_000 * fill.quantity for fill in fills)
    assert any(order.cost * MICRO > 299_000 * order.filled for order in orders)


def test_an_amended_order_keeps_the_average_of_what_it_paid_before(read_models: ReadModels) -> None:
    """Ten shares cost 0.519 each; a lower limit afterwards does not make them cheaper."""
    scenario = market_at(519_000).given(sell("bob", "Yes", quantity=10 * MICRO, limit_price=519_000))
    scenario.given(buy("alice", "Yes", name="bid", quantity=1_000 * MICRO, limit_price=519_000))
    assert scenario.resting("bid")
    scenario.given(AmendOrder("alice", "bid", limit_price=300_000))
    copy = read_models.copy(["orders"]).fold(log_of(scenario), 3)
    with read(copy.connection, account_orders) as as_of:
        (order,) = account_orders(copy.connection, as_of, "alice")

    assert (order.limit_price, order.average_price) == (300_000, 519_000)
