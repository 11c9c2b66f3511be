"""What an order does at once: against the AMM, within its guards, with its fee, by its time in force."""

from math import log

import pytest
from msgspec.structs import replace

from domain.account import AccountOpened, OrderReserved, TradeSettled
from domain.market import CloseMarket
from domain.money import MICRO
from domain.orders import (
    OPEN_ORDERS_MAX,
    AmendOrder,
    CancelOrders,
    OrderPlaced,
    SplitSets,
)
from domain.rejections import Code, Rejection
from tests.domain.scenario import (
    SHALLOW,
    START,
    TRADERS,
    YES_NO,
    Scenario,
    a_market,
    accounts,
    buy,
    given,
    sell,
)

# --- market orders against the AMM


def test_a_purchase_costs_what_the_formula_says_rounded_up() -> None:
    """Ten shares at 0.5 with a subsidy of 100: `b ln(1 + p (e^(d/b) - 1))`, b = 100 / ln 2."""
    scenario = given(*YES_NO, *TRADERS)
    execution = scenario.when(buy("alice", "Yes", quantity=10 * MICRO)).then(TradeSettled, OrderPlaced).placed.execution
    b = 100 / log(2)
    exact = b * log((2 ** (10 / 100) + 1) / 2)

    assert execution.cost == int(exact * MICRO) + 1
    assert execution.status == "filled"
    assert execution.prices == (517_322, 482_678)
    assert scenario.cash("alice") == 1_000 * MICRO - execution.cost
    assert scenario.shares("alice", "Yes") == 10 * MICRO


def test_a_spend_above_the_balance_is_refused_also_where_less_would_be_used() -> None:
    """The AMM stops long before the spend is used up, but all of the spend must be available."""
    scenario = given(*YES_NO, *TRADERS)

    scenario.when(buy("alice", "Yes", spend=1_000_000 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS)


def test_a_purchase_by_spend_costs_at_most_the_spend() -> None:
    """It buys as many shares as the spend allows."""
    execution = given(*YES_NO, *TRADERS).when(buy("alice", "Yes", spend=5 * MICRO)).placed.execution
    assert 5 * MICRO - 1 <= execution.cost <= 5 * MICRO
    assert execution.filled == execution.fills[0].quantity
    assert execution.remaining == 0


def test_orders_below_a_hundredth_of_a_share_or_credit_are_refused() -> None:
    """A purchase of 0.000001 at 0.510 would cost 0.000001, a price of 1; the refusal names the smallest size."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", MICRO))
    for size in (1, 9_999):
        small = {"given": size, "least": 10_000}
        scenario.when(buy("alice", "Yes", quantity=size, limit_price=510_000)).rejected(Code.ORDER_TOO_SMALL, **small)
        scenario.when(buy("alice", "Yes", quantity=size)).rejected(Code.ORDER_TOO_SMALL, **small)
        scenario.when(buy("alice", "Yes", spend=size)).rejected(Code.ORDER_TOO_SMALL, **small)
        scenario.when(sell("bob", "Yes", quantity=size)).rejected(Code.ORDER_TOO_SMALL, **small)
    scenario.given(buy("alice", "Yes", quantity=10_000, limit_price=510_000), buy("alice", "Yes", spend=10_000))
    scenario.given(sell("bob", "Yes", quantity=10_000))


def test_what_is_held_can_always_be_sold_whole() -> None:
    """Even a micro-share, which brings nothing after rounding; and the rest beside what resting orders reserve."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", 1), SplitSets("bob", "m", MICRO))
    assert scenario.when(sell("alice", "Yes", quantity=1)).placed.execution.status == "filled"
    assert scenario.shares("alice", "Yes") == 0
    scenario.given(sell("bob", "No", quantity=MICRO - 5, limit_price=900_000))
    assert scenario.when(sell("bob", "No", quantity=5)).placed.execution.cost == 2
    scenario.given(SplitSets("carol", "m", 7))
    scenario.given(sell("carol", "Yes", quantity=MICRO, limit_price=900_000, reduce_only=True, name="dust"))
    assert scenario.resting("dust") == 7


