"""The AMM's formulas: published vectors, and properties that hold for any trade at any price."""

import json
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain import lmsr
from domain.market import ActivateMarket, AddLiquidity, MarketDrafted
from domain.market_decisions import decide
from domain.market_evolution import evolve_market, reprice
from domain.market_state import Market
from domain.money import MICRO

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "zeitgeist.json").read_text())
UNIT = 10**10


def vectors(name: str) -> list[Any]:
    """Return the published cases of a function."""
    return list(VECTORS[name]["cases"])


def near(expected: float) -> object:
    """Return a value to compare with: equal to 1e-9 of a credit or share, or to the precision of a float for millions."""
    return pytest.approx(expected / UNIT, abs=1e-9, rel=1e-15)


# --- vectors published by others


@pytest.mark.parametrize(("reserve", "spend", "b", "beyond"), vectors("buy"))
def test_a_spend_buys_what_zeitgeist_says(reserve: int, spend: int, b: int, beyond: int) -> None:
    """Their trader buys complete sets for the spend and swaps the other outcomes for `beyond` more shares."""
    assert lmsr.shares_for_spend(b / UNIT, exp(-reserve / b), spend / UNIT) - spend / UNIT == near(beyond)


@pytest.mark.parametrize(("reserve", "others", "spend", "b", "beyond"), vectors("buy_among_many"))
def test_a_spend_buys_one_of_many_as_zeitgeist_says(
    reserve: int, others: list[int], spend: int, b: int, beyond: int
) -> None:
    """The same holds for up to four outcomes, priced from all reserves."""
    price = lmsr.price_vector((0,) * (len(others) + 1), (-reserve, *(-other for other in others)), b * MICRO)[0]

    assert lmsr.shares_for_spend(b / UNIT, price, spend / UNIT) - spend / UNIT == near(beyond)


@pytest.mark.parametrize(("reserve", "shares", "b", "proceeds"), vectors("sell"))
def test_a_sale_brings_what_zeitgeist_says(reserve: int, shares: int, b: int, proceeds: int) -> None:
    """A sale is a purchase of a negative number of shares."""
    assert -lmsr.cost(b / UNIT, exp(-reserve / b), -shares / UNIT) == near(proceeds)


@pytest.mark.parametrize(("reserves", "b", "price"), vectors("spot_price"))
def test_prices_are_those_of_zeitgeist(reserves: list[int], b: int, price: int) -> None:
    """Their reserve is the negative of our net shares sold."""
    assert lmsr.price_vector((0,) * len(reserves), tuple(-reserve for reserve in reserves), b * MICRO)[0] == near(price)


@pytest.mark.parametrize(("subsidy", "prices", "reserves", "b"), vectors("liquidity"))
def test_liquidity_from_opening_prices_is_that_of_zeitgeist(
    subsidy: int, prices: list[int], reserves: list[int], b: int
) -> None:
    """It is `b = S / max(-ln p)`, and the log-weights match the reserves."""
    floats = [price / UNIT for price in prices]

    assert lmsr.liquidity(subsidy, floats) / MICRO / UNIT == near(b)
    for weight, reserve in zip(lmsr.log_weights(floats), reserves, strict=True):
        assert -weight / lmsr.PICO * b / UNIT == pytest.approx(reserve / UNIT, rel=1e-9)


@pytest.mark.parametrize(("target", "b", "price", "spend"), vectors("spend_until"))
def test_the_spend_to_a_price_is_that_of_zeitgeist(target: int, b: int, price: int, spend: int) -> None:
    """The spend is the cost of the shares that move the price there."""
    shares = lmsr.shares_to_price(b / UNIT, price / UNIT, target / UNIT)

    assert lmsr.cost(b / UNIT, price / UNIT, shares) == near(spend)


@pytest.mark.parametrize(("target", "b", "price", "shares"), vectors("shares_until"))
def test_the_shares_to_a_price_are_those_of_zeitgeist(target: int, b: int, price: int, shares: int) -> None:
    """The target is lower, so as many shares are sold."""
    assert -lmsr.shares_to_price(b / UNIT, price / UNIT, target / UNIT) == near(shares)


# --- properties

liquidities = st.integers(10**11, 10**19)
"""b from 0.1 to 10 million credits, in 1e-12 credits."""
prices_ = st.floats(1e-9, 0.999)
quantities = st.one_of(st.integers(1, 1000), st.integers(1, 10**13))


