"""Orders of every type, alone with the maker and against each other; each ends exactly as the rules say."""

from math import log

import pytest
from msgspec.structs import replace

from domain.account import AccountOpened, OrderReleased, OrderReserved, TradeSettled
from domain.market import CloseMarket
from domain.money import MICRO, largest_fee, taker_fee
from domain.orders import (
    OPEN_ORDERS_MAX,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    OrderAmended,
    OrderCanceled,
    OrderPlaced,
    OrderReduced,
    RestingOrderFilled,
    SplitSets,
)
from domain.partition import CommandHadNoEffect
from domain.rejections import Code, Rejection
from tests.domain.scenario import CLOSE, START, Scenario, a_market, accounts, buy, given, sell

YES_NO = a_market()
ABC = a_market(("A", "B", "C"))
TRADERS = accounts("alice", "bob", "carol")
DEEP = a_market(subsidy=1_000_000 * MICRO)
"""A maker so deep that its price hardly moves in these tests."""
SHALLOW = a_market(subsidy=MICRO)


def resting(scenario: Scenario, order_id: str, market: str = "m") -> int:
    """Return how much of an order rests, 0 when it does not."""
    order = scenario.exchange.markets[market].book.orders.get(order_id)
    return order.remaining if order else 0


# --- market orders against the maker


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
    """The maker stops long before it has taken the spend; what is asked for must be there all the same."""
    scenario = given(*YES_NO, *TRADERS)

    scenario.when(buy("alice", "Yes", spend=1_000_000 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS)


def test_a_purchase_by_spend_costs_at_most_the_spend() -> None:
    """And buys as many shares as that allows."""
    execution = given(*YES_NO, *TRADERS).when(buy("alice", "Yes", spend=5 * MICRO)).placed.execution
    assert 5 * MICRO - 1 <= execution.cost <= 5 * MICRO
    assert execution.filled == execution.fills[0].quantity
    assert execution.remaining == 0


def test_a_sale_brings_at_most_what_the_purchase_cost() -> None:
    """And the prices are what they were."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    execution = scenario.when(sell("alice", "Yes", quantity=10 * MICRO)).placed.execution
    assert execution.prices == (500_000, 500_000)
    assert 1_000 * MICRO - 2 <= scenario.cash("alice") < 1_000 * MICRO


def test_a_purchase_stops_at_the_highest_price_and_the_rest_is_unfilled() -> None:
    """0.999; the remainder of a market order is canceled."""
    execution = given(*SHALLOW, *TRADERS).when(buy("alice", "Yes", quantity=500 * MICRO)).placed.execution
    assert execution.prices == (999_000, 1_000)
    assert execution.status == "partially_filled"
    assert execution.reason == "price"
    assert 0 < execution.filled == 500 * MICRO - execution.remaining


def test_more_than_there_is_cannot_be_bought_or_sold() -> None:
    """Cash and shares are checked to the micro-unit."""
    scenario = given(*YES_NO, *accounts("alice", cash=5 * MICRO))
    quote = scenario.exchange.quote(buy("alice", "Yes", quantity=5 * MICRO), scenario.time)
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
    """To the micro-unit, and asking changes nothing."""
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
        quote = scenario.exchange.quote(wish, scenario.time + 1)
        assert scenario.exchange.state_hash() == before
        assert quote == scenario.when(wish).placed
    refused = scenario.exchange.quote(sell("alice", "0", quantity=MICRO), scenario.time)
    assert isinstance(refused, Rejection)
    scenario.when(sell("alice", "0", quantity=MICRO)).rejected(refused.code)


# --- guards and fees


def test_max_cost_and_min_proceeds_include_the_fee_and_refuse_to_the_micro_credit() -> None:
    """Broken by one micro-credit: nothing is filled."""
    scenario = given(*a_market(fee_rate=50_000), *TRADERS)
    wish = buy("alice", "Yes", quantity=10 * MICRO)
    quote = scenario.exchange.quote(wish, scenario.time)
    assert isinstance(quote, OrderPlaced)
    cost = quote.execution.cost + quote.execution.fee
    scenario.when(replace(wish, max_cost=cost - 1)).rejected(Code.SLIPPAGE, cost=cost, max_cost=cost - 1)
    scenario.given(replace(wish, max_cost=cost))

    wish = sell("alice", "Yes", quantity=10 * MICRO)
    quote = scenario.exchange.quote(wish, scenario.time)
    assert isinstance(quote, OrderPlaced)
    proceeds = quote.execution.cost - quote.execution.fee
    scenario.when(replace(wish, min_proceeds=proceeds + 1)).rejected(Code.SLIPPAGE, proceeds=proceeds)
    scenario.given(replace(wish, min_proceeds=proceeds))


def test_the_taker_pays_the_fee_and_the_resting_order_none() -> None:
    """On the average price, rounded up, into the fees account; what was held for a fee comes back."""
    scenario = given(*a_market(fee_rate=100_000, subsidy=MICRO), *TRADERS, SplitSets("bob", "m", 20 * MICRO))
    limit, quantity = 400_000, 10 * MICRO
    scenario.given(buy("alice", "Yes", name="bid", quantity=quantity, limit_price=limit))
    hold = quantity * limit // MICRO + largest_fee(100_000, quantity, limit)
    assert scenario.exchange.accounts["alice"].held == hold
    execution = scenario.when(sell("bob", "Yes", quantity=20 * MICRO)).placed.execution

    assert execution.fee == taker_fee(100_000, execution.filled, execution.cost) > 0
    assert scenario.balances()["fees"] == execution.fee
    assert scenario.exchange.accounts["alice"].held == 0
    assert scenario.cash("alice") == 996 * MICRO


# --- limit orders


def test_a_limit_order_takes_up_to_its_price_and_rests_with_the_remainder() -> None:
    """It holds the limit times what remains, no more."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", name="o", quantity=100 * MICRO, limit_price=550_000))
    execution = scenario.then(TradeSettled, OrderPlaced, OrderReserved).placed.execution
    assert execution.status == "partially_filled"
    assert execution.resting
    assert execution.prices == (550_000, 450_000)
    assert resting(scenario, "o") == execution.remaining
    assert scenario.event(OrderReserved).cash == -(-execution.remaining * 55 // 100)


def test_orders_are_filled_by_price_then_by_age() -> None:
    """The best price first; at equal prices the oldest, and of the last only what is still wanted."""
    scenario = given(*DEEP, *TRADERS, SplitSets("carol", "m", 100 * MICRO))
    bids = [("alice", "a1", 490_000), ("bob", "b1", 495_000), ("bob", "b2", 490_000), ("alice", "a2", 495_000)]
    scenario.given(*(buy(who, "Yes", name=name, quantity=10 * MICRO, limit_price=price) for who, name, price in bids))
    # The maker's own price is 0.5 and falls only slightly, so it sells all the while at more than these bids.
    scenario = given(*SHALLOW, *TRADERS, SplitSets("carol", "m", 100 * MICRO))
    scenario.given(*(buy(who, "Yes", name=name, quantity=10 * MICRO, limit_price=price) for who, name, price in bids))
    fills = scenario.when(sell("carol", "Yes", quantity=35 * MICRO)).placed.execution.fills

    assert [fill.order_id for fill in fills] == [None, "b1", "a2", None, "a1", "b2"]
    assert [fill.price for fill in fills if fill.order_id] == [495_000, 495_000, 490_000, 490_000]
    assert sum(fill.quantity for fill in fills) == 35 * MICRO
    assert 0 < resting(scenario, "b2") < 10 * MICRO


def test_the_maker_is_taken_first_where_it_is_better_and_the_book_where_that_is() -> None:
    """Step by step, never a worse price before a better one."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("bob", "Yes", name="ask", quantity=5 * MICRO, limit_price=520_000))
    fills = scenario.when(buy("alice", "Yes", quantity=30 * MICRO)).placed.execution.fills
    assert [fill.source for fill in fills] == ["amm", "book", "amm"]
    assert fills[0].price < 520_000 == fills[1].price < fills[2].price
    assert fills[1].quantity == 5 * MICRO


def test_with_two_outcomes_a_bid_on_one_is_an_ask_on_the_other() -> None:
    """The two pay together for complete sets, which are created for them."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="bid", quantity=10 * MICRO, limit_price=400_000))
    execution = scenario.when(buy("bob", "No", quantity=65 * MICRO, limit_price=600_000)).placed.execution
    maker, order = execution.fills
    assert maker.source == "amm"  # from 0.5 up to 0.6 it was better
    assert order.order_id == "bid"
    assert order.price == 600_000
    assert order.cost + order.resting_cost == order.quantity == execution.sets


def test_with_two_outcomes_an_ask_on_one_is_a_bid_on_the_other() -> None:
    """Two sales meet and dissolve complete sets."""
    scenario = given(*SHALLOW, *TRADERS, SplitSets("alice", "m", 10 * MICRO), SplitSets("bob", "m", 10 * MICRO))
    scenario.given(sell("alice", "Yes", name="ask", quantity=10 * MICRO, limit_price=550_000))
    execution = scenario.when(sell("bob", "No", quantity=10 * MICRO, limit_price=430_000)).placed.execution
    order = execution.fills[-1]
    assert order.order_id == "ask"
    assert order.price == 450_000
    assert order.cost + order.resting_cost == order.quantity == -execution.sets


def test_a_bid_on_b_is_filled_because_others_bought_a() -> None:
    """A purchase of A makes B cheaper; at the bid's limit the maker sells to it, though nobody sold B."""
    scenario = given(*ABC, *TRADERS, buy("alice", "B", name="bid", quantity=20 * MICRO, limit_price=300_000))
    assert resting(scenario, "bid") == 20 * MICRO
    scenario.when(buy("bob", "A", quantity=60 * MICRO))
    filled = scenario.event(RestingOrderFilled)

    assert filled.order_id == "bid"
    assert filled.cost <= filled.quantity * 3 // 10
    assert resting(scenario, "bid") == filled.remaining
    price = scenario.exchange.markets["m"].displayed_prices()[1]
    assert (price == 300_000) if filled.remaining else (price <= 300_000)
    assert scenario.shares("alice", "B") == filled.quantity
    assert filled.prices == scenario.exchange.markets["m"].displayed_prices()


def test_an_ask_on_b_is_filled_because_others_sold_a() -> None:
    """The other way round: B grows dearer."""
    scenario = given(*ABC, *TRADERS, SplitSets("alice", "m", 50 * MICRO), SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("alice", "B", name="ask", quantity=5 * MICRO, limit_price=350_000))
    scenario.when(sell("bob", "A", quantity=50 * MICRO))
    filled = scenario.event(RestingOrderFilled)
    assert filled.order_id == "ask"
    assert filled.cost >= filled.quantity * 35 // 100


# --- time in force


def test_fok_that_can_be_filled_only_partly_fills_nothing() -> None:
    """And says how much it could have."""
    scenario = given(*YES_NO, *TRADERS)
    order = buy("alice", "Yes", quantity=100 * MICRO, limit_price=550_000, time_in_force="FOK")
    scenario.when(order)
    scenario.rejected(Code.FOK_NOT_FILLED)
    fillable = scenario.events[0].details["fillable"]  # type: ignore[union-attr]
    assert isinstance(fillable, int)
    scenario.when(replace(order, quantity=fillable + 1)).rejected(Code.FOK_NOT_FILLED, fillable=fillable)
    scenario.when(replace(order, quantity=fillable)).then(TradeSettled, OrderPlaced)
    assert scenario.placed.execution.status == "filled"


def test_fok_for_a_spend_that_the_maker_cannot_take_fills_nothing() -> None:
    """A market order may be FOK too."""
    scenario = given(*SHALLOW, *TRADERS)
    scenario.when(buy("alice", "Yes", spend=500 * MICRO, time_in_force="FOK")).rejected(Code.FOK_NOT_FILLED)


def test_ioc_fills_what_it_can_and_cancels_the_rest() -> None:
    """Nothing rests; where nothing was filled the order is canceled whole."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", quantity=100 * MICRO, limit_price=550_000, time_in_force="IOC"))
    execution = scenario.then(TradeSettled, OrderPlaced).placed.execution
    assert (execution.status, execution.resting, execution.reason) == ("partially_filled", False, "price")
    scenario.when(buy("alice", "Yes", quantity=MICRO, limit_price=540_000, time_in_force="IOC", name="none"))
    execution = scenario.then(OrderPlaced).placed.execution
    assert (execution.status, execution.filled, execution.remaining) == ("canceled", 0, MICRO)


def test_post_only_that_would_cross_is_refused() -> None:
    """Whether with the maker or with an order; one that would not, rests."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    crossing = buy("alice", "Yes", quantity=MICRO, limit_price=501_000, post_only=True)
    scenario.when(crossing).rejected(Code.POST_ONLY_WOULD_CROSS, limit_price=501_000)
    scenario.when(replace(crossing, limit_price=500_000)).then(OrderPlaced, OrderReserved)
    scenario.given(buy("carol", "Yes", quantity=20 * MICRO, limit_price=560_000, name="up"), CancelOrders("carol"))
    scenario.given(sell("bob", "Yes", quantity=MICRO, limit_price=570_000))
    scenario.given(buy("carol", "Yes", quantity=30 * MICRO, limit_price=569_000, name="under"))
    scenario.when(buy("alice", "Yes", quantity=MICRO, limit_price=570_000, post_only=True, name="p"))
    scenario.rejected(Code.POST_ONLY_WOULD_CROSS)


def test_own_orders_that_meet_cancel_the_taker() -> None:
    """By default: what came before them is filled, the rest of the new order is canceled, the resting one stays."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", 50 * MICRO))
    scenario.given(sell("alice", "Yes", name="own", quantity=5 * MICRO, limit_price=520_000))
    execution = scenario.when(buy("alice", "Yes", quantity=30 * MICRO, limit_price=600_000)).placed.execution
    assert [fill.source for fill in execution.fills] == ["amm"]
    assert execution.prices[0] == 520_000
    assert (execution.status, execution.resting, execution.reason) == ("partially_filled", False, "self_trade")
    assert resting(scenario, "own") == 5 * MICRO


def test_own_orders_that_meet_cancel_the_maker_if_asked_for() -> None:
    """The resting one is canceled and the new one goes on, past it."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", 50 * MICRO), SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("alice", "Yes", name="own", quantity=5 * MICRO, limit_price=520_000))
    scenario.given(sell("bob", "Yes", name="other", quantity=5 * MICRO, limit_price=520_000))
    scenario.when(buy("alice", "Yes", quantity=30 * MICRO, limit_price=600_000, self_trade_prevention="cancel_maker"))
    assert scenario.event(OrderCanceled).reason == "self_trade"
    assert scenario.event(OrderReleased).shares == 5 * MICRO
    execution = scenario.placed.execution
    assert execution.status == "filled"
    assert [fill.order_id for fill in execution.fills if fill.order_id] == ["other"]
    assert resting(scenario, "own") == 0


