"""Placing, canceling and amending: what an account may do with its orders, and what becomes of their place in time."""

from domain.account import OrderReleased, OrderReserved
from domain.money import MICRO
from domain.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    OrderAmended,
    OrderCanceled,
    OrderReduced,
    SplitSets,
)
from domain.partition import CommandHadNoEffect
from domain.rejections import Code
from tests.domain.scenario import START, TRADERS, YES_NO, Scenario, a_market, buy, given, sell


def test_what_does_not_exist_is_refused_by_its_kind() -> None:
    """A missing market, account or outcome has a code of its own."""
    scenario = given(*YES_NO, *TRADERS)
    scenario.when(buy("alice", "Yes", market="x", quantity=MICRO)).rejected(Code.MARKET_NOT_FOUND, market="x")
    scenario.when(buy("dave", "Yes", quantity=MICRO)).rejected(Code.ACCOUNT_NOT_FOUND, account="dave")
    scenario.when(buy("alice", "Perhaps", quantity=MICRO)).rejected(Code.UNKNOWN_OUTCOME, outcome="Perhaps")
    scenario.when(CancelOrders("dave")).rejected(Code.ACCOUNT_NOT_FOUND)
    scenario.when(CancelOrder("dave", "o")).rejected(Code.ACCOUNT_NOT_FOUND)


def test_reduce_only_sells_no_more_than_is_available() -> None:
    """Shares reserved by other orders are not available; if none is available, the order is refused."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    scenario.given(sell("alice", "Yes", quantity=4 * MICRO, limit_price=900_000))
    placed = scenario.when(sell("alice", "Yes", quantity=50 * MICRO, reduce_only=True)).placed
    assert placed.quantity == 6 * MICRO == placed.execution.filled
    scenario.when(sell("alice", "Yes", quantity=MICRO, reduce_only=True, name="x")).rejected(Code.REDUCE_ONLY)


# --- canceling


def test_a_filled_order_cannot_be_canceled() -> None:
    """It is no longer open. An order that never existed is refused in the same way."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=MICRO, limit_price=600_000))
    scenario.when(CancelOrder("alice", "o")).rejected(Code.ORDER_NOT_OPEN, order="o")
    scenario.when(AmendOrder("alice", "nowhere", quantity=MICRO)).rejected(Code.ORDER_NOT_OPEN)


def test_an_order_of_somebody_else_cannot_be_canceled_or_amended() -> None:
    """Only its owner may do that."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=MICRO, limit_price=400_000))
    scenario.when(CancelOrder("bob", "o")).rejected(Code.NOT_ORDER_OWNER, order="o")
    scenario.when(AmendOrder("bob", "o", quantity=2 * MICRO)).rejected(Code.NOT_ORDER_OWNER)


def test_cancel_all_and_by_market() -> None:
    """Only orders of that account are canceled; if there are none, the command has no effect."""
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


# --- amending


def queue(scenario: Scenario) -> list[str]:
    """Return the ids of the resting bids on Yes in the order in which a sale meets them."""
    return [order.order_id for _, order in scenario.exchange.markets["m"].book.opposite(0, "sell")]


def three_bids() -> Scenario:
    """Return a scenario with three bids at one price, the oldest first."""
    bids = [buy("alice", "Yes", name=name, quantity=10 * MICRO, limit_price=400_000) for name in ("1", "2", "3")]
    return given(*YES_NO, *TRADERS, *bids)


def test_an_order_that_shrinks_keeps_its_place() -> None:
    """It releases the cash that it no longer needs."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "1", quantity=4 * MICRO)).then(OrderReduced, OrderReleased)
    assert queue(scenario) == ["1", "2", "3"]
    assert scenario.resting("1") == 4 * MICRO
    assert scenario.event(OrderReleased).cash == 2_400_000


def test_an_order_that_grows_loses_its_place() -> None:
    """It goes behind the other orders of its price."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "1", quantity=12 * MICRO)).then(OrderReleased, OrderAmended, OrderReserved)
    assert queue(scenario) == ["2", "3", "1"]
    assert scenario.exchange.accounts["alice"].held == 12_800_000


def test_an_order_with_a_new_price_loses_its_place_even_when_it_comes_back() -> None:
    """It does so too when it shrinks at the same time."""
    scenario = three_bids()
    scenario.given(AmendOrder("alice", "2", limit_price=410_000))
    assert queue(scenario) == ["2", "1", "3"]
    scenario.given(AmendOrder("alice", "2", limit_price=400_000, quantity=9 * MICRO))
    assert queue(scenario) == ["1", "3", "2"]


def test_an_amended_order_that_now_crosses_trades() -> None:
    """It trades as a new order would."""
    scenario = three_bids()
    scenario.when(AmendOrder("alice", "2", limit_price=600_000))
    amended = scenario.event(OrderAmended)
    assert amended.execution.status == "filled"
    assert amended.execution.filled == 10 * MICRO
    assert queue(scenario) == ["1", "3"]


def test_the_quantity_of_a_partly_filled_order_includes_what_is_filled() -> None:
    """An amendment cannot reduce the quantity to what is filled or below."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=100 * MICRO, limit_price=550_000))
    filled = scenario.placed.execution.filled
    scenario.when(AmendOrder("alice", "o", quantity=filled)).rejected(Code.INVALID_FIELD, field="quantity")
    scenario.when(AmendOrder("alice", "o", quantity=filled + 1)).then(OrderReduced, OrderReleased)
    assert scenario.resting("o") == 1
    scenario.given(AmendOrder("alice", "o", quantity=filled + 10))
    assert scenario.event(OrderAmended).filled_before == filled


def test_an_amendment_that_changes_nothing_has_no_effect() -> None:
    """The reply says so."""
    three_bids().when(AmendOrder("alice", "1", limit_price=400_000)).then(CommandHadNoEffect)
    three_bids().when(AmendOrder("alice", "1")).then(CommandHadNoEffect)


def test_a_refused_amendment_leaves_the_order_as_it_was() -> None:
    """Too little cash, too few shares, a price off the tick, a post-only order that would cross."""
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
    """The shares that the order itself reserves count as available to it."""
    scenario = given(*YES_NO, *TRADERS, SplitSets("bob", "m", 5 * MICRO))
    scenario.given(sell("bob", "Yes", name="s", quantity=2 * MICRO, limit_price=800_000))
    scenario.given(AmendOrder("bob", "s", quantity=5 * MICRO, limit_price=700_000))
    assert scenario.resting("s") == 5 * MICRO


def test_an_amended_order_still_expires() -> None:
    """It expires at its time, once."""
    wish = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + 10**7
    )
    scenario = given(*YES_NO, *TRADERS, wish, AmendOrder("alice", "o", limit_price=410_000))
    scenario.wait_until(START + 10**7).then(OrderCanceled, OrderReleased)
    scenario.wait_until(START + 10**8).then()
