"""Executes an order: checks its conditions, settles its fills, and reserves for the remainder if it rests.

Placing, amending and quoting share this. The events of an execution come in three groups: those of the payers, the market's
own event, those of the receivers. In this order the pool covers the market's worst outcome at every position of the log.
"""

from domain import lmsr
from domain.account import Account, OrderReserved, TradeSettled
from domain.account_rules import cannot_spend
from domain.book import RestingOrder
from domain.events import Event
from domain.market_state import Market
from domain.matching import Taker
from domain.money import Credits, Price, Shares, taker_fee
from domain.orders import (
    BOOK_ORDERS_MAX,
    BOOK_SHARE_MIN,
    OPEN_ORDERS_MAX,
    Execution,
    OrderEvent,
    OrderStatus,
    PlaceOrder,
    RestingOrderFilled,
    TimeInForce,
)
from domain.rejections import Code, Rejection, reject
from domain.reservations import cancel_events, reserved_cash, settle_resting
from domain.sweeping import Ahead, Sweep, SweepFill, sweep_ahead, sweep_book


class ExecutionEvents:
    """An execution and the events that go with it: cancellations, then payers, then (after the market's) receivers.

    `sweep` is the sweep that the execution will set off, or None. What it fills of the remainder has the order id "".
    """

    __slots__ = ("before", "execution", "payers", "receivers", "sweep")

    def __init__(self, execution: Execution, sweep: Sweep | None) -> None:
        self.execution = execution
        self.sweep = sweep
        self.before: list[Event] = []
        self.payers: list[Event] = []
        self.receivers: list[Event] = []

    def around(self, event: OrderEvent) -> list[Event]:
        """Return all events in their order, with the market's own event in the middle."""
        return [*self.before, *self.payers, event, *self.receivers]


def execute(
    market: Market,
    account: Account,
    order: PlaceOrder,
    quantity: Shares | None,
    *,
    time_in_force: TimeInForce,
    released: Credits = 0,
    all_of_it: bool = False,
) -> ExecutionEvents | Rejection:
    """Return what the order does at once and whether its remainder rests, or why it is refused.

    `quantity` and `time_in_force` replace the order's own. `released` is the cash that the same command releases: what an
    amended order had reserved. `all_of_it` says that the order sells all shares that it can, which may bring nothing. The
    caller has checked the outcome and, for a sell, the shares.
    """
    taker = Taker(market, order, quantity)
    taker.match(order)
    remaining = 0 if quantity is None else quantity - taker.filled
    fee = taker_fee(market.terms.fee_rate, taker.filled, taker.cost)
    if refusal := _broken_condition(order, taker, fee, remaining, kills=time_in_force == "FOK", all_of_it=all_of_it):
        return refusal
    reserved = 0
    rests = remaining > 0 and taker.stop == "price" and time_in_force in {"GTC", "GTD"}
    if rests:
        if refusal := _one_order_too_many(taker, account, order):
            return refusal
        assert order.limit_price is not None, "only limit orders rest"
        if taker.buys:
            reserved = reserved_cash(market.terms.fee_rate, order.limit_price, remaining)
    if taker.buys:
        freed = released + sum([account.orders[own.order_id].cash for own in taker.canceled])
        # The whole spend must be available, also where the AMM stops before all of it is used.
        required = max(taker.cost + fee + reserved, order.spend or 0)
        if refusal := cannot_spend(account, required - freed):
            return refusal
    sweep = _next_sweep(taker, order, remaining if rests else 0) if taker.amm_shares else None
    swept = lmsr.displayed(sweep.prices) if sweep is not None else ()
    done = ExecutionEvents(_execution(taker, fee, remaining, swept, rests=rests), sweep)
    _settle(done, account, order, taker)
    if rests:
        shares = 0 if taker.buys else remaining
        done.receivers.append(
            OrderReserved(
                account.account_id, order.market_id, order.order_id, order.outcome, order.side, reserved, shares
            )
        )
    return done


def _broken_condition(
    order: PlaceOrder, taker: Taker, fee: Credits, remaining: Shares, *, kills: bool, all_of_it: bool
) -> Rejection | None:
    """Return which of the order's own conditions the match would break, or None."""
    stop, filled, cost = taker.stop, taker.filled, taker.cost
    if order.post_only and (taker.fills or stop == "self_trade" or taker.canceled):
        return reject(
            Code.POST_ONLY_WOULD_CROSS, "a post-only order would trade at once", limit_price=order.limit_price or 0
        )
    if kills and stop is not None:
        return reject(Code.FOK_NOT_FILLED, "the whole order cannot be filled now", fillable=filled, remaining=remaining)
    if stop is None and cost == fee and not taker.buys and not all_of_it:
        return reject(Code.ORDER_TOO_SMALL, "the sale would bring nothing after rounding", quantity=filled)
    if order.max_cost is not None and cost + fee > order.max_cost:
        return reject(
            Code.SLIPPAGE, "the order would cost more than max_cost", cost=cost + fee, max_cost=order.max_cost
        )
    if order.min_proceeds is not None and cost - fee < order.min_proceeds:
        return reject(
            Code.SLIPPAGE,
            "the order would bring less than min_proceeds",
            proceeds=cost - fee,
            min_proceeds=order.min_proceeds,
        )
    return None