def test_what_a_canceled_own_order_held_pays_for_the_order_that_canceled_it() -> None:
    """An ask on No is a bid on Yes: canceling the own bid frees the cash in the same command."""
    scenario = given(
        *SHALLOW, *accounts("alice", cash=10 * MICRO), *accounts("bob"), SplitSets("bob", "m", 100 * MICRO)
    )
    scenario.given(buy("alice", "No", name="own", quantity=20 * MICRO, limit_price=490_000))
    assert scenario.cash("alice") < MICRO
    scenario.given(sell("bob", "Yes", name="ask", quantity=10 * MICRO, limit_price=600_000))
    scenario.when(buy("alice", "Yes", quantity=10 * MICRO, limit_price=600_000, self_trade_prevention="cancel_maker"))
    assert scenario.placed.execution.status == "filled"
    assert scenario.event(OrderCanceled).order_id == "own"


def test_reduce_only_sells_no_more_than_is_available() -> None:
    """What rests elsewhere is not available; where there is nothing it is refused."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    scenario.given(sell("alice", "Yes", quantity=4 * MICRO, limit_price=900_000))
    placed = scenario.when(sell("alice", "Yes", quantity=50 * MICRO, reduce_only=True)).placed
    assert placed.quantity == 6 * MICRO == placed.execution.filled
    scenario.when(sell("alice", "Yes", quantity=MICRO, reduce_only=True, name="x")).rejected(Code.REDUCE_ONLY)


def test_shares_held_by_a_resting_sale_cannot_be_sold_again() -> None:
    """Nothing is promised twice."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    scenario.given(sell("alice", "Yes", name="ask", quantity=7 * MICRO, limit_price=900_000))
    scenario.when(sell("alice", "Yes", quantity=3 * MICRO + 1)).rejected(Code.INSUFFICIENT_SHARES, available=3 * MICRO)
    scenario.given(sell("alice", "Yes", quantity=3 * MICRO))
    scenario.given(CancelOrder("alice", "ask"), sell("alice", "Yes", quantity=7 * MICRO))


