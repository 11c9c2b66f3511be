"""The AMM fills the resting orders that its price has reached; the result is compared with trading in tiny slices."""

import time
from dataclasses import dataclass
from math import exp, log

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import lmsr
from domain.book import RestingOrder
from domain.market import ActivateMarket, MarketDrafted
from domain.market_decisions import decide
from domain.market_evolution import evolve_market, reprice, uniform_prices
from domain.market_state import Market
from domain.money import MICRO
from domain.orders import OrderPlaced, RestingOrderFilled, SplitSets
from domain.sweeping import SWEEP_ORDERS_MAX, sweep_book
from messages.results import result_of
from tests.domain.scenario import ABC, TRADERS, a_market, accounts, buy, given, sell


@dataclass
class Wish:
    """An order as a test chooses it; `size` is in units of b."""

    outcome: int
    side: str
    tick: int
    size: float


def market_with(count: int, subsidy: int, sold: list[float], wishes: list[Wish]) -> Market:
    """Return a market whose AMM has sold these shares (in units of b) and in which those of the orders rest that do not cross."""
    terms = MarketDrafted(
        "m", "s", "m", "q", tuple(map(str, range(count))), uniform_prices(count), subsidy, 0, 1, "r", 0, 1
    )
    market = evolve_market(None, terms)
    for event in decide(market, ActivateMarket("m"), 0):  # type: ignore[union-attr]
        evolve_market(market, event)  # type: ignore[arg-type]
    b = market.liquidity / 1e6
    market.sold = [round(quantity * b) for quantity in sold]
    reprice(market)
    for number, wish in enumerate(wishes):
        outcome, price = wish.outcome % count, wish.tick * 1000
        if next((True for met, _ in market.book.opposite(outcome, wish.side) if crosses(wish.side, price, met)), False):
            continue
        size = max(1, round(wish.size * b))
        age = market.book.next_age()
        market.book.add(RestingOrder(f"{number}", "a", outcome, wish.side, price, size, age, size, 0, None, "", False))
    return market


def crosses(side: str, price: int, met: int) -> bool:
    """Return whether an order at this price would meet one at that price."""
    return price >= met if side == "buy" else price <= met


def potential(market: Market, sold: list[int]) -> float:
    """Return the AMM's cost function C in micro-credits: the sum of all payments to it."""
    b = market.liquidity / 1e6
    exponents = [weight / lmsr.PICO + quantity / b for weight, quantity in zip(market.weights, sold, strict=True)]
    top = max(exponents)
    return b * (top + log(sum(exp(exponent - top) for exponent in exponents)))


def could_fill(market: Market, order: RestingOrder, prices: tuple[float, ...]) -> float:
    """Return how many micro-shares the AMM would trade with an order before its price reaches the limit."""
    limit, price = order.price / MICRO, prices[order.outcome]
    if (price >= limit) if order.side == "buy" else (price <= limit):
        return 0.0
    return market.liquidity / 1e6 * abs(log(limit / (1 - limit)) - log(price / (1 - price)))


wishes = st.builds(
    Wish,
    st.integers(0, 63),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 999),
    st.sampled_from([1e-9, 0.001, 0.1, 0.7, 3, 50]),
)
markets = st.integers(2, 8).flatmap(
    lambda count: st.builds(
        market_with,
        st.just(count),
        st.sampled_from([MICRO, 100 * MICRO, 10_000_000 * MICRO]),
        st.lists(st.floats(-2, 2), min_size=count, max_size=count),
        st.lists(wishes, max_size=20),
    )
)


@settings(max_examples=300)
@hypothesis_given(markets)
def test_a_sweep_ends_where_nothing_crosses_and_never_costs_the_amm(market: Market) -> None:
    """No order is left at a limit worse than the AMM's price, none trades beyond its limit, and the AMM gets the rise of C."""
    sweep = sweep_book(market)
    fills = {fill.order.order_id: fill for fill in sweep.fills} if sweep else {}
    sold, paid = list(market.sold), 0
    for fill in fills.values():
        sign = 1 if fill.order.side == "buy" else -1
        sold[fill.order.outcome] += sign * fill.quantity
        paid += sign * fill.cost
        at_limit = fill.order.price * fill.quantity / MICRO
        assert 0 < fill.quantity <= fill.order.remaining
        assert sign * fill.cost <= sign * at_limit + 1
    prices = lmsr.price_vector(market.weights, tuple(sold), market.liquidity)
    for order in market.book.orders.values():
        if order.order_id not in fills or fills[order.order_id].quantity < order.remaining:
            assert could_fill(market, order, prices) <= 1_000
    rise = potential(market, sold) - potential(market, market.sold)
    noise = 1e-2 + 1e-14 * abs(potential(market, sold))
    assert rise - noise <= paid <= rise + noise + 4 * len(fills) * (len(fills) + 2)


