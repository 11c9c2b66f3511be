"""How an order meets the book and the AMM: by price, then by age, across both outcomes, never its own account's orders."""

from math import exp, expm1, log

import pytest

from domain.account import OrderReleased, OrderReserved, TradeSettled
from domain.market_evolution import reprice
from domain.matching import Taker
from domain.money import MICRO
from domain.orders import (
    OrderCanceled,
    OrderPlaced,
    SplitSets,
)
from tests.domain.scenario import DEEP, SHALLOW, TRADERS, YES_NO, buy, given, sell
from tests.domain.test_sweeping import market_with


def test_a_limit_order_takes_up_to_its_price_and_rests_with_the_remainder() -> None:
    """It reserves exactly the limit times what remains."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", name="o", quantity=100 * MICRO, limit_price=550_000))
    execution = scenario.then(TradeSettled, OrderPlaced, OrderReserved).placed.execution
    assert execution.status == "partially_filled"
    assert execution.resting
    assert execution.prices == (550_000, 450_000)
    assert scenario.resting("o") == execution.remaining
    assert scenario.event(OrderReserved).cash == -(-execution.remaining * 55 // 100)


def test_orders_are_filled_by_price_then_by_age() -> None:
    """The best price is first, at equal prices the oldest order; the last order is filled only in part."""
    scenario = given(*DEEP, *TRADERS, SplitSets("carol", "m", 100 * MICRO))
    bids = [("alice", "a1", 490_000), ("bob", "b1", 495_000), ("bob", "b2", 490_000), ("alice", "a2", 495_000)]
    scenario.given(*(buy(who, "Yes", name=name, quantity=10 * MICRO, limit_price=price) for who, name, price in bids))
    # A deep AMM's price stays near 0.5, so it would take the whole sale before these bids. In a shallow market they trade.
    scenario = given(*SHALLOW, *TRADERS, SplitSets("carol", "m", 100 * MICRO))
    scenario.given(*(buy(who, "Yes", name=name, quantity=10 * MICRO, limit_price=price) for who, name, price in bids))
    fills = scenario.when(sell("carol", "Yes", quantity=35 * MICRO)).placed.execution.fills

    assert [fill.order_id for fill in fills] == [None, "b1", "a2", None, "a1", "b2"]
    assert [fill.price for fill in fills if fill.order_id] == [495_000, 495_000, 490_000, 490_000]
    assert sum(fill.quantity for fill in fills) == 35 * MICRO
    assert 0 < scenario.resting("b2") < 10 * MICRO


def test_the_amm_is_taken_first_where_it_is_better_and_the_book_where_that_is() -> None:
    """A worse price is never taken before a better one."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("bob", "Yes", name="ask", quantity=5 * MICRO, limit_price=520_000))
    fills = scenario.when(buy("alice", "Yes", quantity=30 * MICRO)).placed.execution.fills
    assert [fill.source for fill in fills] == ["amm", "book", "amm"]
    assert fills[0].price < 520_000 == fills[1].price < fills[2].price
    assert fills[1].quantity == 5 * MICRO


def test_with_two_outcomes_a_bid_on_one_is_an_ask_on_the_other() -> None:
    """Together the two buyers pay for complete sets, which are created for them."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="bid", quantity=10 * MICRO, limit_price=400_000))
    execution = scenario.when(buy("bob", "No", quantity=65 * MICRO, limit_price=600_000)).placed.execution
    amm, order = execution.fills
    assert amm.source == "amm"  # it was better from 0.5 up to 0.6
    assert order.order_id == "bid"
    assert order.price == 600_000
    assert order.cost + order.resting_cost == order.quantity == execution.sets


def test_with_two_outcomes_an_ask_on_one_is_a_bid_on_the_other() -> None:
    """Two sales meet, and complete sets are dissolved."""
    scenario = given(*SHALLOW, *TRADERS, SplitSets("alice", "m", 10 * MICRO), SplitSets("bob", "m", 10 * MICRO))
    scenario.given(sell("alice", "Yes", name="ask", quantity=10 * MICRO, limit_price=550_000))
    execution = scenario.when(sell("bob", "No", quantity=10 * MICRO, limit_price=430_000)).placed.execution
    order = execution.fills[-1]
    assert order.order_id == "ask"
    assert order.price == 450_000
    assert order.cost + order.resting_cost == order.quantity == -execution.sets


# --- own orders


def test_own_orders_that_meet_cancel_the_taker() -> None:
    """By default the new order is filled up to its own resting order and then canceled; the resting one stays."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", 50 * MICRO))
    scenario.given(sell("alice", "Yes", name="own", quantity=5 * MICRO, limit_price=520_000))
    execution = scenario.when(buy("alice", "Yes", quantity=30 * MICRO, limit_price=600_000)).placed.execution
    assert [fill.source for fill in execution.fills] == ["amm"]
    assert execution.prices[0] == 520_000
    assert (execution.status, execution.resting, execution.reason) == ("partially_filled", False, "self_trade")
    assert scenario.resting("own") == 5 * MICRO


def test_own_orders_that_meet_cancel_the_maker_if_asked_for() -> None:
    """The resting order is canceled and the new one trades on."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", 50 * MICRO), SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("alice", "Yes", name="own", quantity=5 * MICRO, limit_price=520_000))
    scenario.given(sell("bob", "Yes", name="other", quantity=5 * MICRO, limit_price=520_000))
    scenario.when(buy("alice", "Yes", quantity=30 * MICRO, limit_price=600_000, self_trade_prevention="cancel_maker"))
    assert scenario.event(OrderCanceled).reason == "self_trade"
    assert scenario.event(OrderReleased).shares == 5 * MICRO
    execution = scenario.placed.execution
    assert execution.status == "filled"
    assert [fill.order_id for fill in execution.fills if fill.order_id] == ["other"]
    assert scenario.resting("own") == 0


# --- prices below what a float can hold


@pytest.mark.parametrize("depth", [600.0, 700.0, 1_000.0, 5_000.0])
def test_a_purchase_far_below_the_lowest_price_gets_what_the_formula_says(depth: float) -> None:
    """The price is e^-depth / 2. A spend of 0.1 buys `b (ln(e^(x / b) - 1) - ln p)` shares, at once and in two parts."""
    market = market_with(3, MICRO, [depth, depth, 0.0], [])
    b = market.liquidity / 1e12
    expected = b * (log(expm1(0.1 / b)) + depth + log(2 + exp(-depth)))
    wish = buy("alice", "2", spend=MICRO // 10)
    whole = Taker(market, wish, None)
    whole.match(wish)

    assert whole.filled / MICRO == pytest.approx(expected, abs=1e-3)
    assert MICRO // 10 - 1 <= whole.cost <= MICRO // 10
    part = buy("alice", "2", quantity=round(50 * b) * MICRO)
    first = Taker(market, part, part.quantity)
    first.match(part)
    assert (first.filled, first.cost) == (part.quantity, 1)
    market.sold[2] += first.filled
    reprice(market)
    rest = Taker(market, wish, None)
    rest.match(wish)
    assert (first.filled + rest.filled) / MICRO == pytest.approx(expected, abs=1e-3)