def test_cash_held_by_a_resting_purchase_cannot_be_spent_again() -> None:
    """Available cash is what is left."""
    scenario = given(*YES_NO, *accounts("alice", cash=10 * MICRO))
    scenario.given(buy("alice", "Yes", quantity=20 * MICRO, limit_price=400_000))
    assert scenario.cash("alice") == 2 * MICRO
    scenario.when(buy("alice", "No", spend=3 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS, available=2 * MICRO)


# --- cancel, amend


def test_a_canceled_order_gives_back_what_it_held() -> None:
    """All of it."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=20 * MICRO, limit_price=400_000))
    scenario.when(CancelOrder("alice", "o")).then(OrderCanceled, OrderReleased)
    assert scenario.cash("alice") == 1_000 * MICRO
    scenario.when(CancelOrder("alice", "o")).rejected(Code.ORDER_NOT_OPEN)


def test_a_filled_order_cannot_be_canceled() -> None:
    """It is not open any more; the same for one that never was."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=MICRO, limit_price=600_000))
    scenario.when(CancelOrder("alice", "o")).rejected(Code.ORDER_NOT_OPEN, order="o")
    scenario.when(AmendOrder("alice", "nowhere", quantity=MICRO)).rejected(Code.ORDER_NOT_OPEN)


def test_an_order_of_somebody_else_cannot_be_canceled_or_amended() -> None:
    """Only its owner may."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=MICRO, limit_price=400_000))
    scenario.when(CancelOrder("bob", "o")).rejected(Code.NOT_ORDER_OWNER, order="o")
    scenario.when(AmendOrder("bob", "o", quantity=2 * MICRO)).rejected(Code.NOT_ORDER_OWNER)


def test_cancel_all_and_by_market() -> None:
    """Of one account only; where there is nothing to cancel the command has no effect."""
    setup = (*a_market(), *a_market(("A", "B", "C"), market="n"), *TRADERS)
    scenario = given(*setup)
    for market, outcome in (("m", "Yes"), ("m", "No"), ("n", "A")):
        for who in ("alice", "bob"):
            scenario.given(
                buy(who, outcome, market=market, quantity=MICRO, limit_price=100_000, name=f"{who}{outcome}")
            )
    scenario.when(CancelOrders("alice", "m")).then(*(OrderCanceled, OrderReleased) * 2)
    scenario.when(CancelOrders("alice")).then(OrderCanceled, OrderReleased)
    scenario.when(CancelOrders("alice")).then(CommandHadNoEffect)
    assert len(scenario.exchange.markets["m"].book) == 2
    scenario.when(CancelOrders("alice", "x")).rejected(Code.MARKET_NOT_FOUND)


def queue(scenario: Scenario) -> list[str]:
    """Return the order in which resting bids on Yes would be met."""
    return [order.order_id for _, order in scenario.exchange.markets["m"].book.opposite(0, "sell")]


def three_bids() -> Scenario:
    """Return three bids at one price, oldest first."""
    bids = [buy("alice", "Yes", name=name, quantity=10 * MICRO, limit_price=400_000) for name in ("1", "2", "3")]
    return given(*YES_NO, *TRADERS, *bids)


def test_an_order_that_shrinks_keeps_its_place() -> None:
    """And gives back what it no longer needs."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "1", quantity=4 * MICRO)).then(OrderReduced, OrderReleased)
    assert queue(scenario) == ["1", "2", "3"]
    assert resting(scenario, "1") == 4 * MICRO
    assert scenario.event(OrderReleased).cash == 2_400_000


def test_an_order_that_grows_loses_its_place() -> None:
    """It goes behind the others of its price."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "1", quantity=12 * MICRO)).then(OrderReleased, OrderAmended, OrderReserved)
    assert queue(scenario) == ["2", "3", "1"]
    assert scenario.exchange.accounts["alice"].held == 12_800_000


def test_an_order_with_a_new_price_loses_its_place_even_when_it_comes_back() -> None:
    """And when it shrinks at the same time."""
    scenario = three_bids()
    scenario.given(AmendOrder("alice", "2", limit_price=410_000))
    assert queue(scenario) == ["2", "1", "3"]
    scenario.given(AmendOrder("alice", "2", limit_price=400_000, quantity=9 * MICRO))
    assert queue(scenario) == ["1", "3", "2"]


def test_an_amended_order_that_now_crosses_trades() -> None:
    """As a new order would; its quantity counts what was filled before."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "2", limit_price=600_000))
    amended = scenario.event(OrderAmended)
    assert amended.execution.status == "filled"
    assert amended.execution.filled == 10 * MICRO
    assert queue(scenario) == ["1", "3"]


def test_the_quantity_of_a_partly_filled_order_includes_what_is_filled() -> None:
    """It cannot fall to what is filled or below."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=100 * MICRO, limit_price=550_000))
    filled = scenario.placed.execution.filled
    scenario.when(AmendOrder("alice", "o", quantity=filled)).rejected(Code.INVALID_FIELD, field="quantity")
    scenario.when(AmendOrder("alice", "o", quantity=filled + 1)).then(OrderReduced, OrderReleased)
    assert resting(scenario, "o") == 1
    scenario.given(AmendOrder("alice", "o", quantity=filled + 10))
    assert scenario.event(OrderAmended).filled_before == filled


def test_an_amendment_that_changes_nothing_has_no_effect() -> None:
    """It is recorded as such."""
    three_bids().when(AmendOrder("alice", "1", limit_price=400_000)).then(CommandHadNoEffect)
    three_bids().when(AmendOrder("alice", "1")).then(CommandHadNoEffect)


def test_a_refused_amendment_leaves_the_order_as_it_was() -> None:
    """More than can be paid, more shares than there are, a price off the tick, a post-only order that would cross."""
    scenario = three_bids()
    before = scenario.exchange.markets["m"].book.orders["1"]
    scenario.when(AmendOrder("alice", "1", quantity=10_000 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS)
    scenario.when(AmendOrder("alice", "1", limit_price=400_500)).rejected(Code.INVALID_PRICE)
    assert scenario.exchange.markets["m"].book.orders["1"] == before
    assert queue(scenario) == ["1", "2", "3"]
    scenario.given(
        SplitSets("bob", "m", 5 * MICRO), sell("bob", "Yes", name="s", quantity=5 * MICRO, limit_price=800_000)
    )
    scenario.when(AmendOrder("bob", "s", quantity=6 * MICRO)).rejected(Code.INSUFFICIENT_SHARES, available=5 * MICRO)
    scenario.given(buy("carol", "Yes", name="p", quantity=MICRO, limit_price=300_000, post_only=True))
    scenario.when(AmendOrder("carol", "p", limit_price=600_000)).rejected(Code.POST_ONLY_WOULD_CROSS)


def test_a_sale_can_be_amended_up_to_all_shares_of_the_account() -> None:
    """What it holds itself counts as available to it."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 5 * MICRO))
    scenario.given(sell("bob", "Yes", name="s", quantity=2 * MICRO, limit_price=800_000))
    scenario.given(AmendOrder("bob", "s", quantity=5 * MICRO, limit_price=700_000))
    assert resting(scenario, "s") == 5 * MICRO


def test_an_amended_order_still_expires() -> None:
    """At its time, once."""
    wish = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + 10**7
    )
    scenario = given(*YES_NO, *TRADERS, wish, AmendOrder("alice", "o", limit_price=410_000))
    scenario.wait_until(START + 10**7).then(OrderCanceled, OrderReleased)
    scenario.wait_until(START + 10**8).then()