def in_slices(market: Market, step: float) -> dict[str, float]:
    """Return what each order trades if the one with the largest gap always trades a slice that moves its price by `step`."""
    b = market.liquidity / 1e6
    left = {order.order_id: float(order.remaining) for order in market.book.orders.values()}
    sold = [float(quantity) for quantity in market.sold]
    while True:
        exponents = [weight / lmsr.PICO + quantity / b for weight, quantity in zip(market.weights, sold, strict=True)]
        total = sum(exp(exponent) for exponent in exponents)
        prices = [exp(exponent) / total for exponent in exponents]
        gaps = []
        for order in market.book.orders.values():
            gap = order.price / MICRO - prices[order.outcome]
            if left[order.order_id] > 0:
                gaps.append((gap if order.side == "buy" else -gap, -order.age, order))
        if not gaps or max(gaps)[0] < step:
            return {order_id: market.book.orders[order_id].remaining - rest for order_id, rest in left.items()}
        order = max(gaps)[2]
        price = prices[order.outcome]
        quantity = min(left[order.order_id], b * step / (price * (1 - price)) / 2)
        left[order.order_id] -= quantity
        sold[order.outcome] += quantity if order.side == "buy" else -quantity


@pytest.mark.parametrize(
    "orders",
    [
        [Wish(0, "buy", 450, 5), Wish(1, "buy", 400, 5)],
        [Wish(0, "buy", 450, 0.2), Wish(1, "buy", 550, 0.5), Wish(1, "buy", 400, 5)],
        [Wish(0, "buy", 600, 3), Wish(1, "buy", 600, 2), Wish(2, "buy", 300, 4)],
        [Wish(0, "buy", 500, 1), Wish(1, "sell", 200, 1), Wish(2, "sell", 100, 0.1)],
        [Wish(0, "sell", 100, 1), Wish(1, "sell", 150, 2), Wish(2, "sell", 100, 2)],
        [Wish(0, "sell", 100, 1), Wish(1, "sell", 150, 2), Wish(2, "sell", 100, 2), Wish(3, "sell", 50, 1)],
        [Wish(0, "buy", 400, 1), Wish(1, "buy", 420, 2), Wish(2, "sell", 100, 0.1), Wish(3, "buy", 260, 1)],
    ],
)
def test_closed_formulas_agree_with_tiny_slices(orders: list[Wish]) -> None:
    """Orders on several outcomes trade as much as in ten thousand slices, the largest gap first."""
    market = market_with(4, 100 * MICRO, [0.0, 0.3, -0.2, 0.1], orders)
    b = market.liquidity / 1e6
    sweep = sweep_book(market)
    assert sweep is not None
    swept = {fill.order.order_id: fill.quantity for fill in sweep.fills}

    for order_id, quantity in in_slices(market, 1e-4).items():
        assert swept.get(order_id, 0) / b == pytest.approx(quantity / b, abs=5e-3)


@pytest.mark.parametrize(("one", "other"), [(450, 450), (500, 499), (500, 500), (501, 500), (600, 600)])
@pytest.mark.parametrize("subsidy", [MICRO, 100 * MICRO])
def test_bids_on_two_outcomes_do_not_chase_each_other_for_ever(one: int, other: int, subsidy: int) -> None:
    """Bids that sum to about 1 are filled at once, in a few events, however large they are for this AMM."""
    scenario = given(*a_market(("A", "B", "C"), subsidy=subsidy), *accounts("alice", "bob", cash=1_000_000 * MICRO))
    scenario.when(buy("alice", "A", quantity=150_000 * MICRO, limit_price=one * 1000))
    begin = time.process_time()
    scenario.when(buy("bob", "B", quantity=150_000 * MICRO, limit_price=other * 1000))

    assert time.process_time() - begin < 0.2
    assert len(scenario.events) < 10
    prices = scenario.exchange.markets["m"].prices
    assert prices[0] == pytest.approx(one / 1000, abs=3e-3) or one + other > 1000
    assert prices[1] == pytest.approx(other / 1000, abs=3e-3) or one + other > 1000


