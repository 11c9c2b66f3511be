"""Decides the commands of traders: placing and amending orders, splitting and merging complete sets.

Guards first, then the match, then the events. A quote is the same decision, not applied. Canceling is in
`domain.reservations`, since expiry, the end of a market and an order's own taker cancel too.
"""

from typing import Literal

from domain.account import Account, OrderReleased, SetsMerged, SetsSplit
from domain.account_rules import cannot_spend
from domain.book import RestingOrder
from domain.events import Event
from domain.executions import ExecutionEvents, execute
from domain.market import SetsBurned, SetsMinted, Status
from domain.market_state import Market
from domain.money import AMOUNT_MAX, Credits, Price, Shares, Time
from domain.order_checks import check_order, check_price
from domain.orders import (
    DEFAULT_TIME_IN_FORCE,
    ORDER_MIN,
    AmendOrder,
    MergeSets,
    OrderAmended,
    OrderPlaced,
    OrderReduced,
    PlaceOrder,
    RestingOrderFilled,
    SplitSets,
    TimeInForce,
)
from domain.rejections import Code, Rejection, invalid, reject
from domain.reservations import released_cash


def not_active(market: Market) -> Rejection | None:
    """Return why the market takes no orders now, or None."""
    if market.status == Status.ACTIVE:
        return None
    return reject(Code.MARKET_NOT_ACTIVE, f"the market is {market.status} and takes no orders", status=market.status)


# --- placing


def place_order(market: Market, account: Account, command: PlaceOrder, time: Time) -> list[Event] | Rejection:
    """Return the events of a new order, or why it is refused."""
    placed = _place(market, account, command, time)
    if isinstance(placed, Rejection):
        return placed
    done, event = placed
    return done.around(event)


def quote_order(market: Market, account: Account, command: PlaceOrder, time: Time) -> list[Event] | Rejection:
    """Return the events that say what a new order would do, or why it would be refused.

    They are `OrderPlaced` and, if the sweep that the order sets off would fill what rests of it, `RestingOrderFilled`.
    """
    placed = _place(market, account, command, time)
    if isinstance(placed, Rejection):
        return placed
    done, event = placed
    return [event, *_rest_swept(done, event)]


def _rest_swept(done: ExecutionEvents, event: OrderPlaced) -> list[Event]:
    """Return the event of the sweep that fills what rests of the order; none where it does not."""
    return [
        RestingOrderFilled(
            event.market_id,
            event.account_id,
            event.order_id,
            event.outcome,
            event.side,
            fill.quantity,
            fill.cost,
            fill.left - fill.quantity,
            (),
            more=False,
        )
        for fill in (done.sweep.fills if done.sweep is not None else ())
        if not fill.order.order_id
    ]


def _place(
    market: Market, account: Account, command: PlaceOrder, time: Time
) -> tuple[ExecutionEvents, OrderPlaced] | Rejection:
    """Return what a new order does, with the market's own event, or why it is refused."""
    if wrong := check_order(command, time):
        return wrong
    if refusal := not_active(market):
        return refusal
    if command.outcome not in market.terms.outcomes:
        return reject(Code.UNKNOWN_OUTCOME, "the market does not have this outcome", outcome=command.outcome)
    quantity = command.quantity
    all_of_it = False
    if command.side == "sell":
        assert quantity is not None, "a sell names its quantity"
        available = account.available_shares(market.market_id, command.outcome)
        if command.reduce_only:
            quantity = min(quantity, available)
            if quantity == 0:
                return reject(Code.REDUCE_ONLY, "the account has no available shares to sell", available=available)
        elif quantity > available:
            return reject(
                Code.INSUFFICIENT_SHARES,
                "this needs more shares than are available",
                required=quantity,
                available=available,
            )
        all_of_it = quantity == available
    if not all_of_it and (small := _too_small(command.spend if quantity is None else quantity)):
        return small
    tif: TimeInForce = command.time_in_force or DEFAULT_TIME_IN_FORCE[command.type]
    done = execute(market, account, command, quantity, time_in_force=tif, all_of_it=all_of_it)
    if isinstance(done, Rejection):
        return done
    event = OrderPlaced(
        market_id=market.market_id,
        account_id=account.account_id,
        order_id=command.order_id,
        client_order_id=command.client_order_id,
        outcome=command.outcome,
        side=command.side,
        type=command.type,
        quantity=quantity,
        spend=command.spend,
        limit_price=command.limit_price,
        time_in_force=tif,
        expires_at=command.expires_at,
        post_only=command.post_only,
        reduce_only=command.reduce_only,
        resolution_version=market.resolution_version,
        execution=done.execution,
        requested_quantity=None if quantity == command.quantity else command.quantity,
        max_cost=command.max_cost,
        min_proceeds=command.min_proceeds,
        self_trade_prevention=command.self_trade_prevention,
    )
    return done, event


def _too_small(amount: Shares | Credits | None) -> Rejection | None:
    """Return why an order for this many shares, or for this spend, is refused, or None."""
    if amount is None or amount >= ORDER_MIN:
        return None
    return reject(Code.ORDER_TOO_SMALL, "the order is below the smallest size", given=amount, least=ORDER_MIN)


# --- amending


