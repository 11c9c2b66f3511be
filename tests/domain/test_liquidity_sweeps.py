"""Liquidity that is added lets the AMM fill more of an order before its price reaches the limit, so it sweeps."""

from domain.market import AddLiquidity, HaltMarket, LiquidityAdded, MarketResumed, ResumeMarket
from domain.money import MICRO
from domain.orders import RestingOrderFilled
from domain.sweeping import SWEEP_ORDERS_MAX, sweep_book
from tests.domain.scenario import SHALLOW, TRADERS, Scenario, a_market, buy, given

MORE = AddLiquidity("m", 9_000_000 * MICRO)


def with_a_bid_at_the_price() -> Scenario:
    """Return a market of subsidy 1 in which Alice's bid has brought the price to less than a micro-share below its limit."""
    return given(*SHALLOW, *TRADERS, buy("alice", "Yes", name="bid", quantity=50 * MICRO, limit_price=510_000))


def unfilled(scenario: Scenario) -> int:
    """Return the most micro-shares that the AMM would trade with a resting order within its limit, in steps of their own."""
    sweep = sweep_book(scenario.exchange.markets["m"])
    return max((fill.quantity for fill in sweep.fills), default=0) if sweep else 0


def test_added_liquidity_fills_the_orders_that_it_lets_the_amm_fill() -> None:
    """What was below 0.001 share is thousands of shares with much more liquidity; the event names the prices afterwards."""
    scenario = with_a_bid_at_the_price()
    before = scenario.resting("bid")
    scenario.when(MORE)
    added, filled = scenario.event(LiquidityAdded), scenario.event(RestingOrderFilled)

    assert filled.order_id == "bid"
    assert filled.quantity > 1_000
    assert scenario.resting("bid") == before - filled.quantity
    assert filled.prices == added.swept_prices == scenario.exchange.markets["m"].displayed_prices()
    assert not unfilled(scenario)


def test_liquidity_that_is_added_in_a_halt_sweeps_when_trading_resumes() -> None:
    """Nothing is filled while the market is halted."""
    scenario = with_a_bid_at_the_price()
    scenario.given(HaltMarket("m")).when(MORE).then(LiquidityAdded)
    assert scenario.event(LiquidityAdded).swept_prices == ()
    assert unfilled(scenario) > 1_000

    scenario.when(ResumeMarket("m"))
    resumed, filled = scenario.event(MarketResumed), scenario.event(RestingOrderFilled)
    assert filled.order_id == "bid"
    assert filled.prices == resumed.swept_prices == scenario.exchange.markets["m"].displayed_prices()
    assert not unfilled(scenario)


def test_nothing_is_swept_where_nothing_crosses() -> None:
    """The events of a market without orders, or with orders far from its price, name no prices."""
    scenario = given(*a_market(), *TRADERS, buy("alice", "Yes", quantity=MICRO, limit_price=300_000))
    scenario.when(AddLiquidity("m", MICRO)).then(LiquidityAdded)
    assert scenario.event(LiquidityAdded).swept_prices == ()
    scenario.given(HaltMarket("m")).when(ResumeMarket("m")).then(MarketResumed)
    assert scenario.event(MarketResumed).swept_prices == ()


def test_a_long_sweep_after_added_liquidity_is_cut_and_goes_on() -> None:
    """More orders than one step fills: the event says where the last step ends."""
    scenario = given(*SHALLOW, *TRADERS)
    for number in range(SWEEP_ORDERS_MAX + 20):
        scenario.given(
            buy("carol", "Yes", name=f"bid{number}", quantity=10_000 + 9 * 10**4 * (not number), limit_price=510_000)
        )
    scenario.when(MORE)
    swept = [event for event in scenario.events if isinstance(event, RestingOrderFilled)]
    assert [event.more for event in swept if event.prices] == [True, False]
    assert (
        swept[-1].prices
        == scenario.event(LiquidityAdded).swept_prices
        == scenario.exchange.markets["m"].displayed_prices()
    )