# --- fields


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "quantity"),
        ({"quantity": MICRO, "spend": MICRO}, "quantity"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 10**15 + 1}, "quantity"),
        ({"spend": 0}, "spend"),
        ({"spend": MICRO, "limit_price": 500_000}, "spend"),
        ({"quantity": MICRO, "max_cost": 0}, "max_cost"),
        ({"quantity": MICRO, "min_proceeds": 1}, "min_proceeds"),
        ({"quantity": MICRO, "min_proceeds": -1}, "min_proceeds"),
        ({"quantity": MICRO, "reduce_only": True}, "reduce_only"),
        ({"quantity": MICRO, "post_only": True}, "post_only"),
        ({"quantity": MICRO, "limit_price": 500_000, "post_only": True, "time_in_force": "IOC"}, "post_only"),
        ({"quantity": MICRO, "time_in_force": "GTC"}, "time_in_force"),
        ({"quantity": MICRO, "limit_price": 500_000, "time_in_force": "GTD"}, "expires_at"),
        ({"quantity": MICRO, "limit_price": 500_000, "expires_at": CLOSE}, "expires_at"),
    ],
)
def test_fields_that_do_not_go_together_are_refused_by_name(fields: dict[str, object], field: str) -> None:
    """Each names the field."""
    given(*YES_NO, *TRADERS).when(buy("alice", "Yes", **fields)).rejected(Code.INVALID_FIELD, field=field)