def _one_order_too_many(taker: Taker, account: Account, order: PlaceOrder) -> Rejection | None:
    """Return why the order must not rest beside the others of its account or of its market, or None."""
    if order.order_id in account.orders:
        return None  # an amended order rests already
    leave = len(taker.canceled)
    if len(account.orders) - leave >= OPEN_ORDERS_MAX:
        return reject(
            Code.TOO_MANY_ORDERS, "the account has the maximum number of open orders", maximum=OPEN_ORDERS_MAX
        )
    if len(taker.market.book.orders) - leave >= BOOK_ORDERS_MAX:
        own = sum([reservation.market_id == order.market_id for reservation in account.orders.values()]) - leave
        if own >= BOOK_SHARE_MIN:
            return reject(Code.BOOK_FULL, "the market has the maximum number of open orders", maximum=BOOK_ORDERS_MAX)
    return None


def _execution(taker: Taker, fee: Credits, remaining: Shares, swept: tuple[Price, ...], *, rests: bool) -> Execution:
    status: OrderStatus
    if taker.stop is None:
        status = "filled"
    elif taker.fills:
        status = "partially_filled"
    else:
        status = "resting" if rests else "canceled"
    return Execution(
        status,
        taker.filled,
        remaining,
        taker.cost,
        fee,
        tuple(taker.fills),
        taker.amm_shares,
        taker.sets,
        lmsr.displayed(taker.prices) if taker.amm_shares else (),
        rests,
        None if rests else taker.stop,
        swept,
    )


def _settle(done: ExecutionEvents, account: Account, order: PlaceOrder, taker: Taker) -> None:
    """Add the cancellations of own orders, and each account's part of the fills."""
    market, fee, cost = taker.market, done.execution.fee, taker.cost
    for own in taker.canceled:
        done.before += cancel_events(market, own, account, "self_trade")
    if taker.met:
        met = {resting.order_id: resting for resting in taker.met}
        for fill in taker.fills:
            if fill.order_id is not None:
                resting = met[fill.order_id]
                settled = settle_resting(market, resting, fill.quantity, fill.resting_cost)
                (done.payers if resting.side == "buy" else done.receivers).append(settled)
    if taker.fills:
        own_part = TradeSettled(
            account.account_id,
            order.market_id,
            order.order_id,
            order.outcome,
            order.side,
            role="taker",
            quantity=taker.filled,
            cost=cost,
            fee=fee,
            cash=-cost - fee if taker.buys else cost - fee,
            held=0,
            held_shares=0,
        )
        (done.payers if taker.buys else done.receivers).append(own_part)


# --- the sweep that an execution sets off


def _next_sweep(taker: Taker, order: PlaceOrder, rest: Shares) -> Sweep | None:
    """Return the sweep that the order will set off, or None if there is nothing to sweep.

    `rest` is what will rest of the order. It can be filled by the sweep too.
    """
    market = taker.market
    if not len(market.book) and not rest:
        return None
    left = {own.order_id: 0 for own in taker.canceled}
    if order.order_id in market.book.orders:  # an amended order leaves its place
        left[order.order_id] = 0
    for resting, fill in zip(taker.met, [fill for fill in taker.fills if fill.order_id is not None], strict=True):
        left[resting.order_id] = resting.remaining - fill.quantity
    rests = None
    if rest:
        assert order.limit_price is not None, "only limit orders rest"
        rests = RestingOrder(
            "",
            order.account_id,
            taker.index,
            order.side,
            order.limit_price,
            rest,
            0,
            rest,
            0,
            None,
            "",
            post_only=False,
        )
    sold = market.sold.copy()
    sold[taker.index] += taker.amm_shares
    return sweep_ahead(market, Ahead(market.weights, market.liquidity, sold, taker.prices, left, rests))


def sweep_events(market: Market) -> list[Event]:
    """Return the events of the AMM filling the resting orders that its price has reached; empty when there are none.

    Among the market's own events sells come before buys, so that the pool covers its worst outcome between them.
    """
    sweep = sweep_book(market)
    if sweep is None:
        return []
    buys = [fill for fill in sweep.fills if fill.order.side == "buy"]
    sells = [fill for fill in sweep.fills if fill.order.side == "sell"]
    ordered = [*sells, *buys]
    prices = lmsr.displayed(sweep.prices)
    own: list[Event] = [
        _swept(market, fill, () if i < len(ordered) - 1 else prices, more=sweep.more) for i, fill in enumerate(ordered)
    ]
    return [*(_settled(market, fill) for fill in buys), *own, *(_settled(market, fill) for fill in sells)]


def _settled(market: Market, fill: SweepFill) -> TradeSettled:
    return settle_resting(market, fill.order, fill.quantity, fill.cost)


def _swept(market: Market, fill: SweepFill, prices: tuple[Price, ...], *, more: bool) -> RestingOrderFilled:
    order = fill.order
    return RestingOrderFilled(
        market.market_id,
        order.account_id,
        order.order_id,
        market.terms.outcomes[order.outcome],
        order.side,
        fill.quantity,
        fill.cost,
        order.remaining - fill.quantity,
        prices,
        more,
    )