def test_a_bid_pays_at_most_its_limit_rounded_up_once() -> None:
    """In a market with a fee, bids on two outcomes are filled in several moves, each of which used to be rounded up."""
    wishes = [
        Wish(1, "buy", 301, 0.01),
        Wish(2, "buy", 300, 0.002),
        Wish(2, "buy", 301, 0.002),
        Wish(2, "buy", 298, 0.002),
        Wish(2, "buy", 298, 0.002),
        Wish(2, "buy", 299, 0.005),
        Wish(2, "buy", 302, 0.001),
        Wish(2, "buy", 302, 0.001),
    ]
    market = market_with(3, MICRO, [0.28124626537346936, 0.0, 0.0], wishes)
    market.terms = replace(market.terms, fee_rate=70_000)
    sweep = sweep_book(market)
    assert sweep is not None

    for fill in sweep.fills:
        assert fill.cost <= -(-fill.order.price * fill.quantity // MICRO)


# --- through commands


def test_a_bid_on_b_is_filled_because_others_bought_a() -> None:
    """A purchase of A makes B cheaper; at the bid's limit the AMM sells to it, though no trader sold B."""
    scenario = given(*ABC, *TRADERS, buy("alice", "B", name="bid", quantity=20 * MICRO, limit_price=300_000))
    assert scenario.resting("bid") == 20 * MICRO
    scenario.when(buy("bob", "A", quantity=60 * MICRO))
    filled = scenario.event(RestingOrderFilled)

    assert filled.order_id == "bid"
    assert filled.cost <= filled.quantity * 3 // 10
    assert scenario.resting("bid") == filled.remaining
    price = scenario.exchange.markets["m"].displayed_prices()[1]
    assert (price == 300_000) if filled.remaining else (price <= 300_000)
    assert scenario.shares("alice", "B") == filled.quantity
    assert filled.prices == scenario.exchange.markets["m"].displayed_prices()


def test_an_ask_on_b_is_filled_because_others_sold_a() -> None:
    """A sale of A makes B more expensive; at the ask's limit the AMM buys from it."""
    scenario = given(*ABC, *TRADERS, SplitSets("alice", "m", 50 * MICRO), SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("alice", "B", name="ask", quantity=5 * MICRO, limit_price=350_000))
    scenario.when(sell("bob", "A", quantity=50 * MICRO))
    filled = scenario.event(RestingOrderFilled)
    assert filled.order_id == "ask"
    assert filled.cost >= filled.quantity * 35 // 100


def test_a_bid_at_the_lowest_price_is_filled_at_the_smallest_subsidy() -> None:
    """When others buy A and B, the price of C falls to 0.000951, where the AMM has 0.045 share for the bid at 0.001."""
    scenario = given(*a_market(("A", "B", "C"), subsidy=MICRO), *TRADERS)
    scenario.given(buy("alice", "C", name="bid", quantity=346 * MICRO, limit_price=1_000))
    bid = scenario.exchange.markets["m"].book.orders["bid"]
    for outcome, limit in (("A", 998_000), ("B", 50_000)):
        scenario.given(buy("bob", outcome, quantity=50 * MICRO, limit_price=limit, time_in_force="IOC"))
    market = scenario.exchange.markets["m"]

    assert could_fill(market, bid, market.prices) <= 1_000
    assert market.prices[2] == pytest.approx(0.001, rel=2e-3)
    assert scenario.event(RestingOrderFilled).quantity > 40_000


def test_a_bid_far_below_the_lowest_price_is_filled_at_once() -> None:
    """Ten million sets of A and B sink the price of C, whose bid then gets as many shares for nothing, in a few moves."""
    scenario = given(*a_market(("A", "B", "C"), subsidy=MICRO), *accounts("alice", "bob", "carol", cash=10**15))
    scenario.given(buy("bob", "C", name="bid", quantity=10**13, limit_price=2_000))
    scenario.given(buy("alice", "A", quantity=10**13, limit_price=600_000))
    begin = time.process_time()
    scenario.given(buy("carol", "B", quantity=10**13, limit_price=500_000))

    assert time.process_time() - begin < 2
    market = scenario.exchange.markets["m"]
    assert could_fill(market, market.book.orders["bid"], market.prices) <= 1_000
    assert market.sold[:2] == [10**13, 10**13]
    assert market.prices[2] == pytest.approx(0.002, abs=1e-6)


QUOTED = buy("bob", "A", quantity=60 * MICRO, name="quoted")


def test_a_quote_has_the_prices_after_the_sweep_that_the_order_sets_off() -> None:
    """Alice's bid on B is filled by the sweep, in the quote as well as in the order; the quote changes nothing."""
    scenario = given(*ABC, *TRADERS, buy("alice", "B", name="bid", quantity=20 * MICRO, limit_price=300_000))
    before = scenario.exchange.state_hash()
    quote = scenario.quote(QUOTED)
    assert isinstance(quote, OrderPlaced)

    assert quote.execution.prices == (491_506, 254_247, 254_247)
    assert quote.execution.final_prices == (462_604, 298_099, 239_297)
    assert scenario.exchange.state_hash() == before
    assert quote == scenario.when(QUOTED).placed
    assert result_of([quote])["prices"] == result_of(scenario.events)["prices"] == ["0.462604", "0.298099", "0.239297"]
    assert scenario.exchange.markets["m"].displayed_prices() == quote.execution.final_prices


def test_a_quote_sweeps_what_the_order_itself_leaves_in_the_book() -> None:
    """Bob buys A up to 0.45 and leaves a bid there. The sweep fills Alice's bid on B, which lets it fill more of Bob's."""
    scenario = given(*ABC, *TRADERS, buy("alice", "B", name="bid", quantity=20 * MICRO, limit_price=300_000))
    wish = buy("bob", "A", quantity=90 * MICRO, limit_price=450_000, name="wish")
    quote = scenario.quote(wish)

    assert quote == scenario.when(wish).placed
    assert {event.order_id for event in scenario.events if isinstance(event, RestingOrderFilled)} == {"bid", "wish"}
    assert scenario.exchange.markets["m"].displayed_prices() == scenario.placed.execution.final_prices


def test_a_quote_leaves_out_what_the_order_takes_off_the_book() -> None:
    """Carol's bid is complete before the sweep, and her own order gives way; neither is swept once more."""
    scenario = given(*a_market(), *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    scenario.given(buy("carol", "Yes", name="met", quantity=3 * MICRO, limit_price=480_000))
    scenario.given(buy("bob", "Yes", name="own", quantity=3 * MICRO, limit_price=470_000))
    scenario.given(buy("carol", "Yes", name="part", quantity=9 * MICRO, limit_price=460_000))
    wish = sell("bob", "Yes", quantity=25 * MICRO, limit_price=460_000, name="w", self_trade_prevention="cancel_maker")
    quote = scenario.quote(wish)

    assert quote == scenario.when(wish).placed
    assert (scenario.resting("met"), scenario.resting("own")) == (0, 0)
    assert quote.execution.swept_prices == ()
    assert scenario.exchange.markets["m"].displayed_prices() == quote.execution.final_prices


def test_a_quote_has_the_prices_after_a_sweep_in_several_steps() -> None:
    """More orders than one step fills: the order says where the last step ends, and there it ends."""
    scenario = given(*ABC, *TRADERS)
    for number in range(SWEEP_ORDERS_MAX + 20):
        scenario.given(buy("alice", "B", name=f"bid{number}", quantity=MICRO // 10, limit_price=300_000))
    quote = scenario.quote(QUOTED)

    assert quote == scenario.when(QUOTED).placed
    swept = [event for event in scenario.events if isinstance(event, RestingOrderFilled)]
    assert [event.more for event in swept if event.prices] == [True, False]
    assert swept[-1].prices == scenario.placed.execution.swept_prices
    assert result_of(scenario.events)["prices"] == [f"{price / MICRO:.6f}" for price in swept[-1].prices]
