"""What resting orders reserve: it cannot be used twice, and all of it is spent or released."""

from domain.account import OrderReleased
from domain.money import MICRO, largest_fee, taker_fee
from domain.orders import (
    CancelOrder,
    OrderCanceled,
    SplitSets,
)
from domain.rejections import Code
from tests.domain.scenario import SHALLOW, TRADERS, YES_NO, a_market, accounts, buy, given, sell


def test_shares_held_by_a_resting_sale_cannot_be_sold_again() -> None:
    """Reserved shares are not available; they are again once the order is canceled."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", quantity=10 * MICRO))
    scenario.given(sell("alice", "Yes", name="ask", quantity=7 * MICRO, limit_price=900_000))
    scenario.when(sell("alice", "Yes", quantity=3 * MICRO + 1)).rejected(Code.INSUFFICIENT_SHARES, available=3 * MICRO)
    scenario.given(sell("alice", "Yes", quantity=3 * MICRO))
    scenario.given(CancelOrder("alice", "ask"), sell("alice", "Yes", quantity=7 * MICRO))


def test_cash_held_by_a_resting_purchase_cannot_be_spent_again() -> None:
    """Available cash is what remains after the reservation."""
    scenario = given(*YES_NO, *accounts("alice", cash=10 * MICRO))
    scenario.given(buy("alice", "Yes", quantity=20 * MICRO, limit_price=400_000))
    assert scenario.cash("alice") == 2 * MICRO
    scenario.when(buy("alice", "No", spend=3 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS, available=2 * MICRO)


def test_the_taker_pays_the_fee_and_the_resting_order_none() -> None:
    """The fee is taken on the average price, rounded up, into the fees account; the cash reserved for a fee is released."""
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


def test_a_canceled_order_releases_what_it_reserved() -> None:
    """All of the cash is available again."""
    scenario = given(*YES_NO, *TRADERS, buy("alice", "Yes", name="o", quantity=20 * MICRO, limit_price=400_000))
    scenario.when(CancelOrder("alice", "o")).then(OrderCanceled, OrderReleased)
    assert scenario.cash("alice") == 1_000 * MICRO
    scenario.when(CancelOrder("alice", "o")).rejected(Code.ORDER_NOT_OPEN)


def test_the_cash_of_a_canceled_own_order_pays_for_the_order_that_canceled_it() -> None:
    """A bid on No is an ask on Yes: canceling the own bid releases its cash in the same command."""
    scenario = given(
        *SHALLOW, *accounts("alice", cash=10 * MICRO), *accounts("bob"), SplitSets("bob", "m", 100 * MICRO)
    )
    scenario.given(buy("alice", "No", name="own", quantity=20 * MICRO, limit_price=490_000))
    assert scenario.cash("alice") < MICRO
    scenario.given(sell("bob", "Yes", name="ask", quantity=10 * MICRO, limit_price=600_000))
    scenario.when(buy("alice", "Yes", quantity=10 * MICRO, limit_price=600_000, self_trade_prevention="cancel_maker"))
    assert scenario.placed.execution.status == "filled"
    assert scenario.event(OrderCanceled).order_id == "own"
