"""What a resting order reserves of its account, and the events by which a reservation is spent or released.

A resting sell reserves the shares that remain. A resting buy reserves cash: its limit price times the shares that remain, and
the largest fee that they could cost.
"""

from domain.account import Account, OrderReleased, TradeSettled
from domain.book import RestingOrder
from domain.events import Event
from domain.market_state import Market
from domain.money import MICRO, Credits, Fraction, Price, Shares, divide_up, largest_fee
from domain.orders import CancelScope, OrderCanceled


def reserved_cash(fee_rate: Fraction, limit_price: Price, remaining: Shares) -> Credits:
    """Return the cash that a resting buy reserves: limit times `remaining`, rounded up, and the largest fee on it."""
    return divide_up(limit_price * remaining, MICRO) + largest_fee(fee_rate, remaining, limit_price)


def released_cash(fee_rate: Fraction, limit_price: Price, remaining: Shares, quantity: Shares) -> Credits:
    """Return how much less a resting buy reserves once `quantity` of its `remaining` shares are filled or given up.

    It is a difference of two reservations, so what the parts of an order release sums to exactly what it reserved.
    """
    return reserved_cash(fee_rate, limit_price, remaining) - reserved_cash(fee_rate, limit_price, remaining - quantity)


def settle_resting(market: Market, order: RestingOrder, quantity: Shares, cost: Credits) -> TradeSettled:
    """Return the account's part when `quantity` of a resting order trades.

    A buy pays with what it had reserved for this quantity; the rest of that becomes available again.
    """
    buys = order.side == "buy"
    used = released_cash(market.terms.fee_rate, order.price, order.remaining, quantity) if buys else 0
    return TradeSettled(
        account_id=order.account_id,
        market_id=market.market_id,
        order_id=order.order_id,
        outcome=market.terms.outcomes[order.outcome],
        side=order.side,
        role="resting",
        quantity=quantity,
        cost=cost,
        fee=0,
        cash=used - cost if buys else cost,
        held=-used,
        held_shares=0 if buys else -quantity,
    )


def cancel_events(
    market: Market, order: RestingOrder, account: Account, reason: str, scope: CancelScope = "order"
) -> list[Event]:
    """Return the events that take a resting order out of the book and release what it reserved."""
    reservation = account.orders[order.order_id]
    return [
        OrderCanceled(
            market.market_id,
            order.account_id,
            order.order_id,
            order.client_order_id,
            market.terms.outcomes[order.outcome],
            order.side,
            order.filled,
            order.remaining,
            reason,
            scope,
        ),
        OrderReleased(
            order.account_id,
            market.market_id,
            order.order_id,
            reservation.outcome,
            reservation.cash,
            reservation.shares,
        ),
    ]