@given(
    st.integers(2, 64).flatmap(
        lambda count: st.tuples(
            st.lists(st.integers(-(10**14), 10**14), min_size=count, max_size=count),
            st.lists(st.floats(0.001, 1), min_size=count, max_size=count),
        )
    ),
    liquidities,
)
def test_prices_lie_between_0_and_1_and_sum_to_1(drawn: tuple[list[int], list[float]], b: int) -> None:
    """The sum is 1 within 1e-12 as floats and exactly 1 as displayed, however much was sold."""
    sold, opening = drawn
    prices = lmsr.price_vector(lmsr.log_weights(opening), tuple(sold), b)
    shown = lmsr.displayed(prices)

    assert abs(sum(prices) - 1) <= 1e-12
    assert all(0 < price <= 1 for price in prices)
    assert sum(shown) == MICRO
    assert all(abs(rounded - price * MICRO) <= 1 for rounded, price in zip(shown, prices, strict=True))


@given(liquidities, prices_, quantities, quantities)
def test_cost_adds_up(b: int, price: float, first: int, second: int) -> None:
    """Buying in two parts costs the same as buying at once."""
    most = lmsr.buyable(b, price)
    assume(first + second <= most)
    weights = (round(log(price) * lmsr.PICO), round(log(1 - price) * lmsr.PICO))
    start = lmsr.price_vector(weights, (0, 0), b)[0]
    between = lmsr.price_vector(weights, (first, 0), b)[0]
    liquid = b / lmsr.PICO

    at_once = lmsr.cost(liquid, start, (first + second) / MICRO)
    in_parts = lmsr.cost(liquid, start, first / MICRO) + lmsr.cost(liquid, between, second / MICRO)
    assert at_once == pytest.approx(in_parts, rel=1e-9, abs=1e-9)


@given(liquidities, prices_, quantities)
def test_buying_and_selling_back_never_gains(b: int, price: float, quantity: int) -> None:
    """The proceeds, rounded down, are at most the cost, rounded up; also if sold in two parts."""
    quantity = min(quantity, lmsr.buyable(b, price))
    assume(quantity > 0)
    weights = (round(log(price) * lmsr.PICO), round(log(1 - price) * lmsr.PICO))
    paid = lmsr.cost_up(b, lmsr.price_vector(weights, (0, 0), b)[0], quantity)
    top = lmsr.price_vector(weights, (quantity, 0), b)[0]
    half = quantity // 2
    between = lmsr.price_vector(weights, (quantity - half, 0), b)[0]

    assert lmsr.proceeds_down(b, top, quantity) <= paid
    assert lmsr.proceeds_down(b, top, half) + lmsr.proceeds_down(b, between, quantity - half) <= paid


@given(liquidities, prices_, st.integers(1, 10**15))
def test_a_spend_is_never_exceeded_and_used_almost_completely(b: int, price: float, spend: int) -> None:
    """The shares cost at most the spend, and a few micro-credits' worth of shares more would cost more."""
    most = lmsr.buyable(b, price)
    quantity, cost = lmsr.affordable(b, price, spend, most)

    assert 0 <= quantity <= most
    assert lmsr.cost_up(b, price, quantity) == cost <= spend
    if quantity < most:
        assert lmsr.cost_up(b, price, min(most, quantity + 2 + round(2 / price))) >= spend


@given(liquidities, st.floats(0.0011, 0.9989))
def test_a_trade_stops_at_0_999_and_0_001(b: int, price: float) -> None:
    """No purchase goes above 0.999 and no sale below 0.001, and each comes as near as a micro-share allows."""
    weights = (round(log(price) * lmsr.PICO), round(log(1 - price) * lmsr.PICO))
    start = lmsr.price_vector(weights, (0, 0), b)[0]
    up, down = lmsr.buyable(b, start), lmsr.sellable(b, start)
    step = 1 / (b / MICRO) + 1e-12

    assert lmsr.price_vector(weights, (up, 0), b)[0] == pytest.approx(0.999, abs=step)
    assert lmsr.price_vector(weights, (-down, 0), b)[0] == pytest.approx(0.001, abs=step)
    assert lmsr.buyable(b, 0.999) == 0
    assert lmsr.sellable(b, 0.001) == 0


def test_a_price_driven_to_nothing_can_still_be_traded() -> None:
    """With three outcomes, buying two of them makes the third ever cheaper; its price stays above 0 and it can be bought."""
    b = 10**12
    prices = lmsr.price_vector((0, 0, 0), (2000 * MICRO, 2000 * MICRO, 0), b)

    assert prices[2] > 0
    quantity = lmsr.buyable(b, prices[2])
    assert quantity > 0
    assert lmsr.cost_up(b, prices[2], quantity) > 0
    assert lmsr.affordable(b, prices[2], 1, quantity)[0] > 0