def test_type_and_price_go_together() -> None:
    """A limit order has a price, a market order has none."""
    scenario = given(*YES_NO, *TRADERS)
    wish = buy("alice", "Yes", quantity=MICRO, limit_price=500_000)
    scenario.when(replace(wish, limit_price=None)).rejected(Code.INVALID_FIELD, field="limit_price")
    scenario.when(replace(wish, type="market")).rejected(Code.INVALID_FIELD, field="limit_price")
    scenario.when(sell("alice", "Yes", quantity=MICRO, max_cost=MICRO)).rejected(Code.INVALID_FIELD, field="max_cost")
    scenario.when(sell("alice", "Yes", spend=MICRO)).rejected(Code.INVALID_FIELD, field="spend")


@pytest.mark.parametrize("price", [0, 500, 999, 500_001, 999_001, 1_000_000, -1000])
def test_prices_lie_on_the_tick(price: int) -> None:
    """0.001 to 0.999 in steps of 0.001."""
    given(*YES_NO, *TRADERS).when(buy("alice", "Yes", quantity=MICRO, limit_price=price)).rejected(Code.INVALID_PRICE)


def test_what_does_not_exist_is_refused_by_its_kind() -> None:
    """Market, account, outcome."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", market="x", quantity=MICRO)).rejected(Code.MARKET_NOT_FOUND, market="x")
    scenario.when(buy("dave", "Yes", quantity=MICRO)).rejected(Code.ACCOUNT_NOT_FOUND, account="dave")
    scenario.when(buy("alice", "Perhaps", quantity=MICRO)).rejected(Code.UNKNOWN_OUTCOME, outcome="Perhaps")
    scenario.when(CancelOrders("dave")).rejected(Code.ACCOUNT_NOT_FOUND)
    scenario.when(CancelOrder("dave", "o")).rejected(Code.ACCOUNT_NOT_FOUND)


def test_an_order_cannot_expire_in_the_past() -> None:
    """Nor at this very moment."""
    scenario = given(*YES_NO, *TRADERS)
    wish = buy("alice", "Yes", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=scenario.time + 1)
    scenario.when(wish).rejected(Code.ORDER_EXPIRED, expires_at=scenario.time)


def test_the_least_spend_buys_at_least_a_micro_share() -> None:
    """A micro-credit, even at the highest price: a price is always below 1."""
    scenario = given(*SHALLOW, *TRADERS, buy("alice", "Yes", quantity=500 * MICRO), buy("alice", "No", quantity=1))
    assert scenario.when(buy("bob", "Yes", spend=1)).placed.execution.filled == 1


def test_a_sale_that_brings_nothing_after_rounding_is_refused() -> None:
    """Nobody gives shares away by a market order; a little more brings a micro-credit."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("alice", "m", MICRO))
    scenario.when(sell("alice", "Yes", quantity=1)).rejected(Code.ORDER_TOO_SMALL, quantity=1)
    assert scenario.when(sell("alice", "Yes", quantity=3)).placed.execution.cost == 1


def test_an_account_may_have_a_thousand_open_orders() -> None:
    """So that canceling all of them is one bounded command."""
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
