"""How the events of orders change their market: its book, its shares and its prices."""

from typing import assert_never

from domain.book import RestingOrder
from domain.market_evolution import reprice
from domain.market_state import Market
from domain.money import Price, Shares
from domain.orders import (
    Execution,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderPlaced,
    OrderReduced,
    RestingOrderFilled,
)


def evolve_orders(market: Market, event: OrderEvent) -> None:
    """Apply the event to the market's book, shares and prices."""
    match event:
        case OrderPlaced():
            _evolve_execution(market, event.outcome, event.execution)
            if event.execution.resting:
                assert event.limit_price is not None, "only limit orders rest"
                _rest(market, event, event.limit_price, 0, event.execution)
        case OrderAmended():
            market.book.remove(event.order_id)
            _evolve_execution(market, event.outcome, event.execution)
            if event.execution.resting:
                _rest(market, event, event.limit_price, event.filled_before, event.execution)
        case OrderReduced():
            order = market.book.orders[event.order_id]
            order.quantity, order.remaining = event.quantity, event.remaining
        case OrderCanceled():
            market.book.remove(event.order_id)
        case RestingOrderFilled():
            signed = event.quantity if event.side == "buy" else -event.quantity
            _fill_resting(market, event.order_id, event.quantity)
            _move_amm(market, market.index(event.outcome), signed)
            market.sweeping = event.more
        case _:
            assert_never(event)


def _evolve_execution(market: Market, outcome: str, execution: Execution) -> None:
    if not execution.fills:
        return
    for fill in execution.fills:
        if fill.order_id is not None:
            _fill_resting(market, fill.order_id, fill.quantity)
    if execution.sets:
        market.issued = [issued + execution.sets for issued in market.issued]
    if execution.amm_shares:
        _move_amm(market, market.terms.outcomes.index(outcome), execution.amm_shares)
    market.fees += execution.fee


def _move_amm(market: Market, index: int, shares: Shares) -> None:
    market.sold[index] += shares
    market.issued[index] += shares
    reprice(market)


def _fill_resting(market: Market, order_id: str, quantity: Shares) -> None:
    order = market.book.orders[order_id]
    order.remaining -= quantity
    order.filled += quantity
    if order.remaining == 0:
        market.book.remove(order_id)


def _rest(
    market: Market, event: OrderPlaced | OrderAmended, price: Price, filled_before: Shares, execution: Execution
) -> None:
    filled = filled_before + execution.filled
    market.book.add(
        RestingOrder(
            order_id=event.order_id,
            account_id=event.account_id,
            outcome=market.index(event.outcome),
            side=event.side,
            price=price,
            remaining=execution.remaining,
            age=market.book.next_age(),
            quantity=filled + execution.remaining,
            filled=filled,
            expires_at=event.expires_at,
            client_order_id=event.client_order_id,
            post_only=event.post_only,
        )
    )