def amend_order(market: Market, account: Account, command: AmendOrder) -> list[Event] | Rejection:
    """Return the events of an amendment, or why it is refused; an empty list where nothing would change."""
    if refusal := not_active(market):
        return refusal
    order = market.book.orders[command.order_id]
    price, total = _amended(order, command)
    if wrong := check_price(price):
        return wrong
    if not order.filled < total <= AMOUNT_MAX:
        return invalid("quantity", "must be more than what is already filled", given=total, filled=order.filled)
    remaining = total - order.filled
    if price == order.price and remaining == order.remaining:
        return []
    if total != order.quantity and (small := _too_small(total)):
        all_of_it = order.side == "sell" and remaining == _available_to(market, account, order)
        if not all_of_it:
            return small
    if price == order.price and remaining < order.remaining:
        return _reduce(market, account, order, command, remaining)
    return _replace(market, account, order, command)


def _amended(order: RestingOrder, command: AmendOrder) -> tuple[Price, Shares]:
    """Return the price and the total quantity that the order is to have."""
    return (
        command.limit_price if command.limit_price is not None else order.price,
        command.quantity if command.quantity is not None else order.quantity,
    )


def _available_to(market: Market, account: Account, order: RestingOrder) -> Shares:
    """Return the shares that the account can sell with this order: the available ones and those that it reserves."""
    available = account.available_shares(market.market_id, market.terms.outcomes[order.outcome])
    return available + account.orders[order.order_id].shares


def _reduce(
    market: Market, account: Account, order: RestingOrder, command: AmendOrder, remaining: Shares
) -> list[Event]:
    """Return the events of an order that only shrinks, so that it keeps its place in time."""
    buys, less = order.side == "buy", order.remaining - remaining
    cash = released_cash(market.terms.fee_rate, order.price, order.remaining, less) if buys else 0
    shares = 0 if buys else less
    outcome = market.terms.outcomes[order.outcome]
    return [
        OrderReduced(
            market.market_id,
            account.account_id,
            order.order_id,
            order.client_order_id,
            outcome,
            order.side,
            order.price,
            order.filled + remaining,
            remaining,
            ("limit_price",) if command.limit_price is None else (),
        ),
        OrderReleased(account.account_id, market.market_id, order.order_id, outcome, cash, shares),
    ]


def _replace(market: Market, account: Account, order: RestingOrder, command: AmendOrder) -> list[Event] | Rejection:
    """Return the events of an order that acts as a new one with its amended price and quantity, or why it is refused."""
    price, total = _amended(order, command)
    reservation, remaining = account.orders[order.order_id], total - order.filled
    outcome, side = market.terms.outcomes[order.outcome], order.side
    all_of_it = False
    if side == "sell":
        available = _available_to(market, account, order)
        all_of_it = remaining == available
        if remaining > available:
            return reject(
                Code.INSUFFICIENT_SHARES,
                "this needs more shares than are available",
                required=remaining,
                available=available,
            )
    again = PlaceOrder(
        account.account_id,
        market.market_id,
        order.order_id,
        order.client_order_id,
        outcome,
        side,
        "limit",
        remaining,
        limit_price=price,
        post_only=order.post_only,
    )
    tif: TimeInForce = "GTD" if order.expires_at is not None else "GTC"
    done = execute(market, account, again, remaining, time_in_force=tif, released=reservation.cash, all_of_it=all_of_it)
    if isinstance(done, Rejection):
        return done
    done.before.append(
        OrderReleased(
            account.account_id, market.market_id, order.order_id, outcome, reservation.cash, reservation.shares
        )
    )
    return done.around(
        OrderAmended(
            market_id=market.market_id,
            account_id=account.account_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            outcome=outcome,
            side=side,
            limit_price=price,
            quantity=total,
            filled_before=order.filled,
            expires_at=order.expires_at,
            post_only=order.post_only,
            execution=done.execution,
            unnamed=_unnamed(command),
        )
    )


def _unnamed(command: AmendOrder) -> tuple[Literal["limit_price", "quantity"], ...]:
    """Return the fields that an amendment leaves as they are; one that replaces the order names at least one."""
    if command.quantity is None:
        return ("quantity",)
    return ("limit_price",) if command.limit_price is None else ()


# --- complete sets


def split_sets(market: Market, account: Account, command: SplitSets) -> list[Event] | Rejection:
    """Return the events that turn credits into complete sets, or why it is refused."""
    if refusal := not_active(market):
        return refusal
    if refusal := cannot_spend(account, command.amount):
        return refusal
    return [
        SetsSplit(account.account_id, market.market_id, market.terms.outcomes, command.amount),
        SetsMinted(market.market_id, account.account_id, command.amount),
    ]


def merge_sets(market: Market, account: Account, command: MergeSets) -> list[Event] | Rejection:
    """Return the events that turn complete sets into credits, or why it is refused.

    Merging moves no price, so it is allowed until the payouts are named: also while halted or closed.
    """
    if market.status not in {Status.ACTIVE, Status.HALTED, Status.CLOSED}:
        return not_active(market) or []
    for outcome in market.terms.outcomes:
        available = account.available_shares(market.market_id, outcome)
        if available < command.amount:
            return reject(
                Code.INSUFFICIENT_SHARES,
                "a complete set needs shares of every outcome",
                outcome=outcome,
                required=command.amount,
                available=available,
            )
    return [
        SetsBurned(market.market_id, account.account_id, command.amount),
        SetsMerged(account.account_id, market.market_id, market.terms.outcomes, command.amount),
    ]