# --- the AMM's loss


def market_of(subsidy: int, opening: tuple[int, ...]) -> Market:
    """Return an active market with these opening prices."""
    names = tuple(f"o{i}" for i in range(len(opening)))
    terms = MarketDrafted("m", "s", "m", "q", names, opening, subsidy, 0, 1, "r", 0, 1)
    market = evolve_market(None, terms)
    return evolve_all(market, decide(market, ActivateMarket("m"), 0))


def evolve_all(market: Market, events: Any) -> Market:
    """Return the market after the events of a decision."""
    for event in events:
        market = evolve_market(market, event)
    return market


def openings(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Return a strategy for opening prices: each at least 0.001, their sum 1."""
    extras = st.lists(st.integers(0, 10**6), min_size=count, max_size=count)
    return extras.map(lambda parts: skewed(count, parts))


def skewed(count: int, parts: list[int]) -> tuple[int, ...]:
    """Return prices of at least 0.001 that share the rest of 1 in the ratio of the parts."""
    free, total = MICRO - 1000 * count, sum(parts) or 1
    prices = [1000 + free * part // total for part in parts]
    prices[0] += MICRO - sum(prices)
    return tuple(prices)


@given(
    st.integers(2, 64).flatmap(
        lambda count: st.tuples(
            openings(count),
            st.lists(
                st.tuples(st.integers(0, count - 1), st.sampled_from([-1, 1, 1, 1]), st.integers(1, 10**15)),
                max_size=30,
            ),
        )
    ),
    st.sampled_from([MICRO, 7 * MICRO, 10_000_000 * MICRO]),
    st.integers(0, 30),
)
def test_the_amm_never_loses_more_than_its_subsidy(
    drawn: tuple[tuple[int, ...], list[tuple[int, int, int]]], subsidy: int, addition_after: int
) -> None:
    """The pool covers every outcome after any trades, from any opening prices, with liquidity added in between."""
    opening, trades = drawn
    market = market_of(subsidy, opening)
    pool, issued = subsidy, [0] * len(opening)
    for number, (outcome, side, wanted) in enumerate(trades):
        price = market.prices[outcome]
        if side > 0:
            quantity = min(wanted, lmsr.buyable(market.liquidity, price))
            pool += lmsr.cost_up(market.liquidity, price, quantity) if quantity else 0
        else:
            quantity = min(wanted, lmsr.sellable(market.liquidity, price), issued[outcome])
            pool -= lmsr.proceeds_down(market.liquidity, price, quantity) if quantity else 0
        issued[outcome] += side * quantity
        market.sold[outcome] += side * quantity
        reprice(market)
        assert pool >= max(issued)
        if number == addition_after:
            before = market.prices
            added = decide(market, AddLiquidity("m", MICRO), 0) if subsidy < 10**12 else None
            if added is not None:
                evolve_all(market, added)
                pool += MICRO
                assert market.prices == pytest.approx(before, rel=1e-11)
                assert market.liquidity > 0


def test_the_loss_comes_close_to_the_subsidy_and_no_further() -> None:
    """If one of 64 outcomes is bought up to 0.999, the AMM can lose nearly all of the subsidy."""
    market = market_of(100 * MICRO, skewed(64, [1] * 64))
    quantity = lmsr.buyable(market.liquidity, market.prices[3])
    loss = quantity - lmsr.cost_up(market.liquidity, market.prices[3], quantity)

    assert 99 * MICRO < loss <= 100 * MICRO


# --- several prices at once


@given(liquidities, st.floats(1e-9, 0.99), st.floats(0.0001, 0.9))
def test_one_price_alone_moves_as_by_the_plain_formulas(b: int, price: float, part: float) -> None:
    """With one price `traded` agrees with `shares_to_price` and `cost`."""
    liquid, target = b / lmsr.PICO, price + (0.999 - price) * part
    yielded = (target - price) / (1 - price)
    shares, average = lmsr.traded(liquid, price, target - price, yielded)

    assert shares == pytest.approx(lmsr.shares_to_price(liquid, price, target), rel=1e-6, abs=1e-9)
    assert shares * average == pytest.approx(lmsr.cost(liquid, price, shares), rel=1e-6, abs=1e-9)
    assert lmsr.until_traded(liquid, price, target - price, yielded, shares) == pytest.approx(1, rel=1e-6)