def test_an_amendment_makes_no_order_smaller_than_the_smallest() -> None:
    """Neither one that keeps its place nor one that acts as a new order; what is filled already counts."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=MICRO, limit_price=400_000))
    small = {"given": 9_999, "least": 10_000}
    scenario.when(AmendOrder("alice", "o", quantity=9_999)).rejected(Code.ORDER_TOO_SMALL, **small)
    scenario.when(AmendOrder("alice", "o", 390_000, 9_999)).rejected(Code.ORDER_TOO_SMALL, **small)
    scenario.given(AmendOrder("alice", "o", quantity=10_000), SplitSets("bob", "m", 9_999))
    scenario.given(sell("bob", "Yes", name="dust", quantity=9_999, limit_price=900_000))
    scenario.when(AmendOrder("bob", "dust", quantity=9_998)).rejected(Code.ORDER_TOO_SMALL)
    scenario.given(AmendOrder("bob", "dust", limit_price=800_000))


@pytest.mark.parametrize(("outcome", "price"), [("Yes", 335_000), ("No", 665_000)])
def test_a_fill_in_the_book_shows_the_price_of_the_resting_order(outcome: str, price: int) -> None:
    """0.019999 share at 0.335 costs 0.006700, which is 0.335017 a share; the fill says 0.335, also across the outcomes."""
    scenario = given(*a_market(initial_prices=(334_000, 666_000)), *TRADERS, SplitSets("bob", "m", MICRO))
    wish = sell if outcome == "Yes" else buy
    scenario.given(wish("bob", outcome, quantity=19_999, limit_price=price))
    fills = scenario.when(buy("alice", "Yes", quantity=10 * MICRO)).placed.execution.fills
    (met,) = [fill for fill in fills if fill.source == "book"]

    assert (met.price, met.quantity, met.cost) == (335_000, 19_999, 6_700)


def test_the_amm_leaves_slivers_that_rounding_would_show_beyond_the_limit() -> None:
    """Up to 0.510 the AMM has 5.77 shares; of the next order it would sell a micro-share for a micro-credit, at a price of 1."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO, limit_price=510_000, name="first"))
    scenario.given(
        CancelOrders("alice"), sell("alice", "Yes", quantity=500 + 10_000), buy("alice", "Yes", quantity=10_000)
    )
    placed = scenario.when(buy("bob", "Yes", quantity=20_000, limit_price=510_000)).placed

    assert (placed.execution.status, placed.execution.fills) == ("resting", ())


def test_a_sale_brings_at_most_what_the_purchase_cost() -> None:
    """Afterwards the prices are as before the purchase."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    execution = scenario.when(sell("alice", "Yes", quantity=10 * MICRO)).placed.execution
    assert execution.prices == (500_000, 500_000)
    assert 1_000 * MICRO - 2 <= scenario.cash("alice") < 1_000 * MICRO


def test_a_purchase_stops_at_the_highest_price_and_the_rest_is_unfilled() -> None:
    """The highest price is 0.999; the remainder of a market order is canceled."""
    execution = given(*SHALLOW, *TRADERS).when(buy("alice", "Yes", quantity=500 * MICRO)).placed.execution
    assert execution.prices == (999_000, 1_000)
    assert execution.status == "partially_filled"
    assert execution.reason == "price"
    assert 0 < execution.filled == 500 * MICRO - execution.remaining


def test_more_than_there_is_cannot_be_bought_or_sold() -> None:
    """Cash and shares are checked to the micro-unit."""
    scenario = given(*YES_NO, *accounts("alice", cash=5 * MICRO))
    quote = scenario.quote(buy("alice", "Yes", quantity=5 * MICRO))
    assert not isinstance(quote, Rejection)
    cost = quote.execution.cost
    poor = given(*YES_NO, *accounts("alice", cash=cost - 1))
    poor.when(buy("alice", "Yes", quantity=5 * MICRO)).rejected(
        Code.INSUFFICIENT_FUNDS, required=cost, available=cost - 1
    )
    given(*YES_NO, *accounts("alice", cash=cost), buy("alice", "Yes", quantity=5 * MICRO))
    scenario.when(sell("alice", "Yes", quantity=1)).rejected(Code.INSUFFICIENT_SHARES, required=1, available=0)


@pytest.mark.parametrize("outcomes", [2, 3, 64])
def test_a_quote_is_what_the_order_then_does(outcomes: int) -> None:
    """They agree to the micro-unit, and quoting changes nothing."""
    scenario = given(
        *a_market(tuple(map(str, range(outcomes))), fee_rate=20_000), *TRADERS, SplitSets("bob", "m", 20 * MICRO)
    )
    scenario.given(sell("bob", "1", quantity=5 * MICRO, limit_price=990_000 // outcomes // 1000 * 1000 + 1000))
    for wish in (
        buy("alice", "1", spend=9 * MICRO),
        buy("alice", "1", quantity=20 * MICRO, limit_price=700_000),
        sell("bob", "0", quantity=MICRO),
    ):
        before = scenario.exchange.state_hash()
        quote = scenario.quote(wish, at=scenario.time + 1)
        assert scenario.exchange.state_hash() == before
        assert quote == scenario.when(wish).placed
    refused = scenario.quote(sell("alice", "0", quantity=MICRO))
    assert isinstance(refused, Rejection)
    scenario.when(sell("alice", "0", quantity=MICRO)).rejected(refused.code)


# --- guards


def test_max_cost_and_min_proceeds_include_the_fee_and_refuse_to_the_micro_credit() -> None:
    """If the bound is broken by one micro-credit, nothing is filled."""
    scenario = given(*a_market(fee_rate=50_000), *TRADERS)
    wish = buy("alice", "Yes", quantity=10 * MICRO)
    quote = scenario.quote(wish)
    assert isinstance(quote, OrderPlaced)
    cost = quote.execution.cost + quote.execution.fee
    scenario.when(replace(wish, max_cost=cost - 1)).rejected(Code.SLIPPAGE, cost=cost, max_cost=cost - 1)
    scenario.given(replace(wish, max_cost=cost))

    wish = sell("alice", "Yes", quantity=10 * MICRO)
    quote = scenario.quote(wish)
    assert isinstance(quote, OrderPlaced)
    proceeds = quote.execution.cost - quote.execution.fee
    scenario.when(replace(wish, min_proceeds=proceeds + 1)).rejected(Code.SLIPPAGE, proceeds=proceeds)
    scenario.given(replace(wish, min_proceeds=proceeds))


def test_an_account_may_have_a_thousand_open_orders() -> None:
    """One more is refused, so that canceling all of them is one bounded command."""
    scenario = Scenario()
    exchange = scenario.exchange
    for number, command in enumerate((*YES_NO, *TRADERS)):
        exchange.handle(command, START, f"s{number}")
    for number in range(OPEN_ORDERS_MAX):
        exchange.handle(buy("alice", "Yes", name=f"{number}", quantity=MICRO, limit_price=1_000), START, f"{number}")
    refused = exchange.handle(buy("alice", "Yes", name="x", quantity=MICRO, limit_price=1_000), START, "x")[0].event
    assert refused.code is Code.TOO_MANY_ORDERS  # type: ignore[union-attr]
    taken = exchange.handle(buy("alice", "Yes", name="y", quantity=MICRO), START, "y")
    assert isinstance(taken[-1].event, OrderPlaced)
    canceled = exchange.handle(CancelOrders("alice"), START, "z")
    assert len(canceled) == 2 * OPEN_ORDERS_MAX < 4_000
    assert not isinstance(exchange.handle(CloseMarket("m"), START, "c")[0].event, AccountOpened)


# --- time in force


def test_fok_that_can_be_filled_only_partly_fills_nothing() -> None:
    """The refusal says how much could be filled."""
    scenario = given(*YES_NO, *TRADERS)
    order = buy("alice", "Yes", quantity=100 * MICRO, limit_price=550_000, time_in_force="FOK")
    scenario.when(order)
    scenario.rejected(Code.FOK_NOT_FILLED)
    fillable = scenario.events[0].details["fillable"]  # type: ignore[union-attr]
    assert isinstance(fillable, int)
    scenario.when(replace(order, quantity=fillable + 1)).rejected(Code.FOK_NOT_FILLED, fillable=fillable)
    scenario.when(replace(order, quantity=fillable)).then(TradeSettled, OrderPlaced)
    assert scenario.placed.execution.status == "filled"


def test_fok_for_a_spend_that_the_amm_cannot_take_fills_nothing() -> None:
    """A market order may be FOK too."""
    scenario = given(*SHALLOW, *TRADERS)
    scenario.when(buy("alice", "Yes", spend=500 * MICRO, time_in_force="FOK")).rejected(Code.FOK_NOT_FILLED)


def test_ioc_fills_what_it_can_and_cancels_the_rest() -> None:
    """Nothing rests; if nothing could be filled, the whole order is canceled."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", quantity=100 * MICRO, limit_price=550_000, time_in_force="IOC"))
    execution = scenario.then(TradeSettled, OrderPlaced).placed.execution
    assert (execution.status, execution.resting, execution.reason) == ("partially_filled", False, "price")
    scenario.when(buy("alice", "Yes", quantity=MICRO, limit_price=540_000, time_in_force="IOC", name="none"))
    execution = scenario.then(OrderPlaced).placed.execution
    assert (execution.status, execution.filled, execution.remaining) == ("canceled", 0, MICRO)


def test_post_only_that_would_cross_is_refused() -> None:
    """It is refused if it would trade with the AMM or with an order; otherwise it rests."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    crossing = buy("alice", "Yes", quantity=MICRO, limit_price=501_000, post_only=True)
    scenario.when(crossing).rejected(Code.POST_ONLY_WOULD_CROSS, limit_price=501_000)
    scenario.when(replace(crossing, limit_price=500_000)).then(OrderPlaced, OrderReserved)
    scenario.given(buy("carol", "Yes", quantity=20 * MICRO, limit_price=560_000, name="up"), CancelOrders("carol"))
    scenario.given(sell("bob", "Yes", quantity=MICRO, limit_price=570_000))
    scenario.given(buy("carol", "Yes", quantity=30 * MICRO, limit_price=569_000, name="under"))
    scenario.when(buy("alice", "Yes", quantity=MICRO, limit_price=570_000, post_only=True, name="p"))
    scenario.rejected(Code.POST_ONLY_WOULD_CROSS)
